"""Progress of trainings, evaluations and downloads on stderr: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, TypeVar

from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from styleloom.cli.report import progress_console, tell
from styleloom.errors import printable

PLAIN_EVERY_SEC = 15.0
"""Seconds between lines where there is no terminal."""


P = TypeVar("P", bound="ProgressLine")


class ProgressLine:
    """A bar with text on a terminal; elsewhere the text alone, now and then.

    Args:
        description: before the bar, and before the text where there is no bar; may be empty.
        enabled: False shows nothing: for all processes of an evaluation but the first.
        transient: whether the bar disappears when it is done.
    """

    def __init__(self, description: str = "", enabled: bool = True, transient: bool = False) -> None:
        self.console = progress_console()
        self.description = description
        self.enabled = enabled
        self.began = time.monotonic()
        self.last_line = -PLAIN_EVERY_SEC
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[text]}", markup=False),
            TimeElapsedColumn(),
            console=self.console,
            disable=not enabled,
            transient=transient,
        )
        self.task = self.bar.add_task(printable(description), total=1.0, text="")

    def show(self, text: str, completed: float | None = None, last: bool = False) -> None:
        """Show where things stand; `completed` in 0..1 moves the bar, `last` is written in any case."""
        if self.console.is_terminal:
            self.bar.update(self.task, completed=completed, text=printable(text))
            return
        now = time.monotonic()
        if self.enabled and (last or now - self.last_line >= PLAIN_EVERY_SEC):
            self.last_line = now
            tell(f"{self.description}  {text}".strip())

    def __enter__(self: P) -> P:
        if self.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.console.is_terminal:
            self.bar.stop()


class TrainingProgress(ProgressLine):
    """Shows thousands of images, images/s and the time that is left.

    Args:
        total_images: where the experiment ends.
        max_minutes: when the run ends at the latest.
        enabled: False shows nothing: for all processes of a training but the first.
    """

    def __init__(self, total_images: float, max_minutes: float, enabled: bool = True) -> None:
        super().__init__("train", enabled)
        self.total_images = total_images
        self.deadline = self.began + max_minutes * 60
        self.losses = self.measuring = ""
        self.measuring_began = self.began

    def __call__(self, line: dict[str, Any]) -> None:
        """Take what `fit` reports."""
        if "loss_g" in line:
            self.losses = f"  loss G {line['loss_g'] or 0:.2f} D {line['loss_d'] or 0:.2f}"
            if line.get("swd") is not None:
                self.losses += f"  SWD {line['swd']:.1f}"
        now = time.monotonic()
        if "measuring" in line:
            self._measuring(*line["measuring"])
            return
        self.measuring = ""
        images, rate = line["images_seen"], line["images_per_sec"]
        left = min((self.total_images - images) / max(rate, 1e-9), self.deadline - now)
        spent = now - self.began
        eta = f"ETA {duration(left)}"
        if line.get("level") is not None:  # later levels cost more: their time is not known yet
            eta = f"at {4 << line['level']} px"
        text = (
            f"{images / 1000:.1f}/{self.total_images / 1000:g} kimg  {rate:.0f} images/s  {eta}{self.losses}"
        )
        self.show(text, spent / max(spent + left, 1e-9))

    def _measuring(self, what: str, done: int, total: int) -> None:
        """Show how far a metric is; the bar of the training stands still meanwhile."""
        now = time.monotonic()
        if what != self.measuring or done == 0:
            self.measuring, self.measuring_began = what, now
        self.show(f"measuring: {of_so_many(what, done, total, now - self.measuring_began)}")


class EvaluationProgress(ProgressLine):
    """Shows what an evaluation is doing, how much of it is done, and the time that this part still takes."""

    def __init__(self, enabled: bool = True) -> None:
        super().__init__(enabled=enabled, transient=True)
        self.last_line = self.began  # so that short evaluations print no line
        self.what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Take what an evaluation reports."""
        now = time.monotonic()
        if what != self.what or done == 0:
            self.what, self.began = what, now
        self.show(of_so_many(what, done, total, now - self.began), done / max(total, 1))


@contextlib.contextmanager
def counting(what: str, amount: ProgressColumn) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr that disappears when it is done; yields a function of the amount done and the total.

    Args:
        what: before the bar.
        amount: the column of rich that shows the amount, in pieces or bytes.
    """
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), amount, TimeRemainingColumn())
    screen = progress_console()
    if not screen.is_terminal:
        yield lambda done, total: None
        return
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task(printable(what), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def of_so_many(what: str, done: int, total: int, seconds: float) -> str:
    """ "generated images  512/10,000  ETA 1:20"; the ETA assumes the speed so far."""
    text = f"{what}  {done:,}/{total:,}"
    left = seconds / done * (total - done) if done else 0.0
    return f"{text}  ETA {duration(left)}" if 0 < done < total else text


def duration(seconds: float) -> str:
    """ "2:05", "3:20:00", "12 days"."""
    seconds = max(int(seconds), 0)
    if seconds >= 2 * 86400:
        return f"{seconds // 86400} days"
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
