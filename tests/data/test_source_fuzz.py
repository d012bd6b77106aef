"""Damaged zips, folders and archives: all is read, or refused with a UserError; in bounded time and memory.

A small sample runs always; `slow` runs thousands.
"""

from __future__ import annotations

import copy
import io
import json
import random
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from styleloom.data import (
    BuildOptions,
    ConversionOptions,
    build_dataset,
    check_dataset,
    open_dataset,
    open_source,
)
from styleloom.data.labels import labels_from_file
from styleloom.errors import UserError

from .images import build, encoded, make_folder, noise, rewritten

SECONDS = 30
"""For one case: a hang fails, a busy machine does not."""


def source_zip(compression: int) -> bytes:
    """A zip of one image of each format and a label index."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for i, format in enumerate(("PNG", "JPEG", "WEBP", "BMP", "TIFF")):
            archive.writestr(f"{'ab'[i % 2]}/{i}.{format.lower()}", encoded(noise(16, 16, seed=i), format))
        archive.writestr("dataset.json", '{"labels": [["a/0.png", 1]]}')
    return buffer.getvalue()


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Cut, bytes flipped, a field of a zip header set to an extreme, or a piece moved."""
    kind = draw.choice(["cut", "flip", "flip", "lie", "lie", "lie", "move"])
    data = bytearray(content)
    if kind == "cut":
        return bytes(data[: draw.randrange(len(data))])
    if kind == "flip":
        for _ in range(draw.choice([1, 1, 3, 30])):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        return bytes(data)
    if kind == "move":
        a, b = sorted(draw.randrange(len(data)) for _ in range(2))
        return bytes(data[:a] + data[b:] + data[a:b])
    head, length = draw.choice([(b"PK\1\2", 46), (b"PK\3\4", 30), (b"PK\5\6", 22)])
    places = [i for i in range(len(data) - length) if data[i : i + 4] == head] or [0]
    place, width = draw.choice(places) + draw.randrange(4, length - 1), draw.choice([1, 2, 4])
    data[place : place + width] = draw.choice([bytes(width), b"\xff" * width, draw.randbytes(width)])
    return bytes(data)


def in_time(work: Callable[[], object]) -> None:
    """Run to the end, or to a UserError, within `SECONDS`; any other error fails."""
    failure: list[BaseException] = []
    said: list[str] = []

    def run() -> None:
        try:
            work()
        except UserError as error:
            said.append(str(error))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert not thread.is_alive(), "hangs"
    if failure:
        raise failure[0]
    assert all(0 < len(message) < 20_000 for message in said)


def build_all(path: Path, dest: Path, labels: str | None) -> None:
    source = open_source(path)
    try:
        options = BuildOptions(ConversionOptions(8), labels, skip_bad=True, overwrite=True, workers=1)
        build_dataset(source, dest, options)
    finally:
        source.close()


def read_all(path: Path) -> None:
    report = check_dataset(path)
    assert len(str(report.problems)) < 10**6
    dataset = open_dataset(path)
    try:
        dataset.check_headers()
        dataset.labels(np.arange(len(dataset)))
        dataset.preload()
    finally:
        dataset.close()


def cases(number: int, seed: int) -> Iterator[random.Random]:
    for i in range(number):
        yield random.Random(f"{seed} {i}")


def fuzz_sources(tmp_path: Path, number: int) -> None:
    whole = [source_zip(zipfile.ZIP_STORED), source_zip(zipfile.ZIP_DEFLATED)]
    for draw in cases(number, 0):
        (tmp_path / "in.zip").write_bytes(damaged(draw.choice(whole), draw))
        labels = draw.choice([None, "keep", "folders"])
        in_time(lambda labels=labels: build_all(tmp_path / "in.zip", tmp_path / "out.zip", labels))


def fuzz_archives(tmp_path: Path, number: int) -> None:
    whole = build(make_folder(tmp_path / "in", 4), tmp_path / "x.zip", labels="folders").read_bytes()
    for draw in cases(number, 1):
        (tmp_path / "y.zip").write_bytes(damaged(whole, draw))
        in_time(lambda: read_all(tmp_path / "y.zip"))


def odd_value(draw: random.Random) -> object:
    """A JSON value where another belongs."""
    odd = [
        None,
        True,
        -1,
        0,
        1.5,
        2**70,
        10**400,
        float("nan"),
        float("inf"),
        "",
        "x",
        "\0",
        "\ud800",
        [],
        {},
        [[]],
    ]
    return draw.choice(
        [*odd, [1, "x"], {"a": [1]}, ["\x1b[2J"] * 3, [float("nan")] * 4, [0, [1]], [0, 1, 2, 9]]
    )


def fuzz_indexes(tmp_path: Path, number: int) -> None:
    """Values of every kind in every field of an archive's index, of a label file, and as text."""
    archive = build(make_folder(tmp_path / "in", 4), tmp_path / "x.zip", labels="folders")
    with zipfile.ZipFile(archive) as opened:
        index = json.loads(opened.read("dataset.json"))
    names = open_source(tmp_path / "in").names
    for draw in cases(number, 3):
        lie = copy.deepcopy(index)
        part = draw.choice([lie, lie["recipe"], lie["labels"], lie["files"]])
        key = draw.choice(sorted(part)) if isinstance(part, dict) else draw.randrange(len(part))
        part[key] = odd_value(draw)
        rewritten(archive, tmp_path / "y.zip", {"dataset.json": json.dumps(lie).encode()})
        in_time(lambda: read_all(tmp_path / "y.zip"))
        in_time(lambda: build_all(tmp_path / "y.zip", tmp_path / "out.zip", "keep"))
        pairs = [[name, 1] for name in names]
        pairs[draw.randrange(4)][draw.randrange(2)] = odd_value(draw)
        text = json.dumps(
            draw.choice([{"labels": pairs}, pairs, {str(name): label for name, label in pairs}])
        )
        (tmp_path / "l.json").write_text(text)
        rows = [f"{name}{draw.choice(',;,')}{odd_value(draw)}" for name in names]
        (tmp_path / "l.csv").write_bytes("\n".join(rows).encode("utf-8", "surrogatepass"))
        for file in ("l.json", "l.csv"):
            in_time(lambda file=file: labels_from_file(tmp_path / file, names))


def fuzz_images(tmp_path: Path, number: int) -> None:
    """What each format makes of damage, loose in a folder, so that no checksum of a zip stands before it."""
    folder = tmp_path / "loose"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = [
        encoded(noise(16, 16, seed=1), "PNG", exif=exif),
        encoded(Image.fromarray(noise(16, 16)).quantize(), "PNG"),
        encoded(noise(16, 16), "JPEG", exif=exif),
        encoded(noise(16, 16), "JPEG", progressive=True),
        encoded(noise(16, 16), "WEBP", exif=exif),
        encoded(noise(16, 16), "BMP"),
        *(
            encoded(noise(16, 16), "TIFF", compression=name)
            for name in ("raw", "tiff_lzw", "tiff_deflate", "jpeg")
        ),
    ]
    for draw in cases(number, 2):
        data = bytearray(draw.choice(whole))
        for _ in range(draw.choice([1, 2, 8])):
            place, width = draw.randrange(len(data)), draw.choice([1, 1, 4])
            data[place : place + width] = draw.choice([b"\xff" * width, bytes(width), draw.randbytes(width)])
        (folder / "x").write_bytes(data[: draw.randrange(len(data))] if draw.random() < 0.1 else data)
        in_time(lambda: build_all(folder, tmp_path / "out.zip", None))


@pytest.mark.parametrize("fuzz", [fuzz_sources, fuzz_archives, fuzz_indexes, fuzz_images])
def test_damage_is_read_or_refused(tmp_path: Path, fuzz: Callable[[Path, int], None], capfd) -> None:
    fuzz(tmp_path, 60)
    capfd.readouterr()  # libtiff speaks on stderr


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fuzz", [fuzz_sources, fuzz_archives, fuzz_indexes, fuzz_images])
def test_much_damage_is_read_or_refused_in_bounded_memory(
    tmp_path: Path, fuzz: Callable[[Path, int], None], capfd
) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fuzz(tmp_path, 1500)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 3 * 2**20  # KiB
    capfd.readouterr()
