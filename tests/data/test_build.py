"""From a source to an archive: determinism, all bad files at once, nothing half-written."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from styleloom.data import BuildOptions, ConversionOptions, build_dataset, open_dataset, open_source
from styleloom.data import build as build_module
from styleloom.errors import UserError

from .images import build, encoded, make_folder, noise


def test_archive_is_a_stored_zip_of_pngs_with_an_index(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "faces", 6)
    path = build(folder, tmp_path / "out.zip", labels="folders", order="source")
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        assert [e.filename for e in entries] == [*(f"{i:08d}.png" for i in range(6)), "dataset.json"]
        assert {e.compress_type for e in entries} == {zipfile.ZIP_STORED}
        assert {e.date_time for e in entries} == {(1980, 1, 1, 0, 0, 0)}
        index = json.loads(archive.read("dataset.json"))
        with archive.open("00000003.png") as file:
            np.testing.assert_array_equal(np.asarray(Image.open(file)), noise(16, 16, seed=1))
    assert index["sources"] == ["a/000.png", "a/002.png", "a/004.png", "b/001.png", "b/003.png", "b/005.png"]
    assert index["labels"] == [0, 0, 0, 1, 1, 1]
    assert index["classes"] == ["a", "b"]
    recipe = index["recipe"]
    total = hashlib.sha256()
    for name in index["sources"]:
        total.update(name.encode() + b"\0" + hashlib.sha256((folder / name).read_bytes()).digest())
    assert recipe.pop("source_sha256") == total.hexdigest()
    assert isinstance(recipe.pop("tool_version"), str)
    assert recipe == {
        "source": "faces", "resolution": 16, "crop": "center", "filter": "lanczos", "channels": 3,
        "background": "white", "upscale": False, "order": "source", "labels": "folders", "num_images": 6,
        "num_skipped": 0,
    }  # fmt: skip


def test_the_grid_is_recorded_unless_it_is_square(tmp_path: Path) -> None:
    """So that indexes of square images are what they were, and have the fingerprints that runs recorded."""
    folder = make_folder(tmp_path / "in", 2)
    for grid, stored in [((4, 4), None), ((3, 4), [3, 4]), ((8, 8), [8, 8])]:
        path = build(folder, tmp_path / "x.zip", resolution=8, grid=grid, overwrite=True)
        with zipfile.ZipFile(path) as archive:
            content = archive.read("dataset.json")
        recipe = json.loads(content)["recipe"]
        assert recipe.get("grid") == stored
        dataset = open_dataset(path)
        assert dataset.recipe["grid"] == dataset.grid == grid
        assert dataset.fingerprint == hashlib.sha256(content).hexdigest()


def test_order_is_shuffled_once_with_seed_123(tmp_path: Path) -> None:
    path = build(make_folder(tmp_path / "in", 30), tmp_path / "out.zip")
    names = sorted(open_source(tmp_path / "in").names)
    np.random.RandomState(123).shuffle(names)
    dataset = open_dataset(path)
    assert [dataset.source_name(i) for i in range(30)] == names
    for i, name in enumerate(names):
        expected = np.asarray(Image.open(tmp_path / "in" / name))
        np.testing.assert_array_equal(dataset.image(i), expected.transpose(2, 0, 1))


def test_source_order_of_a_zip_is_its_stored_order(tmp_path: Path) -> None:
    names = ["c.png", "a.png", "b.png"]
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for i, name in enumerate(names):
            archive.writestr(name, encoded(noise(16, 16, seed=i)))
    dataset = open_dataset(build(tmp_path / "in.zip", tmp_path / "out.zip", order="source"))
    assert [dataset.source_name(i) for i in range(3)] == names


def test_shuffled_order_does_not_depend_on_the_order_in_a_zip(tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(9)]
    hashes = set()
    for order in (names, names[::-1]):
        with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
            for name in order:
                archive.writestr(name, encoded(noise(16, 16, seed=int(name[0]))))
        hashes.add(build(tmp_path / "in.zip", tmp_path / "out.zip", overwrite=True).read_bytes())
    assert len(hashes) == 1


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    first, second = make_folder(tmp_path / "x" / "same"), tmp_path / "y" / "same"
    second.mkdir(parents=True)
    for path in sorted(first.rglob("*.png"), reverse=True):  # another order on disk
        (second / path.parent.name).mkdir(exist_ok=True)
        (second / path.relative_to(first)).write_bytes(path.read_bytes())
    outputs = [
        build(source, tmp_path / f"{i}.zip", workers=workers).read_bytes()
        for i, (source, workers) in enumerate([(first, 1), (first, 4), (second, 2)])
    ]
    assert outputs[0] == outputs[1] == outputs[2]
    (second / "a" / "000.png").write_bytes(encoded(noise(16, 16, seed=99)))
    changed = open_dataset(build(second, tmp_path / "3.zip"))
    assert changed.recipe["source_sha256"] != open_dataset(tmp_path / "0.zip").recipe["source_sha256"]


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A folder with four good images and one of each kind of bad file."""
    folder = make_folder(tmp_path / "in", 4)
    good = encoded(noise(16, 16))
    (folder / "zero.png").write_bytes(b"")
    (folder / "text.jpg").write_bytes(b"not an image at all")
    (folder / "cut.png").write_bytes(good[: len(good) // 2])
    (folder / "bomb.png").write_bytes(encoded(Image.new("1", (9600, 9600))))  # Pillow only warns of this one
    (folder / "small.png").write_bytes(encoded(noise(16, 12)))
    (folder / "float.tif").write_bytes(encoded(Image.new("F", (16, 16)), "TIFF"))
    os.symlink(tmp_path / "nowhere", folder / "dangling.png")
    return folder


REASONS = {
    "bomb.png": "decompression bomb",
    "cut.png": "truncated or damaged",
    "dangling.png": "cannot be read: No such file",
    "float.tif": "floating point",
    "small.png": "too small: 16x12 px, need at least 16x16",
    "text.jpg": "not an image",
    "zero.png": "empty file (0 bytes)",
}


def test_every_bad_file_is_reported_at_once(broken: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        build(broken, tmp_path / "out" / "x.zip")
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("7 of 11 images are bad")
    for line, (name, reason) in zip(lines[1:], REASONS.items(), strict=True):
        assert line.startswith(f"  {name}: ")
        assert reason in line
    assert list((tmp_path / "out").iterdir()) == []


def test_large_images_have_a_flag_and_pillow_warns_of_nothing(broken: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with pytest.raises(UserError, match=r"bomb.png: .*9600x9600 px.*--max-megapixels"):
            build(broken, tmp_path / "x.zip")
        one = tmp_path / "one"
        one.mkdir()
        (broken / "bomb.png").rename(one / "large.png")
        assert len(open_dataset(build(one, tmp_path / "y.zip", max_pixels=9600 * 9600))) == 1
    assert seen == []


def test_unreadable_files_and_damaged_zip_entries_are_bad_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = encoded(noise(16, 16))
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.writestr("a.png", good)
        archive.writestr("b.png", good)
    content = bytearray((tmp_path / "in.zip").read_bytes())
    content[content.index(b"IDAT") + 20] ^= 1
    (tmp_path / "in.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"1 of 2 images are bad.*\n  a.png: cannot be read: .*Bad CRC-32"):
        build(tmp_path / "in.zip", tmp_path / "out.zip")

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    folder = make_folder(tmp_path / "in", 2)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UserError, match=r"(?s)a/000.png: cannot be read: Permission denied\n.*b/001.png"):
        build(folder, tmp_path / "out.zip")


def test_skip_bad_leaves_them_out_and_counts_them(broken: Path, tmp_path: Path) -> None:
    options = BuildOptions(ConversionOptions(16), skip_bad=True)
    report = build_dataset(open_source(broken), tmp_path / "x.zip", options)
    assert [file.name for file in report.skipped] == list(REASONS)
    dataset = open_dataset(tmp_path / "x.zip")
    assert len(dataset) == 4
    assert dataset.recipe["num_skipped"] == 7
    assert {dataset.source_name(i) for i in range(4)} == {"a/000.png", "b/001.png", "a/002.png", "b/003.png"}


def test_the_first_so_many_images_in_the_order(broken: Path, tmp_path: Path) -> None:
    """Bad files make room for later ones; those that nobody reads stay unread; the recipe says it."""
    folder = make_folder(tmp_path / "good", 6)
    named = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    shuffled = list(named)
    np.random.RandomState(123).shuffle(shuffled)
    for order, names in (("source", named), ("shuffled", shuffled)):
        path = build(folder, tmp_path / "x.zip", order=order, max_images=4, overwrite=True)
        dataset = open_dataset(path)
        assert [dataset.source_name(i) for i in range(len(dataset))] == names[:4], order
        assert (dataset.recipe["max_images"], dataset.recipe["num_images"]) == (4, 4)
    with zipfile.ZipFile(
        build(folder, tmp_path / "all.zip")
    ) as archive:  # as in indexes that were written before
        assert "max_images" not in json.loads(archive.read("dataset.json"))["recipe"]
    assert len(open_dataset(build(folder, tmp_path / "more.zip", max_images=99))) == 6

    # a/000 a/002 b/001 b/003 bomb cut ...: with a good file at the end, the fifth lies behind the bad ones.
    (broken / "zz.png").write_bytes(encoded(noise(16, 16, seed=50)))
    options = BuildOptions(ConversionOptions(16), order="source", skip_bad=True, max_images=5)
    calls: list[tuple[int, int]] = []
    report = build_dataset(
        open_source(broken), tmp_path / "y.zip", options, lambda done, total: calls.append((done, total))
    )
    assert (report.index.recipe.num_images, report.index.recipe.num_skipped) == (5, 7)
    assert report.index.sources[-1] == "zz.png"
    assert all(done <= total for done, total in calls)
    assert calls[-1] == (12, 12)
    assert len(open_dataset(build(broken, tmp_path / "z.zip", order="source", max_images=4))) == 4
    with pytest.raises(UserError, match=r"1 of 5 images are bad"):
        build(broken, tmp_path / "w.zip", order="source", max_images=5)


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match="no image is left"):
        build(tmp_path / "in", tmp_path / "x.zip", skip_bad=True)
    assert not (tmp_path / "x.zip").exists()


def test_long_lists_are_cut_with_a_count(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        build(make_folder(tmp_path / "in", 60), tmp_path / "x.zip", resolution=32)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("60 of 60")
    assert len(lines) == 52
    assert lines[-1].strip() == "... and 10 more"


def test_existing_destination_is_kept_unless_overwritten(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "in", 3)
    (tmp_path / "x.zip").write_text("precious")
    with pytest.raises(UserError, match="--overwrite"):
        build(folder, tmp_path / "x.zip")
    assert (tmp_path / "x.zip").read_text() == "precious"
    assert len(open_dataset(build(folder, tmp_path / "x.zip", overwrite=True))) == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_interruption_leaves_the_old_file_and_no_rest(tmp_path: Path, error: type[BaseException]) -> None:
    folder = make_folder(tmp_path / "in", 10)
    dest = tmp_path / "out" / "x.zip"
    dest.parent.mkdir()
    dest.write_text("old")

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise error

    options = BuildOptions(ConversionOptions(16), overwrite=True)
    with pytest.raises(error):
        build_dataset(open_source(folder), dest, options, stop)
    assert dest.read_text() == "old"
    assert list(dest.parent.iterdir()) == [dest]


def test_progress_counts_every_image(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    options = BuildOptions(ConversionOptions(16))
    source = open_source(make_folder(tmp_path / "in", 7))
    build_dataset(source, tmp_path / "x.zip", options, lambda done, total: calls.append((done, total)))
    assert calls == [(i, 7) for i in range(1, 8)]


def test_few_images_are_held_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    convert_one = build_module._convert_one
    monkeypatch.setattr(
        build_module, "_convert_one", lambda *args: (started.append(args[1]), convert_one(*args))[1]
    )
    ahead: list[int] = []
    options = BuildOptions(ConversionOptions(16), workers=1)
    source = open_source(make_folder(tmp_path / "in", 40))
    build_dataset(source, tmp_path / "x.zip", options, lambda done, _: ahead.append(len(started) - done))
    assert max(ahead) <= 5


def test_labels_follow_their_images_through_the_shuffle(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "in", 20)
    file = tmp_path / "labels.csv"
    file.write_text("".join(f"{name},{int(name[2:5])}\n" for name in open_source(folder).names))
    dataset = open_dataset(build(folder, tmp_path / "x.zip", labels=str(file)))
    assert dataset.recipe["labels"] == "labels.csv"
    assert dataset.label_dim == 20
    for i in range(20):
        assert dataset.label(i).argmax() == int(dataset.source_name(i)[2:5])


def test_labels_are_kept_when_an_archive_is_the_source(tmp_path: Path) -> None:
    first = build(make_folder(tmp_path / "in", 8), tmp_path / "1.zip", labels="folders")
    second = open_dataset(build(first, tmp_path / "2.zip", resolution=8, labels="keep"))
    old = open_dataset(first)
    assert second.classes == ("a", "b")
    by_file = {f"{i:08d}.png": old.label(i) for i in range(8)}
    for i in range(8):
        np.testing.assert_array_equal(second.label(i), by_file[second.source_name(i)])
    with pytest.raises(UserError, match=r"there is no .*in/dataset\.json"):
        build(tmp_path / "in", tmp_path / "3.zip", labels="keep")
    with pytest.raises(UserError, match="no labels"):
        build("emoji", tmp_path / "3.zip", labels="keep")


def test_option_errors() -> None:
    with pytest.raises(UserError, match="order"):
        BuildOptions(ConversionOptions(16), order="random")  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match="workers -1"):
        BuildOptions(ConversionOptions(16), workers=-1)
    with pytest.raises(UserError, match=r"max_images -1: valid: 0 \(all\) or more"):
        BuildOptions(ConversionOptions(16), max_images=-1)
