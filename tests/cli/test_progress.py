"""Progress on stderr."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from every import every
from styleloom.cli import progress as module
from styleloom.cli.progress import PLAIN_EVERY_SEC, TrainingProgress, duration


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the time."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def set_to(seconds: float) -> None:
        now[0] = 1000 + seconds

    return set_to


def line(images: int, rate: float = 10.0, **more: float | None) -> dict[str, float | None]:
    return {"images_seen": images, "images_per_sec": rate, **more}


def test_a_line_from_time_to_time(clock: Callable[[float], None], capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingProgress(10_000, float("inf")) as progress:
        for second in range(61):
            clock(second)
            progress(line(100 * second))
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 1 + 60 // PLAIN_EVERY_SEC
    assert lines[0] == "train  0.0/10 kimg  10 images/s  ETA 16:40"
    assert lines[-1] == "train  6.0/10 kimg  10 images/s  ETA 6:40"


def test_losses_and_distance(clock: Callable[[float], None], capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingProgress(10_000, float("inf")) as progress:
        progress(line(100, loss_g=1.234, loss_d=None, swd=56.78))
        clock(20)
        progress(line(200))
    first, second = capsys.readouterr().err.splitlines()
    for shown in (first, second):  # until the next tick
        assert shown.endswith("loss G 1.23 D 0.00  SWD 56.8")


def test_the_time_that_is_left_is_bounded_by_minutes(
    clock: Callable[[float], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with TrainingProgress(10_000_000, 2) as progress:
        progress(line(100))
    assert "ETA 2:00" in capsys.readouterr().err


def test_on_a_terminal_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(
        module, "progress_console", lambda: Console(file=screen, force_terminal=True, width=120)
    )
    with TrainingProgress(1000, float("inf")) as progress:
        for images in (0, 500, 1000):
            progress(line(images))
    shown = screen.getvalue()
    assert "images/s" in shown
    assert "1.0/1 kimg" in shown
    assert shown.endswith("\x1b[?25h")  # the cursor is back


def test_a_rate_of_zero(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingProgress(1000, float("inf")) as progress:
        progress(line(0, 0.0))
    assert "days" in capsys.readouterr().err


@every(
    ("seconds", "text"),
    [
        (-5, "0:00"),
        (0, "0:00"),
        (65, "1:05"),
        (3600, "1:00:00"),
        (86400, "24:00:00"),
        (86400 * 12, "12 days"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
