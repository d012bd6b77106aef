"""stdout and stderr that no text, encoding or closed descriptor can break."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator

logger = logging.getLogger(__name__)

STANDARD = ("stdin", "stdout", "stderr")
"""Names of the streams, by file descriptor."""


@contextlib.contextmanager
def safe_streams() -> Iterator[None]:
    """Make stdout and stderr take any text: characters that the encoding lacks are written as escapes.

    A stream that was closed before Python began is replaced by one that discards what is written to it.

    The encodings stay, and so do objects that the caller had put into `sys.stdout` and `sys.stderr`.
    """
    closed = []
    with contextlib.ExitStack() as stack:
        for descriptor, name in enumerate(STANDARD):
            if getattr(sys, name) is None:  # closed before Python began
                setattr(sys, name, _nowhere(descriptor))
                stack.callback(setattr, sys, name, None)
                closed.append(name)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stack.callback(stream.reconfigure, errors=stream.errors)
                stream.reconfigure(errors="backslashreplace")
        if "stdout" in closed:
            logger.warning("stdout is closed: what this command prints is lost")
        yield


def discard(stream: object) -> None:
    """Send what `stream` still holds to the null device: its reader is gone, or its disk is full."""
    with contextlib.suppress(OSError, ValueError, AttributeError), open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())  # type: ignore[attr-defined]


def _nowhere(descriptor: int) -> io.TextIOWrapper:
    """The null device, at `descriptor` if that is free, so that no file opened later takes its place."""
    null = os.open(os.devnull, os.O_RDWR)
    with contextlib.suppress(OSError):
        os.fstat(descriptor)
        return os.fdopen(null, "w")
    os.dup2(null, descriptor)
    os.close(null)
    return os.fdopen(descriptor, "w", closefd=False)
