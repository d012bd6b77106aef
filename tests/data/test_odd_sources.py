"""Folders and zips as other systems, broken disks and hostile hands make them."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from styleloom.data import BuildOptions, ConversionOptions, build_dataset, open_dataset, open_source, sources
from styleloom.data.archive import is_archive
from styleloom.errors import UserError

from .images import build, encoded, make_folder, noise
from .raw_images import tiff

PNG = encoded(noise(16, 16))


def make_zip(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo("x")
            entry.filename = name  # as it stands, whatever the constructor thinks of it
            entry.compress_type = compression
            archive.writestr(entry, content)
    return path


# ---- what is an image


def test_images_are_told_by_content(tmp_path: Path) -> None:
    photo = tiff(8, 8, [8], 1, [bytes(64)])
    files = {
        "a.jfif": encoded(noise(8, 8), "JPEG"),
        "b.jpe": encoded(noise(8, 8), "JPEG"),
        "c": PNG,
        "d.jpg_large": encoded(noise(8, 8), "WEBP"),
        "e.001": encoded(noise(8, 8), "BMP"),
        "f": photo,
        "raw.dng": photo,  # what a TIFF reader finds in a raw photo is a thumbnail
        "memo": b"BMW is no bitmap, whatever its first letters are",
        "notes.txt": b"x",
        "empty": b"",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    archive = make_zip(tmp_path.parent / f"{tmp_path.name}.zip", files)
    for source in (open_source(tmp_path), open_source(archive)):
        assert source.names == ("a.jfif", "b.jpe", "c", "d.jpg_large", "e.001", "f")
        ignored = {".dng": 1, ".txt": 1, "(no ending)": 2 if source.path == archive else 4}
        assert dict(source.ignored) == ignored
        source.close()


def test_what_is_no_folder_and_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nowhere")
    for path, message in {
        "/dev/zero": "a device",
        str(tmp_path / "pipe"): "a pipe",
        str(tmp_path / "loop"): "cannot be read",
        str(tmp_path / "gone"): "a link to nothing",
        "x" * 5000: "cannot be read",
        "nul\0": "cannot be read",
    }.items():
        for opener in (open_source, open_dataset):
            with pytest.raises(UserError, match=message):
                opener(path)


# ---- names


def test_a_name_that_is_no_text_is_kept_byte_for_byte(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    names = [b"caf\xe9.png", b"\xff\xfe.png", b"ok.png", b"new\nline\x1b[31m.png"]
    for name in names:
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            file.write(PNG)
    dataset = open_dataset(build(folder, tmp_path / "x.zip", order="source"))
    assert sorted(os.fsencode(dataset.source_name(i)) for i in range(4)) == sorted(names)
    (folder / "bad\n\x1b[2J.png").write_bytes(b"")
    with pytest.raises(UserError) as caught:
        build(folder, tmp_path / "y.zip")
    assert r"'bad\n\x1b[2J.png': empty file" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2


def test_names_in_zips_of_other_systems(tmp_path: Path) -> None:
    names = {
        "a\\1.png": "a/1.png",
        "/b/2.png": "/b/2.png",
        "../c/3.png": "../c/3.png",
        "mac__.png": "mac\u00e9.png",  # UTF-8 without the mark, as macOS writes it
        "dos_.png": "dos\u00e9.png",  # code page 437, which the format means without the mark
        "d" * 5000 + ".png": "d" * 5000 + ".png",
        "E.png": "E.png",
        "e.png": "e.png",
        "": None,
        "folder\\": None,
    }
    path = make_zip(tmp_path / "in.zip", dict.fromkeys(names, PNG))
    content = path.read_bytes().replace(b"mac__.png", "mac\u00e9.png".encode())
    path.write_bytes(content.replace(b"dos_.png", "dos\u00e9.png".encode("cp437")))
    source = open_source(path)
    assert source.names == tuple(name for name in names.values() if name is not None)
    for name in source.names:
        assert source.read(name) == PNG
    source.close()


def test_two_names_that_become_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'a/1.png' more than once"):
        open_source(make_zip(tmp_path / "in.zip", {"a/1.png": PNG, "a\\1.png": PNG}))


# ---- one bad part does not spoil the rest


def broken_zip(path: Path) -> Path:
    """A zip with two good images and one of each kind of broken entry."""
    files = {f"{name}.png": encoded(noise(16, 16, seed=i)) for i, name in enumerate("abcdefg")}
    make_zip(path, files, zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())

    def entry(name: str, head: bytes) -> int:
        return content.rindex(head, 0, content.index(name.encode(), content.index(head)))

    with zipfile.ZipFile(path) as archive:
        places = {info.filename[0]: info.header_offset for info in archive.infolist()}
        data = {name: place + 30 + len("a.png") for name, place in places.items()}
    content[data["a"] : data["a"] + 4] = b"\xff" * 4  # not deflate
    content[places["b"] : places["b"] + 4] = b"XXXX"  # no local header
    central = content.index(b"PK\1\2")
    for name, offset, value in [("c", 8, 1), ("d", 10, 12), ("e", 16, 0), ("f", 24, 1 << 31)]:
        at = content.rindex(b"PK\1\2", central, content.index(f"{name}.png".encode(), central))
        size = 4 if offset > 10 else 2
        content[at + offset : at + offset + size] = value.to_bytes(size, "little")
    path.write_bytes(content)
    return path


def test_broken_members_are_bad_files(tmp_path: Path) -> None:
    archive = broken_zip(tmp_path / "in.zip")
    with pytest.raises(UserError) as caught:
        build(archive, tmp_path / "x.zip")
    message = str(caught.value)
    assert message.startswith("6 of 7 images are bad")
    for line in (
        "a.png: cannot be read: damaged in the zip: Error -3",
        "b.png: cannot be read: damaged in the zip",
        "c.png: cannot be read: encrypted",
        "d.png: cannot be read: compressed in the zip by method 12",
        "e.png: cannot be read: damaged in the zip: Bad CRC",
        "f.png: cannot be read: 2,147,483,648 bytes",
    ):
        assert line in message
    dataset = open_dataset(build(archive, tmp_path / "x.zip", skip_bad=True))
    assert (len(dataset), dataset.source_name(0), dataset.recipe["num_skipped"]) == (1, "g.png", 6)


def test_a_folder_that_cannot_be_listed_is_a_bad_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder(tmp_path / "in", 4)
    scandir = os.scandir

    def refuse(path: str) -> object:
        if os.path.basename(path) == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"1 of 3 images are bad.*\n  b/: cannot be read: .*listed: Perm"):
        build(folder, tmp_path / "x.zip")
    (tmp_path / "l.csv").write_text("a/000.png,0\na/002.png,1\n")
    labels = str(tmp_path / "l.csv")
    dataset = open_dataset(build(folder, tmp_path / "x.zip", skip_bad=True, labels=labels))
    assert (len(dataset), dataset.recipe["num_skipped"]) == (2, 1)


def test_sizes_are_known_before_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    with open(folder / "zeros.png", "wb") as file:
        file.truncate(10 * 2**30)
    with open(folder / "large.png", "wb") as file:
        file.truncate(2**27)
    (folder / "good.png").write_bytes(PNG)
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) if path.name == "good.png" else b"never")
    dataset = open_dataset(build(folder, tmp_path / "x.zip", skip_bad=True))
    assert len(dataset) == 1
    source = open_source(folder)
    for name, message in {
        "zeros.png": "10,737,418,240 bytes, at most",
        "large.png": "do not begin as",
    }.items():
        with pytest.raises(OSError, match=message):
            source.read(name)
    bomb = b"\x89PNG\r\n\x1a\n" + bytes(2**27)
    source = open_source(make_zip(tmp_path / "in.zip", {"a.png": bomb, "b.png": PNG}, zipfile.ZIP_DEFLATED))
    with pytest.raises(OSError, match=r"claims 134,217,736 bytes, packed into .*bomb"):
        source.read("a.png")
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        source = open_source(make_zip(tmp_path / "in.zip", {"a.png": PNG}, method))
        with pytest.raises(OSError, match="valid: stored or deflate"):
            source.read("a.png")


# ---- a build never touches its source


def test_a_build_into_its_own_source_is_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "in", 4)
    archive = build(folder, tmp_path / "x.zip")
    before = archive.read_bytes()
    (tmp_path / "link.zip").symlink_to(archive)
    os.link(archive, tmp_path / "hard.zip")
    (tmp_path / "dir").symlink_to(folder, target_is_directory=True)
    (folder / "elsewhere").symlink_to(tmp_path / "other", target_is_directory=True)
    (tmp_path / "other").mkdir()
    for source, dest in [
        (archive, archive),
        (archive, tmp_path / "in" / ".." / "x.zip"),
        (archive, tmp_path / "link.zip"),
        (archive, tmp_path / "hard.zip"),
        (tmp_path / "link.zip", archive),
        (folder, folder / "out.zip"),
        (folder, folder / "new" / "deep" / "out.zip"),
        (folder, tmp_path / "dir" / "a" / "out.zip"),
        (folder, tmp_path / "other" / "out.zip"),
        ("emoji", sources.EMBEDDED_SETS["emoji"]),
    ]:
        with pytest.raises(UserError, match=r"is the source|lies in it"):
            build(source, dest, overwrite=True)
    assert archive.read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b", "elsewhere"]


# ---- labels beside the images


def test_labels_of_dataset_json_are_kept_or_said_to_be_unused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = {f"00000/img{i:08d}.png": encoded(noise(16, 16, seed=i)) for i in range(3)}
    rows = [[name, i % 2] for i, name in enumerate(images)]
    vectors = [[name.replace("/", "\\"), [i, 0.5]] for i, name in enumerate(images)]
    one_hot, as_they_are = [[1, 0], [0, 1], [1, 0]], [[0, 0.5], [1, 0.5], [2, 0.5]]
    for number, (labels, expected) in enumerate([(rows, one_hot), (vectors, as_they_are)]):
        index = json.dumps({"labels": labels}).encode()
        folder = tmp_path / f"folder{number}"
        for name, content in {**images, "dataset.json": index}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        packed = make_zip(tmp_path / f"{number}.zip", {**images, "dataset.json": index}, zipfile.ZIP_DEFLATED)
        for source in (folder, packed):
            dest = tmp_path / "out.zip"
            kept = open_dataset(build(source, dest, labels="keep", order="source", overwrite=True))
            np.testing.assert_array_equal(kept.labels(np.arange(3)), expected)
            assert not caplog.records
            assert open_dataset(build(source, dest, overwrite=True)).label_dim == 0
            assert "dataset.json are not used; --labels keep takes them" in caplog.text
            caplog.clear()
    for index, message in [
        (b'{"labels": null}', "has no labels"),
        (b'{"labels": [["gone.png", 1]]}', "without a label"),
        (b"[" * 100_000, "not JSON"),
        (b" " * 2**21, "at most"),
    ]:
        make_zip(packed, {**images, "dataset.json": index}, zipfile.ZIP_DEFLATED)
        with pytest.raises(UserError, match=message):
            build(packed, tmp_path / "x.zip", labels="keep", overwrite=True)
        build(packed, tmp_path / "x.zip", overwrite=True)  # nobody asked for labels


def test_labels_lie_in_the_folder_that_a_data_set_was_packed_with(tmp_path: Path) -> None:
    names = [f"00000/img{i:08d}.png" for i in range(3)]
    images = {f"data/set/{name}": encoded(noise(16, 16, seed=i)) for i, name in enumerate(names)}
    index = {"data/set/dataset.json": json.dumps({"labels": [[name, 2] for name in names]}).encode()}
    packed = make_zip(tmp_path / "x.zip", {**index, **images}, zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(packed) as opened:
        opened.extractall(tmp_path / "unpacked")
    for source in (packed, tmp_path / "unpacked"):
        assert not open_source(source).ignored
        assert open_dataset(build(source, tmp_path / "y.zip", labels="keep", overwrite=True)).label_dim == 3
    assert not is_archive(packed)
    other = make_zip(tmp_path / "z.zip", {**index, **images, "loose.png": PNG}, zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match=r"there is no .*z\.zip/dataset\.json"):
        build(other, tmp_path / "y.zip", labels="keep", overwrite=True)


def test_an_unpacked_archive_keeps_its_labels(tmp_path: Path) -> None:
    archive = build(make_folder(tmp_path / "in", 4), tmp_path / "x.zip", labels="folders")
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "unpacked")
    again = open_dataset(build(tmp_path / "unpacked", tmp_path / "y.zip", labels="keep", order="source"))
    old = open_dataset(archive)
    assert again.classes == ("a", "b")
    np.testing.assert_array_equal(again.labels(np.arange(4)), old.labels(np.arange(4)))


def test_what_waits_to_be_stored_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from styleloom.data import build as build_module

    monkeypatch.setattr(build_module, "_PENDING_BYTES", 2 * 3 * 16 * 16 * 3)
    started: list[str] = []
    convert_one = build_module._convert_one
    monkeypatch.setattr(
        build_module, "_convert_one", lambda *args: (started.append(args[1]), convert_one(*args))[1]
    )
    ahead: list[int] = []
    source = open_source(make_folder(tmp_path / "in", 20))
    options = BuildOptions(ConversionOptions(16), workers=4)
    build_dataset(source, tmp_path / "x.zip", options, lambda done, _: ahead.append(len(started) - done))
    assert max(ahead) <= 3


def test_another_tools_zip_is_images_and_no_archive(tmp_path: Path) -> None:
    theirs = make_zip(tmp_path / "theirs.zip", {"a.png": PNG, "dataset.json": b'{"labels": null}'})
    ours = build(make_folder(tmp_path / "in", 3), tmp_path / "ours.zip")
    os.mkfifo(tmp_path / "pipe")
    assert [is_archive(path) for path in (ours, "embedded:emoji")] == [True, True]
    others = (theirs, tmp_path / "in", tmp_path / "pipe", "/dev/zero", tmp_path / "gone", "x" * 5000)
    assert not any(map(is_archive, others))
    assert len(open_dataset(theirs)) == 1  # read as it is, without a build
    unlike = make_zip(tmp_path / "unlike.zip", {"a.png": PNG, "dataset.json": b'{"images": 1}'})
    with pytest.raises(UserError, match=r"unlike.zip: the index is not styleloom's.*--labels keep"):
        open_dataset(unlike)
