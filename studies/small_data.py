"""Does augmentation help where there are few images? Writes results/small-data.md.

    python studies/small_data.py
    python studies/small_data.py --resolution 32 --kimg 40 --points 8 --out results/small-data-32.md

The demo's narrow StyleGAN2 learns 400 of the embedded portraits, with adaptive augmentation and without,
three seeds each. All trainings go from point to point together: whenever the study is stopped, the page
compares them after the same number of images, and the same command goes on from there. The distance is KID
(lite0) to portraits that no training saw.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))

from family_pictures import sheet
from pages import hand_written, run_study
from small_data_page import report
from styleloom import presets, sampling
from styleloom.atomic import write_text
from styleloom.config import Augmentation, ByResolution, DataOptions, Experiment, RunOptions, to_json
from styleloom.data.dataset import ImageDataset, open_dataset
from styleloom.data.reals import to_uint8
from styleloom.environment import describe_machine
from styleloom.errors import UserError
from styleloom.images import save_png
from styleloom.metrics.evaluation.cache import StatisticsCache
from styleloom.metrics.evaluation.collect import FeatureNetworks
from styleloom.metrics.evaluation.definitions import parse_all
from styleloom.metrics.evaluation.image_sets import DatasetImages
from styleloom.metrics.evaluation.subject import RealImages, Subject
from styleloom.metrics.evaluation.suite import Evaluation, primary_value
from styleloom.runs.begin import resume, start
from styleloom.runs.directory import RunDirectory
from styleloom.runs.experiment_file import NAME as RUN_MARK
from styleloom.runs.fit import StopRequest, fit
from styleloom.sampling import Sampler

DATA = "portraits"
ARMS = {"without": "none", "with": "ada"}
"""What is compared: the mode of augmentation of each."""


@dataclass
class SmallDataStudy:
    """Train on few images, with augmentation and without, and compare."""

    images: int = 400
    """Of the training, the first of the embedded portraits."""
    resolution: int = 64
    """Side of the images, px."""
    kimg: float = 400.0
    """Thousands of images that each training is shown."""
    points: int = 20
    """Measurements of each training, the last one at its end."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One training each, with augmentation and without."""
    adjust_kimg: float = 100.0
    """Thousands of images in which p may rise from 0 to 1. The paper's 500 are for trainings of 25,000."""
    measured: int = 1000
    """Generated and real images of each distance."""
    threads: int = 1
    """CPU threads."""
    out: Path = Path("results/small-data.md")
    """The page; pictures and numbers go to a folder of its name beside it."""
    runs: Path = Path("runs/small-data")
    """Where the trainings are."""

    @property
    def folder(self) -> Path:
        """Pictures and numbers."""
        return self.out.with_suffix("")

    @property
    def kimgs(self) -> list[float]:
        """Where measurements are."""
        return [self.kimg * (i + 1) / self.points for i in range(self.points)]

    def experiment(self, arm: str, seed: int, kimg: float) -> Experiment:
        """The settings of a training that ends at `kimg`: the demo's."""
        held_out = len(open_dataset(DATA, self.resolution)) - self.images
        mode: Any = ARMS[arm]
        return replace(
            presets.get("demo").with_data(resolution=self.resolution),
            source="",
            augment=Augmentation(mode, kimg=self.adjust_kimg),
            data=DataOptions(mirror="none", held_out=held_out),
            total_kimg=kimg,
            seed=seed,
            run=RunOptions(
                tick_kimg=ByResolution(self.kimg / self.points),
                sample_every=self.points,
                snapshot_every=1,
                state_every=1,
                keep_snapshots=1,
                keep_states=1,
                swd_images=0,
            ),
        )


def trained(study: SmallDataStudy, arm: str, seed: int, kimg: float) -> RunDirectory | None:
    """A training taken to `kimg`; None where a signal stopped it."""
    path, settings = study.runs / f"{arm}-{seed}", study.experiment(arm, seed, kimg)
    dataset = open_dataset(DATA, study.resolution)
    if (path / RUN_MARK).exists():
        recorded, _ = RunDirectory(path).read_experiment()
        fitting = replace(settings, total_kimg=recorded.total_kimg, precision=recorded.precision)
        if replace(recorded, run=settings.run) != fitting:
            raise UserError(f"{path}: has other settings than the study has now; name another --runs")
        longer = replace(settings, precision=recorded.precision)
        changed = ["total_kimg"] if longer.total_kimg != recorded.total_kimg else []
        trainer, run = resume(path, dataset, longer, changed)
    else:
        trainer, run = start(path, settings, dataset)
    with contextlib.closing(trainer):
        return run if fit(trainer, run, stop=StopRequest()) else None


def kid(study: SmallDataStudy, measured: Sampler | DatasetImages, held_out: ImageDataset) -> float:
    """KID x 1000 of images to real ones that no training saw."""
    name = f"kid{study.measured}_lite0"
    kept = StatisticsCache(study.runs / "statistics")
    evaluation = Evaluation(parse_all(name), FeatureNetworks(torch.device("cpu")), cache=kept)
    document = evaluation.run(Subject("", {}, measured, RealImages(held_out)))
    return 1000 * primary_value(document, name)


def measure(study: SmallDataStudy, run: RunDirectory, arm: str, seed: int, kimg: float) -> dict[str, Any]:
    """What is recorded of a training at a point; its picture is written."""
    line, sampler = run.stats.read()[-1], sampling.load(run.snapshots()[-1], "cpu")
    save_png(study.folder / f"{arm}-{seed}.png", sheet(to_uint8(sampler.generate(range(64)))))
    return {
        "arm": arm,
        "seed": seed,
        "kimg": kimg,
        "kid": kid(study, sampler, test_images(study)),
        "p": line.get("augment_p", 0.0),
        "sign_real": line["sign_real"],
        "date": datetime.date.today().isoformat(),
        "machine": describe_machine(torch.device("cpu")),
        "experiment": to_json(replace(study.experiment(arm, seed, kimg), total_kimg=study.kimg)),
    }


def test_images(study: SmallDataStudy) -> ImageDataset:
    """The last `measured` portraits, which no training sees."""
    return open_dataset(DATA, study.resolution).split(study.measured)[1]


def recorded(study: SmallDataStudy) -> list[dict[str, Any]]:
    """The measurements so far, of these settings."""
    path = study.folder / "points.json"
    found = json.loads(path.read_text()) if path.exists() else []
    wanted = {
        (arm, seed): to_json(study.experiment(arm, seed, study.kimg)) for arm in ARMS for seed in study.seeds
    }
    return [row for row in found if row["experiment"] == wanted.get((row["arm"], row["seed"]))]


def floor(study: SmallDataStudy) -> float:
    """The distance of other unseen portraits, which a perfect generator would have."""
    rest, test = open_dataset(DATA, study.resolution).split(study.measured)
    return kid(study, DatasetImages(rest.split(study.measured)[1]), test)


def missing(study: SmallDataStudy, rows: list[dict[str, Any]]) -> Iterator[tuple[float, str, int]]:
    """What is still to be done: point after point, at each all trainings."""
    done = {(row["kimg"], row["arm"], row["seed"]) for row in rows}
    for kimg in study.kimgs:
        for seed in study.seeds:
            for arm in ARMS:
                if (kimg, arm, seed) not in done:
                    yield kimg, arm, seed


def write_page(study: SmallDataStudy, rows: list[dict[str, Any]]) -> str:
    """Write the page of what there is."""
    reals = open_dataset(DATA, study.resolution).images(np.arange(64))
    save_png(study.folder / "reals.png", sheet(torch.from_numpy(reals)))
    page = report(study, rows, floor(study), hand_written(study.folder))
    write_text(study.out, page)
    return page


def main(study: SmallDataStudy) -> int:
    """Take all trainings from point to point; 1 when a signal ended one before."""
    torch.set_num_threads(study.threads)
    study.folder.mkdir(parents=True, exist_ok=True)
    rows = recorded(study)
    for kimg, arm, seed in list(missing(study, rows)):
        run = trained(study, arm, seed, kimg)
        if run is None:
            return 1
        rows.append(measure(study, run, arm, seed, kimg))
        write_text(study.folder / "points.json", json.dumps(rows, indent=1) + "\n")
        print(f"{kimg:g} kimg, {arm}, seed {seed}: KID {rows[-1]['kid']:.1f}", file=sys.stderr, flush=True)
        if (arm, seed) == (list(ARMS)[-1], study.seeds[-1]):
            write_page(study, rows)
    print(write_page(study, rows))
    return 0


if __name__ == "__main__":
    run_study(main, SmallDataStudy)
