"""Signals end a command in order: as Ctrl-C does, with unfinished files removed."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from types import FrameType

INTERRUPTED = 130
"""Exit status of a command that a signal ended."""

ENDING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
"""Signals that ask a process to end, where the system has them."""

TOGETHER_SEC = 0.5
"""Signals that come within this time are one request: a closing session sends SIGTERM and SIGHUP."""


class Interruption:
    """What is known of a request to end: `name` of the first signal that came, and when."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.came = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The first signal unwinds the stack; one that comes later ends the process at once."""
        now = time.monotonic()
        if self.name is None:
            self.name, self.came = signal.Signals(number).name, now
            raise KeyboardInterrupt
        if now - self.came > TOGETHER_SEC:
            os._exit(INTERRUPTED)


@contextlib.contextmanager
def orderly_end() -> Iterator[Interruption]:
    """Until the end, the signals of `ENDING` raise KeyboardInterrupt in the main thread.

    A signal that the process was started to ignore (nohup) stays ignored, and one for which the calling
    program has a handler of its own keeps that. In other threads nothing changes.
    """
    interruption, previous = Interruption(), {}
    try:
        for number in (getattr(signal, name) for name in ENDING if hasattr(signal, name)):
            handler = signal.getsignal(number)
            if handler in (signal.SIG_DFL, signal.default_int_handler):
                with contextlib.suppress(ValueError):  # not the main thread
                    previous[number] = signal.signal(number, interruption)
        yield interruption
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
