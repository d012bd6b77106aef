"""Videos are decoded again: frames, sizes, colours, times."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from styleloom.errors import UserError
from styleloom.video.encoders import ENCODERS, Frame, write_video


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


def test_odd_sides_and_single_frames(tmp_path: Path) -> None:
    for suffix in ENCODERS:
        path = tmp_path / f"b{suffix}"
        write_video(path, moving(1, 63, 95), 30)
        (found,) = decoded(path)
        assert found.shape[:2] == ((64, 96) if suffix in (".mp4", ".webm") else (63, 95)), suffix


def test_frames_are_taken_one_at_a_time(tmp_path: Path) -> None:
    """No encoder asks for all frames before it encodes the first."""
    for suffix in ENCODERS:
        alive = [0]

        def frames(alive: list[int] = alive) -> object:
            import weakref

            held = []
            for frame in moving(40, 32, 32):
                copy = frame.copy()
                held.append(weakref.ref(copy))
                yield copy
                del copy
                alive[0] = max(alive[0], sum(ref() is not None for ref in held))

        write_video(tmp_path / f"c{suffix}", frames(), 30)  # type: ignore[arg-type]
        assert alive[0] <= 2, suffix


def test_what_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, fps, message in (
        ("a.avi", 30, "valid: a name that ends with .mp4, .webm, .gif, .webp"),
        ("a.gif", 60, "fps: 60 is not valid; above 0, for .gif at most 50"),
        ("a.mp4", 0, "fps: 0 is not valid"),
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
