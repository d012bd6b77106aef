"""What a run directory tells of a run: everything that its report shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from styleloom import presets
from styleloom.config import Experiment
from styleloom.config.serialize import differences
from styleloom.data.dataset import ImageDataset, open_dataset
from styleloom.data.sources import EMBEDDED_SETS
from styleloom.diagnosis import Episode, episodes
from styleloom.errors import UserError
from styleloom.names import recorded_name
from styleloom.runs.directory import RunDirectory
from styleloom.runs.metrics import Judge, judge_of
from styleloom.runs.plan import flops_per_image
from styleloom.runs.records import number_of
from styleloom.runs.sessions import read_sessions

MAX_TICKS = 2000
"""Ticks that a report looks at: of longer runs, every second or third and so on, and the last."""


@dataclass(frozen=True)
class Picture:
    """A sheet of generated images, after so many thousands of images."""

    kimg: int
    path: Path


@dataclass(frozen=True)
class RunRecord:
    """One run.

    Args:
        name: how the report calls it.
        path: of its directory.
        experiment: what it trains.
        data: what the run recorded of its images.
        dataset: the images themselves, where they can still be opened.
        lines: of stats.jsonl.
        sessions: of sessions.jsonl.
        pictures: of the EMA of the generator, by images seen.
        judge: what picks its best snapshot.
        health: what was wrong with it, and when.
    """

    name: str
    path: Path
    experiment: Experiment
    data: dict[str, Any]
    dataset: ImageDataset | None
    lines: list[dict[str, Any]]
    sessions: list[dict[str, Any]]
    pictures: list[Picture]
    judge: Judge
    health: list[Episode]

    @property
    def last(self) -> dict[str, Any]:
        """The latest line; empty before the first."""
        return self.lines[-1] if self.lines else {}

    @property
    def kimg(self) -> float:
        """Thousands of images seen."""
        return self.last.get("images_seen", 0) / 1000

    def best(self) -> tuple[float, float] | None:
        """(kimg, value) of the best measurement; None where there is none."""
        scored = [(self.judge.score(line), line) for line in self.lines]
        scored = [(score, line) for score, line in scored if math.isfinite(score)]
        if not scored:
            return None
        line = min(scored, key=lambda pair: pair[0])[1]
        return line["images_seen"] / 1000, line[self.judge.field]

    def from_preset(self) -> dict[str, tuple[Any, Any]] | None:
        """Fields that differ from the preset of its name: (preset's, run's); None where there is none."""
        if self.experiment.name not in presets.names():
            return None
        changed = differences(presets.get(self.experiment.name), self.experiment)
        return {name: pair for name, pair in changed.items() if name not in ("name", "source")}

    def seconds_to_come(self) -> float | None:
        """Seconds that the rest will take on the machine of the latest ticks; None where nobody can say.

        A level takes the time of the present one in proportion to its floating-point operations.
        """
        recent = self.lines[-5:]
        rates = [line["images_per_sec"] for line in recent if line.get("images_per_sec")]
        if not rates or self.kimg >= self.experiment.total_kimg:
            return 0.0 if rates else None
        now = sorted(rates)[len(rates) // 2]
        cost = flops_per_image(self.experiment)
        level = self.last.get("level")
        here = cost[max(cost) if level is None else level][0]
        left = 0.0
        for flops, parts in cost.values():
            images = sum(max(p.end_kimg - max(p.start_kimg, self.kimg), 0) for p in parts) * 1000
            left += images * flops / here
        return left / now


def read_run(path: Path | str, name: str | None = None) -> RunRecord:
    """Read a run directory. Raises UserError where there is no run."""
    run = RunDirectory(path)
    experiment, recorded = run.read_experiment()
    lines = _thinned(run.stats.read())
    judge = judge_of(experiment)
    return RunRecord(
        name or run.path.resolve().name,
        run.path,
        experiment,
        recorded,
        _dataset(recorded),
        lines,
        read_sessions(run.path),
        pictures(run.path),
        judge,
        episodes(experiment, lines, judge.score),
    )


def pictures(folder: Path) -> list[Picture]:
    """Sheets of the EMA of the generator, the oldest first."""
    found = [Picture(number_of(file), file) for file in folder.glob("fakes-ema-*.png")]
    return sorted((picture for picture in found if picture.kimg >= 0), key=lambda picture: picture.kimg)


def names_of(paths: Sequence[Path]) -> list[str]:
    """A name for each run: the last part of its path, or more of it where two would have the same."""
    whole = [path.resolve() for path in paths]
    depth = 1
    while depth < 8 and len({path.parts[-depth:] for path in whole}) < len(set(whole)):
        depth += 1
    return ["/".join(path.parts[-depth:]) for path in whole]


def _thinned(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    every = -(-len(lines) // MAX_TICKS) or 1
    measured = [
        i for i, line in enumerate(lines) if line.get("swd") is not None or any("/" in n for n in line)
    ]
    kept = {*range(0, len(lines), every), *measured, len(lines) - 1}
    return [line for i, line in enumerate(lines) if i in kept]


def _dataset(recorded: dict[str, Any]) -> ImageDataset | None:
    path = recorded.get("path")
    if not isinstance(path, str) or not path:
        return None
    try:
        return open_dataset(recorded_name(path, EMBEDDED_SETS))
    except (UserError, OSError):
        return None
