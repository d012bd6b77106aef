"""One process at a time trains a run, the one that holds the run's lock.

The operating system locks `run.lock` in the run's folder (POSIX record locks; `msvcrt` on Windows) and
releases it when the process ends in whatever way. The file's existence means nothing: `kill -9` leaves the
file, but no lock. Its text names the process that trains. Record locks hold between machines on NFS 4, and on
NFS 3 with its lock service; where a file system has none, a warning says so and the run is trained without.
Reading a run needs no lock, and a process may lock again what it has locked already.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
from pathlib import Path
from typing import TypeAlias

from styleloom.errors import UserError, shown

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

logger = logging.getLogger(__name__)

NAME = "run.lock"

_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_BYTE = 2**30
"""The byte that is locked: beyond the text, for Windows lets nobody else read a locked byte."""

_Key: TypeAlias = tuple[int, int, int]

_held: dict[_Key, int] = {}
"""Open descriptors by process, device and inode. They stay open as long as the lock is held: on POSIX a
process that closes any descriptor of a file loses its locks on the file."""


def lock(folder: Path) -> bool:
    """Take the lock of the run in `folder`. Raises UserError when another process has it.

    Returns:
        Whether it was taken now; False where this process has it already, or there are no locks.
    """
    file, taken = folder / NAME, False
    while _key(file) not in _held:  # again where its holder removes the file between our open and lock
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise UserError(f"cannot write {shown(file)}: {error.strerror}") from error
        try:
            _take(descriptor)
        except OSError as error:
            os.close(descriptor)
            if error.errno not in _UNSUPPORTED:
                raise UserError(
                    f"{shown(folder)}: {_holder(file)} is training this run; one process at a time may"
                ) from error
            logger.warning(
                f"{shown(folder)}: its file system has no locks; let no second process train this run"
            )
            return False
        opened = os.fstat(descriptor)
        if (key := (os.getpid(), opened.st_dev, opened.st_ino)) != _key(file):
            os.close(descriptor)
            continue
        _held[key], taken = descriptor, True
        with contextlib.suppress(OSError):  # a full disk: then it names nobody
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
    return taken


def unlock(folder: Path) -> None:
    """Release the lock and remove its file, if this process holds it."""
    file = folder / NAME
    key = _key(file)
    if key is None or key not in _held:
        return
    if fcntl is not None:
        file.unlink(missing_ok=True)  # while it is locked, so that it is ours
    os.close(_held.pop(key))
    if fcntl is None:
        with contextlib.suppress(OSError):  # Windows removes no open file
            file.unlink()


def _take(descriptor: int) -> None:
    if fcntl is not None:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _BYTE)
        return
    import msvcrt

    os.lseek(descriptor, _BYTE, os.SEEK_SET)
    msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    os.lseek(descriptor, 0, os.SEEK_SET)


def _key(file: Path) -> _Key | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return os.getpid(), found.st_dev, found.st_ino


def _holder(file: Path) -> str:
    try:
        with open(file, errors="replace") as opened:
            return shown(opened.read(200)) or "another process"
    except OSError:
        return "another process"
