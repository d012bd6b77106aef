"""How near do projections come? Writes results/projection.md, with a sheet beside it.

    python studies/inversion.py --held-out portraits-held.zip

Images that the generator made, and images that no training saw, are projected as StyleGAN2's appendix D
has it: into W with noise maps. The real ones are projected into W+, too, and the generator is tuned for each
from its latent in W. All are 8-bit images, so that both kinds of targets are compared alike. Every `--batch`
of them is a call of `styleloom project` into a folder of `--work`: an interrupted study goes on where it
stood.
"""

from __future__ import annotations

import datetime
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))

from inversion_page import report
from pages import hand_written, run_study
from styleloom.atomic import write_text
from styleloom.cli.project import Project
from styleloom.data.dataset import open_dataset
from styleloom.data.reals import to_uint8
from styleloom.environment import describe_machine
from styleloom.errors import UserError
from styleloom.images import Sheet, save_png
from styleloom.sampling import Sampler
from styleloom.snapshot import read_snapshot
from styleloom.snapshot_names import find_snapshot

SHOWN = 8
"""Targets of each kind in the sheet."""


@dataclass
class ProjectionStudy:
    """Project generated and real images."""

    held_out: str
    """Real images that no training saw: an archive."""
    snapshot: str = "portraits-64"
    """The generator: a snapshot, a run directory, or a model in the package."""
    out: Path = Path("results/projection.md")
    """The page; the sheet goes into the folder of the same name."""
    work: Path = Path("runs/projection-study")
    """Where projections are kept."""
    count: int = 16
    """Images of each kind."""
    steps: int = 1000
    """Of each projection."""
    tune: int = 350
    """Steps of tuning."""
    batch: int = 4
    """Targets at once."""
    seed: int = 0
    """First seed of the generated targets, and that of projections."""

    @property
    def folder(self) -> Path:
        """Where the sheet is."""
        return self.out.with_suffix("")


@dataclass(frozen=True)
class Arm:
    """One kind of targets, projected in one way.

    Args:
        targets: "generated" or "real".
        options: of `styleloom project`.
    """

    targets: str
    options: Mapping[str, Any]


def arms(study: ProjectionStudy) -> dict[str, Arm]:
    """All that is tried, by name; tuning is part of the second."""
    return {
        "generated": Arm("generated", {"space": "w"}),
        "real": Arm("real", {"space": "w", "tune": study.tune}),
        "real-w+": Arm("real", {"space": "w+"}),
    }


def main(study: ProjectionStudy) -> int:
    """Project what has not been projected yet, and write the page; 0."""
    for name in ("count", "steps", "tune", "batch"):
        if getattr(study, name) < 1:
            raise UserError(f"--{name}: {getattr(study, name)} is not valid, at least 1")
    snapshot = read_snapshot(find_snapshot(study.snapshot))
    sampler = Sampler.of(snapshot, "cpu", "fp32")
    options = {name: getattr(study, name) for name in ("count", "steps", "tune", "batch", "seed")}
    names = {"snapshot": Path(study.snapshot).name, "held_out": Path(study.held_out).name}
    settings = {**options, **names}
    keep_settings(study.work / "settings.json", {**settings, "sha256": sampler.snapshot_sha256})
    targets = {kind: write_targets(study, kind, sampler) for kind in ("generated", "real")}
    found = {
        name: [result for part in parts(study) for result in projected(study, name, arm, targets, part)]
        for name, arm in arms(study).items()
    }
    document = {
        "date": datetime.date.today().isoformat(),
        "machine": describe_machine(torch.device("cpu")),
        "settings": settings,
        "sha256": sampler.snapshot_sha256,
        "images_seen": snapshot.info["images_seen"],
        "distance": found["real"][0]["distance_name"],
        "arms": found,
    }
    study.folder.mkdir(parents=True, exist_ok=True)
    write_text(study.folder / "results.json", json.dumps(_without_steps(document), indent=1) + "\n")
    write_sheet(study)
    write_text(study.out, report(document, hand_written(study.folder)))
    print(f"{study.out} written")
    return 0


def keep_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Remember what the folder's projections are made with; UserError where that was something else."""
    if path.exists():
        kept = json.loads(path.read_text())
        other = [name for name, value in settings.items() if kept.get(name) != value]
        if other:
            raise UserError(
                f"--work: {path.parent} has projections with other settings ({', '.join(other)}); valid: "
                "another folder"
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(settings, indent=1) + "\n")


def write_targets(study: ProjectionStudy, kind: str, sampler: Sampler) -> list[Path]:
    """The targets as PNG files, the first images of the held-out set or of consecutive seeds."""
    folder = study.work / "targets" / kind
    paths = [folder / f"{kind}-{i:03d}.png" for i in range(study.count)]
    if all(path.exists() for path in paths):
        return paths
    if kind == "generated":
        images = to_uint8(sampler.generate(range(study.seed, study.seed + study.count)))
    else:
        dataset = open_dataset(study.held_out)
        if len(dataset) < study.count:
            raise UserError(f"--held-out: {study.held_out} has {len(dataset)} images, fewer than --count")
        images = torch.from_numpy(dataset.images(np.arange(study.count, dtype=np.int64)))
    folder.mkdir(parents=True, exist_ok=True)
    for path, image in zip(paths, images, strict=True):
        save_png(path, image)
    return paths


def parts(study: ProjectionStudy) -> list[range]:
    """The positions of targets that go through the networks together."""
    count, size = study.count, study.batch
    return [range(first, min(first + size, count)) for first in range(0, count, size)]


def projected(
    study: ProjectionStudy, name: str, arm: Arm, targets: Mapping[str, Sequence[Path]], part: range
) -> list[dict[str, Any]]:
    """What `styleloom project` says of some targets of an arm, from an earlier call if there was one."""
    folder = study.work / name / f"{part.start:03d}"
    paths = [targets[arm.targets][i] for i in part]
    if not folder.exists():
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        print(f"{name}: targets {part.start} to {part.stop - 1}", flush=True)
        Project(
            study.snapshot,
            tuple(map(str, paths)),
            out=partial,
            steps=study.steps,
            seed=study.seed,
            batch=study.batch,
            device="cpu",
            exact=True,
            **arm.options,
        ).run()
        partial.rename(folder)
    return [json.loads((folder / path.stem / "result.json").read_text()) for path in paths]


def write_sheet(study: ProjectionStudy) -> None:
    """Columns are targets: the generated ones over what was found for them, then the real ones."""
    count = min(SHOWN, study.count)
    rows = [
        *(("generated", "generated", picture) for picture in ("target", "projected")),
        *(("real", "real", picture) for picture in ("target", "projected")),
        ("real-w+", "real", "projected"),
        ("real", "real", "tuned"),
    ]
    sheet = Sheet(count, len(rows))
    places = [(part.start, i) for part in parts(study) for i in part][:count]
    for name, kind, picture in rows:
        files = [
            study.work / name / f"{part:03d}" / f"{kind}-{i:03d}" / f"{picture}.png" for part, i in places
        ]
        sheet.add(torch.stack([_pixels(file) for file in files]))
    save_png(study.folder / "sheet.png", sheet.pixels)


def _pixels(path: Path) -> Tensor:
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def _without_steps(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with the last numbers of each projection, without those of every step."""
    kept = ("distance", "psnr", "ssim", "steps_done", "seconds", "targets_at_once")

    def short(result: Mapping[str, Any]) -> dict[str, Any]:
        tuned = {"tuned": short(result["tuned"])} if "tuned" in result else {}
        return {name: result[name] for name in kept if name in result} | tuned

    found = {name: [short(result) for result in results] for name, results in document["arms"].items()}
    return {**document, "arms": found}


if __name__ == "__main__":
    run_study(main, ProjectionStudy)
