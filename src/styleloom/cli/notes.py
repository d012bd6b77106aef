"""Notes: what the library logs, as lines on stderr."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator

from styleloom.errors import printable

LIBRARY = "styleloom"
"""The logger above those of all modules."""


class NoteHandler(logging.Handler):
    """Prints each record as `note: MESSAGE` to the current `sys.stderr`, with control characters escaped."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record; where nobody can read it any more, the work goes on without it.

        Of processes that work together, the first one prints.
        """
        if os.environ.get("RANK", "0") != "0":
            return
        with contextlib.suppress(OSError):
            print(f"note: {printable(record.getMessage())}", file=sys.stderr)


@contextlib.contextmanager
def notes_on_stderr() -> Iterator[None]:
    """A context in which the library's records from level INFO on are printed as notes on stderr.

    They do not reach the root logger, whose handlers, set by other libraries, would print them once more.
    """
    logger, handler = logging.getLogger(LIBRARY), NoteHandler()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
