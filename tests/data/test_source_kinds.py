"""Each kind of source: what it reads, its labels, its bad input. The authors' files are in tests/parity."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from styleloom.data import BuildOptions, ConversionOptions, build_dataset, open_dataset, open_source
from styleloom.data.conversion import pixels_as_they_are
from styleloom.data.sources import Source, SourceOptions
from styleloom.data.sources.checksum import crc32c
from styleloom.errors import UserError

from . import source_files as files
from .images import build, encoded, make_folder, noise


def pixels(source: Source) -> np.ndarray:
    return np.stack([pixels_as_they_are(source.read(name), 3) for name in source.names])


def labels(source: Source) -> list[object]:
    own = source.own_labels()
    assert own is not None
    return [own.by_name[name] for name in source.names]


def some_pixels(number: int = 5, channels: int = 3, side: int = 8) -> np.ndarray:
    return np.random.RandomState(1).randint(0, 256, (number, channels, side, side), np.uint8)


def test_checksum() -> None:
    """Known values, and every length around the sizes of pieces."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    data = np.random.RandomState(0).bytes(1100)
    for length in (*range(12), 127, 128, 129, 255, 256, 257, 1023, 1024, 1025, 1100):
        assert crc32c(data[:length]) == files.crc32c(data[:length]), length


# ---- TFRecords


def test_tfrecords(tmp_path: Path) -> None:
    high, low = some_pixels(), some_pixels(side=4)
    real = np.arange(15, dtype=np.float32).reshape(5, 3) / 3
    folder = files.write_tfrecords(tmp_path / "set", {2: low, 3: high}, real)
    (folder / "validation-set-r03.tfrecords").write_bytes(b"")
    source = open_source(folder)
    np.testing.assert_array_equal(pixels(source), high)
    assert labels(source) == [tuple(map(float, row)) for row in real]
    np.testing.assert_array_equal(pixels(open_source(folder, SourceOptions(level=4))), low)
    np.testing.assert_array_equal(pixels(open_source(folder / "set-r02.tfrecords")), low)
    with pytest.raises(UserError, match="no level of 16 px; valid: 4, 8"):
        open_source(folder, SourceOptions(level=16))
    hot = files.write_tfrecords(tmp_path / "hot", {3: high}, np.eye(6)[[0, 3, 3, 1, 5]])
    own = open_source(hot).own_labels()
    assert own is not None
    assert (labels(open_source(hot)), own.label_dim) == ([0, 3, 3, 1, 5], 6)


def test_records_of_other_lengths_and_pieces(tmp_path: Path) -> None:
    """Images of several sizes, and numbers that are not packed."""
    images = [some_pixels(1, side=side)[0] for side in (8, 8, 4, 4, 4, 8)]
    content = b"".join(map(files.image_record, images))
    (tmp_path / "x.tfrecords").write_bytes(content)
    source = open_source(tmp_path / "x.tfrecords")
    for name, image in zip(source.names, images, strict=True):
        np.testing.assert_array_equal(source.read(name), image)


def test_damaged_records_are_all_named(tmp_path: Path) -> None:
    good = files.image_record(some_pixels(1)[0])
    no_key = files.record(files.example({"shape": [3, 8, 8], "pixels": bytes(192)}))
    short = files.record(files.example({"shape": [3, 8, 8], "data": bytes(191)}))
    wrong = bytearray(good)
    wrong[60] ^= 1
    (tmp_path / "x.tfrecords").write_bytes(good + no_key + short + bytes(wrong) + good + good[:-3])
    source = open_source(tmp_path / "x.tfrecords")
    options = BuildOptions(ConversionOptions(8))
    with pytest.raises(UserError, match="4 of 6 images are bad") as caught:
        build_dataset(source, tmp_path / "x.zip", options)
    for message in (
        "record 1 of x.tfrecords is no image: it has no 'data'",
        "record 2 of x.tfrecords is no image: 191 bytes for a shape of [3, 8, 8]",
        "record 3 of x.tfrecords is damaged: its checksum (CRC-32C) is wrong",
        "record 5 of x.tfrecords is cut off",
    ):
        assert message in str(caught.value)
    build_dataset(source, tmp_path / "x.zip", BuildOptions(ConversionOptions(8), skip_bad=True))
    assert len(open_dataset(tmp_path / "x.zip")) == 2
    folder = files.write_tfrecords(tmp_path / "few", {3: some_pixels()}, np.eye(4))
    with pytest.raises(UserError, match="4 labels of 4 numbers for 5 images"):
        build(folder, tmp_path / "y.zip", 8, labels="keep")
    (folder / "few-rxx.labels").write_bytes(b"no array")
    with pytest.raises(UserError, match="not a readable NumPy array"):
        build(folder, tmp_path / "y.zip", 8, labels="keep")
    files.write_tfrecords(folder / "..", {}, None)
    (folder / "other-r03.tfrecords").write_bytes(good)
    with pytest.raises(UserError, match=r"2 data sets \(few, other\)"):
        open_source(folder)


# ---- LMDB, tar, tables


def test_lmdb(tmp_path: Path) -> None:
    """In the order of keys; what cannot be decoded is a bad image."""
    images = files.pngs(3)
    path = files.write_lmdb(tmp_path / "set_lmdb", {"b": images[1], "a": images[0], "c": images[2], "d": b""})
    source = open_source(path)
    assert source.names == ("a", "b", "c", "d")
    assert [source.read(name) for name in "abc"] == images
    copy = pickle.loads(pickle.dumps(source.names))
    assert copy == source.names
    source.close()
    with pytest.raises(UserError, match=r"1 of 4 images are bad(.|\n)*d: empty file"):
        build(path, tmp_path / "x.zip", 8)
    content = bytearray((path / "data.mdb").read_bytes())
    content[64:] = bytes(len(content) - 64)
    (path / "data.mdb").write_bytes(content)
    with pytest.raises(UserError, match=r"damaged LMDB|no images"):
        open_source(path)


def test_tar_and_shards(tmp_path: Path) -> None:
    """Plain, packed, and shards of samples with labels, several at once."""
    images = files.pngs(4)
    content = {"a/1.png": images[0], "b/2.png": images[1], "notes.txt": b"x"}
    for name, mode in (("x.tar", "w"), ("x.tar.gz", "w:gz"), ("x.tar.xz", "w:xz")):
        source = open_source(files.write_tar(tmp_path / name, content, mode))
        assert source.names == ("a/1.png", "b/2.png")
        assert [source.read(name) for name in source.names] == images[:2]
        source.close()
    (tmp_path / "shards").mkdir()
    for shard in range(2):
        files.write_tar(
            tmp_path / "shards" / f"s-{shard:03d}.tar",
            {
                f"{key:03d}.{end}": value
                for key in (0, 1)
                for end, value in (("png", images[2 * shard + key]), ("cls", b"%d" % (key + shard)))
            },
        )
    for path in (tmp_path / "shards", tmp_path / "shards" / "s-{000..001}.tar"):
        source = open_source(path)
        assert source.names[0] == "s-000.tar/000.png"
        assert [source.read(name) for name in source.names] == images
        assert labels(source) == [0, 1, 1, 2]
        assert not source.ignored
    build(tmp_path / "shards", tmp_path / "s.zip", 8, labels="keep", order="source")
    assert open_dataset(tmp_path / "s.zip").label_dim == 3
    samples = {
        "0.png": images[0],
        "0.json": b'{"label": "dog"}',
        "1.png": images[1],
        "1.json": b'{"label": "cat"}',
    }
    own = open_source(files.write_tar(tmp_path / "j.tar", samples)).own_labels()
    assert own is not None
    assert own.classes == ("cat", "dog")


def test_bad_tars(tmp_path: Path) -> None:
    images = files.pngs(2)
    whole = files.write_tar(tmp_path / "x.tar", {"1.png": images[0], "2.png": images[1]}).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: 512 + 100])
    with pytest.raises(UserError, match=r"cut.tar: not a readable tar .*cut off|cut.tar: not a readable"):
        open_source(tmp_path / "cut.tar")
    files.write_tar(tmp_path / "x-0.tar", {"1.png": images[0]})
    with pytest.raises(UserError, match=r"2 of 3 files are not there: .*x-1.tar, .*x-2.tar"):
        open_source(tmp_path / "x-{0..2}.tar")
    files.write_tar(tmp_path / "l.tar", {"0.png": images[0], "0.cls": b"0", "1.png": images[1]})
    with pytest.raises(UserError, match=r"1.png.* without a label"):
        build(tmp_path / "l.tar", tmp_path / "x.zip", 8, labels="keep")


def test_tables(tmp_path: Path) -> None:
    images = files.pngs(5)
    (tmp_path / "data").mkdir()
    files.write_parquet(tmp_path / "data" / "train-0.parquet", images[:3], [1, 0, 2], ["a", "b", "c"])
    files.write_parquet(tmp_path / "data" / "train-1.parquet", images[3:], [2, 2], ["a", "b", "c"])
    saved = files.write_datasets(tmp_path / "saved" / "train", images, [1, 0, 2, 2, 2], ["a", "b", "c"])
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["train"]}')
    for path in (tmp_path / "data", tmp_path / "data" / "train-{0..1}.parquet", saved, saved.parent):
        source = open_source(path)
        assert [source.read(name) for name in source.names] == images
        own = source.own_labels()
        assert own is not None
        assert (own.classes, labels(source)) == (("a", "b", "c"), [1, 0, 2, 2, 2])
        source.close()
    files.write_parquet(tmp_path / "gap.parquet", [images[0], None], [0, 1], ["a", "b"])
    with pytest.raises(UserError, match=r"1 of 2 images are bad(.|\n)*row 1 has no image in column 'image'"):
        build(tmp_path / "gap.parquet", tmp_path / "x.zip", 8)
    with pytest.raises(UserError, match=r"no column of images 'img'; there are \['image'\]"):
        open_source(tmp_path / "gap.parquet", SourceOptions(column="img"))
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        open_source(tmp_path / "bad.parquet")
    (saved / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(UserError, match=r"data-00001-of-00002.arrow: not a readable Arrow file"):
        open_source(saved)


# ---- CIFAR and MNIST


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


# ---- manifests and videos


def test_manifests(tmp_path: Path) -> None:
    """Crop boxes, several to an image, and labels; CSV and JSONL give the same."""
    (tmp_path / "p").mkdir()
    big = noise(20, 12)
    (tmp_path / "p" / "big.png").write_bytes(encoded(big))
    (tmp_path / "small.png").write_bytes(encoded(noise(8, 8)))
    (tmp_path / "m.csv").write_text(
        "path,left,top,right,bottom,label\np/big.png,2,1,10,9,cat\nsmall.png,,,,,dog\np/big.png,12,4,20,12,dog\n"
    )
    rows = [
        {"file": "p/big.png", "box": [2, 1, 10, 9], "label": "cat"},
        {"file": "small.png", "label": "dog"},
        {"file": "p/big.png", "box": [12, 4, 20, 12], "label": "dog"},
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    expected = np.stack([big[1:9, 2:10], noise(8, 8), big[4:12, 12:20]]).transpose(0, 3, 1, 2)
    for name in ("m.csv", "m.jsonl"):
        source = open_source(tmp_path / name)
        assert source.names == ("p/big.png", "small.png", "p/big.png#2")
        np.testing.assert_array_equal(pixels(source), expected)
        assert labels(source) == [0, 1, 1]
        assert source.holds(tmp_path / "small.png")


def test_bad_manifests(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(noise(8, 8)))
    (tmp_path / "m.jsonl").write_text(
        '{"path": "a.png"}\n{"path": 1}\nnot\n{"path": "a.png", "box": [1, 2]}\n'
    )
    with pytest.raises(
        UserError, match=r"3 bad lines:\n  line 2: no path .*\n  line 3: not JSON .*\n  line 4: crop box"
    ):
        open_source(tmp_path / "m.jsonl")
    (tmp_path / "m.csv").write_text("path,left,top,right,bottom\na.png,0,0,9,8\ngone.png,,,,\n")
    with pytest.raises(UserError) as caught:
        build(tmp_path / "m.csv", tmp_path / "x.zip", 4)
    assert "a.png: crop box 0,0,9,8 (left, top, right, bottom) is not within the 8x8 px" in str(caught.value)
    assert "gone.png: cannot be read: No such file" in str(caught.value)
    (tmp_path / "n.csv").write_text("a.png,1\n")
    with pytest.raises(UserError, match="names no column of paths"):
        open_source(tmp_path / "n.csv")


def test_videos(tmp_path: Path) -> None:
    """A frame each so often; what hardly differs from the frame before is left out and told."""
    scenes = [np.full((16, 32, 3), value, np.uint8) for value in (0, 120, 125, 250)]
    path = files.write_video(tmp_path / "v.mp4", scenes, each=10)
    source = open_source(path, SourceOptions(every=0.5))
    times = ["00h00m00.000s", "00h00m01.000s", "00h00m02.000s", "00h00m03.000s"]
    assert list(source.names) == times
    assert source.remarks == ["left out 4 frames that hardly differ from the one before"]
    for name in (times[2], times[0], times[3], times[1]):
        value = [0, 120, 125, 250][times.index(name)]
        np.testing.assert_allclose(source.read(name), value, atol=4)
    assert len(open_source(path, SourceOptions(every=2)).names) == 2
    assert open_source(tmp_path).names[0] == f"v.mp4/{times[0]}"
    (tmp_path / "bad.mp4").write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"bad.mp4: no video that can be decoded"):
        open_source(tmp_path)
    with pytest.raises(UserError, match="every 0: valid"):
        open_source(path, SourceOptions(every=0))


# ---- StyleGAN2-ADA's data sets


def test_ada_data_sets_are_trained_on_directly(tmp_path: Path) -> None:
    """In the order of names, classes one-hot, and one missing label is named."""
    folder = make_folder(tmp_path / "set", 4)
    names = sorted(open_source(folder).names)
    rows = [[name, [0, 3, 1, 1][i]] for i, name in enumerate(names)]
    (folder / "dataset.json").write_text(json.dumps({"labels": [*rows, ["gone.png", 9]]}))
    dataset = open_dataset(folder)
    assert [dataset.source_name(i) for i in range(4)] == names
    assert (dataset.label_dim, dataset.labels(np.arange(4)).argmax(1).tolist()) == (4, [0, 3, 1, 1])
    np.testing.assert_array_equal(dataset.image(0), noise(16, 16, 3, seed=0).transpose(2, 0, 1))
    before = dataset.fingerprint
    (folder / "dataset.json").write_text(json.dumps({"labels": rows[1:]}))
    with pytest.raises(UserError, match=f"{names[0]}.*without a label"):
        open_dataset(folder)
    (folder / "dataset.json").write_text('{"labels": null}')
    assert open_dataset(folder).label_dim == 0
    assert open_dataset(folder).fingerprint != before
    (folder / "a" / "odd.png").write_bytes(encoded(noise(8, 8)))
    odd = open_dataset(folder)
    with pytest.raises(UserError, match=r"a/odd.png: \[3, 8, 8\] where the first image has \[3, 16, 16\]"):
        odd.images(np.arange(len(odd)))


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = files.pngs(1)
    paths = {
        "lmdb": files.write_lmdb(tmp_path / "l", {"a": images[0]}),
        "pyarrow": files.write_parquet(tmp_path / "p.parquet", images, [0], ["a"]),
        "av": files.write_video(tmp_path / "v.mp4", [noise(16, 16)], 2),
    }
    for package, path in paths.items():
        monkeypatch.setitem(__import__("sys").modules, package, None)
        with pytest.raises(UserError, match=f"takes the package {package}; install it with: pip install"):
            open_source(path)


def test_sources_can_be_pickled(tmp_path: Path) -> None:
    """For other processes: files are opened anew there."""
    images = files.pngs(2)
    paths = (
        files.write_tfrecords(tmp_path / "t", {3: some_pixels()}),
        files.write_tar(tmp_path / "x.tar.gz", {"1.png": images[0], "2.png": images[1]}, "w:gz"),
        files.write_parquet(tmp_path / "p.parquet", images, [0, 1], ["a", "b"]),
        files.write_datasets(tmp_path / "d", images, [0, 1], ["a", "b"]),
        files.write_video(tmp_path / "v.mp4", [noise(16, 16)], 2),
    )
    for path in paths:
        source = open_source(path)
        copy = pickle.loads(pickle.dumps(source))
        for name in source.names:
            one, other = source.read(name), copy.read(name)
            assert np.array_equal(one, other), path
