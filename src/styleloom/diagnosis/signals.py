"""The numbers that rules look at: the latest of a run, and those at the beginning of its level."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from styleloom.config import Experiment

Line = Mapping[str, Any]
"""One line of stats.jsonl."""

Score = Callable[[Line], float]
"""How good the snapshot of a line is: lower is better, infinity where nothing was measured."""

RECENT = 4
"""Ticks whose median speaks for the present."""

REACH = 48
"""Ticks in which a number that is not in every line is looked for."""

WARM_UP_STEPS = 60
"""Steps at the beginning of a level that no rule judges."""


class Signals:
    """A run's statistics up to some tick, those of its present level alone.

    Args:
        experiment: what is trained.
        lines: of stats.jsonl, from the first on.
        score: of a line.
    """

    def __init__(self, experiment: Experiment, lines: Sequence[Line], score: Score) -> None:
        self.experiment, self.all, self.score = experiment, lines, score
        last = lines[-1]
        first = len(lines)
        while first and lines[first - 1].get("level") == last.get("level"):
            first -= 1
        self.before = lines[first - 1] if first else None
        self.lines = lines[first:]

    @property
    def steps(self) -> int:
        """Since the present level began."""
        return self.lines[-1]["step"] - (self.before["step"] if self.before else 0)

    @property
    def warm(self) -> bool:
        """Whether there is enough to judge by."""
        return self.steps >= WARM_UP_STEPS and len(self.lines) > RECENT

    def recent(self, name: str, count: int = RECENT) -> list[float]:
        """The last `count` values of a number, oldest first; fewer where there are fewer."""
        found = [line[name] for line in self.lines[-REACH:] if line.get(name) is not None]
        return found[-count:]

    def now(self, name: str) -> float | None:
        """Median of the latest values; None where there are not yet enough."""
        found = self.recent(name)
        return statistics.median(found) if len(found) == RECENT else None

    def early(self, name: str) -> float | None:
        """Median of the first values of this level."""
        found = [line[name] for line in self.lines[:REACH] if line.get(name) is not None][:RECENT]
        return statistics.median(found) if len(found) == RECENT else None

    def ratio(self, name: str, other: str) -> float | None:
        """The one now over the other now; None where one of them is missing, or the other is 0."""
        above, below = self.now(name), self.now(other)
        return None if above is None or not below else above / below

    def gain(self, name: str) -> float | None:
        """A number now over what it was early."""
        now, early = self.now(name), self.early(name)
        return None if now is None or not early else now / early
