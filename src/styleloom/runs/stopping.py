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
    """A context in which a signal of `ASK` sets `requested`; a second Ctrl-C raises KeyboardInterrupt.

    `fit` then ends the training after the step in progress and saves it. A signal that the process ignores
    (`nohup`, a job in the background) stays ignored. Outside the main thread Python takes no handlers: there
    signals do what they did before, and the caller may set `requested`.
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
