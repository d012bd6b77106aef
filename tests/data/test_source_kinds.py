"""Each kind of source: what it reads, its labels, its bad input. The authors' files are in tests/parity."""

from __future__ import annotations

import json
import pickle
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
    pickled = pickle.dumps(source)
    source.close()
    copy = pickle.loads(pickled)
    assert copy.names == source.names
    assert copy.read("b") == images[1]
    copy.close()
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
    with pytest.raises(UserError, match=r"cut.tar: not a readable tar .*cut off within"):
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
