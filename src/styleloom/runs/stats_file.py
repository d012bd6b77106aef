"""stats.jsonl: one JSON object per tick, with what was measured since the tick before."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

from styleloom.atomic import write_text
from styleloom.errors import UserError, shown
from styleloom.file_kinds import readable_file

logger = logging.getLogger(__name__)

NAME = "stats.jsonl"


class StatsFile:
    """The statistics of the run in `folder`; the file at `path` need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def append(self, line: dict[str, Any]) -> None:
        """Add a tick."""
        try:
            with open(self.path, "a") as file:
                file.write(json.dumps(line, allow_nan=False) + "\n")
        except OSError as error:
            raise UserError(f"cannot write {shown(self.path)}: {error.strerror}") from error

    def read(self) -> list[dict[str, Any]]:
        """Every line that is whole. A damaged one, as a crash may leave at the end, is left out."""
        return [line for line in map(_parsed, self._text().split("\n")) if line is not None]

    def rewind(self, step: int) -> None:
        """Forget ticks after `step`, where the run continues. Damaged lines go as well, with a warning."""
        text = self._text()
        lines = [line for line in text.split("\n") if line.strip()]
        damaged = sum(_parsed(line) is None for line in lines[:-1])  # the last one: cut off by a crash
        if damaged:
            logger.warning(f"{shown(self.path)}: damaged lines are left out: {damaged}")
        whole = [(line, found) for line in lines if (found := _parsed(line)) is not None]
        kept = "".join(f"{line}\n" for line, found in whole if found["step"] <= step)
        if kept != text or not text:
            write_text(self.path, kept)

    def _text(self) -> str:
        try:
            if not self.path.exists():
                return ""
            readable_file(self.path, "the statistics of a run")
            return self.path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise UserError(f"cannot read {shown(self.path)}: {error.strerror}") from error


def _parsed(line: str) -> dict[str, Any] | None:
    """A line of statistics: an object of numbers, counters among them; None for a damaged one."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or "step" not in found:
        return None
    counters = all(type(found.get(name, 0)) is int for name in ("step", "tick", "images_seen"))
    numbers = all(value is None or _is_number(value) for value in found.values())
    return found if counters and numbers and found.get("sec_total", 0) is not None else None


def _is_number(value: Any) -> bool:
    limit = sys.float_info.max
    return type(value) in (int, float) and -limit <= value <= limit
