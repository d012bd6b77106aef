"""Long work in a bounded queue, one piece at a time. Each session has one, which can be watched and ended."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

from styleloom.errors import UserError

logger = logging.getLogger(__name__)

WAITING = 8
"""Most pieces of work that wait."""

LONGEST_SEC = 900.0
"""Work that takes longer is stopped with what it has."""

REMEMBERED = 64
"""How many are remembered when they are over."""


class BusyError(UserError):
    """More work than is taken."""


class Stopped(Exception):  # noqa: N818 - no error
    """Raised within work that is to end."""


@dataclass
class Work:
    """One piece of work.

    Args:
        owner: the session.
        name: nobody can guess it.
        state: "waiting", "running", "done", "stopped", "failed".
        done, total: steps.
        found: what there is so far, as JSON.
    """

    owner: str
    name: str
    state: Literal["waiting", "running", "done", "stopped", "failed"] = "waiting"
    done: int = 0
    total: int = 0
    found: dict[str, Any] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    began: float = 0.0

    def step(self, done: int, total: int, **found: Any) -> None:
        """Tell how far it is. Raises Stopped when it is to end."""
        self.done, self.total = done, total
        self.found.update(found)
        if self.stop.is_set() or time.monotonic() - self.began > LONGEST_SEC:
            raise Stopped

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"work": self.name, "state": self.state, "done": self.done, "total": self.total, **self.found}


class Office:
    """Where work is taken."""

    def __init__(self, waiting: int = WAITING) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="work")
        self._waiting = waiting
        self._all: OrderedDict[str, Work] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, owner: str, task: Callable[[Work], None]) -> Work:
        """Take on work; what the session had going on ends. Raises BusyError when too much waits."""
        with self._lock:
            for other in self._all.values():
                if other.owner == owner:
                    other.stop.set()
            going = [w for w in self._all.values() if w.state == "waiting" and not w.stop.is_set()]
            if len(going) >= self._waiting:
                raise BusyError("too much work is waiting; try again in a minute")
            work = Work(owner, secrets.token_urlsafe(12))
            self._all[work.name] = work
            while len(self._all) > REMEMBERED + self._waiting:
                self._all.popitem(last=False)[1].stop.set()
        self._pool.submit(self._run, work, task)
        return work

    def get(self, owner: str, name: str) -> Work:
        """The work of this name. Raises UserError where it is nobody's, or somebody else's."""
        work = self._all.get(name)
        if work is None or work.owner != owner:
            raise UserError("work: there is none of this name in this session")
        return work

    def close(self) -> None:
        """Stop all."""
        for work in list(self._all.values()):
            work.stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, work: Work, task: Callable[[Work], None]) -> None:
        work.began = time.monotonic()
        if work.stop.is_set():
            work.state = "stopped"
            return
        work.state = "running"
        try:
            task(work)
            work.state = "done"
        except Stopped:
            work.state = "stopped"
        except UserError as error:
            work.found["error"] = str(error)
            work.state = "failed"
        except Exception:
            logger.exception("work of the page failed")
            work.found["error"] = "it failed; the terminal of `styleloom app` says why"
            work.state = "failed"
