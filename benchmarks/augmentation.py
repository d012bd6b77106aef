"""What augmentation adds to a step of training.

    python benchmarks/augmentation.py --threads 2

Whole steps of the trainer on the embedded images, without augmentation and at some probabilities; all take
turns, step by step, so that a slow minute of the machine hits them alike. On a CPU the time that the process
itself was computing is compared, too: the better measure on a machine that others use.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro

sys.path.insert(0, str(Path(__file__).parent))

from publishing import Published, publish
from styleloom import presets
from styleloom.allocator import keep_large_blocks
from styleloom.config import Augmentation, ByResolution, Experiment
from styleloom.data.dataset import open_dataset
from styleloom.environment import describe_machine
from styleloom.training.trainer import Trainer

BAR = 1.15
"""What is aimed at: a step with augmentation costs at most so many times one without."""


@dataclass
class AugmentationTime(Published):
    """Time steps with augmentation and without."""

    preset: str = "portraits-64"
    """Whose networks."""
    data: str = "portraits"
    """Whose images."""
    batch: int = 16
    """Images per step."""
    set: str = "bgc"
    """Transformations."""
    p: tuple[float, ...] = (0.2, 0.6)
    """Probabilities."""
    rounds: int = 3
    """Periods of each variant."""
    threads: int | None = None
    """CPU threads; by default torch's own."""

    def run(self) -> dict[str, Any]:
        """Measure; the document that is printed."""
        if self.threads:
            torch.set_num_threads(self.threads)
        keep_large_blocks()
        experiment = replace(presets.get(self.preset), batch=ByResolution(self.batch))
        trainers = {p: self._trainer(experiment, p) for p in (0.0, *self.p)}
        period = max(experiment.d_regularizer.every, experiment.g_regularizer.every)
        wall: dict[float, list[float]] = {p: [] for p in trainers}
        cpu: dict[float, list[float]] = {p: [] for p in trainers}
        for trainer in trainers.values():
            trainer.step()  # warms up; and the regularizers are due again at the end of a period
        for _ in range(self.rounds):
            for _ in range(period):
                for p, trainer in trainers.items():
                    began, began_cpu = time.perf_counter(), time.process_time()
                    trainer.step()
                    wall[p].append(time.perf_counter() - began)
                    cpu[p].append(time.process_time() - began_cpu)
        document: dict[str, Any] = {
            "benchmark": "augmentation",
            "preset": self.preset,
            "set": self.set,
            "resolution": experiment.resolution,
            "batch": self.batch,
            "precision": trainers[0.0].experiment.precision,
            "machine": describe_machine(trainers[0.0].device),
            "rounds": self.rounds,
            "sec_per_step": {f"{p:g}": statistics.mean(wall[p]) for p in trainers},
            "cpu_sec_per_step": {f"{p:g}": statistics.mean(cpu[p]) for p in trainers},
            "ratio": {f"{p:g}": _ratio(wall[p], wall[0.0]) for p in self.p},
            "cpu_ratio": {f"{p:g}": _ratio(cpu[p], cpu[0.0]) for p in self.p},
            "cpu_ratio_least": {f"{p:g}": _least(cpu[p], period) / _least(cpu[0.0], period) for p in self.p},
        }
        for trainer in trainers.values():
            trainer.close()
        return document

    def _trainer(self, experiment: Experiment, p: float) -> Trainer:
        names: Any = tuple(self.set.split(","))
        augment = Augmentation("fixed", p, names) if p else Augmentation()
        dataset = open_dataset(self.data, experiment.resolution)
        return Trainer(replace(experiment, augment=augment), dataset, self.device)


def _ratio(times: list[float], without: list[float]) -> float:
    """The median over steps; the two of a pair followed each other and ran the same phases."""
    return statistics.median(a / b for a, b in zip(times, without, strict=True))


def _least(times: list[float], period: int) -> float:
    """Seconds of a period in which each step took the least that it took in any round."""
    return sum(min(times[k::period]) for k in range(period))


def show(document: dict[str, Any]) -> None:
    """The document as a table."""
    print(
        f"{document['preset']} {document['resolution']} px, batch {document['batch']}, {document['set']}, "
        f"{document['precision']}; {document['machine']}"
    )
    for p, seconds in document["sec_per_step"].items():
        cpu = document["cpu_sec_per_step"][p]
        times = "" if p == "0" else f", {document['ratio'][p]:.3f}x"
        times_cpu = "" if p == "0" else f", {document['cpu_ratio'][p]:.3f}x"
        print(f"p {p:4s} {seconds:8.3f} s a step{times}; {cpu:8.3f} s of the processor{times_cpu}")
    print(f"aimed at: {BAR}x")


def main() -> None:
    """The command line."""
    options = tyro.cli(AugmentationTime)
    publish("augmentation", options.run(), options.save, options.json, show)


if __name__ == "__main__":
    main()
