"""What a source of images is: named images in a fixed order, read one by one."""

from __future__ import annotations

import contextlib
import os
import stat
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from styleloom.data.decoding import BadImageError, Budget
from styleloom.data.image_names import INDEX_NAME, SIGNATURE_BYTES, looks_like_image
from styleloom.data.labels import Labels
from styleloom.data.pixels import ImageData
from styleloom.errors import quoted

MAX_FILE_BYTES = 2**30
"""Largest file that is read as an image: 1 GiB, e.g. 130 megapixels of 16-bit RGBA, uncompressed."""

MAX_INDEX_BYTES = 2**30
"""Largest `dataset.json` that is read."""

LARGE_BYTES = 2**26
"""Larger files must begin as images do."""

_FILES = Budget(2**29)  # bytes of encoded files in memory at a time


@dataclass(frozen=True)
class SourceOptions:
    """What may be said of a source besides its path; each kind takes what concerns it.

    Args:
        level: side of the TFRecords to read, px; 0 for the highest there is.
        every: seconds from one frame of a video to the next.
        column: of a table, the one with the images; empty to find it.
    """

    level: int = 0
    every: float = 0.5
    column: str = ""


class Source(ABC):
    """A named collection of images. Can be pickled: a copy in another process has files of its own.

    Args:
        path: the folder or file itself.
        kind: what it is, in words.
        name: what the recipe records: the last part of the path, or the name of an embedded set.
        names: of the images (`/` between folders) in the source's own order. A name that ends in `/` is a
            folder that cannot be listed; `read` says why.
        ignored: how many files were passed over, by file name ending.
        remarks: what else a user should know of what was left out, a sentence each.
        index_name: of the `dataset.json` beside the images; None when there is none.
    """

    kind: str
    names: tuple[str, ...]
    index_name: str | None = None

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.path = path
        self.name = name or path.resolve().name
        self.ignored: Counter[str] = Counter()
        self.remarks: list[str] = []

    @abstractmethod
    def size(self, name: str) -> int:
        """Bytes of one image as it is stored, known without reading it. Raises OSError."""

    @abstractmethod
    def read(self, name: str) -> ImageData:
        """One encoded image file, or pixels; safe to call from several threads.

        Raises OSError, or BadImageError, with the reason.
        """

    def stamp(self, name: str) -> str:
        """What changes with the content of one image, as far as that is known without reading it."""
        return str(self.size(name))

    def settings(self) -> str:
        """What its images follow from besides path, kind and names."""
        return ""

    def index(self) -> bytes | None:
        """The bytes of `dataset.json`; None when there is none. Raises OSError."""
        return None

    def own_labels(self) -> Labels | None:
        """The labels that it has without a `dataset.json`; None when it has none. Raises UserError."""
        return None

    def holds(self, path: Path) -> bool:
        """Whether writing to `path` would change the source."""
        mine = identity(self.path)
        return mine is not None and mine in [identity(place) for place in (path, *path.resolve().parents)]

    def close(self) -> None:  # noqa: B027 - most sources keep no file open
        """Release open files."""


@contextlib.contextmanager
def opened(source: Source, name: str) -> Iterator[ImageData]:
    """One image as it is stored, while the block runs; it waits while other threads hold too many bytes.

    Raises OSError or BadImageError with the reason.
    """
    with _FILES.hold(min(source.size(name), MAX_FILE_BYTES)):
        yield source.read(name)


def reason(error: Exception) -> str:
    """What an error says, for a message, on one line."""
    words = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return quoted(words)[1:-1]


def why_bad(error: OSError | BadImageError) -> str:
    """Why an image of a source cannot be used, for the list of bad ones."""
    return f"cannot be read: {error.strerror or error}" if isinstance(error, OSError) else str(error)


def identity(path: Path) -> tuple[int, int] | None:
    """Device and number of what stands at `path`; None for nothing."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def file_size(path: Path) -> int:
    """Bytes of a regular file. Raises OSError for anything else: a pipe or a device would block for ever."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError("not a regular file")
    return status.st_size


def file_head(path: Path) -> bytes:
    """The first bytes of a regular file, which tell what it is. Raises OSError."""
    if not file_size(path):  # a file of the kernel's has size 0, and reading it may block
        return b""
    with open(path, "rb") as file:
        return file.read(SIGNATURE_BYTES)


def read_file(path: Path) -> bytes:
    """A regular file, if it is none that is large and no image. Raises OSError."""
    size = file_size(path)
    if not size:
        return b""
    if size > LARGE_BYTES:
        refuse_large(size, file_head(path))
    return path.read_bytes()


def refuse_large(size: int, head: bytes) -> None:
    """Raise OSError for a file that is too large, or that is large and does not begin as an image does."""
    if size > MAX_FILE_BYTES:
        raise OSError(f"{size:,} bytes, at most {MAX_FILE_BYTES:,} are read")
    if not looks_like_image(head):
        raise OSError(f"{size:,} bytes that do not begin as an image does")


def refuse_large_index(size: int, number: int) -> None:
    """Raise OSError for a `dataset.json` larger than so many images need."""
    limit = min(MAX_INDEX_BYTES, 2**20 + 2**16 * number)
    if size > limit:
        raise OSError(f"{INDEX_NAME} has {size:,} bytes, at most {limit:,} are read with {number:,} images")
