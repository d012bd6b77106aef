"""What the studies share: how they are called, and pieces of their pages."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import tyro

from styleloom.errors import UserError
from styleloom.metrics.intervals import summarize

HAND_WRITTEN = "seen.md"
"""In the folder of a page's pictures: what somebody wrote for the page, such as what the pictures show."""

Options = TypeVar("Options")


def run_study(main: Callable[[Options], int], options: type[Options]) -> NoReturn:
    """End the process with what `main` returns for the options of the command line, or with its UserError."""
    try:
        sys.exit(main(tyro.cli(options)))
    except UserError as error:
        sys.exit(f"error: {error}")


def hand_written(folder: Path) -> str | None:
    """What somebody wrote for the page; None where nobody did."""
    path = folder / HAND_WRITTEN
    return path.read_text() if path.exists() else None


def when_and_where(records: Iterable[dict[str, Any]]) -> str:
    """Dates, as a range, and machines of what was measured: "2026-11-21 to 2026-11-22; a machine"."""
    records = list(records)
    dates = sorted(record["date"] for record in records)
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    return "; ".join([when, *different(records, "machine")])


def different(records: Iterable[dict[str, Any]], key: str) -> list[str]:
    """The values of a field, each once."""
    return list(dict.fromkeys(record[key] for record in records))


def mean_and_deviation(values: Sequence[float], digits: int) -> str:
    """ "24.31 ± 1.20": the standard deviation is left out for a single value."""
    found = summarize(values)
    spread = "" if found.std is None else f" ± {found.std:.{digits}f}"
    return f"{found.mean:.{digits}f}{spread}"
