"""Evaluations as tables, and the notes below them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from styleloom.errors import shown
from styleloom.metrics.evaluation.measure import errors


def table(document: dict[str, Any]) -> Table:
    """Every value of an evaluation, with what is known of its uncertainty."""
    repeats = document["repeats"]
    name = document["subject"]["path"]
    if repeats > 1:
        columns = ("metric", f"mean of {repeats}", "deviation", "95 % interval", "better")
    else:
        columns = ("metric", "value", "standard error", "better")
    rows = Table(*columns, title=shown(name), title_justify="left")
    for entry in document["metrics"].values():
        for label, value in entry["values"].items():
            error = value["standard_errors"][0]
            if repeats > 1:
                spread = (f"{value['std']:.2g}", f"{value['low']:.5g} to {value['high']:.5g}")
            else:
                spread = ("" if error is None else f"{error:.2g}",)
            rows.add_row(label, f"{value['mean']:.5g}", *spread, entry["better"] or "")
    return rows


def changes_table(name: str, history: dict[str, Any]) -> Table:
    """Mean squared change from snapshot to snapshot, by resolution."""
    sides = sorted({int(side) for row in history["changes"] for side in row["change"]})
    rows = Table("from", "to", *(f"{side} px" for side in sides), title=name, title_justify="left")
    for row in history["changes"]:
        values = (row["change"].get(str(side)) for side in sides)
        names = (shown(Path(row[end]).name) for end in ("from", "to"))
        rows.add_row(*names, *("" if value is None else f"{value:.4g}" for value in values))
    return rows


def evaluations(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The evaluations in a document: of one subject, or of every snapshot of a run."""
    return document.get("snapshots", [document])


def _changed(images: dict[str, Any]) -> str:
    """What was done to images, for a sentence."""
    how = images.get("resize")
    resized = f", {how['count']:,} of {images['count']:,} resized by {how['filter']}" if how else ""
    return resized + (", mirrored at random" if images.get("mirror") else "")


def notes(document: dict[str, Any], out: Path | None) -> list[str]:
    """The notes below the table: missing values, real images used, resizing, the best snapshot."""
    first = evaluations(document)[0]
    lines = [
        f"{shown(part['subject']['path'])}: {name} has no value: {reason}"
        for part in evaluations(document)
        for name, reason in errors(part).items()
    ]
    for name, entry in first["metrics"].items():
        if "note" in entry:
            lines.append(f"{name}: {entry['note']}")
        if "reals" in entry:
            reals = entry["reals"]
            count = reals["count"]
            again = f" ({count:,} images, some of them several times)" if reals["used"] > count else ""
            lines.append(
                f"{name}: {reals['used']:,} real images of {shown(reals['name'])}{again}{_changed(reals)}, "
                f"{reals['statistics']}"
            )
    for part in evaluations(document):
        if changed := _changed(part["subject"]["images"]):
            lines.append(f"images of {shown(part['subject']['path'])}{changed}")
    if "best" in document:
        best = document["best"]
        lines.append(f"best by {best['metric']}: {shown(best['snapshot'])} ({best['value']:.5g})")
    return lines + ([f"written to {shown(out)}"] if out else [])
