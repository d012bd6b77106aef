"""How fast measured devices train, and how fast this one does.

A device's speed is told by what it was measured to do, images/s of whole steps; for other networks it is
converted by floating-point operations, between the measurements next to them.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from styleloom import presets
from styleloom.config import Experiment, Growth, apply_overrides
from styleloom.config.experiment import Precision
from styleloom.config.schedules import ByResolution
from styleloom.environment import hardware
from styleloom.errors import UserError, nearest, quoted
from styleloom.planning.noise_images import noise_images
from styleloom.runs.plan import flops_per_image
from styleloom.training.trainer import Trainer

TABLE = Path(__file__).parent / "devices.json"
"""By name: kind, hardware, date, and measurements [preset, resolution, batch, precision, images/s]."""

LEAST_SIDE = 16
"""Smallest images, px, of a short measurement."""


@dataclass(frozen=True)
class Rate:
    """Floating-point operations per second at so many operations per image."""

    flops: float
    per_sec: float


@dataclass(frozen=True)
class Device:
    """A measured device.

    Args:
        name: for --device.
        kind: "cpu" or "cuda".
        hardware: what it is.
        source: how its speed is known.
        rates: by precision, in the order of operations per image.
    """

    name: str
    kind: str
    hardware: str
    source: str
    rates: dict[Precision, tuple[Rate, ...]]

    def per_sec(self, flops: float, precision: Precision) -> float:
        """Floating-point operations per second of a step of so many per image.

        Raises UserError where this precision was not measured.
        """
        if precision not in self.rates:
            raise UserError(
                f"--precision {precision}: not measured on {self.name}; valid: {', '.join(self.rates)}"
            )
        return between(self.rates[precision], flops)


def between(rates: Sequence[Rate], flops: float) -> float:
    """The rate at `flops`, on straight lines between logarithms; beyond the ends, that of the end."""
    if flops <= rates[0].flops:
        return rates[0].per_sec
    for low, high in itertools.pairwise(rates):
        if flops <= high.flops:
            share = math.log(flops / low.flops) / math.log(high.flops / low.flops)
            return low.per_sec * (high.per_sec / low.per_sec) ** share
    return rates[-1].per_sec


def top_flops(experiment: Experiment) -> float:
    """Floating-point operations per image at full resolution."""
    cost = flops_per_image(experiment)
    return cost[max(cost)][0]


@functools.cache
def _flops(preset: str, resolution: int, batch: int) -> float:
    """Of a measured training, per image at full resolution."""
    words = [f"resolution={resolution}", f"batch={batch}"]
    experiment = replace(apply_overrides(presets.get(preset), words), growth=Growth())
    return top_flops(experiment)


def names() -> list[str]:
    """Names of the measured devices."""
    return list(json.loads(TABLE.read_text()))


def measured_device(name: str) -> Device:
    """A device of the table. Raises UserError for a name that it does not have."""
    table = json.loads(TABLE.read_text())
    if name not in table:
        valid = ", ".join(["auto", "cpu", "cuda", *table])
        raise UserError(f"--device: {quoted(name)} is not known, {nearest(name, table)}valid: {valid}")
    row = table[name]
    rates: dict[Precision, list[Rate]] = {}
    for preset, resolution, batch, precision, images_per_sec in row["measured"]:
        flops = _flops(preset, resolution, batch)
        rates.setdefault(precision, []).append(Rate(flops, flops * images_per_sec))
    ordered: dict[Precision, tuple[Rate, ...]] = {
        key: tuple(sorted(found, key=lambda rate: rate.flops)) for key, found in rates.items()
    }
    return Device(name, row["kind"], row["hardware"], f"measured on {row['date']}", ordered)


def this_machine(device: torch.device) -> Device:
    """This machine, with its speed where the table has one of the same hardware and threads, else without."""
    own = hardware(device)
    if device.type == "cpu":
        own = f"{own}, {torch.get_num_threads()} threads"
    for name, row in json.loads(TABLE.read_text()).items():
        if row["hardware"] == own:
            return measured_device(name)
    return Device("this machine", device.type, own, "not measured", {})


def measure(experiment: Experiment, device: torch.device, budget_sec: float) -> Device:
    """This machine's speed, by steps of the experiment on noise that take about `budget_sec`.

    The batch is the smallest that its groups allow; where a step would still take too long, images have half
    the side, as often as it takes.
    """
    tried = _small(experiment)
    guess = top_flops(tried) * tried.batch.base / _quick_rate(device)
    while guess * 6 > budget_sec and tried.resolution > LEAST_SIDE:
        tried = _small(apply_overrides(tried, [f"resolution={tried.resolution // 2}"]))
        guess = top_flops(tried) * tried.batch.base / _quick_rate(device)
    batch = int(tried.batch.base)
    trainer = Trainer(tried, noise_images(tried, 2 * batch), str(device))
    trainer.step()
    trainer.clock.reset()
    began, steps = time.monotonic(), 0
    while not steps or time.monotonic() - began < budget_sec / 2:
        trainer.step_count = 0  # all phases
        trainer.step()
        steps += 1
    seconds = trainer.clock.read()
    trainer.close()
    per_image = _seconds(tried, seconds) / batch
    rate = Rate(top_flops(tried), top_flops(tried) / per_image)
    source = f"measured now: {steps} steps of {batch} images of {tried.resolution} px"
    return Device("this machine", device.type, hardware(device), source, {experiment.precision: (rate,)})


def _small(experiment: Experiment) -> Experiment:
    """The experiment at full resolution from the start, with the smallest batch that its groups allow."""
    group = max(experiment.discriminator.minibatch_std.group_size, 1)
    batch = min(int(experiment.batch(experiment.resolution)), max(group, 4))
    growth = replace(experiment.growth, mode="none")
    return replace(
        experiment,
        growth=growth,
        batch=ByResolution(batch),
        micro_batch=0,
        data=replace(experiment.data, held_out=0),
    )


def _seconds(experiment: Experiment, seconds: dict[str, float]) -> float:
    """Of a mean step, from those of its phases."""
    every = {"g_path_length": experiment.g_regularizer.every, "d_penalty": experiment.d_regularizer.every}
    phases = {name.removeprefix("sec_"): value for name, value in seconds.items() if name.startswith("sec_")}
    return sum(value / every.get(name, 1) for name, value in phases.items())


def _quick_rate(device: torch.device) -> float:
    """Floating-point operations per second of a product of matrices."""
    side = 1024 if device.type == "cpu" else 8192
    a = torch.randn(side, side, device=device)
    best = math.inf
    for _ in range(3):
        began = time.perf_counter()
        float((a @ a)[0, 0])
        best = min(best, time.perf_counter() - began)
    return 2 * side**3 / best
