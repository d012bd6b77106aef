"""What a step at a low level of a growing run costs, beside the same step of networks built at that size.

    python benchmarks/growing.py --resolution 256 --level 8

Whole steps of the trainer: networks, optimizers, EMA of the generator, loader, on noise images of the run's
full resolution and of the level's. The images of a level stay in memory once they are made; steps before the
measurement make all of them. Both trainers take turns, each a whole period of the lazy
regularizers, so that a slow minute of the machine hits them alike. On the CPU the time that the process
itself was computing, on all its threads, is compared as well: the better measure on a machine that others
use, too.
"""

from __future__ import annotations

import io
import math
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import tyro
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from publishing import Published, publish
from styleloom import presets
from styleloom.config import ByResolution, Experiment, apply_overrides
from styleloom.config.experiment import Precision
from styleloom.data import BuildOptions, ConversionOptions, ImageDataset, build_dataset, open_dataset
from styleloom.data.sources import open_source
from styleloom.environment import describe_machine
from styleloom.errors import UserError
from styleloom.training.trainer import Trainer

BAR = 1.2
"""What is aimed at: a step at a level costs at most so many times that of networks built at its size."""


@dataclass
class GrowingTime(Published):
    """Time steps of growing runs at a low level."""

    presets: tuple[str, ...] = ("stylegan-f", "progan", "stylegan2-d")
    """Growing ones."""
    resolution: int = 256
    """Side of the images of the growing run, px."""
    level: int = 8
    """Side of the active level, and of the images of the other run, px."""
    batch: int = 32
    """Images per step of both."""
    images: int = 64
    """Images of each data set."""
    rounds: int = 5
    """Measurements of each run."""
    steps: int = 4
    """Steps of a measurement at least; a whole period of the lazy regularizers in any case."""
    precision: Precision = "auto"
    """Of the convolutions."""
    threads: int | None = None
    """CPU threads; by default torch's own."""
    overrides: list[str] = field(default_factory=list)
    """FIELD=VALUE of the experiments."""

    def run(self) -> dict[str, Any]:
        """Measure; the document that is printed."""
        if self.threads:
            torch.set_num_threads(self.threads)
        with tempfile.TemporaryDirectory() as folder:
            sides = set(self._sides.values())
            paths = {side: noise_archive(Path(folder), side, self.images) for side in sides}
            cases = [self._case(name, paths) for name in self.presets]
        return {
            "benchmark": "growing",
            "resolution": self.resolution,
            "level": self.level,
            "batch": self.batch,
            "rounds": self.rounds,
            "cases": cases,
        }

    @property
    def _sides(self) -> dict[str, int]:
        return {"growing": self.resolution, "built": self.level}

    def _case(self, name: str, paths: dict[int, Path]) -> dict[str, Any]:
        runs = {kind: self._experiment(name, side) for kind, side in self._sides.items()}
        period = steps_per_period(runs["built"])
        steps = period * math.ceil(self.steps / period)
        sets = {kind: open_dataset(paths[side]) for kind, side in self._sides.items()}
        times: dict[str, list[Times]] = {kind: [] for kind in runs}
        with (
            opened(runs["growing"], sets["growing"], self.device) as growing,
            opened(runs["built"], sets["built"], self.device) as built,
        ):
            trainers = {"growing": growing, "built": built}
            for trainer in trainers.values():  # every image once, and one whole period
                take(trainer, max(math.ceil(self.images / self.batch), steps))
            for index in range(self.rounds):
                for kind in list(trainers)[:: 1 if index % 2 else -1]:
                    times[kind].append(take(trainers[kind], steps))
            device, precision = growing.device, growing.experiment.precision
        clocks = ("wall", "cpu") if device.type == "cpu" else ("wall",)
        case: dict[str, Any] = {
            "preset": name,
            "precision": precision,
            "steps": steps,
            "machine": describe_machine(device),
        }
        for clock in clocks:
            seconds = {kind: [getattr(t, clock) / steps for t in found] for kind, found in times.items()}
            ratios = [a / b for a, b in zip(seconds["growing"], seconds["built"], strict=True)]
            case[clock] = {
                "seconds_per_step": {kind: statistics.median(values) for kind, values in seconds.items()},
                "ratio": statistics.median(ratios),
                "ratio_spread": [min(ratios), max(ratios)],
            }
        return case

    def _experiment(self, name: str, side: int) -> Experiment:
        """The preset for images of `side` px, at `level` from its first image on."""
        experiment = presets.get(name).with_data(resolution=side)
        if experiment.growth.mode != "progressive":
            raise UserError(f"presets: {name} does not grow")
        experiment = replace(
            experiment,
            batch=ByResolution(self.batch),
            growth=replace(experiment.growth, initial_resolution=self.level),
            precision=self.precision,
        )
        return apply_overrides(experiment, self.overrides)


def steps_per_period(experiment: Experiment) -> int:
    """After so many steps every lazy regularizer has run equally often."""
    path, penalty = experiment.g_regularizer, experiment.d_regularizer
    return math.lcm(path.every if path.weight > 0 else 1, penalty.every if penalty.active else 1)


class Times(NamedTuple):
    """Seconds that passed, and seconds of processor time of all threads of the process."""

    wall: float
    cpu: float


def take(trainer: Trainer, steps: int) -> Times:
    """The time of so many steps."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(steps):
        trainer.step()
    if trainer.device.type == "cuda":
        torch.cuda.synchronize(trainer.device)
    return Times(time.perf_counter() - wall, time.process_time() - cpu)


@contextmanager
def opened(experiment: Experiment, dataset: ImageDataset, device: str) -> Iterator[Trainer]:
    """A trainer that is closed in the end."""
    trainer = Trainer(experiment, dataset, device)
    try:
        yield trainer
    finally:
        trainer.close()


def noise_archive(folder: Path, side: int, number: int) -> Path:
    """An archive of so many RGB images of noise, each of `side` x `side` px."""
    source, dest = folder / f"noise-{side}-images.zip", folder / f"noise-{side}.zip"
    random = np.random.RandomState(side)
    with zipfile.ZipFile(source, "w") as archive:
        for index in range(number):
            buffer = io.BytesIO()
            Image.fromarray(random.randint(0, 256, (side, side, 3), np.uint8)).save(buffer, "PNG")
            archive.writestr(f"{index:06d}.png", buffer.getvalue())
    build_dataset(open_source(source), dest, BuildOptions(ConversionOptions(side)))
    return dest


def show(document: dict[str, Any]) -> None:
    """The document as a table."""
    print(
        f"level of {document['level']} px in a run of {document['resolution']} px, beside networks built at "
        f"{document['level']} px; batch {document['batch']}; {document['cases'][0]['machine']}"
    )
    for case in document["cases"]:
        for clock in ("wall", "cpu"):
            if clock not in case:
                continue
            found = case[clock]
            low, high = found["ratio_spread"]
            seconds = found["seconds_per_step"]
            print(
                f"{case['preset']:12s} {case['precision']:5s} {clock:5s}{1000 * seconds['growing']:8.1f} ms, "
                f"built {1000 * seconds['built']:8.1f} ms: {found['ratio']:.3f}x (rounds {low:.3f} to "
                f"{high:.3f}), {'within' if found['ratio'] <= BAR else 'above'} {BAR}x"
            )


if __name__ == "__main__":
    options = tyro.cli(GrowingTime)
    publish("growing", options.run(), options.save, options.json, show)
