"""Frames to a video file, one after the other: what is encoded is forgotten, so that an hour needs no more
memory than a second. (WebP alone keeps the compressed frames until its end.)"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from styleloom.atomic import atomic_path
from styleloom.errors import UserError, shown

Frame = NDArray[np.uint8]
"""uint8 [H, W, 3]."""

MAX_FPS = {".gif": 50, ".webp": 1000}
"""Most frames a second that a format can say: GIF counts hundredths of a second, and viewers slow down
frames of one; WebP counts thousandths."""


def check_format(path: Path, fps: float) -> None:
    """Raise UserError where a file of this name cannot be written with so many frames a second."""
    suffix = path.suffix.lower()
    if suffix not in ENCODERS:
        raise UserError(
            f"{shown(path)}: no format of videos; valid: a name that ends with {', '.join(ENCODERS)}"
        )
    if suffix != ".webp" and importlib.util.find_spec("av") is None:
        raise UserError(
            f"{shown(path)}: writing {suffix} needs PyAV, which is not installed: "
            "pip install 'styleloom[video]'; .webp works without it"
        )
    most = MAX_FPS.get(suffix)
    if not 0 < fps < float("inf") or (most is not None and fps > most):
        raise UserError(f"fps: {fps:g} is not valid; above 0, for {suffix} at most {most or 1000}")


def write_video(path: Path | str, frames: Iterable[Frame], fps: float) -> int:
    """Encode frames [H, W, 3] of one size to `path`, atomically; the number of frames.

    The name's ending chooses: .mp4 (H.264), .webm (VP9), .gif and .webp (both repeat for ever; WebP keeps
    equal frames that follow each other as one that is shown longer). H.264 and VP9 take even sides alone: an
    odd one is made even by repeating the last row or column.

    Raises UserError for another ending, no frames, and an encoder that is not there.
    """
    path = Path(path)
    check_format(path, fps)
    rate = Fraction(fps).limit_denominator(1001)
    counted = _Counting(frames)
    with atomic_path(path) as partial:
        ENCODERS[path.suffix.lower()](partial, iter(counted), rate)
        if not counted.count:
            raise UserError(f"{shown(path)}: no frames to write; at least one")
    return counted.count


class _Counting:
    """An iterable that knows how many were taken."""

    def __init__(self, frames: Iterable[Frame]) -> None:
        self.frames = frames
        self.count = 0

    def __iter__(self) -> Iterator[Frame]:
        for frame in self.frames:
            self.count += 1
            yield frame


def _even(frame: Frame) -> Frame:
    """The frame with even sides."""
    height, width = frame.shape[:2]
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _film(container: str, codec: str, options: dict[str, str]) -> Callable[..., None]:
    """An encoder of 4:2:0 video with the colours of BT.709, as players expect."""

    def encode(path: Path, frames: Iterator[Frame], rate: Fraction) -> None:
        import av
        from av.video.reformatter import ColorRange, Colorspace

        with av.open(str(path), "w", format=container) as file:
            stream: Any = None
            for number, frame in enumerate(map(_even, frames)):
                if stream is None:
                    stream = file.add_stream(codec, rate=rate, options=options)
                    stream.height, stream.width = frame.shape[:2]
                    stream.pix_fmt = "yuv420p"
                    context = stream.codec_context
                    context.colorspace, context.color_range = 1, 1  # BT.709, limited range
                    context.color_primaries, context.color_trc = 1, 1
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
                picture = picture.reformat(
                    format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
                )
                picture.pts, picture.time_base = number, 1 / rate
                for packet in stream.encode(picture):
                    file.mux(packet)
            if stream is not None:
                for packet in stream.encode(None):
                    file.mux(packet)

    return encode


def _gif(path: Path, frames: Iterator[Frame], rate: Fraction) -> None:
    """Each frame with a palette of its own."""
    import av

    with av.open(str(path), "w", format="gif", options={"loop": "0"}) as file:
        stream: Any = None
        for number, frame in enumerate(frames):
            if stream is None:
                stream = file.add_stream("gif", rate=rate)
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = "pal8"
            indexed: Any = _palette(frame)  # the type hints of PyAV know no pair of indices and colours
            picture = av.VideoFrame.from_ndarray(indexed, format="pal8")
            picture.pts, picture.time_base = number, 1 / rate
            for packet in stream.encode(picture):
                file.mux(packet)
        if stream is not None:
            for packet in stream.encode(None):
                file.mux(packet)


def _palette(frame: Frame) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Indices [H, W], and 256 colours [256, 4] as alpha, red, green, blue."""
    image = Image.fromarray(frame).quantize(256, dither=Image.Dither.FLOYDSTEINBERG)
    colours = np.full((256, 4), 255, dtype=np.uint8)
    used = np.array(image.getpalette(), dtype=np.uint8).reshape(-1, 3)[:256]
    colours[: len(used), 1:] = used
    return np.ascontiguousarray(image), colours


def _webp(path: Path, frames: Iterator[Frame], rate: Fraction) -> None:
    first = next(frames, None)
    if first is None:
        return
    images = (Image.fromarray(frame) for frame in itertools.chain([first], frames))
    head = next(images)
    head.save(
        path,
        format="WEBP",
        save_all=True,
        append_images=images,
        duration=max(round(1000 / rate), 1),
        loop=0,
        quality=90,
        method=2,
    )


ENCODERS: dict[str, Callable[[Path, Iterator[Frame], Fraction], None]] = {
    ".mp4": _film("mp4", "libx264", {"crf": "17", "preset": "medium"}),
    ".webm": _film("webm", "libvpx-vp9", {"crf": "24", "b": "0", "row-mt": "1", "cpu-used": "4"}),
    ".gif": _gif,
    ".webp": _webp,
}
"""What writes a file, by the ending of its name."""
