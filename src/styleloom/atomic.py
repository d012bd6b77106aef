"""Files appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from styleloom.errors import UserError, shown


def check_place(path: Path) -> None:
    """Raise UserError where `path` is something else than a file, before any work is done for it.

    A rename would put a file in the place of a device, for every user.
    """
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "no regular file, but a device, pipe or socket"
        raise UserError(f"cannot write {shown(path)}: it is {what}")


@contextlib.contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and rename it over `path`.

    On any error, interruption included, the temporary file is removed and an older `path` stays as it was.
    The file has the permissions that the process's umask gives to a new one, whichever library writes it.
    Raises UserError when `path` is something else than a file, the folder cannot be written, or the disk is
    full.
    """
    path = Path(path)
    check_place(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            permissions = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        yield partial
        os.chmod(partial, permissions)  # safetensors makes files of its own, for the owner alone
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise UserError(f"cannot write {shown(path)}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with atomic_path(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path | str, content: str) -> None:
    """Write `content` to `path` atomically, as UTF-8."""
    write_bytes(path, content.encode())
