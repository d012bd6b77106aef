"""TFRecords of the authors' TensorFlow codes: a file for each resolution, pixels CHW, labels beside them.

A record is its length (8 bytes), the masked CRC-32C of these, the data, and the CRC of the data. The data are
a tf.train.Example with `shape` (C, H, W) and `data` (the pixels). `NAME-r06.tfrecords` has 64 px, and
`NAME-rxx.labels` a NumPy array [N, K] of numbers for all resolutions.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from styleloom.data.labels import MAX_LABEL_DIM, Labels
from styleloom.data.pixels import PixelArray
from styleloom.data.sources import protobuf
from styleloom.data.sources.checksum import masked_crc32c
from styleloom.data.sources.place import Place
from styleloom.data.sources.source import Source, SourceOptions, reason
from styleloom.data.sources.stored import StoredBytes
from styleloom.errors import UserError, quoted, shown

_HEAD = struct.Struct("<QI")
_TAIL_BYTES = 4
_LEVEL = re.compile(r"(?P<stem>.*)-r(?P<level>\d\d)\.tfrecords")
_VALIDATION = "validation-"  # such files are another set, kept in the same folder
_CHUNK_RECORDS = 1 << 16
_MAX_LABEL_BYTES = 2**31


def is_record_file(head: bytes) -> bool:
    """Whether a file begins as TFRecords do: a length, and its checksum."""
    return len(head) >= _HEAD.size and masked_crc32c(head[:8]) == _HEAD.unpack_from(head)[1]


def fits(place: Place) -> bool:
    """Whether a place is a file of TFRecords, or a folder with some at its top."""
    return place.ends(".tfrecords") or is_record_file(place.head)


class TFRecordSource(Source):
    """The images of one resolution.

    Args:
        place: a file, or a folder with files of one data set.
        options: `level` names another resolution than the highest.

    Raises UserError: files of several data sets, no such level, damaged labels.
    """

    kind = "TFRecords"

    def __init__(self, place: Place, options: SourceOptions) -> None:
        super().__init__(place.path)
        self.file = _chosen(place.path, options.level) if place.is_folder else place.path
        self._stored = StoredBytes(self.file)
        self._offsets, self._lengths, self._end = _scan(self._stored)
        number = len(self._offsets) + (self._end is not None)
        self.names = tuple(f"{position:08d}" for position in range(number))

    def size(self, name: str) -> int:
        """Bytes of one record."""
        position = int(name)
        return int(self._lengths[position]) if position < len(self._offsets) else 0

    def read(self, name: str) -> PixelArray:
        """Pixels uint8 [C, H, W]. Raises OSError."""
        position = int(name)
        where = f"record {position} of {shown(self.file.name)}"
        if position >= len(self._offsets):
            raise OSError(f"{where} {self._end}")
        length = int(self._lengths[position])
        data = memoryview(self._stored.read(int(self._offsets[position]) + _HEAD.size, length + _TAIL_BYTES))
        if masked_crc32c(data[:length]) != int.from_bytes(data[length:], "little"):
            raise OSError(f"{where} is damaged: its checksum (CRC-32C) is wrong")
        try:
            return _pixels(protobuf.example(data[:length]))
        except ValueError as error:
            raise OSError(f"{where} is no image: {error}") from error

    def settings(self) -> str:
        """The file that is read."""
        return self.file.name

    def own_labels(self) -> Labels | None:
        """Those of NAME-rxx.labels: classes where every row has a single 1, vectors otherwise."""
        path = self._label_file()
        if path is None:
            return None
        values = _label_array(path)
        number = len(self.names)
        if len(values) < number or not 1 <= values.shape[1] <= MAX_LABEL_DIM:
            raise UserError(
                f"{shown(path)}: {values.shape[0]} labels of {values.shape[1]} numbers for {number} images"
            )
        values = values[:number]
        if np.isin(values, (0, 1)).all() and (values.sum(1) == 1).all():
            classes = values.argmax(1)
            by_name = {name: int(label) for name, label in zip(self.names, classes, strict=True)}
            return Labels(by_name, None, values.shape[1])
        vectors = {name: tuple(map(float, row)) for name, row in zip(self.names, values, strict=True)}
        return Labels(vectors, None, values.shape[1])

    def _label_file(self) -> Path | None:
        match = _LEVEL.fullmatch(self.file.name)
        named = self.file.with_name(f"{match['stem']}-rxx.labels") if match else None
        if named is not None and named.is_file():
            return named
        found = sorted(self.file.parent.glob("*.labels")) if self.path.is_dir() else []
        return found[0] if len(found) == 1 else None

    def close(self) -> None:
        """Close the file."""
        self._stored.close()


def _chosen(folder: Path, level: int) -> Path:
    """The file of a folder to read: of the highest level, or of one of `level` px."""
    found = sorted(path for path in folder.glob("*.tfrecords") if path.is_file())
    files = [path for path in found if not path.name.startswith(_VALIDATION)] or found
    matches = {path: _LEVEL.fullmatch(path.name) for path in files}
    stems = sorted({match["stem"] if match else path.name for path, match in matches.items()})
    if len(stems) > 1:
        names = ", ".join(map(shown, stems[:10]))
        raise UserError(
            f"{shown(folder)}: TFRecords of {len(stems)} data sets ({names}); name one of the files"
        )
    sides = {1 << int(match["level"]): path for path, match in matches.items() if match}
    if not sides:
        return files[0]
    if level and level not in sides:
        raise UserError(
            f"{shown(folder)}: no level of {level} px; valid: {', '.join(map(str, sorted(sides)))}"
        )
    return sides[level or max(sides)]


def _scan(stored: StoredBytes) -> tuple[NDArray[np.int64], NDArray[np.int64], str | None]:
    """Offset and length of each whole record; what is wrong with the one after them, None at the file's end.

    Records are nearly always of one length, so where one has been found, many that follow are compared with
    it at once.
    """
    offsets: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    lengths: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    at, wrong = 0, None
    raw = np.memmap(stored.path, np.uint8, "r") if stored.size else np.empty(0, np.uint8)
    while at < stored.size:
        head = bytes(raw[at : at + _HEAD.size])
        if not is_record_file(head):
            wrong = (
                "is cut off"
                if len(head) < _HEAD.size
                else "and all after it cannot be found: the checksum (CRC-32C) of its length is wrong"
            )
            break
        length = _HEAD.unpack(head)[0]
        stride = _HEAD.size + length + _TAIL_BYTES
        if stride > stored.size - at:
            wrong = f"is cut off: {stride} bytes should follow, {stored.size - at} do"
            break
        most = min(_CHUNK_RECORDS, (stored.size - at) // stride)
        rows = raw[at : at + most * stride].reshape(most, stride)[:, : _HEAD.size]
        same = (rows == np.frombuffer(head, np.uint8)).all(1)
        count = most if same.all() else int(same.argmin())
        offsets.append(at + stride * np.arange(count, dtype=np.int64))
        lengths.append(np.full(count, length, np.int64))
        at += count * stride
    return np.concatenate(offsets), np.concatenate(lengths), wrong


def _pixels(features: dict[str, memoryview]) -> PixelArray:
    """The image of a record. Raises ValueError."""
    missing = [name for name in ("shape", "data") if name not in features]
    if missing:
        raise ValueError(f"it has no {' and no '.join(map(quoted, missing))}, but {quoted(sorted(features))}")
    shape = _first_list(features["shape"], 3, "shape")
    sides: Sequence[int] = protobuf.integers(shape)
    data = b"".join(protobuf.messages(_first_list(features["data"], 1, "data"), 1))
    if len(sides) != 3 or sides[0] not in (1, 3, 4) or min(sides) < 1:
        raise ValueError(f"a shape of {quoted(list(sides))}; valid: channels (1, 3 or 4), height, width")
    if len(data) != sides[0] * sides[1] * sides[2]:
        raise ValueError(f"{len(data)} bytes for a shape of {list(sides)}")
    return np.frombuffer(data, np.uint8).reshape(sides)


def _first_list(feature: memoryview, kind: int, name: str) -> memoryview:
    found = next(protobuf.messages(feature, kind), None)
    if found is None:
        raise ValueError(f"{quoted(name)} is of another type than images have")
    return found


def _label_array(path: Path) -> NDArray[np.float32]:
    """[N, K] of a label file. Raises UserError."""
    try:
        if path.stat().st_size > _MAX_LABEL_BYTES:
            raise ValueError("larger than labels are")
        values = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
        values = np.asarray(values, np.float32)
    except Exception as error:  # what NumPy raises on damaged files is not enumerable
        raise UserError(f"{shown(path)}: not a readable NumPy array of labels ({reason(error)})") from error
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or not np.isfinite(values).all():
        raise UserError(f"{shown(path)}: labels of shape {list(values.shape)}; valid: finite numbers [N, K]")
    return values
