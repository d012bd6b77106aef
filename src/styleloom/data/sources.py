"""Where images come from: a folder, a zip, or the set inside the package."""

from __future__ import annotations

import os
import stat
import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Protocol

from styleloom.errors import UserError
from styleloom.names import embedded_name

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
"""File name endings, in lower case, that are taken for images."""

EMBEDDED = {"emoji": Path(__file__).parent / "embedded" / "emoji-64.zip"}
"""Data sets inside the package, by name: archives in the project's own format."""

INDEX_NAME = "dataset.json"
"""The index inside an archive: never taken for an image nor counted as a foreign file."""


class Source(Protocol):
    """A named collection of encoded image files."""

    @property
    def name(self) -> str:
        """What the recipe records: the last part of the path, or the name of an embedded set."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the images (`/` between folders) in the source's own order."""
        ...

    @property
    def ignored(self) -> Counter[str]:
        """How many files were passed over, by file name ending."""
        ...

    @property
    def archive(self) -> Path | None:
        """The file itself when the source is a zip (it may carry an index with labels)."""
        ...

    def read(self, name: str) -> bytes:
        """The bytes of one file; safe to call from several threads. Raises OSError or zipfile.BadZipFile."""
        ...

    def close(self) -> None:
        """Release open files."""
        ...


def open_source(path_or_name: str | Path) -> Source:
    """The source called `path_or_name`: an embedded name (``emoji``), a folder, or a zip of images.

    A path has a separator in it: see `names.embedded_name`. Hidden files and ``__MACOSX`` are passed over
    silently; other files that are not images are counted in `ignored`.
    Raises UserError when nothing is there, it is neither folder nor zip, or it holds no images.
    """
    embedded = embedded_name(path_or_name, EMBEDDED)
    if embedded is not None:
        source: Source = ZipSource(EMBEDDED[embedded], name=embedded)
    else:
        path = Path(path_or_name)
        if path.is_dir():
            source = FolderSource(path)
        elif path.is_file():
            source = ZipSource(path)
        else:
            raise UserError(
                f"no such source: {path}; give a folder of images, a zip of images, "
                f"or one of the embedded sets ({', '.join(sorted(EMBEDDED))})"
            )
    if not source.names:
        source.close()
        others = f" ({sum(source.ignored.values())} other files)" if source.ignored else ""
        raise UserError(
            f"{path_or_name}: no images in it{others}; looked for {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    return source


class FolderSource:
    """All images below a folder, sorted by name.

    Links are followed; a folder that can be reached twice (a loop of links included) is read once, under the
    first name in walking order.
    """

    archive: Path | None = None

    def __init__(self, root: Path) -> None:
        self._root = root
        self.name = root.resolve().name
        found = _walk(root)
        self.names, self.ignored = _images_among(found)
        self.names = tuple(sorted(self.names))

    def read(self, name: str) -> bytes:
        """The bytes of one file. Raises OSError."""
        path = self._root / name
        # A named pipe or a device called x.png would block for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise OSError("not a regular file")
        return path.read_bytes()

    def close(self) -> None:
        """Nothing to release."""


class ZipSource:
    """All images in a zip, in stored order."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.name = name or path.name
        self.archive: Path | None = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise UserError(
                f"{path}: not a readable zip ({error}); valid: a folder or a zip of images"
            ) from error
        entries = [entry.filename for entry in self._zip.infolist() if not entry.is_dir()]
        twice = sorted(entry for entry, count in Counter(entries).items() if count > 1)
        if twice:
            self._zip.close()
            raise UserError(f"{path}: holds {twice[0]!r} more than once ({len(twice)} such names)")
        self.names, self.ignored = _images_among(entries)

    def read(self, name: str) -> bytes:
        """The bytes of one file. Raises OSError or zipfile.BadZipFile."""
        try:
            return self._zip.read(name)
        except (RuntimeError, NotImplementedError) as error:  # encrypted, or an unknown compression method
            raise zipfile.BadZipFile(str(error)) from error

    def close(self) -> None:
        """Close the zip."""
        self._zip.close()


def _walk(root: Path) -> list[str]:
    """Names of all files below `root`, relative to it, each folder visited once."""

    def refuse(error: OSError) -> None:
        raise UserError(f"cannot list {error.filename}: {error.strerror}") from error

    found: list[str] = []
    visited: set[tuple[int, int]] = set()
    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=refuse):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in visited:
            subfolders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        subfolders.sort()
        found.extend((Path(folder) / file).relative_to(root).as_posix() for file in files)
    return found


def _images_among(names: Iterable[str]) -> tuple[tuple[str, ...], Counter[str]]:
    """Split visible names into images, in the order given, and a count of the others by ending."""
    images: list[str] = []
    ignored: Counter[str] = Counter()
    for name in names:
        path = PurePosixPath(name)
        if name == INDEX_NAME or any(part.startswith(".") or part == "__MACOSX" for part in path.parts):
            continue
        if path.suffix.lower() in IMAGE_SUFFIXES:
            images.append(name)
        else:
            ignored[path.suffix.lower() or "(no ending)"] += 1
    return tuple(images), ignored
