"""Do all families learn, and how well? Writes results/family-32.md, with a picture of each beside it.

    python studies/family.py
    python studies/family.py --only progan

One model of each kind at 32 x 32 px on the embedded portraits: its own paper's networks (narrow), losses and
schedule in miniature, and the same number of images for all. Each training is a run directory, and a training
that was stopped goes on when the command is given again, bit for bit. The page has what is measured, of
generated images and of real ones, of all models that have finished with these settings.

`family_settings` has the models, `family_measures` what is measured, `family_pictures` the sheets and
`family_page` the text of the page.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))

from family_measures import Values, all_of, of_generator, of_reals
from family_page import report
from family_pictures import TILES, sheet, side_by_side
from family_settings import DATA, MODELS, POINT_KIMG, FamilyStudy
from pages import hand_written, run_study
from styleloom import sampling
from styleloom.atomic import write_text
from styleloom.cli.progress import TrainingProgress
from styleloom.config import Experiment, from_json, to_json
from styleloom.config.checks import one_of
from styleloom.data.dataset import ImageDataset, open_dataset
from styleloom.data.reals import to_uint8
from styleloom.environment import describe_machine
from styleloom.errors import UserError
from styleloom.images import save_png
from styleloom.metrics.probes.full_size import measured_at
from styleloom.runs.begin import resume, start
from styleloom.runs.directory import RunDirectory
from styleloom.runs.experiment_file import NAME as RUN_MARK
from styleloom.runs.fit import StopRequest, fit
from styleloom.training.trainer import Trainer


def begin(study: FamilyStudy, name: str) -> tuple[Trainer, RunDirectory]:
    """A new training of a model, or the one that was stopped. Raises UserError for one of other settings."""
    path, settings = study.runs / name, study.experiment(name)
    dataset = data_set(settings)
    if study.fresh and path.exists():
        shutil.rmtree(path)
    if not (path / RUN_MARK).exists():
        return start(path, settings, dataset)
    recorded, _ = RunDirectory(path).read_experiment()
    longer = replace(recorded, total_kimg=study.kimg, run=settings.run)
    if replace(longer, precision=settings.precision) != settings:
        raise UserError(f"{path}: has other settings than {name} has now; --fresh trains it anew")
    return resume(path, dataset, longer, ["total_kimg"] if recorded.total_kimg != study.kimg else [])


def train(study: FamilyStudy, name: str) -> bool:
    """Train one model to the end; False when a signal stopped it."""
    torch.set_num_threads(study.threads)
    print(f"{name}: {study.kimg:g} kimg in {study.runs / name}", file=sys.stderr, flush=True)
    trainer, run = begin(study, name)
    with contextlib.closing(trainer), TrainingProgress(study.kimg * 1000, math.inf) as progress:
        return fit(trainer, run, progress, stop=StopRequest())


def measure(study: FamilyStudy, name: str) -> None:
    """Measure a trained model; write its outcome and picture."""
    run, settings = RunDirectory(study.runs / name), study.experiment(name)
    dataset, lines = data_set(settings), run.stats.read()
    sampler = measured_at(sampling.load(run.snapshots()[-1], "cpu"), "full")
    save_png(study.folder / f"{name}.png", sheet(to_uint8(sampler.generate(range(TILES)))))
    outcome = {
        "experiment": to_json(settings),
        "data": dataset.fingerprint,
        "date": datetime.date.today().isoformat(),
        "machine": describe_machine(torch.device("cpu")),
        "precision": run.read_experiment()[0].precision,
        "images_seen": lines[-1]["images_seen"],
        "skipped_updates": lines[-1]["skipped_g"] + lines[-1]["skipped_d"],
        "swd": [
            (line["kimg"], line["swd"]) for line in lines if line.get("swd") and _is_point(line, settings)
        ],
        "values": of_generator(sampler, dataset.split(settings.data.held_out)[1], study.repeats),
    }
    write_text(study.folder / f"{name}.json", json.dumps(outcome, indent=1) + "\n")


def _is_point(line: dict[str, Any], settings: Experiment) -> bool:
    """Whether a line of statistics is of a point of the curve: a training that was stopped measured more."""
    return line["images_seen"] % (POINT_KIMG * 1000) == 0 or line["kimg"] >= settings.total_kimg


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


def floor_of(study: FamilyStudy, dataset: ImageDataset) -> Values:
    """What real images get, measured once."""
    path = study.folder / "reals.json"
    if path.exists():
        recorded = json.loads(path.read_text())
        if recorded["data"] == dataset.fingerprint:
            return recorded["values"]
    values = of_reals(*dataset.split(study.experiment(MODELS[0]).data.held_out))
    write_text(path, json.dumps({"data": dataset.fingerprint, "values": values}, indent=1) + "\n")
    return values


def data_set(settings: Experiment) -> ImageDataset:
    """The images of the study at the resolution of `settings`."""
    return open_dataset(DATA, settings.resolution)


def write_page(study: FamilyStudy) -> str:
    """Write the page and its pictures from the models that have finished with these settings."""
    outcomes = {name: found for name in MODELS if (found := outcome_of(study, name))}
    settings = study.experiment(next(iter(outcomes)))
    dataset = data_set(settings)
    save_png(study.folder / "reals.png", sheet(all_of(dataset.split(settings.data.held_out)[1])))
    sheets = {"reals": study.folder / "reals.png"} | {n: study.folder / f"{n}.png" for n in outcomes}
    picture = side_by_side(sheets, settings.resolution)
    save_png(study.folder / "all.png", np.asarray(picture).transpose(2, 0, 1))
    page = report(study, outcomes, floor_of(study, dataset), hand_written(study.folder))
    write_text(study.out, page)
    return page


def main(study: FamilyStudy) -> int:
    """Train and measure what is missing, write the page; 1 when a signal ended a training before."""
    for name in study.only:
        one_of("only", name, MODELS)
    for name in study.only:
        if study.fresh or outcome_of(study, name) is None:
            if not train(study, name):
                return 1
            measure(study, name)
    print(write_page(study))
    return 0


if __name__ == "__main__":
    run_study(main, FamilyStudy)
