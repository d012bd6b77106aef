"""Training progress on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from styleloom.cli.report import progress_console

PLAIN_EVERY_SEC = 15.0
"""Seconds between lines where there is no terminal."""


class TrainingProgress:
    """Shows thousands of images, images/s and the time that is left.

    Args:
        images_seen: where the run stands.
        total_images: where the experiment ends.
        max_minutes: when the run ends at the latest.
    """

    def __init__(self, images_seen: int, total_images: float, max_minutes: float) -> None:
        self.total_images = total_images
        self.began = time.monotonic()
        self.deadline = self.began + max_minutes * 60
        self.first_images = images_seen
        self.console = progress_console()
        self.last_line = -PLAIN_EVERY_SEC
        self.losses = ""
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("train", total=1.0, text="")

    def __call__(self, line: dict[str, Any]) -> None:
        """Take what `fit` reports."""
        if "loss_g" in line:
            self.losses = f"  loss G {line['loss_g'] or 0:.2f} D {line['loss_d'] or 0:.2f}"
            if line.get("swd") is not None:
                self.losses += f"  SWD {line['swd']:.1f}"
        now = time.monotonic()
        images, rate = line["images_seen"], line["images_per_sec"]
        left = min((self.total_images - images) / max(rate, 1e-9), self.deadline - now)
        spent = now - self.began
        eta = f"ETA {duration(left)}"
        if line.get("level") is not None:  # later levels cost more: their time is not known yet
            eta = f"at {4 << line['level']} px"
        text = (
            f"{images / 1000:.1f}/{self.total_images / 1000:g} kimg  {rate:.0f} images/s  {eta}{self.losses}"
        )
        if self.console.is_terminal:
            self.bar.update(self.task, completed=spent / max(spent + left, 1e-9), text=text)
        elif now - self.last_line >= PLAIN_EVERY_SEC:
            self.last_line = now
            self.console.print(f"train  {text}", highlight=False, soft_wrap=True)

    def __enter__(self) -> TrainingProgress:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()


def duration(seconds: float) -> str:
    """ "2:05", "3:20:00", "12 days"."""
    seconds = max(int(seconds), 0)
    if seconds >= 2 * 86400:
        return f"{seconds // 86400} days"
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
