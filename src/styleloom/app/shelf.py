"""What sessions keep, in memory alone: found by its owner under a name that nobody can guess."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, TypeVar

from styleloom.errors import UserError, quoted

OWN, ALL, LIFE_SEC = 12, 128, 3600.0
"""Most things of one owner, and of all; how long one is kept that nobody asks for."""

T = TypeVar("T")


@dataclass
class _Thing:
    owner: str
    value: Any
    used: float


class Shelf:
    """Things of sessions. The oldest goes where there are too many.

    Args:
        own, all_: most things of one owner, and of all.
        life_sec: how long.
    """

    def __init__(self, own: int = OWN, all_: int = ALL, life_sec: float = LIFE_SEC) -> None:
        self._own, self._all, self._life = own, all_, life_sec
        self._things: OrderedDict[str, _Thing] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._things)

    def put(self, owner: str, value: Any, name: str | None = None) -> str:
        """Keep `value`, in the place of what the owner has under `name`; its name."""
        with self._lock:
            if name is None or name not in self._things or self._things[name].owner != owner:
                name = secrets.token_urlsafe(12)
            self._things.pop(name, None)
            self._things[name] = _Thing(owner, value, time.monotonic())
            mine = [key for key, thing in self._things.items() if thing.owner == owner]
            for key in mine[: max(len(mine) - self._own, 0)]:
                del self._things[key]
            self._drop_old()
            return name

    def get(self, owner: str, name: str, kind: type[T]) -> T:
        """What `owner` keeps under `name`. Raises UserError for a name that is none, or somebody else's."""
        with self._lock:
            self._drop_old()
            thing = self._things.get(name)
            if thing is None or thing.owner != owner or not isinstance(thing.value, kind):
                raise UserError(
                    f"{quoted(name)}: nothing of this session is kept under this name (any more); load the "
                    "picture or the file again"
                )
            thing.used = time.monotonic()
            return thing.value

    def _drop_old(self) -> None:
        oldest = time.monotonic() - self._life
        for key in [key for key, thing in self._things.items() if thing.used < oldest]:
            del self._things[key]
        while len(self._things) > self._all:
            self._things.popitem(last=False)
