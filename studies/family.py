"""Do all families learn? Writes results/family-32.md, with a picture of each beside it.

    python studies/family.py --kimg 36 --seed 0

One model of each kind at 32 x 32 px on the embedded emoji: its own paper's networks (narrow), losses and
schedule in miniature, and the same number of images for all. The sliced Wasserstein distance (SWD) of the
EMA of the generator to held-out real images is measured before, on the way and after, and how much the
pictures differ among each other. A model's outcome is written as it finishes. The same command again trains
what is missing and writes the page anew; with other settings everything is trained anew.

`family_settings` has the models, `family_measures` distance and diversity, `family_pictures` the sheets and
`family_page` the text of the page; `family_metrics` measures the generators afterwards.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))

from family_measures import distance, diversity, floor, held_out
from family_page import report
from family_pictures import enlarge, sheet, side_by_side
from family_settings import DATA, MODELS, FamilyStudy
from styleloom.atomic import write_text
from styleloom.config import Experiment, from_json, to_json
from styleloom.config.checks import one_of
from styleloom.data.dataset import ImageDataset, open_dataset
from styleloom.environment import describe_machine
from styleloom.errors import UserError
from styleloom.images import save_png
from styleloom.runs.pictures import samples
from styleloom.snapshot import write_snapshot
from styleloom.training.trainer import Trainer


def train(study: FamilyStudy, name: str) -> None:
    """Train one model, and write its outcome and picture."""
    torch.set_num_threads(study.threads)
    settings = study.experiment(name)
    outcome, fakes = learn(settings, data_set(settings), study.points, name, study.snapshots)
    outcome |= {"threads": study.threads, "at_once": study.at_once}
    save_png(study.folder / f"{name}.png", sheet(fakes))
    write_text(study.folder / f"{name}.json", json.dumps(outcome, indent=1) + "\n")


def learn(
    settings: Experiment, dataset: ImageDataset, points: int, name: str, snapshots: Path
) -> tuple[dict[str, Any], Tensor]:
    """Train one model; write the EMA of its generator to `snapshots`.

    Args:
        points: measurements at equal distances, the last at the end.
        name: of the model, for messages and the file.

    Returns:
        The outcome as a JSON document, and as many generated images as there are held-out ones.
    """
    with contextlib.closing(Trainer(settings, dataset)) as trainer:
        reals = held_out(trainer.inputs.evaluation_set)
        fakes = samples(trainer.ema, settings, len(reals))  # at full resolution, whatever the level
        swd = [{"kimg": 0.0, "resolution": settings.resolution, "swd": distance(reals, fakes)}]
        seconds = 0.0
        for point in range(1, points + 1):
            began, target = time.monotonic(), settings.total_kimg * 1000 * point / points
            while trainer.images_seen < target:
                trainer.step()
            seconds += time.monotonic() - began
            fakes = samples(trainer.ema, settings, len(reals), growth=trainer.growth)
            side = fakes.shape[-1]
            fakes = enlarge(fakes, settings.resolution // side)
            kimg, value = trainer.images_seen / 1000, distance(reals, fakes)
            swd.append({"kimg": kimg, "resolution": side, "swd": value})
            print(f"{name}: {kimg:g} kimg, SWD {value:.1f}, {seconds:.0f} s", file=sys.stderr, flush=True)
        outcome = {
            "experiment": to_json(settings),
            "data": dataset.fingerprint,
            "date": datetime.date.today().isoformat(),
            "machine": describe_machine(trainer.device),
            "precision": trainer.experiment.precision,
            "images_seen": trainer.images_seen,
            "seconds": seconds,
            "skipped_updates": trainer.skipped["g"] + trainer.skipped["d"],
            "swd": swd,
            "diversity": diversity(fakes, reals),
        }
        info = {"images_seen": trainer.images_seen, "data": trainer.inputs.record()}
        write_snapshot(snapshots / f"{name}.safetensors", trainer.ema, settings, **info)
    return outcome, fakes


def outcome_of(study: FamilyStudy, name: str) -> dict[str, Any] | None:
    """The recorded outcome of a model, or None where it has not finished with these settings and data."""
    path = study.folder / f"{name}.json"
    if not path.exists() or not path.with_suffix(".png").exists():
        return None
    outcome, settings = json.loads(path.read_text()), study.experiment(name)
    try:
        recorded = from_json(outcome["experiment"])
    except UserError:  # of another version
        return None
    same = replace(recorded, run=settings.run) == settings  # what a run writes changes no outcome
    return outcome if same and outcome["data"] == data_set(settings).fingerprint else None


def data_set(settings: Experiment) -> ImageDataset:
    """The images of the study at the resolution of `settings`."""
    return open_dataset(DATA, settings.resolution)


def write_page(study: FamilyStudy) -> str:
    """Write the page and its pictures from the models that have finished with these settings."""
    outcomes = {name: found for name in MODELS if (found := outcome_of(study, name))}
    settings = study.experiment(next(iter(outcomes)))
    dataset = data_set(settings)
    save_png(study.folder / "reals.png", sheet(held_out(dataset.split(settings.data.held_out)[1])))
    sheets = {"reals": study.folder / "reals.png"} | {n: study.folder / f"{n}.png" for n in outcomes}
    picture = side_by_side(sheets, settings.resolution)
    save_png(study.folder / "all.png", np.asarray(picture).transpose(2, 0, 1))
    seen = study.folder / "seen.md"
    page = report(study, outcomes, floor(settings, dataset), seen.read_text() if seen.exists() else None)
    write_text(study.out, page)
    return page


def main(study: FamilyStudy) -> int:
    """Train what is missing, write the page; 1 when a training failed."""
    for name in study.models:
        one_of("models", name, tuple(MODELS))
    missing = [name for name in study.models if study.fresh or outcome_of(study, name) is None]
    failed = 0
    with ProcessPoolExecutor(study.at_once, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(train, study, name): name for name in missing}
        for future in as_completed(futures):
            if error := future.exception():
                failed = 1
                print(f"{futures[future]}: {error}", file=sys.stderr)
    if any(outcome_of(study, name) for name in MODELS):
        print(write_page(study))
    return failed


if __name__ == "__main__":
    sys.exit(main(tyro.cli(FamilyStudy)))
