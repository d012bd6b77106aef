"""Small files of every kind of source, written by the libraries that own the formats, or byte by byte."""

from __future__ import annotations

import io
import json
import struct
import tarfile
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from .images import encoded, noise


def crc32c(data: bytes) -> int:
    """The sum, bit by bit."""
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def _field(number: int, data: bytes) -> bytes:
    length, size = b"", len(data)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + data


def example(features: Mapping[str, bytes | Sequence[int]]) -> bytes:
    """A tf.train.Example of bytes and of lists of numbers below 128."""
    entries = b""
    for name, value in features.items():
        one = _field(1, _field(1, value)) if isinstance(value, bytes) else _field(3, _field(1, bytes(value)))
        entries += _field(1, _field(1, name.encode()) + _field(2, one))
    return _field(1, entries)


def image_record(pixels: np.ndarray) -> bytes:
    """Of uint8 [C, H, W]."""
    return record(example({"shape": list(pixels.shape), "data": pixels.tobytes()}))


def write_tfrecords(folder: Path, levels: Mapping[int, np.ndarray], labels: np.ndarray | None = None) -> Path:
    """Files of a data set called as its folder; uint8 [N, C, H, W] by level, the logarithm of the side."""
    folder.mkdir(parents=True, exist_ok=True)
    for level, pixels in levels.items():
        content = b"".join(map(image_record, pixels))
        (folder / f"{folder.name}-r{level:02d}.tfrecords").write_bytes(content)
    if labels is not None:
        with open(folder / f"{folder.name}-rxx.labels", "wb") as file:
            np.save(file, labels)
    return folder


def write_tar(path: Path, files: Mapping[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def write_lmdb(path: Path, values: Mapping[str, bytes]) -> Path:
    import lmdb

    path.mkdir()
    database = lmdb.open(str(path), map_size=2**20)
    with database.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key.encode(), value)
    database.close()
    return path


def write_parquet(
    path: Path, images: Sequence[bytes | None], labels: Sequence[int], names: Sequence[str]
) -> Path:
    """As `datasets` writes them: bytes and path of an image, the names of classes in the schema."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(_table(pa, images, labels, names), path, row_group_size=2)
    return path


def write_datasets(
    folder: Path, images: Sequence[bytes | None], labels: Sequence[int], names: Sequence[str]
) -> Path:
    """A folder as `save_to_disk` of `datasets` leaves it, in two files."""
    import pyarrow as pa

    folder.mkdir(parents=True)
    table = _table(pa, images, labels, names)
    half = len(images) // 2
    files = []
    for i, part in enumerate((table.slice(0, half), table.slice(half))):
        files.append({"filename": f"data-{i:05d}-of-00002.arrow"})
        with pa.ipc.new_stream(str(folder / files[-1]["filename"]), table.schema) as writer:
            writer.write_table(part, max_chunksize=2)
    (folder / "state.json").write_text(json.dumps({"_data_files": files}))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def _table(pa: Any, images: Sequence[bytes | None], labels: Sequence[int], names: Sequence[str]) -> Any:
    cells = [None if data is None else {"bytes": data, "path": None} for data in images]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {"info": {"features": {"label": {"names": list(names), "_type": "ClassLabel"}}}}
    schema = pa.schema([("image", kind), ("label", pa.int64())], {"huggingface": json.dumps(features)})
    return pa.table([pa.array(cells, kind), pa.array(labels)], schema=schema)


def write_video(path: Path, pictures: Sequence[np.ndarray], each: int, codec: str = "mpeg4") -> Path:
    """Every picture, uint8 [H, W, 3], for `each` frames at 10 frames a second."""
    import av

    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"  # type: ignore[attr-defined]
        for picture in pictures:
            for _ in range(each):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                container.mux(stream.encode(frame))  # type: ignore[attr-defined]
        container.mux(stream.encode())  # type: ignore[attr-defined]
    return path


def pngs(number: int, side: int = 8) -> list[bytes]:
    """Different images."""
    return [encoded(noise(side, side, seed=i)) for i in range(number)]
