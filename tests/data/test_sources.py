from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from styleloom.data import open_source
from styleloom.errors import UserError

from .images import encoded, make_folder, noise


def test_folder_is_recursive_sorted_and_counts_other_files(tmp_path: Path) -> None:
    png = encoded(noise(4, 4))
    for name in ["b/2.PNG", "a.jpeg", "b/c/1.tif", "x.webp", "y.bmp", "z.jpg", "w.tiff"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png)
    for name in ["notes.txt", "b/more.txt", "README", ".hidden.png", ".DS_Store"]:
        (tmp_path / name).write_text("x")
    for folder in [".git", "__MACOSX"]:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "no.png").write_bytes(png)
    source = open_source(tmp_path)
    assert source.names == ("a.jpeg", "b/2.PNG", "b/c/1.tif", "w.tiff", "x.webp", "y.bmp", "z.jpg")
    assert dict(source.ignored) == {".txt": 2, "(no ending)": 1}
    assert source.read("b/2.PNG") == png
    assert source.name == tmp_path.name


def test_link_loops_end(tmp_path: Path) -> None:
    make_folder(tmp_path, 2)
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "again").symlink_to(tmp_path / "b", target_is_directory=True)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert open_source(tmp_path).names == ("a/000.png", "again/001.png")


def test_a_pipe_called_png_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(OSError, match="not a regular file"):
        open_source(tmp_path).read("pipe.png")


@pytest.mark.skipif(not os.path.exists("/proc/version"), reason="files without a size are Linux's")
def test_a_file_without_a_size_is_empty_and_not_read(tmp_path: Path) -> None:
    (tmp_path / "x.png").symlink_to("/proc/version")  # /proc/kmsg waits for ever, but is not for everybody
    (tmp_path / "y").symlink_to("/proc/version")
    source = open_source(tmp_path)
    assert (source.names, source.read("x.png")) == (("x.png",), b"")


def test_zip_keeps_stored_order(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ["z.png", "a/b.png", "__MACOSX/a/b.png", "a/._b.png", "t.txt"]:
            archive.writestr(name, name)
        archive.mkdir("folder.png") if hasattr(archive, "mkdir") else archive.writestr("folder.png/", "")
    source = open_source(tmp_path / "x.zip")
    assert source.names == ("z.png", "a/b.png")
    assert dict(source.ignored) == {".txt": 1}
    assert source.read("a/b.png") == b"a/b.png"
    assert source.name == "x.zip"
    source.close()


def test_emoji_is_a_source() -> None:
    source = open_source("emoji")
    assert source.name == "emoji"
    assert len(source.names) == 1870
    source.close()


def test_what_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "not.zip").write_bytes(b"no")
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("x")
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("a.png", "1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.png", "2")
    for name, message in [
        ("missing", "no such source.*emoji"),
        ("not.zip", "not a readable zip"),
        ("empty", "no images"),
        ("texts", "no images.*1 other files"),
        ("twice.zip", "'a.png' more than once"),
    ]:
        with pytest.raises(UserError, match=message):
            open_source(tmp_path / name)
