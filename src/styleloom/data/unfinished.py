"""A build on its way: the file that will be the archive, and a journal of what is in it.

Both lie beside the destination under hidden names. When the process is killed they stay, and the next build
of the same source with the same options goes on from there; every entry is read again and compared first. The
journal has a line for each image, written after the image itself. Errors, and Ctrl-C, remove both.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from styleloom.atomic import check_place
from styleloom.errors import UserError, shown


@dataclass(frozen=True)
class Line:
    """What became of one image.

    Args:
        name: in the source.
        digest: see `index.content_digest`.
        size: bytes of its file in the archive; 0 for a bad image.
        reason: why it is bad; empty for a good one.
    """

    name: str
    digest: bytes
    size: int = 0
    reason: str = ""


class Unfinished:
    """Use as a context: afterwards the destination is there, whole, or untouched.

    Args:
        dest: of the archive.
        key: what the build depends on. Files of another key are thrown away.
    """

    def __init__(self, dest: Path, key: str) -> None:
        self._dest, self._key = dest, key
        self._partial = dest.with_name(f".{dest.name}.partial")
        self._journal_path = dest.with_name(f".{dest.name}.journal")
        self.lines: list[Line] = []
        self.file: BinaryIO

    def __enter__(self) -> Unfinished:
        check_place(self._dest)
        with _told(self._dest):
            self._dest.parent.mkdir(parents=True, exist_ok=True)
            self._journal = open(self._journal_path, "a+b")
            try:
                _lock(self._journal, self._dest)
                self.lines = self._read_journal() if self._partial.exists() else []
                self.file = open(self._partial, "r+b" if self.lines else "w+b")
            except BaseException:
                self._journal.close()
                raise
        return self

    def keep(self, lines: list[Line]) -> None:
        """Begin the journal anew with what was found to be whole."""
        with _told(self._dest):
            self._journal.truncate(0)
            self._journal.write(json.dumps({"key": self._key}).encode() + b"\n")
            for line in lines:
                self._write(line)
            self._journal.flush()

    def note(self, line: Line) -> None:
        """Add a line, once its image is written."""
        self.file.flush()
        self._write(line)
        self._journal.flush()

    def _write(self, line: Line) -> None:
        fields = [line.name, line.digest.hex(), line.size, line.reason]
        self._journal.write(json.dumps(fields).encode() + b"\n")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if kind is None:
                with _told(self._dest):
                    self.file.flush()
                    os.fsync(self.file.fileno())
                    self.file.close()
                    os.replace(self._partial, self._dest)
        finally:
            with contextlib.suppress(OSError):
                self.file.close()
            for path in (self._partial, self._journal_path):
                with contextlib.suppress(OSError):
                    path.unlink()
            self._journal.close()
        if isinstance(error, OSError):
            raise _unwritten(self._dest, error) from error

    def _read_journal(self) -> list[Line]:
        """The lines of an earlier process; none where it built something else."""
        self._journal.seek(0)
        found: list[Line] = []
        try:
            if json.loads(self._journal.readline()) != {"key": self._key}:
                return []
            for text in self._journal:
                if not text.endswith(b"\n"):
                    break
                name, digest, size, reason = json.loads(text)
                found.append(Line(name, bytes.fromhex(digest), size, reason))
        except (ValueError, TypeError):
            pass  # what comes before a damaged line holds
        return found


@contextlib.contextmanager
def _told(dest: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unwritten(dest, error) from error


def _unwritten(dest: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {shown(dest)}: {error.strerror or error}")


def _lock(file: BinaryIO, dest: Path) -> None:
    """Raise UserError where another process builds the same archive; the lock ends with the process."""
    try:
        import fcntl
    except ImportError:  # another system: without a lock
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UserError(f"{shown(dest)} is being built by another process") from None
