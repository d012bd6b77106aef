"""A film: latents at every moment, and their frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from styleloom import arguments
from styleloom.data.reals import to_uint8
from styleloom.images import grid
from styleloom.latents import Latents
from styleloom.sampling import Sampler
from styleloom.video.encoders import Frame


@dataclass(frozen=True)
class Film:
    """Latents of C cells at every moment t, 0 to 1.

    Args:
        base: [C], what does not move.
        values: t to values [C, ...]; None where they stay.
        noise: t to noise maps, each [C or 1, 1, H, W]; None where they stay.
        closed: whether the moment 1 is the moment 0.
    """

    base: Latents
    values: Callable[[float], Tensor] | None = None
    noise: Callable[[float], tuple[Tensor, ...]] | None = None
    closed: bool = True

    def moments(self, count: int) -> list[float]:
        """The moments of `count` frames: of a closed film the frame after the last would be the first."""
        arguments.whole("frames", count, 1)
        return [at / count if self.closed else at / max(count - 1, 1) for at in range(count)]

    def at(self, moments: list[float]) -> Latents:
        """Latents [F C] of F frames, frame by frame."""
        count, base = len(moments), self.base
        rows = base[list(range(len(base))) * count]
        values, noise = rows.values, rows.noise
        if self.values is not None:
            values = torch.cat([self.values(t) for t in moments])
        if self.noise is not None:
            every = [self.noise(t) for t in moments]
            noise = tuple(
                torch.cat([m.expand(len(base), -1, -1, -1) for m in maps])
                for maps in zip(*every, strict=True)
            )
        return Latents(base.space, values, noise, rows.labels, rows.document)


def frames(sampler: Sampler, film: Film, count: int, columns: int = 1, zoom: int = 1) -> Iterator[Frame]:
    """`count` frames, each a grid of the film's cells with so many columns: uint8 [H, W, 3].

    As many frames as fill one pass of the generator are made together; memory does not depend on `count`.
    """
    cells, moments = len(film.base), film.moments(count)
    together = max(sampler.images_per_pass // cells, 1)
    for start in range(0, count, together):
        part = moments[start : start + together]
        images = to_uint8(sampler.render(film.at(part)))
        for own in images.split(cells):
            yield as_frame(grid(own, columns), zoom)


def training_frames(
    load: Callable[[Path], Sampler],
    snapshots: list[Path],
    latents: Callable[[Sampler], Latents],
    count: int,
    columns: int = 1,
    zoom: int = 1,
) -> Iterator[Frame]:
    """`count` frames through the snapshots of a run, one generator in memory at a time.

    Images of a level that was still growing are enlarged to full size by repeating pixels. Each snapshot is
    shown equally long; where there are fewer frames than snapshots, evenly spaced ones.

    Args:
        load: a snapshot's file to its sampler.
        snapshots: oldest first.
        latents: of the cells, for the sampler of a snapshot.
        count, columns, zoom: as in `frames`.
    """
    shown: int | None = None
    frame: Frame | None = None
    for at in range(arguments.whole("frames", count, 1)):
        which = (
            at * len(snapshots) // count
            if count > len(snapshots)
            else round(at * (len(snapshots) - 1) / max(count - 1, 1))
        )
        if which != shown:
            sampler = load(snapshots[which])
            images = to_uint8(sampler.render(latents(sampler)))
            times = sampler.generator.resolution // sampler.resolution
            frame = as_frame(grid(images, columns), zoom * times)
            shown = which
        assert frame is not None
        yield frame


def as_frame(image_u8: Tensor, zoom: int = 1) -> Frame:
    """uint8 [C, H, W] to a frame, each pixel `zoom` times as high and wide: grey as three equal channels, an
    alpha channel laid over white."""
    pixels = image_u8.cpu().numpy().transpose(1, 2, 0)
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:].astype(np.float32) / 255
        pixels = np.rint(pixels[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    elif pixels.shape[2] == 1:
        pixels = pixels.repeat(3, axis=2)
    return np.ascontiguousarray(pixels.repeat(zoom, axis=0).repeat(zoom, axis=1))
