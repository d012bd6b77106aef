"""Signals end a command in order: as Ctrl-C does, with unfinished files removed."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

INTERRUPTED = 130
"""Exit status of a command that a signal ended."""

ENDING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
"""Signals that ask a process to end, where the system has them."""

TOGETHER_SEC = 0.5
"""Signals that come within this time are one request: a closing session sends SIGTERM and SIGHUP."""


REMIND_SEC = 0.5
"""Seconds until the interruption is raised again, in case a library swallowed it, as an import may."""


class Interruption:
    """A request to end the command: `name` of the first signal that came, None before, and when it `came`."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.came = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The first signal unwinds the stack; one that comes later ends the process at once."""
        now = time.monotonic()
        if self.name is None:
            self.name, self.came = signal.Signals(number).name, now
            _remind(REMIND_SEC)
            raise KeyboardInterrupt
        if now - self.came > TOGETHER_SEC:
            os._exit(INTERRUPTED)

    def again(self, number: int, frame: FrameType | None) -> None:
        """Interrupt anew, unless the stack is unwinding already."""
        error = sys.exc_info()[1]
        while error is not None:
            if isinstance(error, KeyboardInterrupt):
                return
            error = error.__context__
        raise KeyboardInterrupt

    def settle(self) -> None:
        """Stop reminding: the stack is unwound, and nothing is left to interrupt."""
        _remind(0)
        exec("")  # else CPython ends by SIGINT a process in which KeyboardInterrupt has left an exec()


def _remind(seconds: float) -> None:
    if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds)


@contextlib.contextmanager
def orderly_end() -> Iterator[Interruption]:
    """Until the end, the signals of `ENDING` raise KeyboardInterrupt in the main thread.

    A signal that the process was started to ignore (nohup) stays ignored, and one for which the calling
    program has a handler of its own keeps that. In other threads nothing changes.
    """
    interruption, previous = Interruption(), {}
    handlers: dict[int, Callable[[int, FrameType | None], None]]
    handlers = {getattr(signal, name): interruption for name in ENDING if hasattr(signal, name)}
    if hasattr(signal, "SIGALRM"):
        handlers[signal.SIGALRM] = interruption.again
    try:
        for number, handler in handlers.items():
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                with contextlib.suppress(ValueError):  # not the main thread
                    previous[number] = signal.signal(number, handler)
        yield interruption
    finally:
        if interruption.name is not None:
            interruption.settle()
        for number, handler in previous.items():
            signal.signal(number, handler)
