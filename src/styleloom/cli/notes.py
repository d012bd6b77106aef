"""Notes: what the library logs, as lines on stderr."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator

from styleloom.errors import printable

LIBRARY = "styleloom"
"""The logger above those of all modules."""


class NoteHandler(logging.Handler):
    """Writes each record as `note: MESSAGE`, control characters escaped, to what is `sys.stderr` by then."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record; where nobody can read it any more, the work goes on without it."""
        with contextlib.suppress(OSError):
            print(f"note: {printable(record.getMessage())}", file=sys.stderr)


@contextlib.contextmanager
def notes_on_stderr() -> Iterator[None]:
    """Until the end, records of the library from level INFO on are notes on stderr, and go nowhere else.

    Nowhere else, so that no handler that another library gave the root logger prints them a second time.
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
