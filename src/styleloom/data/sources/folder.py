"""A folder of image files."""

from __future__ import annotations

import os
from pathlib import Path

from styleloom.data.image_names import images_among, index_among
from styleloom.data.sources.source import (
    Source,
    file_head,
    file_size,
    identity,
    read_file,
    refuse_large_index,
)
from styleloom.errors import UserError, shown


class FolderSource(Source):
    """All images below a folder, sorted by name.

    Links are followed; a folder that can be reached twice (a loop of links included) is read once, under the
    first name in walking order.
    """

    kind = "a folder of images"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._unlisted: dict[str, str] = {}
        self._folders: set[tuple[int, int] | None] = set()
        found = self._walk()
        names, self.ignored = images_among(found, self._head)
        self.names = tuple(sorted([*names, *self._unlisted]))
        self.index_name = index_among(set(found), names)

    def size(self, name: str) -> int:
        """Bytes of one file. Raises OSError."""
        if name in self._unlisted:
            raise OSError(self._unlisted[name])
        return file_size(self.path / name)

    def read(self, name: str) -> bytes:
        """The bytes of one file. Raises OSError."""
        if name in self._unlisted:
            raise OSError(self._unlisted[name])
        return read_file(self.path / name)

    def index(self) -> bytes | None:
        """The bytes of `dataset.json`. Raises OSError."""
        if self.index_name is None:
            return None
        refuse_large_index(self.size(self.index_name), len(self.names))
        return (self.path / self.index_name).read_bytes()

    def holds(self, path: Path) -> bool:
        """Whether `path` lies in a folder that is searched."""
        resolved = path.resolve()
        return any(identity(folder) in self._folders - {None} for folder in resolved.parents)

    def _head(self, name: str) -> bytes:
        return file_head(self.path / name)

    def _walk(self) -> list[str]:
        """Names of all files, relative to the folder, each folder visited once."""
        found: list[str] = []
        for folder, subfolders, files in os.walk(self.path, followlinks=True, onerror=self._unlistable):
            own = identity(Path(folder))
            if own in self._folders:
                subfolders.clear()
                continue
            self._folders.add(own)
            subfolders.sort()
            found.extend((Path(folder) / file).relative_to(self.path).as_posix() for file in files)
        return found

    def _unlistable(self, error: OSError) -> None:
        folder = Path(str(error.filename))
        if folder == self.path:
            raise UserError(f"cannot list {shown(folder)}: {error.strerror}") from error
        name = folder.relative_to(self.path).as_posix() + "/"
        self._unlisted[name] = f"the folder cannot be listed: {error.strerror}"
