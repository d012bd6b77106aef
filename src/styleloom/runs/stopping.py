"""Signals that ask a training to save and end."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

ASK = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)
"""Ctrl-C; what schedulers and `kill` send; a terminal that is closed; Ctrl-Break of Windows."""


class StopRequest:
    """While it is entered, a signal is a request to save and end; a second Ctrl-C interrupts at once.

    A signal that the process ignores stays ignored (`nohup`, a job in the background). In another thread than
    the main one the caller's handlers stay.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        for number in ASK:
            if signal.getsignal(number) is signal.SIG_IGN:
                continue
            try:
                self._previous[number] = signal.signal(number, self._handle)
            except ValueError:  # not the main thread
                break
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
