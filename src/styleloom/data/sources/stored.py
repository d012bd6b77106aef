"""Bytes at a place in a file, for any number of threads and processes."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any


class StoredBytes:
    """A file of which pieces are read by offset. Can be pickled; each process opens it for itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self._lock = threading.Lock()
        self._opened: tuple[int, int] | None = None  # process, file descriptor

    def read(self, offset: int, count: int) -> bytes:
        """`count` bytes, or fewer at the end of the file. Raises OSError."""
        if hasattr(os, "pread"):
            return os.pread(self._descriptor(), count, offset)
        with open(self.path, "rb") as file:
            file.seek(offset)
            return file.read(count)

    def _descriptor(self) -> int:
        with self._lock:
            if self._opened is None or self._opened[0] != os.getpid():
                self._opened = (os.getpid(), os.open(self.path, os.O_RDONLY))
            return self._opened[1]

    def close(self) -> None:
        """Close the file; a later read opens it again."""
        with self._lock:
            if self._opened is not None and self._opened[0] == os.getpid():
                os.close(self._opened[1])
            self._opened = None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])

    def __del__(self) -> None:
        if getattr(self, "_opened", None) is not None:
            self.close()
