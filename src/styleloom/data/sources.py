"""Where images come from: a folder, a zip, or the set inside the package."""

from __future__ import annotations

import contextlib
import os
import stat
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Protocol

from styleloom.data.decoding import Budget
from styleloom.data.image_names import (
    INDEX_NAME,
    SIGNATURE_BYTES,
    images_among,
    index_among,
    looks_like_image,
)
from styleloom.data.paths import path_kind
from styleloom.errors import UserError, quoted, shown
from styleloom.names import embedded_name

_EMBEDDED = Path(__file__).parent / "embedded"

EMBEDDED_SETS = {"portraits": _EMBEDDED / "portraits-64.zip", "emoji": _EMBEDDED / "emoji-64.zip"}
"""Data sets inside the package, by name: archives in the project's own format."""

MAX_FILE_BYTES = 2**30
"""Largest file that is read as an image: 1 GiB, e.g. 130 megapixels of 16-bit RGBA, uncompressed."""

MAX_INDEX_BYTES = 2**30
"""Largest `dataset.json` that is read."""

_LARGE_BYTES = 2**26  # larger files must begin as images do, and in a zip keep to `_MOST_PACKED`
_FILES = Budget(2**29)  # bytes of encoded files in memory at a time
_MOST_PACKED = 200  # largest ratio of compression in a zip: images are compressed already


class Source(Protocol):
    """A named collection of encoded image files."""

    @property
    def name(self) -> str:
        """What the recipe records: the last part of the path, or the name of an embedded set."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the images (`/` between folders) in the source's own order.

        A name that ends in `/` is a folder that cannot be listed; `read` says why.
        """
        ...

    @property
    def ignored(self) -> Counter[str]:
        """How many files were passed over, by file name ending."""
        ...

    @property
    def path(self) -> Path:
        """The folder or file itself."""
        ...

    def size(self, name: str) -> int:
        """Bytes of one file, known without reading it. Raises OSError."""
        ...

    def read(self, name: str) -> bytes:
        """The bytes of one file; safe to call from several threads. Raises OSError with the reason."""
        ...

    @property
    def index_name(self) -> str | None:
        """The name of the `dataset.json` beside the images; None when there is none."""
        ...

    def index(self) -> bytes | None:
        """The bytes of that file; None when there is none. Raises OSError."""
        ...

    def holds(self, path: Path) -> bool:
        """Whether writing to `path` would change the source."""
        ...

    def close(self) -> None:
        """Release open files."""
        ...


def open_source(path_or_name: str | Path) -> Source:
    """The source called `path_or_name`: an embedded name (``portraits``), a folder, or a zip of images.

    A path has a separator in it: see `names.embedded_name`. A file is an image by its content or its name:
    one that is called an image and is none counts as a bad image. Hidden files and ``__MACOSX`` are passed
    over silently; other files that are not images are counted in `ignored`.
    Raises UserError when nothing is there, it is neither folder nor zip, or it holds no images.
    """
    embedded = embedded_name(path_or_name, EMBEDDED_SETS)
    if embedded is not None:
        source: Source = ZipSource(EMBEDDED_SETS[embedded], name=embedded)
    else:
        path = Path(path_or_name)
        sets = ", ".join(sorted(EMBEDDED_SETS))
        valid = f"a folder of images, a zip of images, or one of the embedded sets ({sets})"
        source = (
            FolderSource(path) if path_kind(path, "no such source", valid) == "folder" else ZipSource(path)
        )
    if not source.names:
        source.close()
        others = f" ({sum(source.ignored.values())} other files)" if source.ignored else ""
        raise UserError(
            f"{shown(path_or_name)}: no images in it{others}; looked for PNG, JPEG, WebP, BMP and TIFF files"
        )
    return source


@contextlib.contextmanager
def opened(source: Source, name: str) -> Iterator[bytes]:
    """The bytes of one file, while the block runs; it waits while other threads hold too many bytes.

    Raises OSError with the reason.
    """
    with _FILES.hold(min(source.size(name), MAX_FILE_BYTES)):
        yield source.read(name)


class FolderSource:
    """All images below a folder, sorted by name.

    Links are followed; a folder that can be reached twice (a loop of links included) is read once, under the
    first name in walking order.
    """

    def __init__(self, root: Path) -> None:
        self.path = root
        self.name = root.resolve().name
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
        status = os.stat(self.path / name)
        # A named pipe or a device called x.png would block for ever.
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a regular file")
        return status.st_size

    def read(self, name: str) -> bytes:
        """The bytes of one file. Raises OSError."""
        size = self.size(name)
        if not size:
            return b""
        if size > _LARGE_BYTES:
            _refuse_large(size, self._head(name))
        return (self.path / name).read_bytes()

    def index(self) -> bytes | None:
        """The bytes of `dataset.json`. Raises OSError."""
        if self.index_name is None:
            return None
        _refuse_large_index(self.size(self.index_name), len(self.names))
        return (self.path / self.index_name).read_bytes()

    def holds(self, path: Path) -> bool:
        """Whether `path` lies in a folder that is searched."""
        resolved = path.resolve()
        return any(_identity(folder) in self._folders - {None} for folder in resolved.parents)

    def close(self) -> None:
        """Nothing to release."""

    def _head(self, name: str) -> bytes:
        if not self.size(name):  # a file of the kernel's has size 0, and reading it may block
            return b""
        with open(self.path / name, "rb") as file:
            return file.read(SIGNATURE_BYTES)

    def _walk(self) -> list[str]:
        """Names of all files, relative to the folder, each folder visited once."""
        found: list[str] = []
        for folder, subfolders, files in os.walk(self.path, followlinks=True, onerror=self._unlistable):
            identity = _identity(Path(folder))
            if identity in self._folders:
                subfolders.clear()
                continue
            self._folders.add(identity)
            subfolders.sort()
            found.extend((Path(folder) / file).relative_to(self.path).as_posix() for file in files)
        return found

    def _unlistable(self, error: OSError) -> None:
        folder = Path(str(error.filename))
        if folder == self.path:
            raise UserError(f"cannot list {shown(folder)}: {error.strerror}") from error
        name = folder.relative_to(self.path).as_posix() + "/"
        self._unlisted[name] = f"the folder cannot be listed: {error.strerror}"


class ZipSource:
    """All images in a zip, in stored order.

    Names are read as the system that wrote them meant: `\\` becomes `/`, and a name that is valid UTF-8 is
    read as UTF-8 even where the zip does not mark it so.
    """

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.name = name or path.name
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except Exception as error:  # damaged directories raise nearly anything
            raise UserError(
                f"{shown(path)}: not a readable zip ({_reason(error)}); valid: a folder or a zip of images"
            ) from error
        listed = [(_entry_name(entry), entry) for entry in self._zip.infolist()]
        files = [(name, entry) for name, entry in listed if not name.endswith("/")]
        self._entries = dict(files)
        counts = Counter(name for name, _ in files)
        twice = sorted(name for name, count in counts.items() if count > 1)
        if twice:
            self._zip.close()
            raise UserError(
                f"{shown(path)}: holds {quoted(twice[0])} more than once ({len(twice)} such names)"
            )
        self.names, self.ignored = images_among(self._entries, self._head)
        self.index_name = index_among(self._entries, self.names)

    def size(self, name: str) -> int:
        """Bytes of one file, as the zip claims. Raises OSError."""
        return self._entries[name].file_size

    def read(self, name: str) -> bytes:
        """The bytes of one file. Raises OSError."""
        entry = self._entries[name]
        if entry.file_size > _LARGE_BYTES:
            _refuse_large(entry.file_size, self._head(name))
            _refuse_packed(entry)
        return self._open(entry, lambda file: file.read())

    def index(self) -> bytes | None:
        """The bytes of `dataset.json`. Raises OSError."""
        if self.index_name is None:
            return None
        entry = self._entries[self.index_name]
        _refuse_large_index(entry.file_size, len(self._entries))
        if entry.file_size > _LARGE_BYTES:
            _refuse_packed(entry)
        return self._open(entry, lambda file: file.read())

    def holds(self, path: Path) -> bool:
        """Whether `path` is the zip itself, under whatever name."""
        return _identity(path) == _identity(self.path)

    def close(self) -> None:
        """Close the zip."""
        self._zip.close()

    def _head(self, name: str) -> bytes:
        return self._open(self._entries[name], lambda file: file.read(SIGNATURE_BYTES))

    def _open(self, entry: zipfile.ZipInfo, read: Callable[[IO[bytes]], bytes]) -> bytes:
        if entry.flag_bits & 0x1:
            raise OSError("encrypted in the zip; unpack it and pack it again without a password")
        # Python inflates with a bound; the other methods make gigabytes of a few bytes in one step.
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise OSError(f"compressed in the zip by method {entry.compress_type}; valid: stored or deflate")
        try:
            with self._zip.open(entry) as file:
                return read(file)
        except Exception as error:  # what damaged entries raise is not enumerable
            raise OSError(f"damaged in the zip: {_reason(error)}") from error


def _entry_name(entry: zipfile.ZipInfo) -> str:
    name = entry.filename
    if not entry.flag_bits & 0x800 and not name.isascii():
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode()
    return name.replace("\\", "/")


def _reason(error: Exception) -> str:
    words = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return quoted(words)[1:-1]


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and number of what stands at `path`; None for nothing."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _refuse_large(size: int, head: bytes) -> None:
    if size > MAX_FILE_BYTES:
        raise OSError(f"{size:,} bytes, at most {MAX_FILE_BYTES:,} are read")
    if not looks_like_image(head):
        raise OSError(f"{size:,} bytes that do not begin as an image does")


def _refuse_packed(entry: zipfile.ZipInfo) -> None:
    if entry.file_size > _MOST_PACKED * entry.compress_size:
        raise OSError(
            f"claims {entry.file_size:,} bytes, packed into {entry.compress_size:,} (decompression bomb?)"
        )


def _refuse_large_index(size: int, number: int) -> None:
    limit = min(MAX_INDEX_BYTES, 2**20 + 2**16 * number)
    if size > limit:
        raise OSError(f"{INDEX_NAME} has {size:,} bytes, at most {limit:,} are read with {number:,} images")
