"""Plots as documents, and how matplotlib draws them.

The document lies beside the picture, as JSON, and is all that the picture is drawn from.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from styleloom.arguments import finite
from styleloom.atomic import atomic_path
from styleloom.config.checks import check_choices
from styleloom.errors import UserError, quoted

Kind: TypeAlias = Literal["lines", "histogram", "shares"]
"""Lines; bars, whose x are the edges of the bins; areas upon each other, which add up to 100%."""

MAX_POINTS = 1_000_000
INCH = 4.2
"""Width of a panel; it is 3/4 as high."""
DPI = 150


@dataclass(frozen=True)
class Series:
    """One line, set of bars, or area.

    Args:
        name: in the legend; empty for none.
        x: of the points; for bars, one edge more than there are y.
        y: of the points.
        low, high: of a band around a line, or none.
        marked: bars that stand out: their positions.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    marked: Sequence[int] = ()


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Args:
        x, y: what the axes show.
        series: what is drawn.
        kind: see its type.
        title: above.
        log_y, log_x: whether an axis is logarithmic.
        marks: x of dashed vertical lines.
    """

    x: str
    y: str
    series: Sequence[Series]
    kind: Kind = "lines"
    title: str = ""
    log_y: bool = False
    log_x: bool = False
    marks: Sequence[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_choices(self)


def check_available() -> None:
    """Raise UserError unless matplotlib is there."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UserError("plots need matplotlib: pip install 'styleloom[figures]'")


def to_json(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """The panels of a document."""
    return [dataclasses.asdict(panel) for panel in panels]


def from_json(document: Any) -> list[Panel]:
    """The panels of a document. Raises UserError, which names the field, for what is none."""
    if not isinstance(document, list) or not document:
        raise UserError("panels: missing; valid: the JSON document that lies beside a plot")
    panels = [_read(Panel, "panels", entry) for entry in document]
    for panel in panels:
        if not isinstance(panel.series, Sequence) or not panel.series:
            raise UserError("series: missing; at least one")
    return [
        dataclasses.replace(
            panel,
            series=[_checked(_read(Series, "series", entry), panel.kind) for entry in panel.series],
            marks=_numbers("marks", panel.marks),
        )
        for panel in panels
    ]


def _read(cls: type[Any], name: str, entry: Any) -> Any:
    fields = {f.name: f for f in dataclasses.fields(cls)}
    if not isinstance(entry, Mapping) or not entry.keys() <= fields.keys():
        raise UserError(f"{name}: {quoted(entry)} is not valid; an object of {', '.join(fields)}")
    try:
        return cls(**entry)
    except TypeError as error:
        raise UserError(f"{name}: {quoted(str(error))}") from error


def _numbers(name: str, values: Any) -> list[float]:
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) > MAX_POINTS:
        raise UserError(f"{name}: {quoted(values)} is not valid; a list of numbers")
    return [finite(name, value) for value in values]


def _checked(series: Series, kind: Kind) -> Series:
    """`series`, when its numbers go together."""
    x, y, low, high = (_numbers(name, getattr(series, name)) for name in ("x", "y", "low", "high"))
    if len(x) != len(y) + (kind == "histogram") or len(low) != len(high) or len(low) not in (0, len(y)):
        raise UserError(f"series: {quoted(series.name)} has {len(x)} x, {len(y)} y; as many of each")
    if not all(isinstance(i, int) and 0 <= i < len(y) for i in series.marked):
        raise UserError(f"marked: {quoted(series.marked)} is not valid; positions of bars")
    return dataclasses.replace(series, x=x, y=y, low=low, high=high)


def draw(path: Path, panels: Sequence[Panel], text: Mapping[str, str] | None = None) -> None:
    """Draw panels side by side, and write the PNG file, atomically, with text chunks."""
    check_available()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import ScalarFormatter

    across = min(len(panels), 3)
    down = math.ceil(len(panels) / across)
    figure = Figure(
        (INCH * across * (1.35 if len(panels) == 1 else 1), INCH * 0.8 * down), layout="constrained"
    )
    FigureCanvasAgg(figure)
    for at, panel in enumerate(panels, 1):
        axes = figure.add_subplot(down, across, at)
        DRAWN[panel.kind](axes, panel)
        for x in panel.marks:
            axes.axvline(x, color="0.4", linestyle="--", linewidth=1)
        axes.set_xlabel(panel.x)
        axes.set_ylabel(panel.y)
        axes.set_title(panel.title, fontsize=11)
        axes.spines[["top", "right"]].set_visible(False)
        if panel.log_y:
            axes.set_yscale("log")
        if panel.log_x:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(ScalarFormatter())
            axes.xaxis.set_minor_formatter(ScalarFormatter())
        if any(series.name for series in panel.series) and panel.kind != "shares":
            axes.legend(frameon=False, fontsize=9)
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", dpi=DPI, metadata=dict(text or {}))


def _lines(axes: Any, panel: Panel) -> None:
    for series in panel.series:
        few = len(series.x) <= 30
        (line,) = axes.plot(
            series.x, series.y, label=series.name or None, marker="o" if few else None, markersize=3.5
        )
        if series.low:
            axes.fill_between(
                series.x, series.low, series.high, color=line.get_color(), alpha=0.2, linewidth=0
            )
    axes.grid(alpha=0.25)


def _bars(axes: Any, panel: Panel) -> None:
    several = len(panel.series) > 1
    for at, series in enumerate(panel.series):
        widths = [b - a for a, b in zip(series.x, series.x[1:], strict=False)]
        marked = set(series.marked)
        colors = [
            "tab:orange" if i in marked else f"C{at if at < 1 else at + 1}" for i in range(len(series.y))
        ]
        axes.bar(
            series.x[:-1],
            series.y,
            widths,
            align="edge",
            color=colors if marked else f"C{at}",
            alpha=0.6 if several else 1,
            label=series.name or None,
            edgecolor="white",
            linewidth=0.3,
        )


def _shares(axes: Any, panel: Panel) -> None:
    xs = panel.series[0].x
    areas = axes.stackplot(xs, [series.y for series in panel.series], alpha=0.85)
    axes.set_ylim(0, 100)
    if len(xs) > 1:
        axes.set_xlim(min(xs), max(xs))
    names = [series.name for series in panel.series]
    axes.legend(areas[::-1], names[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


DRAWN = {"lines": _lines, "histogram": _bars, "shares": _shares}
"""How each kind is drawn."""
