"""Curves as SVG. Lines stretch with the page; labels are text beside them and keep their size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from styleloom.report.html import Html, data, join, tag

WIDTH, HEIGHT = 1000, 400
"""Units of the drawing, whatever its size on the page."""

MAX_POINTS = 400
"""Points of a line; of more, neighbours are averaged."""

LOG_RATIO = 300.0
"""Ratio of the greatest value to the least above which an axis is logarithmic."""

DASHES = ("", "6 4", "2 3", "10 3 2 3")
"""One for each quantity of a chart; colours tell runs apart."""


@dataclass(frozen=True)
class Series:
    """One line.

    Args:
        run: number of the run, which gives the colour.
        quantity: number of the quantity within the chart, which gives the dashes.
        name: for the legend.
        points: (kimg, value), in order.
        errors: half the width of the 95 % interval of each point, where it is known.
    """

    run: int
    quantity: int
    name: str
    points: Sequence[tuple[float, float]]
    errors: Sequence[float | None] = ()


@dataclass(frozen=True)
class Chart:
    """Lines on common axes.

    Args:
        title: what is drawn.
        note: what it tells, in a sentence.
        series: the lines.
        only_quantity: whether colours stand for quantities, as there is one run.
    """

    title: str
    note: str
    series: Sequence[Series]
    only_quantity: bool = False


def render(chart: Chart) -> Html:
    """A figure: heading, plot with axes, legend, and the numbers for the page's script."""
    lines = [_thinned(series) for series in chart.series]
    xs = [x for line in lines for x, _ in line.points]
    values = [y for line in lines for y in _reached(line)]
    log = min(values) > 0 and max(values) / min(values) > LOG_RATIO
    x_axis, y_axis = Axis.of(xs, from_zero=True), Axis.of(values, log=log)
    drawing = tag(
        "svg",
        *(_grid_line(y_axis.place(value)) for value in y_axis.ticks),
        *(_line(chart, line, x_axis, y_axis) for line in lines),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        preserveAspectRatio="none",
        aria_hidden="true",
    )
    y_labels = [
        tag("span", short(v), class_="y", style=f"bottom:{y_axis.place(v):.2%}") for v in y_axis.ticks
    ]
    x_labels = [tag("span", short(v), class_="x", style=f"left:{x_axis.place(v):.2%}") for v in x_axis.ticks]
    numbers = {
        "x": [x_axis.low, x_axis.high],
        "lines": [
            {"name": line.name, "color": _color(chart, line), "points": list(line.points)} for line in lines
        ],
    }
    legend = [tag("li", tag("i", class_=_key(chart, line)), line.name) for line in lines]
    return tag(
        "figure",
        tag("figcaption", tag("b", chart.title), tag("span", chart.note), " (logarithmic)" if log else None),
        tag(
            "div",
            drawing,
            *y_labels,
            *x_labels,
            tag("span", "thousands of images", class_="unit"),
            tag("div", class_="cursor"),
            class_="plot",
            role="img",
            aria_label=_described(chart),
        ),
        tag("ul", *legend, class_="legend"),
        data(numbers),
        class_="chart",
    )


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`, with labels at `ticks`."""

    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    @classmethod
    def of(cls, values: Sequence[float], log: bool = False, from_zero: bool = False) -> Axis:
        """An axis that holds all of `values`."""
        low, high = min(values), max(values)
        if log:
            first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
            step = max((last - first) // 5, 1)
            return cls(10.0**first, 10.0**last, tuple(10.0**p for p in range(first, last + 1, step)), True)
        if from_zero:
            low = min(low, 0.0)
        if high - low < 1e-9 * max(abs(high), 1e-9):
            low, high = low - max(abs(low) * 0.1, 1e-6), high + max(abs(high) * 0.1, 1e-6)
        step = _nice((high - low) / 4)
        bottom = low if from_zero else math.floor(low / step) * step
        top = high if from_zero else math.ceil(high / step - 1e-9) * step
        first = math.ceil(bottom / step - 1e-9)
        count = int((top - first * step) / step + 1e-9) + 1
        return cls(bottom, top, tuple((first + i) * step for i in range(count)))

    def place(self, value: float) -> float:
        """Where a value is, 0 at the low end and 1 at the high one."""
        if self.log:
            return math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def _nice(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * 0.999)


def short(value: float) -> str:
    """A number in few characters: 1,250, 0.0025, 3e-05, 1.2M."""
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.3g}M" if size < 1e9 else f"{value:.0e}"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if size >= 1e-4 or size == 0 else f"{value:.0e}"


def _thinned(series: Series) -> Series:
    group = -(-len(series.points) // MAX_POINTS)
    if group <= 1:
        return series
    cut = [series.points[i : i + group] for i in range(0, len(series.points), group)]
    means = [(part[-1][0], sum(y for _, y in part) / len(part)) for part in cut]
    return Series(series.run, series.quantity, series.name, means)


def _reached(line: Series) -> list[float]:
    errors = [error or 0.0 for error in line.errors] or [0.0] * len(line.points)
    return [y + sign * e for (_, y), e in zip(line.points, errors, strict=True) for sign in (-1, 1)]


def _color(chart: Chart, line: Series) -> int:
    return (line.quantity if chart.only_quantity else line.run) % 6


def _key(chart: Chart, line: Series) -> str:
    return f"key c{_color(chart, line)} d{0 if chart.only_quantity else line.quantity}"


def _grid_line(place: float) -> Html:
    y = f"{HEIGHT * (1 - place):.1f}"
    return tag("line", x1=0, x2=WIDTH, y1=y, y2=y, class_="grid")


def _line(chart: Chart, line: Series, x_axis: Axis, y_axis: Axis) -> Html:
    def at(x: float, y: float) -> str:
        return f"{WIDTH * x_axis.place(x):.1f},{HEIGHT * (1 - y_axis.place(y)):.1f}"

    classes = f"line c{_color(chart, line)}"
    dashes = None if chart.only_quantity else DASHES[line.quantity % len(DASHES)] or None
    ends = [
        f"{at(x, y - error)} {at(x, y + error)}"
        for (x, y), error in zip(line.points, line.errors or [None] * len(line.points), strict=True)
        if error
    ]
    bars = [tag("polyline", points=points, class_=f"{classes} bar") for points in ends]
    points = " ".join(at(x, y) for x, y in line.points)
    if len(line.points) == 1:  # a dot: a line of no length with round ends
        points = f"{points} {points}"
    return join(*bars, tag("polyline", points=points, class_=classes, stroke_dasharray=dashes))


def _described(chart: Chart) -> str:
    ends = (
        f"{line.name}: {short(line.points[0][1])} to {short(line.points[-1][1])}" for line in chart.series
    )
    return f"{chart.title}. {'; '.join(ends)}"
