"""Work on many images in other processes, one process for each worker.

Processes of our own, not those of `multiprocessing`: these import the user's script again, which would then
need a guard. A worker reads pickles from its stdin and writes pickles to its stdout; its parent alone is
at the other end. It ends with its parent, however that ends, because its stdin then does.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from styleloom.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 16
"""Images that a worker is given at a time."""

_PROGRAM = "from styleloom.data.workers import serve; serve()"

_AHEAD = 2  # chunks for each worker that wait or are done


class _Worker:
    """One process."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        package = str(Path(__file__).parents[2])
        paths = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )
        self._send(work)

    def _send(self, value: Any) -> None:
        assert self._process.stdin is not None
        pickle.dump(value, self._process.stdin, pickle.HIGHEST_PROTOCOL)
        self._process.stdin.flush()

    def results(self, items: Sequence[Any]) -> list[Any]:
        """What the work makes of each item. Raises UserError where the process ended."""
        assert self._process.stdout is not None
        try:
            self._send(list(items))
            return pickle.load(self._process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError):
            raise UserError("a worker process ended unexpectedly (out of memory?); try --workers 1") from None

    def close(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._process.kill()
        self._process.wait()


def in_turn(
    pool: Executor, work: Callable[[Item], Result], items: Iterable[Item], most: int
) -> Generator[Result, None, None]:
    """`work` of every item, in their order, made by a pool; at most `most` wait for the first of them."""
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > most:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def in_order(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int, most: int
) -> Generator[Result, None, None]:
    """`work` of every item, in their order, made by `workers` processes.

    Args:
        work: can be pickled, and raises nothing.
        items: can be pickled.
        workers: processes.
        most: results that wait for their turn.
    """
    idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
    started: list[_Worker] = []
    chunk = max(1, min(CHUNK, most // max(1, workers)))
    chunks = (items[start : start + chunk] for start in range(0, len(items), chunk))

    def make(part: Sequence[Item]) -> list[Result]:
        worker = idle.get()
        try:
            return worker.results(part)
        finally:
            idle.put(worker)

    with ThreadPoolExecutor(workers) as pool:
        try:
            for _ in range(workers):
                started.append(_Worker(work))
                idle.put(started[-1])
            with contextlib.closing(in_turn(pool, make, chunks, _AHEAD * workers)) as made:
                for results in made:
                    yield from results
        finally:
            for worker in started:
                worker.close()


def serve() -> None:
    """What a worker does until its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends its workers
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print goes elsewhere
    from styleloom.data.decoding import quiet

    with quiet(), contextlib.suppress(EOFError, BrokenPipeError, pickle.UnpicklingError):
        work = pickle.load(source)
        while True:
            items = pickle.load(source)
            pickle.dump([work(item) for item in items], sink, pickle.HIGHEST_PROTOCOL)
            sink.flush()
