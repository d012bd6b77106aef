"""Which curves a report has, and what each tells."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from styleloom.report.charts import Chart, Series
from styleloom.report.record import RunRecord
from styleloom.runs.metrics import ERROR_PREFIX, PREFIX

Line = Mapping[str, Any]
Value = Callable[[Line], "float | None"]


class Curves(NamedTuple):
    """A chart of quantities that belong together.

    Args:
        title, note: what it is, and what it tells.
        quantities: by name: a field of stats.jsonl, or a function of its line.
    """

    title: str
    note: str
    quantities: Mapping[str, str | Value]


def ratio(name: str, other: str) -> Value:
    """The one field over the other."""

    def value(line: Line) -> float | None:
        above, below = line.get(name), line.get(other)
        return None if above is None or not below else above / below

    return value


def times(name: str, factor: float) -> Value:
    """A field times a factor."""
    return lambda line: None if line.get(name) is None else line[name] * factor


TRAINING: tuple[Curves, ...] = (
    Curves("Losses", "What each network minimizes.", {"generator": "loss_g", "discriminator": "loss_d"}),
    Curves(
        "Logits",
        "The discriminator's output; held-out images that drift to the generated ones mean overfitting.",
        {"real": "logits_real", "generated": "logits_fake", "held-out": "logits_held_out"},
    ),
    Curves(
        "Signs of logits", "Mean sign for training images: 0 is a coin, 1 is sure of all.",
        {"real": "sign_real"},
    ),
    Curves("Augmentation", "Probability p of each transformation.", {"p": "augment_p"}),
    Curves("Gradient penalty", "R1 or its like, weight included.", {"penalty": "d_penalty"}),
    Curves("Path length", "Length, and the mean that it is drawn to.",
           {"length": "path_length", "mean": "path_mean"}),
    Curves("Path length penalty", "Weight included.", {"penalty": "path_penalty"}),
    Curves(
        "Differences between images",
        "Generated images over real ones; far below 1 is mode collapse.",
        {"mean of pairs": ratio("distance_fake", "distance_real"),
         "nearest": ratio("nearest_fake", "nearest_real")},
    ),
    Curves("Gradients", "Norm of each network's gradient.",
           {"generator": "grad_norm_g", "discriminator": "grad_norm_d"}),
    Curves("Growth of weights", "Of the layer that has grown most, over its first size.",
           {"generator": "weight_growth_g", "discriminator": "weight_growth_d"}),
    Curves("Skipped updates", "So far, because gradients were not finite.",
           {"generator": "skipped_g", "discriminator": "skipped_d"}),
    Curves("Learning rates", "As the optimizers have them.", {"generator": "lr_g", "discriminator": "lr_d"}),
    Curves("Label losses", "Cross-entropy of classes.",
           {"generator": "label_loss_g", "discriminator": "label_loss_d"}),
)  # fmt: skip

MACHINE: tuple[Curves, ...] = (
    Curves("Speed", "Images per second.", {"images/s": "images_per_sec"}),
    Curves("Memory", "Peak, GiB.", {"GiB": "memory_gib"}),
    Curves("Waiting for images", "Percent of the time.", {"%": times("data_wait_share", 100)}),
    Curves("Level", "Side of the images of a growing run, px.", {
        "px": lambda line: None if line.get("level") is None else 4 << line["level"],
    }),
)  # fmt: skip


def charts(runs: Sequence[RunRecord], wanted: Sequence[Curves]) -> list[Chart]:
    """Those of the wanted charts for which any run has numbers."""
    found = []
    for curves in wanted:
        series = []
        for number, run in enumerate(runs):
            for index, (name, value) in enumerate(curves.quantities.items()):
                points = _points(run.lines, value)
                if points and (any(y for _, y in points) or curves.title != "Skipped updates"):
                    label = name if len(runs) == 1 else f"{run.name}: {name}"
                    series.append(Series(number, index, label, points))
        if series:
            found.append(Chart(curves.title, curves.note, series, only_quantity=len(runs) == 1))
    return found


def metric_names(runs: Sequence[RunRecord]) -> list[str]:
    """Fields of metrics that any run has, in the order of their first appearance."""
    fields = dict.fromkeys(
        name
        for run in runs
        for line in run.lines
        for name, value in line.items()
        if value is not None and (name.startswith(PREFIX) or name == "swd")
    )
    return list(fields)


def metric_charts(runs: Sequence[RunRecord]) -> list[Chart]:
    """A chart a metric, with bars where its standard error was measured."""
    found = []
    for field in metric_names(runs):
        title = field.removeprefix(PREFIX)
        series = []
        for number, run in enumerate(runs):
            lines = [line for line in run.lines if line.get(field) is not None]
            if not lines:
                continue
            errors = [line.get(ERROR_PREFIX + title) for line in lines]
            halves = [None if error is None else 1.96 * error for error in errors]
            name = title if len(runs) == 1 else run.name
            series.append(Series(number, 0, name, _points(lines, field), halves))
        note = "Bars are 95 % intervals." if any(any(s.errors) for s in series) else ""
        found.append(Chart(title, note, series, only_quantity=len(runs) == 1))
    return found


def _points(lines: Sequence[Line], value: str | Value) -> list[tuple[float, float]]:
    read = (lambda line: line.get(value)) if isinstance(value, str) else value
    pairs = ((line["images_seen"] / 1000, read(line)) for line in lines)
    return [(x, float(y)) for x, y in pairs if y is not None and math.isfinite(y)]
