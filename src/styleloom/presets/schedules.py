"""Batch and learning rate by resolution, for 1, 2, 4 and 8 devices: the tables of the authors' codes.

StyleGAN's published numbers were made on 8 devices. A table for fewer keeps a device's memory in bounds; it
does not make a run equal to that on 8.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias, get_args

from styleloom.config import ByResolution, Experiment
from styleloom.config.checks import one_of
from styleloom.config.networks import ProGANGenerator
from styleloom.errors import UserError

Devices: TypeAlias = Literal[1, 2, 4, 8]
"""Numbers of devices for which the authors' codes have tables."""

DEVICE_COUNTS: tuple[Devices, ...] = get_args(Devices)

GROWING_BATCH: dict[int, ByResolution] = {
    1: ByResolution(4, ((4, 128), (8, 128), (16, 128), (32, 64), (64, 32), (128, 16), (256, 8))),
    2: ByResolution(8, ((4, 256), (8, 256), (16, 128), (32, 64), (64, 32), (128, 16))),
    4: ByResolution(16, ((4, 512), (8, 256), (16, 128), (32, 64), (64, 32))),
    8: ByResolution(32, ((4, 512), (8, 256), (16, 128), (32, 64))),
}
"""Images per step of ProGAN and StyleGAN, by number of devices."""

PROGAN_RATE: dict[int, ByResolution] = {
    1: ByResolution(0.001, ((1024, 0.0015),)),
    2: ByResolution(0.001, ((512, 0.0015), (1024, 0.002))),
    4: ByResolution(0.001, ((256, 0.0015), (512, 0.002), (1024, 0.003))),
    8: ByResolution(0.001, ((128, 0.0015), (256, 0.002), (512, 0.003), (1024, 0.003))),
}
"""Learning rate of both networks of ProGAN, and of StyleGAN's configuration A, by number of devices."""

STYLEGAN_RATE = PROGAN_RATE[8]
"""Learning rate of StyleGAN B to F and StyleGAN2 A to D, on any number of devices."""

STYLEGAN2_BATCH = ByResolution(32, ((8, 256), (16, 128), (32, 64)))
"""Images per step of StyleGAN2 A to D on any number of devices; few devices make several passes a step."""

STYLEGAN2_UNIT = ByResolution(4, ((8, 32), (16, 16), (32, 8)))
"""Images that a device passes at once in StyleGAN2 A to D; they share one draw of style mixing."""

MSG_BATCH = {1: 4, 2: 32, 4: 16, 8: 32}
"""Images per step of MSG-StyleGAN, at every resolution, by number of devices."""


def per_device(batch: ByResolution, devices: int) -> ByResolution:
    """`batch` divided among `devices`: the images that share one draw of style mixing in StyleGAN's code."""
    return ByResolution(batch.base // devices, tuple((side, value // devices) for side, value in batch.at))


def capped(rates: ByResolution, bound: float) -> ByResolution:
    """`rates`, none above `bound`."""
    return ByResolution(min(rates.base, bound), tuple((side, min(rate, bound)) for side, rate in rates.at))


def for_devices(experiment: Experiment, devices: int) -> Experiment:
    """`experiment` with the batch and the learning rate that its authors use on so many devices.

    Growing experiments take the batch of ProGAN and StyleGAN, and MSG-GAN's experiments that of MSG-GAN.
    `style_mixing_unit` changes with the batch where it is one device's share of it. The learning rate depends
    on the devices for ProGAN's networks alone. A learning rate or `style_mixing_unit` that is in no table
    stays as it is.

    Raises:
        UserError: there is no table for `devices`, or the batch of `experiment` is in no table.
    """
    one_of("device table", devices, DEVICE_COUNTS)
    for count, batch in GROWING_BATCH.items():
        if experiment.batch == batch:
            return _growing(experiment, count, devices)
    msg_batches = [ByResolution(batch) for batch in MSG_BATCH.values()]
    if experiment.generator.pyramid_sides is not None and experiment.batch in msg_batches:
        return replace(experiment, batch=ByResolution(MSG_BATCH[devices]))
    raise UserError(
        f"device table: not valid for {experiment.name}, its batch is in none of the tables; "
        "set it with --batch"
    )


def _growing(experiment: Experiment, count: int, devices: int) -> Experiment:
    """`experiment`, which has the batch for `count` devices, by the tables for `devices`."""
    batch, rates, unit = GROWING_BATCH[devices], experiment.learning_rate, experiment.style_mixing_unit
    if isinstance(experiment.generator, ProGANGenerator) and rates in PROGAN_RATE.values():
        rates = PROGAN_RATE[devices]
    if unit == per_device(GROWING_BATCH[count], count):
        unit = per_device(batch, devices)
    return replace(experiment, batch=batch, learning_rate=rates, style_mixing_unit=unit)
