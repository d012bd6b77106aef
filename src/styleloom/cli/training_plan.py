"""What `styleloom train --dry-run` and `styleloom plan` print."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from rich.table import Table

from styleloom.cli.report import console, experiment_table, print_json, tell
from styleloom.cli.training_images import treatment
from styleloom.config import Experiment, to_json

if TYPE_CHECKING:
    from styleloom.planning.plan import Plan, Request
    from styleloom.runs.scaling import Prediction

logger = logging.getLogger(__name__)


def print_plan(experiment: Experiment, on: str, as_json: bool, images: int | None = None) -> None:
    """Print what a run on the device `on`, with so many images, would do."""
    from styleloom.metrics.evaluation.definitions import parse_all
    from styleloom.planning.devices import this_machine
    from styleloom.planning.plan import Request, as_document, make_plan
    from styleloom.precision import resolve_device, resolve_precision
    from styleloom.runs.plan import parameter_table, timeline, training_flops
    from styleloom.runs.scaling import a100s
    from styleloom.runs.scaling import table as table_of_processes

    if experiment.run.metrics:
        parse_all(",".join(experiment.run.metrics))  # a run would refuse an unknown one
    device = resolve_device(on)
    precision = resolve_precision(experiment.precision, device)
    phases, parameters = timeline(experiment), parameter_table(experiment)
    flops = training_flops(experiment)
    machines = a100s()
    rows = table_of_processes(experiment, machines)
    planned = replace(experiment, precision=precision)
    everything = frozenset(f"run.{field.name}" for field in fields(planned.run))  # a dry run changes nothing
    request = Request(planned, this_machine(device), images, fixed=everything)
    plan = make_plan(request)
    if as_json:
        print_json(
            {
                "experiment": to_json(experiment),
                "device": device.type,
                "precision": precision,
                "timeline": phases,
                "parameters": [part._asdict() for part in parameters],
                "training_pflop": flops / 1e15,
                "scaling": {"machines": machines.name, "rows": [row._asdict() for row in rows]},
                "needs": as_document(plan, request, with_command=False),
            }
        )
        return
    out = console()
    out.print(experiment_table(experiment))
    out.print(_schedule_table(phases))
    table = Table("network", "part", "parameters")
    for network, part, count in parameters:
        table.add_row(network, part, f"{count:,}")
    out.print(table)
    out.print(_processes_table(rows, machines.name))
    out.print(treatment(experiment))
    out.print(f"device {device.type}, precision {precision}")
    cost = f"{flops / 1e15:,.0f}" if flops > 1e18 else f"{flops / 1e15:.3g}"
    out.print(f"convolutions and matrix products of the whole run: {cost} PFLOP")
    print_needs(plan, request)


def print_needs(plan: Plan, request: Request) -> None:
    """Print time, memory, disk, and what to think about."""
    out, experiment, memory = console(), plan.experiment, plan.memory
    table = Table("what", "takes")
    device = request.device
    table.add_row("device", f"{device.name}: {device.hardware}; {device.source}")
    if plan.hours is None or plan.images_per_sec is None:
        table.add_row("time", "not known here: styleloom plan measures it")
    else:
        table.add_row("time", f"{_hours(plan.hours)} for {experiment.total_kimg:,g} kimg")
        table.add_row("speed", f"{plan.images_per_sec:,.3g} images/s at {experiment.resolution} px")
    parts = {name: value for name, value in vars(memory).items() if value}
    detail = ", ".join(f"{name} {value / 2**30:.2f}" for name, value in parts.items())
    table.add_row("memory", f"{memory.total / 2**30:.2f} GiB ({detail})")
    batch = int(experiment.batch(experiment.resolution))
    table.add_row("batch", f"{batch}, {min(experiment.micro_batch or batch, batch)} at once")
    table.add_row("precision", experiment.precision)
    sizes = ", ".join(f"{name} {value / 2**30:.2f}" for name, value in plan.disk_bytes.items())
    table.add_row("disk", f"{sum(plan.disk_bytes.values()) / 2**30:.2f} GiB ({sizes})")
    run = experiment.run
    table.add_row("a snapshot every", f"{run.snapshot_every * run.tick_kimg(experiment.resolution):,g} kimg")
    out.print(table)
    if plan.advice:
        advice = Table("to think about", "first guess", "why")
        for row in plan.advice:
            advice.add_row(*row)
        out.print(advice)
    for note in plan.notes:
        tell(f"note: {note}")


def _hours(hours: float) -> str:
    if hours < 1:
        return f"{hours * 60:.3g} minutes"
    return f"{hours:.3g} hours" if hours < 72 else f"{hours / 24:.3g} days"


def _processes_table(rows: Sequence[Prediction], name: str) -> Table:
    """What the model of `runs/scaling.py` says, where the batch can be divided, and once beyond."""
    found = Table("processes", "batch", "images/s", "efficiency", "exchange", title=f"computed for {name}")
    for row in rows[: sum(row.same_batch for row in rows) + 1]:
        batch = f"{row.batch:,}" + ("" if row.same_batch else " (larger)")
        shares = (f"{row.efficiency:.0%}", f"{row.exchange_share:.1%}")
        found.add_row(f"{row.processes:,}", batch, f"{row.images_per_sec:,.3g}", *shares)
    return found


def note_unfinished_growth(experiment: Experiment) -> None:
    """Log a warning when the run ends before the networks reach full resolution."""
    from styleloom.config.growth import unfinished_growth

    last = unfinished_growth(experiment, experiment.total_kimg * 1000)
    if last is None:
        return
    end = 4 << last.level
    logger.warning(
        f"after {experiment.total_kimg:g} kimg the networks are at {end} px of {experiment.resolution}; "
        "shorten growth.stabilize_kimg and growth.fade_kimg, or raise --kimg"
    )


def _schedule_table(rows: list[dict[str, float]]) -> Table:
    """The rows of `timeline` as a table. A level that fades in does so until the next row."""
    others = list(rows[0])[6:]  # numbers by images seen
    table = Table("kimg", "level", "resolution", "alpha", "batch", "learning rate", *others)
    for row, after in zip(rows, [*rows[1:], rows[-1]], strict=True):
        end = after["alpha"] if after["level"] == row["level"] else 1.0
        alpha = f"{row['alpha']:g}" + f" to {end:g}" * (end > row["alpha"])
        names = ("kimg", "level", "resolution", "batch", "learning_rate", *others)
        fields = [f"{row[name]:g}" for name in names]
        table.add_row(*fields[:3], alpha, *fields[3:])
    return table
