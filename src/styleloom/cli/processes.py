"""A command on the processes that torchrun started: one of them reports."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable
from typing import TYPE_CHECKING

from styleloom.cli import USAGE_ERROR
from styleloom.errors import ProcessLostError, UserError

if TYPE_CHECKING:
    from styleloom.distributed import Processes

PATIENCE = datetime.timedelta(minutes=10)
"""How long processes wait for each other while a training is prepared; then `run.patience_minutes` holds."""


def together(work: Callable[[Processes], int]) -> int:
    """Exit status of `work`, which all processes do. What one of them cannot do, the first one reports."""
    from styleloom.distributed import Processes

    processes = Processes.join(True, PATIENCE)
    try:
        with processes.together():
            status = work(processes)
    except UserError:
        if processes.collects:
            raise
        with contextlib.suppress(ProcessLostError):
            processes.any(True)  # until the first one has reported and ended
        return USAGE_ERROR
    processes.leave()  # not after other errors: another process may be gone
    return status
