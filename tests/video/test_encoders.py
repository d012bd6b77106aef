"""Videos are decoded again: frames, sizes, colours, times."""

from __future__ import annotations

import importlib.util
import json
import math
import weakref
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import ExifTags, Image

from styleloom.errors import UserError
from styleloom.video.encoders import ENCODERS, MAX_SIDE_PX, Frame, check_size, write_video


def moving(count: int, height: int = 64, width: int = 96) -> list[Frame]:
    """A coloured square on a ground of another colour, which moves to the right."""
    frames = []
    for at in range(count):
        frame = np.full((height, width, 3), (40, 90, 200), dtype=np.uint8)
        left = at * (width - 16) // max(count - 1, 1)
        frame[24:40, left : left + 16] = (220, 180, 30)
        frames.append(frame)
    return frames


def decoded(path: Path) -> list[Frame]:
    if path.suffix == ".webp":
        with Image.open(path) as image:
            found = []
            for at in range(getattr(image, "n_frames", 1)):
                image.seek(at)
                found.append(np.array(image.convert("RGB")))
            return found
    with av.open(str(path)) as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]


def comment_of(path: Path) -> str:
    if path.suffix == ".webp":
        with Image.open(path) as image:
            return image.getexif()[ExifTags.Base.ImageDescription]
    if path.suffix == ".gif":
        with Image.open(path) as image:
            for at in range(getattr(image, "n_frames", 1)):
                image.seek(at)
            image.load()
        _, _, content = path.read_bytes().rpartition(b"!\xfe")
        text, at = b"", 0
        while content[at]:
            text += content[at + 1 : at + 1 + content[at]]
            at += 1 + content[at]
        assert content[at:] == b"\0;"
        return text.decode()
    with av.open(str(path)) as file:
        return {name.lower(): text for name, text in file.metadata.items()}["comment"]


@pytest.mark.parametrize("suffix", ENCODERS)
def test_a_video_holds_its_frames(tmp_path: Path, suffix: str) -> None:
    path, frames = tmp_path / f"a{suffix}", moving(12)
    assert write_video(path, iter(frames), 25) == 12
    found = decoded(path)
    assert len(found) == 12
    for frame, original in zip(found, frames, strict=True):
        assert frame.shape == original.shape
        assert np.abs(frame.astype(int) - original).mean() < 4  # 4:2:0 blurs the square's edges
        assert (
            np.abs(frame[5, 5].astype(int) - original[5, 5]).max() < 6
        )  # the colours are those that were given
    if suffix != ".webp":
        with av.open(str(path)) as file:
            assert float(file.streams.video[0].average_rate or 0) == pytest.approx(25, rel=0.02)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", ENCODERS)
def test_a_video_says_how_to_make_it_again(tmp_path: Path, suffix: str) -> None:
    """In the comment of the file, however long, and with any letters."""
    path, record = tmp_path / f"a{suffix}", {"command": "vidéo", "seeds": list(range(300))}
    write_video(path, moving(3), 25, record)
    assert json.loads(comment_of(path)) == record
    assert len(decoded(path)) == 3
    write_video(path, moving(3), 25)
    assert json.loads(comment_of(path)) == {}


@pytest.mark.parametrize("suffix", ENCODERS)
def test_an_interruption_keeps_the_frames_so_far(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    """Wherever it comes; of WebP nothing is kept, and what was there before stays."""
    path, record = tmp_path / f"a{suffix}", {"kind": "walk"}
    for count in (0, 1, 40):

        def frames(count: int = count) -> Iterator[Frame]:
            yield from moving(count)
            raise KeyboardInterrupt

        caplog.clear()
        with caplog.at_level("INFO"), pytest.raises(KeyboardInterrupt):
            write_video(path, frames(), 25, record)
        kept = count > 0 and suffix != ".webp"
        assert list(tmp_path.iterdir()) == [path] * kept
        assert caplog.messages == [f"{path} has the {count} frames that were made so far"] * kept
        if kept:
            assert len(decoded(path)) == count
            assert json.loads(comment_of(path)) == record
            with av.open(str(path)) as file:
                assert float(file.streams.video[0].average_rate or 0) == pytest.approx(25, rel=0.02)


def test_odd_sides_and_single_frames(tmp_path: Path) -> None:
    for suffix in ENCODERS:
        path = tmp_path / f"b{suffix}"
        write_video(path, moving(1, 63, 95), 30)
        (found,) = decoded(path)
        assert found.shape[:2] == ((64, 96) if suffix in (".mp4", ".webm") else (63, 95)), suffix


def test_frames_are_taken_one_at_a_time(tmp_path: Path) -> None:
    """No frame is held. Before the last is taken the file holds encoded ones; that of WebP alone is empty."""
    rng = np.random.default_rng(0)
    for suffix in ENCODERS:
        alive, written = [0], [0]

        def frames(alive: list[int] = alive, written: list[int] = written) -> Iterator[Frame]:
            held = []
            for _ in range(150):
                frame = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
                held.append(weakref.ref(frame))
                yield frame
                del frame
                alive[0] = max(alive[0], sum(ref() is not None for ref in held))
            written[0] = sum(path.stat().st_size for path in tmp_path.glob(".*.partial"))

        write_video(tmp_path / f"c{suffix}", frames(), 10)  # WebM writes clusters of 5 s
        assert alive[0] <= 2, suffix
        whole = (tmp_path / f"c{suffix}").stat().st_size
        assert (written[0] == 0) if suffix == ".webp" else (written[0] > whole / 3), suffix


@pytest.mark.parametrize("suffix", ENCODERS)
def test_sides_have_a_largest_length(tmp_path: Path, suffix: str) -> None:
    """The longest side of each format can be written; a longer one is refused by name."""
    path, side = tmp_path / f"d{suffix}", MAX_SIDE_PX[suffix]
    check_size(path, side, 2)
    assert write_video(path, [np.zeros((2, side, 3), dtype=np.uint8)], 30) == 1
    for size in ((side + 1, 2), (2, side + 1)):
        with pytest.raises(UserError, match=f"at most {side:,} px"):
            check_size(path, *size)
        with pytest.raises(UserError, match=f"at most {side:,} px"):
            write_video(path, [np.zeros((*size, 3), dtype=np.uint8)], 30)


def test_what_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, fps, message in (
        ("a.avi", 30, "valid: a name that ends with .mp4, .webm, .gif, .webp"),
        ("a.gif", 60, "fps: 60 is not valid; above 0, for .gif at most 50"),
        ("a.mp4", 0, "fps: 0 is not valid"),
        ("a.mp4", 1e10, r"fps: 1e\+10 is not valid; above 0, for .mp4 at most 1000"),
        ("a.webm", math.inf, "fps: inf is not valid"),
        ("a.webp", 1e-4, "fps: 0.0001 is not valid; at least a frame in 1,001 seconds"),
    ):
        with pytest.raises(UserError, match=message):
            write_video(tmp_path / name, moving(1), fps)
    with pytest.raises(UserError, match="no frames"):
        write_video(tmp_path / "a.webp", [], 30)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs PyAV.*pip install 'styleloom\[video\]'"):
        write_video(tmp_path / "a.mp4", moving(1), 30)
    write_video(tmp_path / "a.webp", moving(1), 30)
    assert [path.name for path in tmp_path.iterdir()] == ["a.webp"]
