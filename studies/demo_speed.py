"""How many images a setting of the demo's study gets through: images/s of all settings, taking turns.

Rates are kept as ratios to that of the settings of before, measured in the same rounds, so that a busy minute
of the machine is the same for both, and a setting that is added later can be compared with the others.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from demo_candidates import BEFORE, changes, experiment
from styleloom import presets
from styleloom.allocator import keep_large_blocks
from styleloom.atomic import write_text
from styleloom.config import ByResolution, Experiment
from styleloom.data.dataset import ImageDataset
from styleloom.runs.fit import fit, start
from styleloom.training.trainer import Trainer


class Speeds:
    """What was measured of all settings so far, kept in a file: of each the ratio (median of the rounds), the
    smallest and largest ratio of a round, and what the setting changed then.

    Args:
        path: of the file.
        threads: of the machine that the demo runs on.
        rounds: turns of each setting.
        given: images/s of the settings of before, where that is known; by default it is measured. It is not
            kept, and leaves nothing for pictures and states.
    """

    def __init__(self, path: Path, threads: int, rounds: int, given: float | None = None) -> None:
        self.path, self.threads, self.rounds = path, threads, rounds
        self.given = given
        self.known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"ratios": {}}

    def images(self, name: str, minutes: float) -> int:
        """Images that a setting gets through in the demo's minutes, less what pictures and states take."""
        overhead_sec = self.known["overhead_sec"] if self.given is None else 0.0
        return int(self.rate(name) * max(minutes * 60 - overhead_sec, 1))

    def rate(self, name: str) -> float:
        """Images/s of a setting."""
        before = self.known["images_per_sec"] if self.given is None else self.given
        return float(before * self.known["ratios"][name]["ratio"])

    def missing(self, names: tuple[str, ...]) -> list[str]:
        """Those that were not measured, or with other changes."""
        ratios = self.known["ratios"]
        return [n for n in names if n not in ratios or ratios[n]["changes"] != as_json(changes(n))]

    def measure(self, names: tuple[str, ...], dataset: ImageDataset, minutes: float) -> None:
        """Measure what is missing, and write it down."""
        missing = self.missing(names)
        unknown = self.given is None and "images_per_sec" not in self.known
        if not missing and not unknown:
            return
        warn_if_busy()
        keep_large_blocks()
        threads = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            rates = taking_turns([BEFORE, *(n for n in missing if n != BEFORE)], dataset, self.rounds)
            if unknown:
                self.known["images_per_sec"] = statistics.median(rates[BEFORE])
                expected = self.known["images_per_sec"] * minutes * 60
                self.known["overhead_sec"] = overhead(dataset, expected)
        finally:
            torch.set_num_threads(threads)
        for name in missing:
            ratios = [own / before for own, before in zip(rates[name], rates[BEFORE], strict=True)]
            self.known["ratios"][name] = {
                "ratio": statistics.median(ratios),
                "spread": [min(ratios), max(ratios)],
                "changes": as_json(changes(name)),
            }
            print(f"{name}: {self.rate(name):.1f} images/s", file=sys.stderr, flush=True)
        write_text(self.path, json.dumps(self.known, indent=1) + "\n")


def as_json(value: Any) -> Any:
    """As it comes back from a file."""
    return json.loads(json.dumps(value))


def warn_if_busy() -> None:
    """Say so where others use the machine: rates then are too low for all, though their ratios hold."""
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > 1:
        print(f"the machine is not quiet: its load is {os.getloadavg()[0]:.1f}", file=sys.stderr)


def taking_turns(names: list[str], dataset: ImageDataset, rounds: int) -> dict[str, list[float]]:
    """Images/s of each setting in each round. A turn has whole periods of all lazy intervals."""
    with contextlib.ExitStack() as stack:
        trainers = {name: Trainer(experiment(name), dataset) for name in names}
        for trainer in trainers.values():
            stack.enter_context(contextlib.closing(trainer))
        rates: dict[str, list[float]] = {name: [] for name in names}
        for index in range(rounds + 1):
            for name, trainer in trainers.items():
                began, seen = time.perf_counter(), trainer.images_seen
                for _ in range(period(trainer.experiment)):
                    trainer.step()
                if index:  # the first round warms up
                    rates[name].append((trainer.images_seen - seen) / (time.perf_counter() - began))
    return rates


def period(made: Experiment) -> int:
    """Steps after which every lazy regularizer has had its turns."""
    return math.lcm(made.g_regularizer.every, made.d_regularizer.every)


def overhead(dataset: ImageDataset, images: float, share: float = 0.01) -> float:
    """Seconds that a demo of `images` images spends on pictures, distances, snapshots and states.

    A run of a `share` of the images, with a tick after a `share` of theirs, does all of it as often.
    """
    options = presets.get("demo").run
    short = replace(options, tick_kimg=ByResolution(max(options.tick_kimg.base * share, 0.001)))
    made = replace(experiment(BEFORE, kimg=images * share / 1000), run=short)
    with tempfile.TemporaryDirectory() as folder:
        trainer, run = start(Path(folder) / "run", made, dataset)
        began = time.perf_counter()
        with contextlib.closing(trainer):
            fit(trainer, run)
        seconds = time.perf_counter() - began
        lines = run.stats.read()
    counts = [line["images_seen"] for line in lines]
    new = [after - before for before, after in zip([0, *counts[:-1]], counts, strict=True)]
    return seconds - sum(n / line["images_per_sec"] for n, line in zip(new, lines, strict=True))
