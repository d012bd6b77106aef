"""What a training will take, and the settings that fit a machine and a time."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import Any

from styleloom.config import Experiment
from styleloom.config.schedules import values
from styleloom.errors import UserError
from styleloom.planning.devices import Device, top_flops
from styleloom.planning.memory import Memory, predict
from styleloom.runs.pictures import sheet_shape
from styleloom.runs.plan import flops_per_image

GAMMA_HEURISTIC = 0.0002
"""R1's weight, times batch and over resolution squared: a published first guess (arXiv 2006.06676)."""

FEW_IMAGES = 30_000
"""Data sets below this size profit from augmentation (arXiv 2006.06676, figure 1 and section 4)."""

SNAPSHOTS = 40
"""How many snapshots a run makes, about."""

STATE_MINUTES = 20.0
"""Most work that a killed process should lose."""


@dataclass(frozen=True)
class Request:
    """What is planned.

    Args:
        experiment: with a precision that is not "auto".
        device: whose speed is known.
        images: number of training images; None where there are no data yet.
        memory_gib: what there is; None for no limit.
        hours: what there is; None for no limit.
        changes: words of the command that the user gave, which the printed command repeats.
        fixed: names of fields that the user gave, which are not advised about.
    """

    experiment: Experiment
    device: Device
    images: int | None = None
    memory_gib: float | None = None
    hours: float | None = None
    changes: tuple[str, ...] = ()
    fixed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Plan:
    """The answer.

    Args:
        experiment: with micro-batch, length and intervals that fit.
        memory: of it.
        hours: that the whole run takes; None on a device whose speed is not known.
        images_per_sec: at full resolution; None likewise.
        disk_bytes: of the run directory at its end, by what takes it.
        advice: field, value, and why, for what the experiment leaves to the user.
        settings: FIELD=VALUE that the plan changes in the experiment.
        notes: what does not fit.
    """

    experiment: Experiment
    memory: Memory
    hours: float | None
    images_per_sec: float | None
    disk_bytes: dict[str, float]
    advice: tuple[tuple[str, str, str], ...]
    settings: tuple[str, ...]
    notes: tuple[str, ...]


def make_plan(request: Request) -> Plan:
    """Fit micro-batch to the memory, length to the time, intervals to the length."""
    experiment, settings, notes = request.experiment, list[str](), list[str]()
    experiment, memory = fit_memory(request)
    if experiment.micro_batch != request.experiment.micro_batch:
        settings.append(f"micro_batch={experiment.micro_batch}")
    limit = request.memory_gib
    if limit is not None and memory.total > limit * 2**30:
        notes.append(
            f"it does not fit into {limit:g} GiB: even {experiment.micro_batch} images at once take "
            f"{memory.total / 2**30:.2f} GiB; fewer feature maps (--set generator.features.max=...), a lower "
            "resolution, or bf16 take less"
        )
    hours = hours_of(experiment, request.device)
    if request.hours is not None and hours is not None and hours > request.hours:
        kimg = _round(_kimg_within(experiment, request.device, request.hours))
        notes.append(
            f"all of {experiment.total_kimg:g} kimg would take {hours:.4g} hours; {kimg:g} kimg fit into "
            f"{request.hours:g}"
        )
        experiment = replace(experiment, total_kimg=kimg)
        settings.append(f"total_kimg={kimg:g}")
        hours = hours_of(experiment, request.device)
    for name, value in intervals(experiment, hours).items():
        if f"run.{name}" not in request.fixed and value != getattr(experiment.run, name):
            experiment = replace(experiment, run=replace(experiment.run, **{name: value}))
            settings.append(f"run.{name}={value}")
    top = top_flops(experiment)
    speed = None if hours is None else request.device.per_sec(top, experiment.precision) / top
    advice = tuple(item for item in advise(experiment, request.images) if item[0] not in request.fixed)
    return Plan(
        experiment, memory, hours, speed, disk(experiment, memory), advice, tuple(settings), tuple(notes)
    )


def fit_memory(request: Request) -> tuple[Experiment, Memory]:
    """The largest micro-batch that fits, and what it takes; the smallest where none does."""
    experiment, kind = request.experiment, request.device.kind
    height, width = experiment.generator.size
    decoded = (request.images or 0) * height * width * experiment.generator.channels
    decoded = min(decoded, 2 * 2**30)  # what train keeps by default
    memory = predict(experiment, kind, decoded)
    if request.memory_gib is None or "micro_batch" in request.fixed:
        return experiment, memory
    for size in micro_batches(experiment):
        if memory.total <= request.memory_gib * 2**30:
            break
        experiment = replace(experiment, micro_batch=size)
        memory = predict(experiment, kind, decoded)
    return experiment, memory


def micro_batches(experiment: Experiment) -> list[int]:
    """Sizes that are allowed, below the present one, largest first."""
    batch = int(experiment.batch(experiment.resolution))
    present = min(experiment.micro_batch or batch, batch)
    found = []
    for size in range(present - 1, 0, -1):
        if batch % size == 0:
            try:
                replace(experiment, micro_batch=size)
            except UserError:
                continue
            found.append(size)
    return found


def hours_of(experiment: Experiment, device: Device) -> float | None:
    """Of the whole run, measurements of metrics apart; None where the device's speed is not known."""
    if not device.rates:
        return None
    return sum(seconds for seconds, _ in _parts(experiment, device)) / 3600


def _parts(experiment: Experiment, device: Device) -> list[tuple[float, float]]:
    """(seconds, kimg) of each part of the run, in its order."""
    found = []
    for flops, parts in flops_per_image(experiment).values():
        per_image = flops / device.per_sec(flops, experiment.precision)
        found += [(part.start_kimg, per_image, part.end_kimg - part.start_kimg) for part in parts]
    return [(per_image * kimg * 1000, kimg) for _, per_image, kimg in sorted(found)]


def _kimg_within(experiment: Experiment, device: Device, hours: float) -> float:
    left, kimg = hours * 3600, 0.0
    for seconds, length in _parts(experiment, device):
        share = min(left / seconds, 1.0)
        kimg, left = kimg + share * length, left - share * seconds
        if share < 1:
            break
    return kimg


def intervals(experiment: Experiment, hours: float | None) -> dict[str, int]:
    """Ticks between snapshots, pictures and states: some tens of snapshots, and little work to lose."""
    tick = experiment.run.tick_kimg(experiment.resolution)
    ticks = max(experiment.total_kimg / tick, 1.0)
    snapshot = max(round(ticks / SNAPSHOTS), 1)
    found = {"snapshot_every": snapshot, "sample_every": snapshot}
    if hours is None:
        return found
    minutes = hours * 60 / ticks
    return found | {"state_every": max(min(int(STATE_MINUTES / max(minutes, 1e-9)), snapshot), 1)}


def gamma_heuristic(resolution: int, batch: float) -> float:
    """The published starting value of R1's weight: 0.0002 R^2 / batch."""
    return GAMMA_HEURISTIC * resolution**2 / batch


def advise(experiment: Experiment, images: int | None) -> list[tuple[str, str, str]]:
    """Settings to think about, which no measurement decides: field, value, why."""
    found = []
    penalty = experiment.d_regularizer
    if penalty.kind == "zero-centred":
        gamma = gamma_heuristic(experiment.resolution, experiment.batch(experiment.resolution))
        preset = "/".join(f"{value:g}" for value in dict.fromkeys(values(penalty.gamma)))
        if f"{gamma:.3g}" != preset:
            why = f"0.0002 R^2 / batch; the experiment has {preset}; try five times less and more"
            found.append(("d_regularizer.gamma", f"{gamma:.3g}", why))
    if images is not None and images < FEW_IMAGES and experiment.augment.mode == "none":
        why = f"{images:,} images are few: the discriminator would learn them by heart"
        found.append(("augment.mode", "ada", why))
    if images is not None and images < FEW_IMAGES and experiment.data.mirror == "none":
        found.append(("data.mirror", "horizontal", "twice as many images, where left and right mean nothing"))
    return found


def disk(experiment: Experiment, memory: Memory) -> dict[str, float]:
    """Bytes of the run directory at its end, estimated."""
    run = experiment.run
    g_share = 0.5 * memory.weights  # both networks and the EMA: G twice, D once
    ticks = experiment.total_kimg / run.tick_kimg(experiment.resolution)
    made = ticks / run.snapshot_every + 1
    kept = min(made, run.keep_snapshots or made) + 1
    snapshot = memory.weights if run.keep == "full" else g_share
    columns, rows = sheet_shape(experiment.generator.size)
    height, width = experiment.generator.size
    sheet = columns * rows * height * width * experiment.generator.channels * 0.7  # PNG of natural images
    states = ticks / run.state_every + 1
    return {
        "snapshots": kept * snapshot,
        "states": (min(states, run.keep_states or states) + 1) * (memory.weights + memory.optimizer),
        "pictures": 2 * (ticks / run.sample_every + 1) * sheet,
    }


def command(plan: Plan, changes: tuple[str, ...]) -> str:
    """The command that trains so."""
    words = ["styleloom", "train", *changes]
    flags = {"micro_batch": "--micro-batch", "total_kimg": "--kimg"}
    for setting in plan.settings:
        name, _, value = setting.partition("=")
        words += [flags[name], value] if name in flags else ["--set", setting]
    return shlex.join(words)


def as_document(plan: Plan, request: Request, with_command: bool = True) -> dict[str, Any]:
    """The plan as JSON."""
    memory = plan.memory
    told = {"settings": list(plan.settings), "command": command(plan, request.changes)}
    return {
        "device": request.device.name,
        "hardware": request.device.hardware,
        "speed": request.device.source,
        "images_per_sec": plan.images_per_sec,
        "hours": plan.hours,
        "kimg": plan.experiment.total_kimg,
        "memory_gib": memory.total / 2**30,
        "memory": {name: value / 2**30 for name, value in vars(memory).items()},
        "micro_batch": plan.experiment.micro_batch,
        "precision": plan.experiment.precision,
        "disk_gib": {name: value / 2**30 for name, value in plan.disk_bytes.items()},
        "advice": [{"field": field, "value": value, "why": why} for field, value, why in plan.advice],
        "notes": list(plan.notes),
        **(told if with_command else {}),
    }


def _round(kimg: float) -> float:
    """Down to two digits."""
    digits = f"{kimg:.1e}"
    rounded = float(digits)
    return rounded if rounded <= kimg else rounded - 10.0 ** int(digits.partition("e")[2]) / 10


__all__ = ["Plan", "Request", "as_document", "command", "make_plan"]
