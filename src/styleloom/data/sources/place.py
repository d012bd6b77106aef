"""What stands at a path, looked at once, for every kind of source to recognise itself in."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from styleloom.data.paths import first_bytes, path_kind
from styleloom.errors import UserError, shown

HEAD_BYTES = 4096

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MAX_SHARDS = 100_000


@dataclass(frozen=True)
class Place:
    """A file or folder.

    Args:
        path: as a user gave it; of several files, their pattern.
        files: the path itself, or the files that the pattern means.
        names: of what lies in a folder; None of a file.
        head: first bytes of the file, or of the first file; none of a folder.
    """

    path: Path
    files: tuple[Path, ...]
    names: frozenset[str] | None
    head: bytes

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.names is not None

    def ends(self, *endings: str) -> bool:
        """Whether the file, or one at the top of the folder, has one of these endings."""
        names = [path.name for path in self.files] if self.names is None else self.names
        return any(name.lower().endswith(endings) for name in names)

    def listed(self, *endings: str) -> list[Path]:
        """Files with one of these endings: of the folder, in order of their names; or all that were given."""
        if self.names is None:
            return list(self.files)
        return [self.path / name for name in sorted(self.names) if name.lower().endswith(endings)]


def look(path: Path, missing: str, valid: str) -> Place:
    """What is at `path`, which may hold ranges: `shard-{000..127}.tar`.

    Raises UserError when nothing can be read there, `missing` and `valid` as in `path_kind`; all files of a
    range that are not there are named at once.
    """
    if _RANGE.search(str(path)) and not os.path.lexists(path):
        files = tuple(map(Path, _ranged(str(path))))
        gone = [file for file in files if not file.is_file()]
        if gone:
            some = ", ".join(map(shown, gone[:10])) + (" ..." if len(gone) > 10 else "")
            raise UserError(f"{shown(path)}: {len(gone)} of {len(files)} files are not there: {some}")
        return Place(path, files, None, first_bytes(files[0], HEAD_BYTES))
    if path_kind(path, missing, valid) == "file":
        return Place(path, (path,), None, first_bytes(path, HEAD_BYTES))
    try:
        return Place(path, (path,), frozenset(os.listdir(path)), b"")
    except OSError as error:
        raise UserError(f"cannot list {shown(path)}: {error.strerror}") from error


def _ranged(pattern: str) -> Iterator[str]:
    """Every text that a pattern with ranges means. Raises UserError for too many."""
    parts = _RANGE.split(pattern)
    texts, ranges = parts[::3], list(zip(parts[1::3], parts[2::3], strict=True))
    number = 1
    for first, last in ranges:
        number *= max(0, int(last) - int(first) + 1)
    if not 1 <= number <= _MAX_SHARDS:
        raise UserError(f"{shown(pattern)}: {number} files; valid: 1 to {_MAX_SHARDS}")
    counts = [[str(n).zfill(len(first)) for n in range(int(first), int(last) + 1)] for first, last in ranges]
    for chosen in itertools.product(*counts):
        yield texts[0] + "".join(part + text for part, text in zip(chosen, texts[1:], strict=True))
