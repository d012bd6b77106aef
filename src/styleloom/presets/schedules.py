"""Batch and learning rate by resolution, for 1, 2, 4 and 8 devices: the tables of the authors' codes.

StyleGAN's published numbers were made on 8 devices. A table for fewer keeps a device's memory in bounds; it
does not make a run equal to that on 8.
"""

from __future__ import annotations

from dataclasses import replace

from styleloom.config.checks import one_of
from styleloom.config.experiment import ByResolution, Experiment
from styleloom.errors import UserError

DEVICES = (1, 2, 4, 8)

GROWING_BATCH: dict[int, ByResolution] = {
    1: ByResolution(4, ((4, 128), (8, 128), (16, 128), (32, 64), (64, 32), (128, 16), (256, 8))),
    2: ByResolution(8, ((4, 256), (8, 256), (16, 128), (32, 64), (64, 32), (128, 16))),
    4: ByResolution(16, ((4, 512), (8, 256), (16, 128), (32, 64), (64, 32))),
    8: ByResolution(32, ((4, 512), (8, 256), (16, 128), (32, 64))),
}
"""Images per step by number of devices, ProGAN and StyleGAN."""

GROWING_RATE: dict[int, ByResolution] = {
    1: ByResolution(0.001, ((1024, 0.0015),)),
    2: ByResolution(0.001, ((512, 0.0015), (1024, 0.002))),
    4: ByResolution(0.001, ((256, 0.0015), (512, 0.002), (1024, 0.003))),
    8: ByResolution(0.001, ((128, 0.0015), (256, 0.002), (512, 0.003), (1024, 0.003))),
}
"""Learning rate of both networks by number of devices, ProGAN and StyleGAN."""

STYLEGAN2_BATCH = ByResolution(32, ((8, 256), (16, 128), (32, 64)))
"""StyleGAN2 A to D, whatever the devices: few of them take their share in several passes."""

STYLEGAN2_UNIT = ByResolution(4, ((8, 32), (16, 16), (32, 8)))
"""StyleGAN2 A to D: images per pass of a device, which share one draw of style mixing."""

MSG_BATCH = {1: 4, 2: 32, 4: 16, 8: 32}
"""Images per step by number of devices, MSG-StyleGAN at every resolution."""


def per_device(batch: ByResolution, devices: int) -> ByResolution:
    """`batch` divided among `devices`: the images that share one draw of style mixing in StyleGAN's code."""
    return ByResolution(batch.base // devices, tuple((side, value // devices) for side, value in batch.at))


def capped(rates: ByResolution, bound: float) -> ByResolution:
    """`rates`, none above `bound`."""
    return ByResolution(min(rates.base, bound), tuple((side, min(rate, bound)) for side, rate in rates.at))


def for_devices(experiment: Experiment, devices: int) -> Experiment:
    """`experiment` with the batch and the learning rate that its authors use on so many devices.

    Growing experiments take ProGAN's and StyleGAN's tables; MSG-GAN's take its batch. Learning rates that are
    none of the tables, as those for CelebA-HQ, keep their highest as a bound.

    Raises:
        UserError: there is no table for `devices`, or the batch of `experiment` is in no table.
    """
    one_of("device table", devices, DEVICES)
    if experiment.batch in GROWING_BATCH.values():
        batch, rates = GROWING_BATCH[devices], GROWING_RATE[devices]
        own = experiment.learning_rate
        if own not in GROWING_RATE.values():
            rates = capped(rates, max(own.base, *(rate for _, rate in own.at)) if own.at else own.base)
        return replace(
            experiment,
            batch=batch,
            learning_rate=rates,
            style_mixing_unit=per_device(batch, devices),
        )
    msg_batches = [ByResolution(batch) for batch in MSG_BATCH.values()]
    if experiment.generator.pyramid_sides is not None and experiment.batch in msg_batches:
        return replace(experiment, batch=ByResolution(MSG_BATCH[devices]))
    raise UserError(
        f"device table: not valid for {experiment.name}, its batch is in none of the tables; "
        "set it with --batch"
    )
