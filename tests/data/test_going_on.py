"""Builds that were killed go on; workers change no byte; the zip is the one that Python writes."""

from __future__ import annotations

import io
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from styleloom.data import (
    BuildOptions,
    ConversionOptions,
    build_dataset,
    open_dataset,
    open_source,
    stored_zip,
    zip_directory,
)
from styleloom.data import build as build_module
from styleloom.data.stored_zip import StoredZip
from styleloom.errors import UserError

from .images import build, encoded, make_folder, noise

KILLED = """
import os, signal, sys
from styleloom.data import BuildOptions, ConversionOptions, build_dataset, open_source
def progress(done, total):
    if done == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
options = BuildOptions(ConversionOptions(16), skip_bad=True, workers=1)
build_dataset(open_source(sys.argv[1]), sys.argv[2], options, progress)
"""


def killed_after(done: int, folder: Path, dest: Path) -> None:
    words = [sys.executable, "-c", KILLED, str(folder), str(dest), str(done)]
    assert subprocess.run(words, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}).returncode < 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """12 images, two of them bad."""
    folder = make_folder(tmp_path / "in", 12)
    for name in ("a/002.png", "b/007.png"):
        (folder / name).write_bytes(b"no image")
    return folder


def finished(folder: Path, dest: Path) -> bytes:
    return build(folder, dest, skip_bad=True, workers=1).read_bytes()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_build_goes_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the bytes of one that was not, without doing again what was done, whatever the end looks like."""
    expected = finished(folder, tmp_path / "whole.zip")
    dest = tmp_path / "out" / "x.zip"
    convert_one = build_module._convert_one
    converted: list[str] = []
    monkeypatch.setattr(
        build_module, "_convert_one", lambda *args: (converted.append(args[1]), convert_one(*args))[1]
    )
    for done, damage in ((5, None), (12, None), (9, "cut"), (9, "changed"), (9, "journal")):
        killed_after(done, folder, dest)
        assert not dest.exists()
        partial, journal = dest.with_name(".x.zip.partial"), dest.with_name(".x.zip.journal")
        content = bytearray(partial.read_bytes())
        if damage == "cut":
            partial.write_bytes(content[:-100])
        elif damage == "changed":
            content[len(content) // 2] ^= 1
            partial.write_bytes(content)
        elif damage == "journal":
            journal.write_bytes(journal.read_bytes()[:-10])
        else:
            partial.write_bytes(content + b"half an entry")
        converted.clear()
        assert finished(folder, dest) == expected, (done, damage)
        redone = {
            None: [12 - done],
            "cut": [4, 5],
            "journal": [4],
        }  # a bad one may follow the last good one
        assert damage not in redone or len(converted) in redone[damage]
        assert list(dest.parent.iterdir()) == [dest]
        dest.unlink()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_another_build_does_not_go_on(folder: Path, tmp_path: Path) -> None:
    """Other options, or images, begin anew; two builds of one archive at a time are refused."""
    killed_after(6, folder, tmp_path / "x.zip")
    dataset = open_dataset(build(folder, tmp_path / "x.zip", 8, skip_bad=True))
    assert (dataset.resolution, len(dataset)) == (8, 10)
    killed_after(6, folder, tmp_path / "y.zip")
    (folder / "new.png").write_bytes(encoded(noise(16, 16, seed=99)))
    assert len(open_dataset(build(folder, tmp_path / "y.zip", skip_bad=True))) == 11

    def again(done: int, total: int) -> None:
        build_dataset(open_source(folder), tmp_path / "z.zip", options)

    options = BuildOptions(ConversionOptions(16), skip_bad=True)
    with pytest.raises(UserError, match="is being built by another process"):
        build_dataset(open_source(folder), tmp_path / "z.zip", options, again)


def test_workers_change_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads, and processes, of which there are none for few images; bad files are told by all alike."""
    monkeypatch.setattr(build_module, "_WORTH_PROCESSES", 10)
    folder = make_folder(tmp_path / "in", 40)
    (folder / "a" / "000.png").write_bytes(b"no image")
    written = {
        workers: build(folder, tmp_path / f"{workers}.zip", skip_bad=True, workers=workers).read_bytes()
        for workers in (1, 2, 3)
    }
    assert len(set(written.values())) == 1
    assert len(open_dataset(tmp_path / "3.zip")) == 39
    with pytest.raises(UserError, match=r"1 of 40 images are bad(.|\n)*a/000.png: not an image"):
        build(folder, tmp_path / "x.zip", workers=2)
    assert not list(tmp_path.glob(".x.zip*"))


def test_the_zip_is_pythons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte for byte, also where offsets and counts take the larger fields of zip64."""
    rng = np.random.RandomState(0)
    entries = {f"{i:08d}.png": rng.bytes(int(size)) for i, size in enumerate(rng.randint(0, 300, 40))}
    for limit, most in (((1 << 31) - 1, (1 << 16) - 1), (1000, 10), (1000, 1 << 16)):
        monkeypatch.setattr(stored_zip, "_LIMIT", limit)
        monkeypatch.setattr(stored_zip, "_MOST_ENTRIES", most)
        monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
        monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", most)
        theirs, ours = io.BytesIO(), io.BytesIO()
        with zipfile.ZipFile(theirs, "w", zipfile.ZIP_STORED) as archive:
            for name, content in entries.items():
                entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
                entry.create_system, entry.external_attr = 3, 0o644 << 16
                archive.writestr(entry, content)
        written = StoredZip(ours)
        for name, content in entries.items():
            written.add(name, content)
        written.finish()
        assert ours.getvalue() == theirs.getvalue(), limit


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_fifty_kills(tmp_path: Path) -> None:
    """Killed at any time, with processes at work: no archive before the end, and then the same bytes."""
    folder = make_folder(tmp_path / "in", 1500, side=64)
    dest = tmp_path / "x.zip"
    options = ["dataset", "build", str(folder), str(dest), "--resolution", "64", "--workers", "2"]
    words = [sys.executable, "-m", "styleloom", *options]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    expected = build(folder, tmp_path / "whole.zip", 64, workers=1).read_bytes()
    rng, kills = random.Random(0), 0
    while kills < 50:
        process = subprocess.Popen(
            words, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        time.sleep(rng.uniform(0.3, 4))
        process.kill()
        ended = process.wait()
        kills += ended < 0
        if dest.exists():  # complete, even if it was killed right after
            assert dest.read_bytes() == expected
            dest.unlink()
    assert subprocess.run(words, env=environment).returncode == 0
    assert dest.read_bytes() == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "whole.zip", "x.zip"]


def test_a_directory_is_read_as_zipfile_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain, with 64-bit offsets and counts, and with what only the slow way reads."""
    folder = make_folder(tmp_path / "in", 30)
    for limit, most in (((1 << 31) - 1, (1 << 16) - 1), (5000, 10)):
        monkeypatch.setattr(stored_zip, "_LIMIT", limit)
        monkeypatch.setattr(stored_zip, "_MOST_ENTRIES", most)
        path = build(folder, tmp_path / f"{limit}.zip")
        with open(path, "rb") as file:
            found = zip_directory._read_runs(file)
        assert found is not None
        slow = zip_directory._read_slowly(path)
        assert found.name_list() == slow.name_list()
        for field in ("flags", "methods", "sums", "packed", "sizes", "offsets"):
            np.testing.assert_array_equal(getattr(found, field), getattr(slow, field), field)
        assert found.repeated() is slow.repeated() is None
        assert len(open_dataset(path)) == 30
    for name, options in (("été.png", {}), ("a.png", {"compression": zipfile.ZIP_DEFLATED})):
        with zipfile.ZipFile(tmp_path / "y.zip", "w", **options) as archive:
            archive.writestr(name, b"x" * 100)
            archive.comment = b"words"
        assert zip_directory.read_directory(tmp_path / "y.zip").name_list() == [name]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_formats_hold_the_same_pixels(channels: int, tmp_path: Path) -> None:
    """Bit for bit, opaque images of RGBA included; damage is told in each."""
    folder = make_folder(tmp_path / "in", 6, channels=channels)
    (folder / "a" / "opaque.png").write_bytes(encoded(noise(16, 16)))
    png = open_dataset(build(folder, tmp_path / "png.zip", channels=channels))
    everything = np.arange(len(png))
    for name in ("webp", "raw"):
        path = build(folder, tmp_path / f"{name}.zip", channels=channels, format=name)
        dataset = open_dataset(path)
        assert dataset.recipe["format"] == name
        dataset.check_headers()
        np.testing.assert_array_equal(dataset.images(everything), png.images(everything))
        np.testing.assert_array_equal(dataset.at(8).images(everything), png.at(8).images(everything))
        assert dataset.preload()
        content = bytearray(path.read_bytes())
        content[120] ^= 1
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"00000000.{name} is damaged"):
            open_dataset(path).image(0)


def test_workers_say_nothing(tmp_path: Path) -> None:
    """Their processes print nothing, on a terminal that shows the progress of the build."""
    folder = make_folder(tmp_path / "in", 4)
    program = (
        "import sys; from styleloom.data import *; from styleloom.data import build\n"
        "build._WORTH_PROCESSES = 1\n"
        "options = BuildOptions(ConversionOptions(16), workers=2)\n"
        "build_dataset(open_source(sys.argv[1]), sys.argv[2], options)"
    )
    words = [sys.executable, "-c", program, str(folder), str(tmp_path / "x.zip")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(open_dataset(tmp_path / "x.zip")) == 4
