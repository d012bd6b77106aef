"""`styleloom train --profile STEPS`: steps of a training as a Chrome trace in its run directory."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from styleloom.atomic import atomic_path
from styleloom.errors import UserError, shown
from styleloom.training.trainer import Trainer

logger = logging.getLogger(__name__)

WARMUP_STEPS = 3
"""Steps before the recorded ones: the first allocate memory and choose algorithms."""

MAX_STEPS = 100
"""More make traces of gigabytes, which no viewer opens."""


def check_steps(steps: int) -> None:
    """Raise UserError unless so many steps can be recorded."""
    if not 1 <= steps <= MAX_STEPS:
        raise UserError(f"--profile: {steps} is not valid, it must be 1 to {MAX_STEPS} steps")


@contextlib.contextmanager
def recorded(trainer: Trainer, folder: Path, steps: int | None) -> Iterator[Callable[[], None]]:
    """Yield what to call after each step; write `profile-STEP.json`, STEP steps having been taken before.

    The trace has the operations of each step, within ranges that have the names of its phases
    (`training/clock.py`). When the training ends earlier, it has fewer steps.

    Args:
        folder: where the trace is written, whole or not at all.
        steps: to record after `WARMUP_STEPS`; None records nothing.

    Raises UserError for steps outside 1 to `MAX_STEPS`, and when the trace cannot be written.
    """
    if steps is None:
        yield lambda: None
        return
    check_steps(steps)
    path = folder / f"profile-{trainer.step_count + WARMUP_STEPS:09d}.json"

    def write(found: profile) -> None:
        with atomic_path(path) as partial:
            found.export_chrome_trace(str(partial))

    activities = [ProfilerActivity.CPU]
    if trainer.device.type == "cuda" and torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    order = schedule(wait=WARMUP_STEPS - 1, warmup=1, active=steps, repeat=1)
    with profile(activities=activities, schedule=order, on_trace_ready=write, acc_events=True) as profiler:
        yield profiler.step
    if path.exists():
        logger.info(f"the profile is in {shown(path)}; open it at https://ui.perfetto.dev")
    else:
        logger.warning(
            f"no profile: the training ended within {WARMUP_STEPS} steps, before the first recorded"
        )
