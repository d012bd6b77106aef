"""Opening archives: what is given, and every way in which one can be wrong."""

from __future__ import annotations

import gc
import json
import multiprocessing
import pickle
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from every import every
from styleloom.data import ImageDataset, Loader, check_dataset, open_dataset
from styleloom.data.loader import mirror_coins
from styleloom.errors import UserError

from .images import build, encoded, make_folder, noise, rewritten


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 RGB images at 16 px with two classes, in source order."""
    root = tmp_path_factory.mktemp("archive")
    return build(make_folder(root / "in", 12), root / "set.zip", labels="folders", order="source")


def pixels_of(number: int) -> np.ndarray:
    """What image `number` of the fixture holds: class a has the even seeds."""
    return noise(16, 16, seed=2 * number if number < 6 else 2 * number - 11).transpose(2, 0, 1)


def test_properties_images_and_labels(archive: Path) -> None:
    dataset = open_dataset(str(archive), 16)
    assert (len(dataset), dataset.resolution, dataset.channels, dataset.label_dim) == (12, 16, 3, 2)
    assert dataset.name == "set"
    assert dataset.classes == ("a", "b")
    for i in range(12):
        image = dataset.image(i)
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, pixels_of(i))
        label = dataset.label(i)
        assert label.dtype == np.float32
        np.testing.assert_array_equal(label, [1, 0] if i < 6 else [0, 1])
    for wrong in (-1, 12):
        with pytest.raises(IndexError):
            dataset.image(wrong)
        with pytest.raises(IndexError):
            dataset.label(wrong)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels(tmp_path: Path, channels: int) -> None:
    folder = make_folder(tmp_path / "in", 2, channels=channels)
    dataset = open_dataset(build(folder, tmp_path / "x.zip", channels=channels, order="source"))
    assert dataset.channels == channels
    expected = noise(16, 16, channels, seed=1).reshape(16, 16, channels).transpose(2, 0, 1)
    np.testing.assert_array_equal(dataset.image(1), expected)
    assert dataset.label(0).shape == (0,)
    assert dataset.labels(np.arange(2)).shape == (2, 0)


def test_vector_labels(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "in", 2)
    (tmp_path / "v.json").write_text('{"a/000.png": [0.5, -1, 2], "b/001.png": [1, 2, 3]}')
    dataset = open_dataset(build(folder, tmp_path / "x.zip", labels=str(tmp_path / "v.json"), order="source"))
    assert dataset.label_dim == 3
    np.testing.assert_array_equal(dataset.labels(np.array([1, 0])), [[1, 2, 3], [0.5, -1, 2]])


def test_split_holds_out_the_last(archive: Path) -> None:
    dataset = open_dataset(archive)
    train, held_out = dataset.split(5)
    assert (len(train), len(held_out)) == (7, 5)
    for view, start in ((train, 0), (held_out, 7)):
        for i in range(len(view)):
            np.testing.assert_array_equal(view.image(i), pixels_of(start + i))
            np.testing.assert_array_equal(view.label(i), dataset.label(start + i))
            assert view.source_name(i) == dataset.source_name(start + i)
    with pytest.raises(IndexError):
        train.image(7)
    inner = held_out.split(2)[1]
    np.testing.assert_array_equal(inner.image(0), pixels_of(10))
    prints = [view.fingerprint for view in (dataset, train, held_out, inner, dataset.split(4)[0])]
    assert len(set(prints)) == 5
    assert dataset.split(5)[0].fingerprint == train.fingerprint
    for wrong in (0, 12, -1):
        with pytest.raises(UserError, match="valid: 1 to 11"):
            dataset.split(wrong)


def test_preload_gives_the_same_images_from_memory(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset(archive)
    size = 12 * 3 * 16 * 16
    assert dataset.preload(size - 1) is False
    assert not dataset.preloaded
    assert dataset.preload(size) is True
    monkeypatch.setattr(type(dataset._reader), "image", None)  # from here on, reading the file would fail
    views = dataset.split(5)
    np.testing.assert_array_equal(dataset.image(3), pixels_of(3))
    np.testing.assert_array_equal(views[1].image(0), pixels_of(7))
    np.testing.assert_array_equal(dataset.images(np.array([4, 1])), [pixels_of(4), pixels_of(1)])
    dataset.image(3)[:] = 0  # a copy: the data set does not change
    np.testing.assert_array_equal(dataset.image(3), pixels_of(3))
    with pytest.raises(IndexError):
        dataset.images(np.array([12]))
    with pytest.raises(IndexError):
        dataset.images(np.array([-1]))


def test_fingerprint_identifies_pixels_labels_and_source(tmp_path: Path, archive: Path) -> None:
    folder = make_folder(tmp_path / "in", 12)
    again = build(folder, tmp_path / "again.zip", labels="folders", order="source")
    assert open_dataset(again).fingerprint == open_dataset(archive).fingerprint  # the path has no say
    assert len(open_dataset(archive).fingerprint) == 64
    plain = open_dataset(build(folder, tmp_path / "plain.zip", order="source"))
    assert plain.fingerprint != open_dataset(again).fingerprint
    (folder / "a" / "000.png").write_bytes(encoded(noise(16, 16, seed=77)))
    changed = open_dataset(build(folder, tmp_path / "changed.zip", order="source"))
    assert changed.fingerprint != plain.fingerprint


def test_many_threads_read_the_same(archive: Path) -> None:
    dataset = open_dataset(archive)
    barrier = threading.Barrier(8)

    def read(seed: int) -> bool:
        barrier.wait()
        order = np.random.RandomState(seed).permutation(np.tile(np.arange(12), 20))
        return all((dataset.image(i) == pixels_of(i)).all() for i in order)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(8)))


def read_all(dataset: ImageDataset) -> int:
    """In another process: sum of all pixels."""
    return sum(int(dataset.image(i).sum()) for i in range(len(dataset)))


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_read_the_same(archive: Path, method: str) -> None:
    dataset = open_dataset(archive)
    dataset.image(0)  # a handle is open before the other process starts
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(read_all, (dataset,)) == read_all(dataset)


def test_a_fork_does_not_share_the_file_position(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = open_dataset(archive)._reader
    mine = reader._handle()
    assert reader._handle() is mine
    monkeypatch.setattr("os.getpid", lambda: mine.pid + 1)  # what a forked child would see
    assert reader._handle() is not mine


def test_handles_close_with_the_dataset(archive: Path) -> None:
    dataset = open_dataset(archive)
    dataset.image(0)
    file = dataset._reader._handle().file
    dataset.close()
    assert file.closed
    dataset.image(0)  # opens again
    file = dataset._reader._handle().file
    del dataset
    gc.collect()
    assert file.closed  # and no ResourceWarning, which would fail the test run


def test_pickled_views_stay_views(archive: Path) -> None:
    view = pickle.loads(pickle.dumps(open_dataset(archive).split(5)[1]))
    np.testing.assert_array_equal(view.image(0), pixels_of(7))


def changed_index(archive: Path, dest: Path, **fields: object) -> Path:
    """A copy of the archive with other values in the index (`recipe__x` for those of the recipe)."""
    with zipfile.ZipFile(archive) as old:
        index = json.loads(old.read("dataset.json"))
    for name, value in fields.items():
        (index["recipe"] if name.startswith("recipe__") else index)[name.removeprefix("recipe__")] = value
    return rewritten(archive, dest, {"dataset.json": json.dumps(index).encode()})


@every(
    ("fields", "message"),
    [
        ({"format": "other"}, "not styleloom's"),
        ({"version": 2}, "index version 2"),
        ({"files": [], "sources": [], "labels": [], "recipe__num_images": 0}, "empty"),
        ({"files": 3}, "damaged"),
        ({"recipe": {}}, "recipe fields"),
        ({"recipe__resolution": "16"}, "resolution = '16' is not int"),
        ({"recipe__resolution": 20}, "power of two"),
        ({"recipe__channels": 2}, "channels 2"),
        ({"recipe__grid": [4]}, "grid = \\[4\\] is not a height and a width"),
        ({"recipe__grid": "44"}, "damaged"),
        ({"recipe__grid": 4}, "damaged"),
        ({"recipe__grid": {"height": 4, "width": 4}}, "damaged"),
        ({"recipe__grid": [4, 4.0]}, "damaged"),
        ({"recipe__grid": [True, 4]}, "damaged"),
        ({"recipe__grid": [4, 1]}, "grid 4,1: valid: height,width of 2 to 16"),
        ({"recipe__grid": [17, 4]}, "grid 17,4"),
        ({"recipe__size": [4, 4]}, "recipe fields"),
        ({"recipe__num_images": 11}, "num_images 11"),
        ({"sources": ["x"]}, "1 source names"),
        ({"labels": None}, "label_dim 2 without labels"),
        ({"labels": [0] * 11}, "11 labels"),
        ({"labels": [2] * 12}, "does not fit"),
        ({"labels": [[0.5]] * 12}, "does not fit"),
        ({"labels": ["a"] * 12}, "damaged"),
        ({"classes": ["a"]}, "1 class names"),
        ({"files": ["00000000.png"] * 12}, "listed twice"),
        (
            {"files": [f"{i}.png" for i in range(12)]},
            "12 images of the index are not in the zip, first 0.png",
        ),
    ],
)
def test_damaged_indexes(archive: Path, tmp_path: Path, fields: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        open_dataset(changed_index(archive, tmp_path / "x.zip", **fields))
    assert "x.zip" in str(caught.value)


def test_images_of_another_grid_than_the_index_says(archive: Path, tmp_path: Path) -> None:
    path = changed_index(archive, tmp_path / "x.zip", recipe__grid=[3, 4])
    with pytest.raises(UserError, match=r"x.zip: 00000000.png: 16x16 px RGB, but the index says 16x12"):
        open_dataset(path).image(0)
    assert len(check_dataset(path).problems) == 12


def test_what_is_no_archive(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("no zip")
    content = archive.read_bytes()
    (tmp_path / "cut.zip").write_bytes(content[: len(content) // 2])
    rewritten(archive, tmp_path / "noindex.zip", {"dataset.json": None})
    rewritten(archive, tmp_path / "nojson.zip", {"dataset.json": b"{"})
    rewritten(archive, tmp_path / "deflated.zip", {}, compression=zipfile.ZIP_DEFLATED)
    for name, message in [
        ("missing.zip", "no such data set"),
        ("", "is a folder; make an archive first: styleloom dataset build"),
        ("text.zip", "not a readable zip"),
        ("cut.zip", "not a readable zip"),
        ("noindex.zip", "no dataset.json in it.*styleloom dataset build"),
        ("nojson.zip", "the index is damaged"),
        ("deflated.zip", "compressed"),
    ]:
        with pytest.raises(UserError, match=message):
            open_dataset(tmp_path / name)


def test_images_that_are_not_as_the_index_says(archive: Path, tmp_path: Path) -> None:
    for content, message in [
        (encoded(noise(8, 8)), "8x8 px RGB, but the index says 16x16 px RGB"),
        (encoded(noise(16, 16, 1)), "16x16 px L, but the index says 16x16 px RGB"),
        (b"junk", "not a readable PNG"),
    ]:
        path = rewritten(archive, tmp_path / "x.zip", {"00000004.png": content})
        dataset = open_dataset(path)
        dataset.image(3)
        with pytest.raises(UserError, match=f"x.zip: 00000004.png: .*{message}"):
            dataset.image(4)
        with pytest.raises(UserError, match=r"x.zip: 00000004.png"):
            dataset.preload()
        assert any("00000004.png" in problem for problem in check_dataset(path).problems)


def test_flipped_bits_are_noticed(archive: Path, tmp_path: Path) -> None:
    content = bytearray(archive.read_bytes())
    content[content.index(b"IDAT") + 30] ^= 1
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"00000000.png is damaged \(checksum\)"):
        open_dataset(tmp_path / "x.zip").image(0)


def test_check_finds_exchanged_images_and_duplicates(archive: Path, tmp_path: Path) -> None:
    report = check_dataset(archive)
    assert report.problems == report.duplicates == ()
    assert report.class_counts == {0: 6, 1: 6}
    path = rewritten(archive, tmp_path / "x.zip", {"00000004.png": encoded(noise(16, 16, seed=0))})
    report = check_dataset(path)
    assert report.duplicates == (("a/000.png", "a/008.png"),)
    assert len(report.problems) == 1
    assert "pixels_sha256" in report.problems[0]


def test_another_resolution_is_refused_with_the_command(archive: Path) -> None:
    with pytest.raises(
        UserError, match=r"stored at 16 px, not 8 px.*dataset build .*set.zip DEST.zip --resolution 8"
    ):
        open_dataset(archive, 8)
    with pytest.raises(UserError, match=r"16 px, not 32 px.*dataset build SOURCE DEST.zip --resolution 32"):
        open_dataset(archive, 32)
    with pytest.raises(UserError, match="nearest: 8 and 16"):
        open_dataset(archive, 12)


def test_an_archive_named_like_an_embedded_set_stays_itself(tmp_path: Path) -> None:
    """A run records the path, and opens the same images again."""
    path = build(make_folder(tmp_path / "images", 3), tmp_path / "emoji.zip")
    dataset = open_dataset(path)
    again = open_dataset(dataset.path)
    assert (dataset.name, len(again)) == ("emoji", 3)
    assert again.fingerprint == dataset.fingerprint
    assert open_dataset("emoji", 32).path == "emoji"


def test_rectangular_images(tmp_path: Path) -> None:
    """24 x 32 px, height x width, through every part of the package `data`."""
    for i in range(8):
        path = tmp_path / "in" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(noise(32, 24, seed=i)))
    options = {"resolution": 32, "grid": (3, 4), "order": "source"}
    archive = build(tmp_path / "in", tmp_path / "x.zip", labels="folders", **options)
    dataset = open_dataset(archive, 32)
    assert (dataset.resolution, dataset.grid, dataset.size) == (32, (3, 4), (24, 32))
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    expected = np.stack([noise(32, 24, seed=seed).transpose(2, 0, 1) for seed in order])
    everything = np.arange(8)
    np.testing.assert_array_equal(dataset.images(everything), expected)
    np.testing.assert_array_equal(dataset.image(3), expected[3])
    assert dataset.images(everything[:0]).shape == (0, 3, 24, 32)
    assert not dataset.preload(8 * 3 * 24 * 32 - 1)
    assert dataset.preload(8 * 3 * 24 * 32)
    train, held_out = dataset.split(3)
    parts = [train.images(everything[:5]), held_out.images(everything[:3])]
    np.testing.assert_array_equal(np.concatenate(parts), expected)
    report = check_dataset(archive)
    assert report.problems == ()
    assert report.class_counts == {0: 4, 1: 4}
    with Loader(open_dataset(archive), 0, True, workers=2) as loader:
        batch = loader.next(8)
    coins = mirror_coins(0, everything)
    assert 0 < coins.sum() < 8
    for image, label, index, coin in zip(batch.images, batch.labels, batch.indices, coins, strict=True):
        np.testing.assert_array_equal(image, expected[index][..., ::-1] if coin else expected[index])
        assert label.argmax() == index // 4
    again = open_dataset(build(archive, tmp_path / "y.zip", labels="keep", **options))  # an archive as source
    np.testing.assert_array_equal(again.images(everything), expected)
    np.testing.assert_array_equal(again.labels(everything), dataset.labels(everything))
    square = open_dataset(build(tmp_path / "in", tmp_path / "s.zip", resolution=16))
    assert (square.grid, square.size) == ((4, 4), (16, 16))
    with pytest.raises(UserError, match=r"--resolution 16 --grid 3,4 --labels keep"):
        open_dataset(archive, 16)


def test_an_image_exchanged_after_the_build_is_noticed_before_training(archive: Path, tmp_path: Path) -> None:
    path = rewritten(archive, tmp_path / "x.zip", {"00000004.png": encoded(noise(16, 16, seed=0))})
    with pytest.raises(UserError, match=r"x.zip: the pixels are not those of the index"):
        open_dataset(path).preload()
    assert open_dataset(archive).preload()
    for content in (encoded(noise(8, 8)), encoded(noise(16, 16, 1)), encoded(noise(16, 16, 4)), b"junk"):
        path = rewritten(archive, tmp_path / "x.zip", {"00000011.png": content})
        with pytest.raises(UserError, match=r"x.zip: 00000011.png"):
            open_dataset(path).check_headers()
    open_dataset(archive).check_headers()


def test_what_a_zip_says_of_its_entries_is_checked_on_opening(archive: Path, tmp_path: Path) -> None:
    twice = rewritten(archive, tmp_path / "x.zip", {})
    with zipfile.ZipFile(twice, "a") as added, pytest.warns(UserWarning, match="Duplicate name"):
        added.writestr("00000004.png", encoded(noise(16, 16)))
    with pytest.raises(UserError, match=r"00000004.png is in it more than once"):
        open_dataset(twice)
    packed = rewritten(build(make_folder(tmp_path / "p", 3), tmp_path / "p.zip"), tmp_path / "q.zip", {})
    content = bytearray(packed.read_bytes())
    place = content.index(b"PK\1\2")  # of the first image
    for offset, value in [(24, 2**31), (20, 2**31), (42, 2**31)]:
        lie = bytearray(content)
        lie[place + offset : place + offset + 4] = value.to_bytes(4, "little")
        packed.write_bytes(lie)
        with pytest.raises(UserError, match=r"q.zip: (00000000.png is damaged|not a readable zip)"):
            open_dataset(packed)


@every(
    ("fields", "message"),
    [
        ({"labels": [[float("nan")]] * 12, "label_dim": 1, "classes": None}, "finite numbers"),
        ({"labels": [["1"]] * 12, "label_dim": 1, "classes": None}, "finite numbers"),
        ({"labels": [[10**400]] * 12, "label_dim": 1, "classes": None}, "finite numbers"),
        ({"labels": [True] * 12}, "neither a class"),
        ({"labels": 3}, "not a list"),
        ({"label_dim": 1.5}, "no whole number"),
        ({"label_dim": 10**9, "classes": None}, "label_dim 1000000000"),
        ({"recipe": 3}, "recipe is 3"),
        ({"recipe__grid": 7}, "grid = 7"),
        ({"recipe__resolution": 2**40}, "px are read"),
        ({"recipe__num_images": 13}, "12 files.*num_images 13"),
    ],
)
def test_an_index_that_lies(archive: Path, tmp_path: Path, fields: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_dataset(changed_index(archive, tmp_path / "x.zip", **fields))
