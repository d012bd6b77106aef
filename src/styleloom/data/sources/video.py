"""Frames of videos: one every so many seconds, without those that hardly differ from the one before."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from styleloom.data.image_names import IMAGE_SUFFIXES
from styleloom.data.pixels import PixelArray
from styleloom.data.sources.place import Place
from styleloom.data.sources.source import Source, SourceOptions, reason
from styleloom.errors import UserError, shown

ENDINGS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".ts", ".gif")

_SIDE = 16  # px of the reduced grey frame that is compared
_ALIKE = 2.0  # mean difference of its values, 0 to 255, below which a frame is the same picture
_MAX_EVERY = 86_400.0


def fits(place: Place) -> bool:
    """Whether a place is a video, or a folder of videos without images."""
    return place.ends(*ENDINGS) and not (place.is_folder and place.ends(*IMAGE_SUFFIXES))


class VideoSource(Source):
    """One frame every `options.every` seconds of each video, in their order.

    Every video is decoded once on opening, to find its frames. Raises UserError: no video in a file, a codec
    that is not there.
    """

    kind = "video"

    def __init__(self, place: Place, options: SourceOptions) -> None:
        super().__init__(place.path)
        if not 0 < options.every <= _MAX_EVERY:
            raise UserError(f"every {options.every:g}: valid: above 0, to {_MAX_EVERY:g} seconds")
        self._open()
        files = place.listed(*ENDINGS)
        self._frames: dict[str, tuple[Path, int]] = {}
        self._bytes = 0
        problems, alike = [], 0
        for file in files:
            before = f"{file.name}/" if len(files) > 1 or place.is_folder else ""
            try:
                for seconds, pts, new in _chosen(self._av, file, options.every):
                    alike += not new
                    if new:
                        self._frames[f"{before}{_time(seconds)}"] = (file, pts)
            except Exception as error:  # what decoders raise is not enumerable
                problems.append(f"{shown(file)}: no video that can be decoded ({reason(error)})")
        if problems:
            raise UserError("\n".join(problems))
        self.names = tuple(self._frames)
        if alike:
            self.remarks.append(f"left out {alike} frames that hardly differ from the one before")

    def _open(self) -> None:
        try:
            import av  # late: an extra
        except ImportError:
            raise UserError(
                f"{shown(self.path)}: a video, which takes the package av; install it with: "
                "pip install 'styleloom[video]'"
            ) from None
        self._av: Any = av
        self._local = threading.local()

    def size(self, name: str) -> int:
        """Bytes of the pixels of a frame, at most: 4K."""
        return 3 * 3840 * 2160

    def read(self, name: str) -> PixelArray:
        """Pixels uint8 [3, H, W] of one frame. Raises OSError."""
        path, pts = self._frames[name]
        try:
            reader = getattr(self._local, "reader", None)
            if reader is None or reader.path != path:
                reader = self._local.reader = _Reader(self._av, path)
            return reader.frame(pts)
        except Exception as error:
            self._local.reader = None
            raise OSError(f"cannot be decoded: {reason(error)}") from error

    def close(self) -> None:
        """Close the videos."""
        self._local = threading.local()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_av", "_local")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()


class _Reader:
    """One video, decoded forward from the frame that was asked for last, where that is near."""

    def __init__(self, av: Any, path: Path) -> None:
        self.path = path
        self._container = av.open(str(path))
        self._stream = self._container.streams.video[0]
        self._decoder: Iterator[Any] = self._container.decode(self._stream)
        self._at = -1

    def frame(self, pts: int) -> PixelArray:
        """Pixels uint8 [3, H, W] of the frame at a time of the stream."""
        ahead = (pts - self._at) * float(self._stream.time_base or 0)
        if not 0 < ahead < 2:
            self._container.seek(pts, stream=self._stream, backward=True)
            self._decoder = self._container.decode(self._stream)
        for frame in self._decoder:
            self._at = frame.pts
            if frame.pts == pts:
                return np.ascontiguousarray(frame.to_ndarray(format="rgb24").transpose(2, 0, 1))
            if frame.pts > pts:
                break
        self._at = -1
        raise OSError("the frame is not found again")


def _chosen(av: Any, path: Path, every: float) -> Iterator[tuple[Fraction, int, bool]]:
    """Time and place of the first frame in every interval, and whether it differs from the last that did."""
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise OSError("it has no video stream")
        stream = container.streams.video[0]
        due, last = None, None
        for frame in container.decode(stream):
            if frame.pts is None or stream.time_base is None:
                continue
            seconds = frame.pts * stream.time_base
            due = seconds if due is None else due
            if seconds < due:
                continue
            while due <= seconds:
                due += Fraction(every).limit_denominator(10**6)
            small = _small(frame)
            new = last is None or float(np.abs(small - last).mean()) >= _ALIKE
            last = small if new else last
            yield seconds, frame.pts, new


def _small(frame: Any) -> NDArray[np.float32]:
    reduced = frame.reformat(width=_SIDE, height=_SIDE, format="gray", interpolation="AREA")
    return reduced.to_ndarray().astype(np.float32)


def _time(seconds: Fraction) -> str:
    """A name that sorts by time: hours, minutes, seconds and milliseconds."""
    milliseconds = round(seconds * 1000)
    whole, rest = divmod(milliseconds, 1000)
    return f"{whole // 3600:02d}h{whole // 60 % 60:02d}m{whole % 60:02d}.{rest:03d}s"
