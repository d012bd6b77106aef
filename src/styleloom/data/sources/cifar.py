"""CIFAR-10 and CIFAR-100: python and binary layouts, as a folder, a single batch, or the tar as published.

The python layout is pickles. They are read by `styleloom.foreign.pickles`, which runs nothing.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from styleloom.data.labels import Labels
from styleloom.data.paths import first_bytes
from styleloom.data.pixels import PixelArray
from styleloom.data.sources.place import Place
from styleloom.data.sources.source import Source, SourceOptions, reason
from styleloom.data.sources.tar import is_tar
from styleloom.errors import UserError, quoted, shown

SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_MAX_BATCH_BYTES = 2**29

# Of the files that are there, the first group that matches is the set: tests are asked for by their name.
_GROUPS = (
    re.compile(r"data_batch_\d+(\.bin)?"),
    re.compile(r"train(\.bin)?"),
    re.compile(r"test(_batch)?(\.bin)?"),
)
_BATCH = re.compile("|".join(group.pattern for group in _GROUPS))
_META = ("batches.meta", "meta", "batches.meta.txt", "fine_label_names.txt")
_FOLDERS = re.compile(r"cifar-100?-(batches-(py|bin)|python|binary)")


def fits(place: Place) -> bool:
    """Whether a place is one of these layouts, by names and first bytes."""
    if place.names is not None:
        batches = any(map(_GROUPS[0].fullmatch, place.names))
        return batches or bool(place.names & set(_META) and any(map(_BATCH.fullmatch, place.names)))
    if len(place.files) > 1:
        return False
    if _BATCH.fullmatch(place.path.name):
        return place.path.suffix == ".bin" or place.head[:1] in (b"\x80", b"(", b"}", b"c")
    return is_tar(place.head) and _holds_cifar(place.path)


def _holds_cifar(path: Path) -> bool:
    try:
        with tarfile.open(path) as archive:
            first = archive.next()
    except (tarfile.TarError, OSError, EOFError):
        return False
    return first is not None and _FOLDERS.fullmatch(first.name.partition("/")[0]) is not None


class CIFARSource(Source):
    """The training images of a set, batch after batch, or those of a single file.

    Raises UserError: a batch that is damaged, or whose pickle names anything that numbers do not need.
    """

    kind = "CIFAR"

    def __init__(self, place: Place, options: SourceOptions) -> None:
        path = place.path
        super().__init__(path)
        files = dict(_files(path))
        group = next((g for g in _GROUPS if any(map(g.fullmatch, files))), None)
        if group is None:
            raise UserError(f"{shown(path)}: no batch of CIFAR in it")
        batches = sorted((name for name in files if group.fullmatch(name)), key=lambda n: (len(n), n))
        self._pixels: dict[str, NDArray[np.uint8]] = {}
        self._labels: dict[str, int] = {}
        hundred = _is_hundred(files, path)
        problems = []
        for batch in batches:
            try:
                pixels, labels = _batch(batch, files[batch], hundred)
            except UserError as error:
                problems.append(f"{shown(path)}: {shown(batch)}: {error}")
                continue
            for position, label in enumerate(labels):
                self._labels[f"{batch}/{position:05d}"] = label
            self._pixels[batch] = pixels
        if problems:
            raise UserError("\n".join(problems))
        self.names = tuple(self._labels)
        self._classes = _class_names(files)

    def size(self, name: str) -> int:
        """Bytes of the pixels."""
        return _PIXELS

    def read(self, name: str) -> PixelArray:
        """Pixels uint8 [3, 32, 32]."""
        batch, _, position = name.rpartition("/")
        return self._pixels[batch][int(position)].reshape(SHAPE)

    def own_labels(self) -> Labels:
        """Classes; the fine ones of CIFAR-100."""
        number = max(self._labels.values(), default=0) + 1
        classes = self._classes if self._classes is not None and len(self._classes) >= number else None
        return Labels(self._labels, classes, len(classes) if classes else number)


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of batches and class names."""
    wanted = [*_META]
    if path.is_dir():
        for file in sorted(path.iterdir()):
            if file.is_file() and (file.name in wanted or _BATCH.fullmatch(file.name)):
                yield file.name, first_bytes(file, _MAX_BATCH_BYTES)
    elif _BATCH.fullmatch(path.name):
        yield path.name, first_bytes(path, _MAX_BATCH_BYTES)
        for name in wanted:
            if (path.parent / name).is_file():
                yield name, first_bytes(path.parent / name, _MAX_BATCH_BYTES)
    else:
        try:
            with tarfile.open(path) as archive:
                for member in archive:
                    name = member.name.rpartition("/")[2]
                    if member.isfile() and (name in wanted or _BATCH.fullmatch(name)):
                        file = archive.extractfile(member)
                        yield name, file.read(_MAX_BATCH_BYTES) if file is not None else b""
        except (tarfile.TarError, OSError, EOFError) as error:
            raise UserError(f"{shown(path)}: not a readable tar ({reason(error)})") from error


def _is_hundred(files: dict[str, bytes], path: Path) -> bool:
    """Whether records of the binary layout have two labels."""
    if "fine_label_names.txt" in files or any(name in files for name in ("train.bin", "test.bin")):
        return True
    return path.name in ("train.bin", "test.bin")


def _batch(name: str, data: bytes, hundred: bool) -> tuple[NDArray[np.uint8], list[int]]:
    """Pixels [N, 3072] and classes of one file. Raises UserError."""
    if name.endswith(".bin"):
        before = 2 if hundred else 1
        if not data or len(data) % (before + _PIXELS):
            raise UserError(f"{len(data):,} bytes are no whole number of records of {before + _PIXELS}")
        rows = np.frombuffer(data, np.uint8).reshape(-1, before + _PIXELS)
        return rows[:, before:], rows[:, before - 1].tolist()
    from styleloom.foreign.pickles.records import Array  # late: torch takes seconds to import

    content = _unpickled(data)
    pixels = content.get("data")
    labels = content.get("fine_labels", content.get("labels"))
    missing = [key for key, value in (("data", pixels), ("labels", labels)) if value is None]
    if missing:
        raise UserError(f"no {' and no '.join(missing)} in it, but {quoted(sorted(map(str, content)))}")
    values = pixels.numpy() if isinstance(pixels, Array) else None
    if values is None or values.dtype != np.uint8 or values.ndim != 2 or values.shape[1] != _PIXELS:
        raise UserError(f"its data are not uint8 [N, {_PIXELS}]")
    if not isinstance(labels, list) or not all(type(n) is int and 0 <= n < 1000 for n in labels):
        raise UserError("its labels are no list of classes")
    if len(labels) != len(values):
        raise UserError(f"{len(labels)} labels for {len(values)} images")
    return np.array(values), labels


def _unpickled(data: bytes) -> dict[str, Any]:
    """A dictionary by text, whichever Python wrote it. Raises UserError."""
    from styleloom.foreign.pickles.names import Seen  # late: torch takes seconds to import
    from styleloom.foreign.pickles.unpickler import Unpickler

    value = Unpickler(memoryview(data), 0, Seen()).load()
    if not isinstance(value, dict):
        raise UserError("a pickle of something else than a batch")
    return {
        key.decode("latin-1") if isinstance(key, bytes) else str(key): item for key, item in value.items()
    }


def _class_names(files: dict[str, bytes]) -> tuple[str, ...] | None:
    for name in ("batches.meta.txt", "fine_label_names.txt"):
        if name in files:
            return tuple(files[name].decode("utf-8", "replace").split())
    for name in ("batches.meta", "meta"):
        if name in files:
            content = _unpickled(files[name])
            names = content.get("fine_label_names", content.get("label_names"))
            if isinstance(names, list):
                return tuple(n.decode("latin-1") if isinstance(n, bytes) else str(n) for n in names)
    return None
