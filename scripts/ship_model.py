"""Put the best snapshot of a run into the package, with what made it.

    styleloom train --preset portraits-64 --data portraits-train.zip --out runs/portraits-64
    python scripts/ship_model.py runs/portraits-64 --held-out portraits-held.zip --seen seen.md

The best is the one with the smallest kernel distance (EfficientNet-Lite0) to images that no training saw.
Writes src/styleloom/pretrained/NAME/: the snapshot, experiment.json, stats.jsonl, a grid of reals, grids of
generated images, named directions, and CARD.md. A model that is there already is replaced.
"""

from __future__ import annotations

import datetime
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro

from styleloom import presets, sampling, snapshot
from styleloom.atomic import write_text
from styleloom.cli.directions import Directions
from styleloom.config import Experiment, to_json
from styleloom.config.serialize import differences
from styleloom.data.dataset import ImageDataset, open_dataset
from styleloom.data.reals import to_uint8
from styleloom.directions.shipped import NAME as DIRECTIONS_NAME
from styleloom.errors import UserError
from styleloom.images import grid, save_png
from styleloom.metrics.evaluation.collect import FeatureNetworks
from styleloom.metrics.evaluation.definitions import parse_all
from styleloom.metrics.evaluation.image_sets import DatasetImages
from styleloom.metrics.evaluation.subject import RealImages, Subject
from styleloom.metrics.evaluation.suite import Evaluation
from styleloom.metrics.swd import sliced_wasserstein
from styleloom.pretrained import FOLDER
from styleloom.runs.directory import RunDirectory
from styleloom.runs.history import evaluate_run

MAX_MB = 15
COLUMNS, ROWS = 12, 8
TRUNCATIONS = (1.0, 0.7)
SWD_IMAGES = 256
STATS_LINES = 200
"""Of stats.jsonl, at most about so many are kept, and the last."""


EMBEDDED = {"emoji-64": "emoji", "portraits-64": "portraits"}
"""The data set in the package that shows what a model makes: tests measure the model with its last images."""

DIRECTIONS = {
    "portraits-64": ("glasses", "facial-hair", "smile", "long-hair", "dark-hair", "dark-skin", "hat"),
}
"""Attributes of the embedded set of a model, for which directions are put beside its snapshot."""

ORIGINS = Path(__file__).parent / "origins"
"""For each model, where its images come from and whose they are: Markdown that goes into the card."""


@dataclass
class ShipModel:
    """Put a run's best snapshot into the package."""

    run: Annotated[Path, tyro.conf.Positional]
    """The run directory."""
    seen: Path
    """What the pictures show, in words: a Markdown file that goes into the card."""
    held_out: str | None = None
    """Images that no training saw, to measure with: an archive, or the name of an embedded set; by default
    those that the run held out. One half is compared with generated images, the other half with the first."""
    images: int = 2000
    """Of each set, at most."""
    name: str | None = None
    """Of the model: a preset; by default the run's."""
    device: str = "cpu"
    """Where images are generated and measured."""
    trained_on: str = ""
    """The device of the training in words, for the card."""
    directions: bool = True
    """Find the named directions of the model anew, which takes minutes: those of another snapshot have no
    meaning."""


@dataclass(frozen=True)
class Scores:
    """Numbers of generated images, and of real ones in their place.

    Args:
        count: images of each set.
        fakes, reals: "kid" (times 1000), "precision" and "recall".
        swd, swd_reals: sliced Wasserstein distances to the last images of the embedded set.
    """

    count: int
    fakes: dict[str, float]
    reals: dict[str, float]
    swd: float
    swd_reals: float


def ship(options: ShipModel) -> Path:
    """The folder that was written. Raises UserError for a run without snapshots, or with one too large."""
    words = options.seen.read_text().strip()
    run = RunDirectory(options.run)
    experiment, data = run.read_experiment()
    preset = presets.get(options.name or experiment.name)
    if preset.name not in EMBEDDED:
        raise UserError(f"--name: {preset.name} is no model that ships; valid: {', '.join(EMBEDDED)}")
    training, reals = sets_of(options, experiment, str(data["path"]))
    best, scores = measured(options, run, training, reals, EMBEDDED[preset.name])
    folder = FOLDER / preset.name
    folder.mkdir(parents=True, exist_ok=True)
    loaded = snapshot.read_snapshot(best)
    shipped = replace(experiment, name=preset.name, source=preset.source)
    write_sheets(folder, sampling.Sampler.of(loaded, options.device), reals)
    info = {
        "images_seen": loaded.info["images_seen"],
        "data": {key: value for key, value in loaded.info["data"].items() if key != "path"},
        **scores.fakes,
        "kid_of_reals": scores.reals["kid"],
        "swd": scores.swd,
        "embedded": EMBEDDED[preset.name],
    }
    snapshot.write_snapshot(folder / "snapshot.safetensors", loaded.generator, shipped, **info)
    write_directions(folder, options)
    write_text(folder / "experiment.json", json.dumps(to_json(shipped), indent=2) + "\n")
    lines = [line for line in run.stats.read() if line["images_seen"] <= info["images_seen"]]
    kept = lines[:: -max(len(lines) // STATS_LINES, 1)][::-1]  # counted from the last, which is there
    write_text(folder / "stats.jsonl", "".join(json.dumps(line) + "\n" for line in kept))
    hours = f"{lines[-1]['sec_total'] / 3600:.1f} hours, {options.trained_on}"
    write_text(folder / "CARD.md", card(loaded, preset, scores, len(reals), hours, words))
    return folder


# ---- measuring


def sets_of(options: ShipModel, experiment: Experiment, path: str) -> tuple[ImageDataset, ImageDataset]:
    """The images that the run was trained on, and those to measure with."""
    training, reals = open_dataset(path, experiment.resolution), None
    if experiment.data.held_out:
        training, reals = training.split(experiment.data.held_out)
    if options.held_out is not None:
        reals = open_dataset(options.held_out, experiment.resolution)
    if reals is None:
        raise UserError("--held-out: needed, the run held no images out")
    return training, reals


def measured(
    options: ShipModel, run: RunDirectory, training: ImageDataset, reals: ImageDataset, embedded: str
) -> tuple[Path, Scores]:
    """The best snapshot of a run, and its numbers. Raises UserError where it is too large, or where there are
    not four real images."""
    if len(reals) < 4:
        raise UserError(f"--held-out: {reals.name} has {len(reals)} images; valid: 4 or more")
    count = min(options.images, len(reals) // 2)
    networks = FeatureNetworks(torch.device(options.device))
    names = (f"kid{count}_lite0", f"pr{count}_lite0")
    evaluation = Evaluation(parse_all(",".join(names)), networks, progress=say)
    others = reals.split(len(reals) - count)[1]
    compared = RealImages(reals)

    def opened(path: Path) -> Subject:
        loaded = snapshot.read_snapshot(path)
        sampler = sampling.Sampler.of(loaded, options.device, "fp32")
        return Subject(path.name, {"info": loaded.info, "level": None}, sampler, compared)

    document = evaluate_run(evaluation, run, opened, 1)
    best = Path(document["best"]["snapshot"])
    if (size := best.stat().st_size / 1e6) > MAX_MB:
        raise UserError(f"{best}: {size:.1f} MB, at most {MAX_MB} MB go into the package")
    floor = evaluation.run(Subject("reals", {}, DatasetImages(others), compared))
    fakes = min((numbers(d, names) for d in document["snapshots"]), key=lambda found: found["kid"])
    held_out = images(open_dataset(embedded, reals.resolution), last=True)
    fake = to_uint8(
        sampling.Sampler.of(snapshot.read_snapshot(best), options.device).generate(range(SWD_IMAGES))
    )
    return best, Scores(
        count,
        fakes,
        numbers(floor, names),
        sliced_wasserstein(held_out, fake.cpu()).average,
        sliced_wasserstein(held_out, images(training)).average,
    )


def numbers(document: dict[str, Any], names: tuple[str, str]) -> dict[str, float]:
    """Kernel distance times 1000, precision and recall of an evaluation."""
    kid, pr = (document["metrics"][name]["values"] for name in names)
    found = {"kid": 1000 * kid[names[0]]["mean"]}
    return found | {word: pr[f"{names[1]} {word}"]["mean"] for word in ("precision", "recall")}


def images(dataset: ImageDataset, last: bool = False) -> torch.Tensor:
    """The first or last images of a set, `SWD_IMAGES` of them: uint8 [N, C, H, W]."""
    count = min(SWD_IMAGES, len(dataset))
    return torch.from_numpy(dataset.images(np.arange(count) + (len(dataset) - count if last else 0)))


def say(what: str, done: int, total: int) -> None:
    """Progress on stderr."""
    print(f"\r{what}: {done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True)


# ---- the folder


def write_directions(folder: Path, options: ShipModel) -> None:
    """Named directions of the snapshot; those of the one before go in any case."""
    (folder / DIRECTIONS_NAME).unlink(missing_ok=True)
    attributes = DIRECTIONS.get(folder.name, ())
    if options.directions and attributes:
        Directions(
            snapshot=str(folder / "snapshot.safetensors"),
            out=folder / DIRECTIONS_NAME,
            method="classifier",
            data=EMBEDDED[folder.name],
            attributes=",".join(attributes),
            device=options.device,
        ).run()


def write_sheets(folder: Path, sampler: sampling.Sampler, reals: ImageDataset) -> None:
    """Grids of real and of generated images, none chosen."""
    count = COLUMNS * ROWS
    save_png(folder / "reals.png", grid(images(reals)[:count], COLUMNS))
    for psi in TRUNCATIONS:
        save_png(folder / f"generated-psi-{psi:g}.png", grid(sampler.generate(range(count), psi), COLUMNS))


def card(
    model: snapshot.Snapshot, preset: Experiment, scores: Scores, held_out: int, hours: str, words: str
) -> str:
    """The model's card, in Markdown.

    Args:
        model: the snapshot.
        preset: whose name it takes.
        scores: its numbers.
        held_out: number of real images that were there to measure with.
        hours: time of training, and on what.
        words: what the pictures show.
    """
    e, info, count = model.experiment, model.info, scores.count
    data, origin = info["data"], (ORIGINS / f"{preset.name}.md").read_text().strip()
    changes = differences(preset, replace(e, name=preset.name, source=preset.source))
    other = "".join(f", {field} {new}" for field, (_, new) in changes.items())
    return f"""# {preset.name}

{preset.source}: {sum(p.numel() for p in model.generator.parameters()):,} parameters.

| | |
|---|---|
| trained on | {data["count"]:,} images of `{data["name"]}`; {held_out:,} others to measure with |
| images shown | {info["images_seen"]:,} |
| time of training | {hours} |
| seed | {e.seed} |
| KID (EfficientNet-Lite0) × 1000 | {scores.fakes["kid"]:.2f} |
| precision, recall (k = 3) | {scores.fakes["precision"]:.3f}, {scores.fakes["recall"]:.3f} |
| KID of reals | {scores.reals["kid"]:.2f} |
| precision, recall of reals | {scores.reals["precision"]:.3f}, {scores.reals["recall"]:.3f} |
| sliced Wasserstein distance (×1000) | {scores.swd:.1f} |
| the same of training images | {scores.swd_reals:.1f} |
| written | {datetime.date.today().isoformat()} |

KID, precision and recall compare {count:,} generated images, in the rows of reals {count:,} other real ones,
with {count:,} images that the training did not see. The sliced Wasserstein distance is that of
{SWD_IMAGES} generated images to the last {SWD_IMAGES} of the embedded `{EMBEDDED[preset.name]}`.

Command: `styleloom train --preset {preset.name} --data {data["name"]}`{other}; the snapshot of the run
with the smallest KID, put here by `scripts/ship_model.py`. Statistics of the run are in `stats.jsonl`, its
experiment in `experiment.json`.

## The images

{origin}

## What the pictures show

{words}
"""


if __name__ == "__main__":
    try:
        print(ship(tyro.cli(ShipModel)))
    except UserError as error:
        sys.exit(f"error: {error}")
