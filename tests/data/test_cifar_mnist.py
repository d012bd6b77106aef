"""CIFAR and MNIST: every layout, and bad input. The authors' files are in tests/parity."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from styleloom.data import open_dataset, open_source
from styleloom.errors import UserError

from . import source_files as files
from .images import build
from .test_source_kinds import labels, pixels, some_pixels


def test_cifar_layouts(tmp_path: Path) -> None:
    """CIFAR-10 and 100, python and binary, give the same."""
    images = some_pixels(6, side=32)
    flat, classes = images.reshape(6, -1), [0, 2, 1, 1, 0, 2]
    ten, hundred = tmp_path / "cifar-10-batches-py", tmp_path / "cifar-100-python"
    for folder in (ten, hundred, tmp_path / "bin10", tmp_path / "bin100"):
        folder.mkdir()
    for i in (1, 2):
        part = slice(3 * i - 3, 3 * i)
        batch = {b"data": flat[part], b"labels": classes[part], b"filenames": [b"x"] * 3}
        (ten / f"data_batch_{i}").write_bytes(pickle.dumps(batch, protocol=2))
        rows = [bytes([label]) + row.tobytes() for label, row in zip(classes[part], flat[part], strict=True)]
        (tmp_path / "bin10" / f"data_batch_{i}.bin").write_bytes(b"".join(rows))
    (ten / "batches.meta").write_bytes(pickle.dumps({"label_names": ["a", "b", "c"]}, protocol=2))
    fine = {"data": flat, "fine_labels": classes, "coarse_labels": [0] * 6}
    (hundred / "train").write_bytes(pickle.dumps(fine, protocol=2))
    (hundred / "meta").write_bytes(pickle.dumps({"fine_label_names": ["a", "b", "c"]}, protocol=2))
    rows = [bytes([9, label]) + row.tobytes() for label, row in zip(classes, flat, strict=True)]
    (tmp_path / "bin100" / "train.bin").write_bytes(b"".join(rows))
    (tmp_path / "bin100" / "fine_label_names.txt").write_text("a\nb\nc\n")
    packed = {f"cifar-10-batches-py/{path.name}": path.read_bytes() for path in sorted(ten.iterdir())}
    tar = files.write_tar(tmp_path / "cifar.tar.gz", packed, "w:gz")
    for path in (ten, hundred, tmp_path / "bin10", tmp_path / "bin100", tar):
        source = open_source(path)
        np.testing.assert_array_equal(pixels(source), images)
        assert labels(source) == classes, path
        own = source.own_labels()
        assert own is not None
        assert own.classes == (None if path.name == "bin10" else ("a", "b", "c"))


def test_bad_cifar(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.putenv, ("STYLELOOM_RAN", "1")  # type: ignore[return-value]

    flat = some_pixels(2, side=32).reshape(2, -1)
    bad = {
        "data_batch_1": pickle.dumps({"data": Evil(), "labels": [0, 1]}, protocol=2),
        "data_batch_2": pickle.dumps({"labels": [0, 1]}, protocol=2),
        "data_batch_3": pickle.dumps({"data": flat, "labels": [0]}, protocol=2),
        "data_batch_4": pickle.dumps({"data": flat, "labels": [0, 1]}, protocol=2)[:300],
    }
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        open_source(folder)
    for name, message in (
        ("1", "refused, this pickle names"),
        ("2", "no data in it, but ['labels']"),
        ("3", "1 labels for 2 images"),
        ("4", "damaged"),
    ):
        line = next(line for line in str(caught.value).splitlines() if f"data_batch_{name}" in line)
        assert message in line
    assert "STYLELOOM_RAN" not in os.environ
    (tmp_path / "data_batch_1.bin").write_bytes(bytes(3072))
    with pytest.raises(UserError, match="no whole number of records of 3073"):
        open_source(tmp_path / "data_batch_1.bin")


def test_idx(tmp_path: Path) -> None:
    folder = tmp_path / "mnist"
    folder.mkdir()
    images, classes = some_pixels(4, 1, 28)[:, 0], np.array([3, 0, 1, 1], np.uint8)
    image_file = struct.pack(">4I", 0x803, 4, 28, 28) + images.tobytes()
    label_file = struct.pack(">2I", 0x801, 4) + classes.tobytes()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(image_file))
    (folder / "train-labels-idx1-ubyte").write_bytes(label_file)
    (folder / "t10k-images-idx3-ubyte").write_bytes(image_file)
    source = open_source(folder)
    np.testing.assert_array_equal(np.concatenate([source.read(name) for name in source.names]), images)
    assert labels(source) == [3, 0, 1, 1]
    dataset = open_dataset(
        build(folder, tmp_path / "x.zip", 32, crop="border", channels=1, order="source", labels="keep")
    )
    np.testing.assert_array_equal(dataset.image(2)[0], np.pad(images[2], 2))
    assert dataset.label(0).tolist() == [0, 0, 0, 1]
    for content, message in (
        (image_file[:-1], "3,135 bytes where its header says 4 x 28 x 28"),
        (b"\0\0\x0d\x03" + image_file[4:], "begins with 00000d03"),
        (gzip.compress(image_file)[:-20], "cut off"),
        (image_file[:9], "cut off within its header"),
    ):
        (folder / "t10k-images-idx3-ubyte").write_bytes(content)
        with pytest.raises(UserError, match=message):
            open_source(folder / "t10k-images-idx3-ubyte")
    (folder / "train-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, 3) + bytes(3))
    with pytest.raises(UserError, match="3 labels for 4 images"):
        build(folder, tmp_path / "y.zip", 32, crop="border", labels="keep")
