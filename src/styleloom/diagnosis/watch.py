"""The findings of a run: at its last tick, over all of it, and those that are new."""

from __future__ import annotations

from collections.abc import Sequence

from styleloom.config import Experiment
from styleloom.diagnosis.finding import Episode, Finding
from styleloom.diagnosis.rules import RULES
from styleloom.diagnosis.signals import Line, Score, Signals


def examine(experiment: Experiment, lines: Sequence[Line], score: Score) -> list[Finding]:
    """What is wrong at the last of `lines`, the statistics of a run from its first tick on."""
    if not lines:
        return []
    signals = Signals(experiment, lines, score)
    return [finding for rule in RULES if (finding := rule(signals)) is not None]


def episodes(experiment: Experiment, lines: Sequence[Line], score: Score) -> list[Episode]:
    """What was wrong in the course of a run, in the order in which it began."""
    open_, closed = dict[str, Episode](), list[Episode]()
    for count in range(1, len(lines) + 1):
        kimg = lines[count - 1]["images_seen"] / 1000
        found = {finding.rule: finding for finding in examine(experiment, lines[:count], score)}
        closed += [open_.pop(rule) for rule in list(open_) if rule not in found]
        for rule, finding in found.items():
            began = open_[rule].from_kimg if rule in open_ else kimg
            open_[rule] = Episode(finding, began, kimg, lasts=count == len(lines))
    return sorted([*closed, *open_.values()], key=lambda episode: episode.from_kimg)


class Watch:
    """Says at every tick what has become wrong since the one before.

    Args:
        experiment: what is trained.
        lines: of stats.jsonl so far; what was wrong at the last of them is known.
        score: how good the snapshot of a line is.
    """

    def __init__(self, experiment: Experiment, lines: Sequence[Line], score: Score) -> None:
        self.experiment, self.lines, self.score = experiment, list(lines), score
        self.known = {finding.rule for finding in examine(experiment, self.lines, score)}

    def take(self, line: Line) -> list[Finding]:
        """Take the line of a tick; what is wrong now and was not at the tick before."""
        self.lines.append(line)
        found = examine(self.experiment, self.lines, self.score)
        new = [finding for finding in found if finding.rule not in self.known]
        self.known = {finding.rule for finding in found}
        return new
