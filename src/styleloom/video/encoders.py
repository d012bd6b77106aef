"""Frames to a video file, one after the other: what is encoded is forgotten, so that an hour needs no more
memory than a second. WebP alone takes all frames before it encodes the first: it is for short films."""

from __future__ import annotations

import collections
import contextlib
import importlib.util
import itertools
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from styleloom.atomic import atomic_path
from styleloom.errors import UserError, shown

logger = logging.getLogger(__name__)

Frame = NDArray[np.uint8]
"""uint8 [H, W, 3]."""

MAX_FPS = {".gif": 50}
"""Most frames a second where it is not MOST_FPS: GIF counts hundredths of a second, and viewers slow down
frames of one."""

MOST_FPS = 1000
"""Most frames a second; WebP counts thousandths."""

SLOWEST_SEC = 1001
"""Longest time of a frame; the denominator of 29.97 = 30,000 / 1001 frames a second."""

MAX_SIDE_PX = {".mp4": 16_384, ".webm": 65_535, ".gif": 65_535, ".webp": 16_383}
"""Longest side of a frame that the encoder of a format takes."""

WHOLE_ONLY = (".webp",)
"""Formats of which no part can be kept, as their frames are encoded when all are there."""


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
    most = MAX_FPS.get(suffix, MOST_FPS)
    if not 0 < fps <= most:
        raise UserError(f"fps: {fps:g} is not valid; above 0, for {suffix} at most {most}")
    if not _rate(fps):
        raise UserError(f"fps: {fps:g} is not valid; at least a frame in {SLOWEST_SEC:,} seconds")


def check_size(path: Path, height: int, width: int) -> None:
    """Raise UserError for frames, px, that are too large for the format of this name."""
    most = MAX_SIDE_PX[path.suffix.lower()]
    if max(height, width) > most:
        raise UserError(
            f"{shown(path)}: frames of {height} x {width} px are too large; in {path.suffix.lower()} a side "
            f"has at most {most:,} px"
        )


def write_video(
    path: Path | str, frames: Iterable[Frame], fps: float, record: Mapping[str, Any] | None = None
) -> int:
    """Encode frames [H, W, 3] of one size to `path`, atomically; the number of frames.

    The name's ending chooses: .mp4 (H.264), .webm (VP9), .gif and .webp (both repeat for ever; WebP keeps
    equal frames that follow each other as one that is shown longer). H.264 and VP9 take even sides alone: an
    odd one is made even by repeating the last row or column.

    Ctrl-C while a frame is made leaves a file of the frames before it, except in WebP, and goes on its way.

    Args:
        path: the file.
        frames: taken one at a time.
        fps: frames a second.
        record: how to make the film again, as JSON: the comment of the file (WebP: its description in EXIF).

    Raises UserError for another ending, no frames, frames that are too large, and an absent encoder.
    """
    path = Path(path)
    check_format(path, fps)
    frames, numbers = iter(frames), itertools.count()
    first = next(frames, None)
    if first is None:
        raise UserError(f"{shown(path)}: no frames to write; at least one")
    check_size(path, *first.shape[:2])
    frames = itertools.chain([first], frames)
    del first
    suffix, comment = path.suffix.lower(), json.dumps(record or {})
    with contextlib.ExitStack() as stack:
        partial = stack.enter_context(atomic_path(path))
        try:
            ENCODERS[suffix](partial, frames, numbers, _rate(fps), comment)
        except KeyboardInterrupt:
            count = next(numbers)
            if count and suffix not in WHOLE_ONLY:
                stack.close()  # in here a signal that comes again does not interrupt
                logger.info(f"{shown(path)} has the {count} frames that were made so far")
            raise
    return next(numbers)


def _rate(fps: float) -> Fraction:
    """Frames a second as a fraction that every format can say."""
    return Fraction(fps).limit_denominator(SLOWEST_SEC)


def _encoder(
    container: str,
    codec: str,
    picture: Callable[[Frame], Any],
    options: dict[str, str],
    container_options: dict[str, str] | None = None,
) -> Callable[..., None]:
    """An encoder of PyAV. `picture` makes its VideoFrame of a frame, in the form that the codec takes."""

    def encode(
        path: Path, frames: Iterator[Frame], numbers: Iterator[int], rate: Fraction, comment: str
    ) -> None:
        import av

        def timed(images: Iterator[Any]) -> Iterator[Any]:
            for image, number in zip(images, numbers, strict=False):
                image.pts, image.time_base = number, 1 / rate
                yield image

        with av.open(str(path), "w", format=container, options=container_options) as file:
            file.metadata["comment"] = comment
            images = map(picture, frames)
            first = next(images)
            stream: Any = file.add_stream(codec, rate=rate, options=options)
            stream.height, stream.width, stream.pix_fmt = first.height, first.width, first.format.name
            try:  # no line of Python between encoder and file, where a signal could lose what is encoded
                every = timed(itertools.chain([first], images))
                collections.deque(map(file.mux, map(stream.encode, every)), maxlen=0)
            except KeyboardInterrupt:
                file.mux(stream.encode(None))
                raise
            file.mux(stream.encode(None))

    return encode


BT709 = {"colorspace": "bt709", "color_range": "tv", "color_primaries": "bt709", "color_trc": "bt709"}
"""The colours of `_subsampled`, as players expect."""


def _subsampled(frame: Frame) -> Any:
    """4:2:0 in limited range, with even sides."""
    import av
    from av.video.reformatter import ColorRange, Colorspace

    height, width = frame.shape[:2]
    even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24").reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )


def _indexed(frame: Frame) -> Any:
    """With a palette of its own."""
    import av

    indexed: Any = _palette(frame)  # the type hints of PyAV know no pair of indices and colours
    return av.VideoFrame.from_ndarray(indexed, format="pal8")


def _palette(frame: Frame) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Indices [H, W], and 256 colours [256, 4] as alpha, red, green, blue."""
    image = Image.fromarray(frame).quantize(256, dither=Image.Dither.FLOYDSTEINBERG)
    colours = np.full((256, 4), 255, dtype=np.uint8)
    used = np.array(image.getpalette(), dtype=np.uint8).reshape(-1, 3)[:256]
    colours[: len(used), 1:] = used
    return np.ascontiguousarray(image), colours


def _gif(path: Path, frames: Iterator[Frame], numbers: Iterator[int], rate: Fraction, comment: str) -> None:
    """With the comment before the file's last byte, since the encoder writes none."""
    try:
        _encoder("gif", "gif", _indexed, {}, {"loop": "0"})(path, frames, numbers, rate, comment)
    finally:
        with open(path, "rb+") as file:
            if file.seek(0, os.SEEK_END):  # no frame, no byte
                file.seek(-1, os.SEEK_END)
                end, text = file.read(1), comment.encode()
                blocks = (text[at : at + 255] for at in range(0, len(text), 255))
                file.seek(-1, os.SEEK_END)
                file.write(b"!\xfe" + b"".join(bytes([len(b)]) + b for b in blocks) + b"\0" + end)


def _webp(path: Path, frames: Iterator[Frame], numbers: Iterator[int], rate: Fraction, comment: str) -> None:
    images = (Image.fromarray(frame) for frame, _ in zip(frames, numbers, strict=False))
    first, exif = next(images), Image.Exif()
    exif[ExifTags.Base.ImageDescription] = comment
    with open(path, "wb") as file:  # one that Pillow opens stays open after Ctrl-C
        first.save(
            file,
            format="WEBP",
            save_all=True,
            append_images=images,
            duration=max(round(1000 / rate), 1),
            loop=0,
            quality=90,
            method=2,
            exif=exif,
        )


ENCODERS: dict[str, Callable[[Path, Iterator[Frame], Iterator[int], Fraction, str], None]] = {
    ".mp4": _encoder("mp4", "libx264", _subsampled, {"crf": "17", "preset": "medium", **BT709}),
    ".webm": _encoder(
        "webm", "libvpx-vp9", _subsampled, {"crf": "24", "b": "0", "row-mt": "1", "cpu-used": "4", **BT709}
    ),
    ".gif": _gif,
    ".webp": _webp,
}
"""What writes a file, by the ending of its name. Each draws a number for each frame that it takes."""
