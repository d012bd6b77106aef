"""`styleloom plan`: what a training takes on a device, and which settings fit memory and time."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated

import tyro

from styleloom.cli.report import print_json, say, tell
from styleloom.cli.train import FLAGS, Train
from styleloom.cli.training_plan import print_needs
from styleloom.config import Experiment
from styleloom.errors import UserError, quoted

if TYPE_CHECKING:
    from styleloom.planning.devices import Device

UNITS = {"": 1.0, "b": 2**-30, "kb": 2**-20, "mb": 2**-10, "gb": 1.0, "tb": 2.0**10}
"""GiB in a unit of --memory; GB and GiB mean the same here."""


@dataclass
class PlanTraining:
    """Tell time, memory and disk of a training, and the settings that fit; print its command."""

    preset: str | None = None
    """Name of the experiment, see `styleloom presets`; by default stylegan2-f."""
    data: str | None = None
    """Archive or embedded set that it is to train on."""
    device: str = "auto"
    """auto, cpu, cuda: this machine, by a short measurement; or a measured device, see docs/planning.md."""
    memory: str | None = None
    """What there is, e.g. 8GB; the micro-batch is chosen to fit. By default without limit."""
    hours: float | None = None
    """How long it may take; the length of the training is chosen to fit."""
    resolution: int | None = None
    """Side of the images in px; by default that of the data, or of the preset."""
    kimg: float | None = None
    """Thousands of real images to show."""
    batch: int | None = None
    """Images per step, at every resolution."""
    micro_batch: int | None = None
    """Images that pass through the networks at once; by default the most that fits."""
    precision: str | None = None
    """auto, fp32, bf16, tf32."""
    overrides: Annotated[
        tyro.conf.UseAppendAction[list[str]], tyro.conf.arg(name="set", metavar="FIELD=VALUE")
    ] = field(default_factory=list)
    """Any field of the experiment. May be repeated."""
    seconds: float = 20.0
    """About how long the measurement takes; 0 measures nothing, and tells no time."""
    json: bool = False
    """Print one JSON document."""

    def run(self) -> int:
        """Plan and print."""
        from styleloom.planning.plan import Request, as_document, command, make_plan

        memory = None if self.memory is None else gibibytes(self.memory)
        if self.hours is not None and not self.hours > 0:
            raise UserError(f"--hours: {self.hours:g} is not valid, it must be more than 0")
        train = Train(
            data=self.data,
            preset=self.preset,
            resolution=self.resolution,
            kimg=self.kimg,
            batch=self.batch,
            micro_batch=self.micro_batch,
            precision=self.precision,
            overrides=self.overrides,
        )
        experiment, dataset, _ = train.planned()
        device, experiment = self._device(experiment)
        images = None if dataset is None else len(dataset) - experiment.data.held_out
        request = Request(experiment, device, images, memory, self.hours, self._words(), self._fixed())
        plan = make_plan(request)
        if self.json:
            print_json(as_document(plan, request))
            return 0
        print_needs(plan, request)
        say(command(plan, request.changes))
        return 0

    def _device(self, experiment: Experiment) -> tuple[Device, Experiment]:
        """The device with its speed, and the experiment with the precision that it takes there."""
        from styleloom.planning.devices import measure, measured_device, names, this_machine
        from styleloom.precision import resolve_device, resolve_precision

        if self.device in names():
            device = measured_device(self.device)
            if experiment.precision == "auto":
                fastest = max(device.rates, key=lambda precision: device.rates[precision][-1].per_sec)
                experiment = replace(experiment, precision=fastest)
            return device, experiment
        if self.device not in ("auto", "cpu", "cuda", "mps") and not self.device.startswith("cuda:"):
            measured_device(self.device)  # names the valid ones
        here = resolve_device(self.device)
        experiment = replace(experiment, precision=resolve_precision(experiment.precision, here))
        if self.seconds <= 0:
            return this_machine(here), experiment
        tell(f"measuring for about {self.seconds:g} seconds; --seconds changes that")
        return measure(experiment, here, self.seconds), experiment

    def _words(self) -> tuple[str, ...]:
        """The words of `styleloom train` that this command line has."""
        words: list[str] = []
        for name in ("data", "preset", "resolution", "kimg", "batch", "micro_batch", "precision"):
            value = getattr(self, name)
            if value is not None and not (name == "kimg" and self.hours is not None):
                words += [f"--{name.replace('_', '-')}", f"{value:g}" if name == "kimg" else str(value)]
        if self.data is None:
            words = ["--data", "ARCHIVE", *words]
        for override in self.overrides:
            words += ["--set", override]
        return tuple(words)

    def _fixed(self) -> frozenset[str]:
        """Fields that this command line sets."""
        flags = {FLAGS[name] for name in FLAGS if getattr(self, name, None) not in (None, [])}
        return frozenset(flags | {override.partition("=")[0].strip() for override in self.overrides})


def gibibytes(text: str) -> float:
    """ "8GB" to 8. Raises UserError for anything that is no amount of memory."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?(b?)", text.strip().lower())
    unit = "" if found is None else found[2] + found[3]
    unit = f"{unit}b" if unit in ("k", "m", "g", "t") else unit
    if found is None or not float(found[1]) > 0:
        raise UserError(f"--memory: {quoted(text)} is not valid; an amount such as 8GB or 512MB")
    return float(found[1]) * UNITS[unit]
