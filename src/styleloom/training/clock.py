"""How long the phases of a step take, and how much of it is waiting for images."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.profiler import record_function


@dataclass
class Total:
    """Sum of seconds over so many runs."""

    seconds: float = 0.0
    runs: int = 0


class PhaseClock:
    """Measures the phases of steps, and gives each a range of its name in the profiler's traces.

    On CUDA a phase's time is that between two events of the device's stream. They are read when a step ends,
    after the host has waited for the device: measuring adds no wait. Elsewhere it is the host's time.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_cuda = device.type == "cuda"
        self._device = device
        self.reset()

    def reset(self) -> None:
        """Forget what was measured."""
        self._totals: dict[str, Total] = {}
        self._running: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        self._step_began = time.perf_counter()
        self._step_sec = self._data_wait_sec = 0.0

    def begin_step(self) -> None:
        """A step begins."""
        self._running.clear()
        self._step_began = time.perf_counter()

    def end_step(self) -> None:
        """A step has ended; on CUDA the host has waited for all its phases."""
        for name, began, ended in self._running:
            self._add(name, began.elapsed_time(ended) / 1000)
        self._running.clear()
        self._step_sec += time.perf_counter() - self._step_began

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Context manager: measures one phase, and names it in a profile."""
        with record_function(name):
            if self._on_cuda:
                began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                stream = torch.cuda.current_stream(self._device)
                began.record(stream)
                yield
                ended.record(stream)
                self._running.append((name, began, ended))
            else:
                began_sec = time.perf_counter()
                yield
                self._add(name, time.perf_counter() - began_sec)

    @contextlib.contextmanager
    def data_wait(self) -> Iterator[None]:
        """Around the host's waiting for images."""
        with record_function("data_wait"):
            began = time.perf_counter()
            yield
            self._data_wait_sec += time.perf_counter() - began

    def read(self) -> dict[str, float]:
        """By the names of stats.jsonl, over all steps since the last `reset`.

        `sec_PHASE` is the mean over the steps that ran the phase, `data_wait_share` the share in 0..1 of all
        steps' time in which the host waited for images. Empty before the first step.
        """
        if not self._step_sec:
            return {}
        means = {f"sec_{name}": total.seconds / total.runs for name, total in self._totals.items()}
        return means | {"data_wait_share": self._data_wait_sec / self._step_sec}

    def _add(self, name: str, seconds: float) -> None:
        total = self._totals.setdefault(name, Total())
        total.seconds += seconds
        total.runs += 1
