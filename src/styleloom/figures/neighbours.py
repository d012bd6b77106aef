"""Generated images above their nearest neighbours in a data set (ProGAN Figure 10)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from styleloom.data.dataset import ImageDataset
from styleloom.data.pixels import reduced_to_compare
from styleloom.data.reals import to_signed
from styleloom.errors import UserError
from styleloom.features.registry import load_distance
from styleloom.figures import layout
from styleloom.figures.figure import Job, Picture
from styleloom.projection import distance_name
from styleloom.types import EmbeddingDistance

NEAREST = 5
"""Neighbours that are shown of each image."""
BLOCK = 16
"""Real images that are looked at together."""


def nearest(
    distance: EmbeddingDistance, images: Tensor, blocks: Iterator[Tensor], count: int
) -> tuple[Tensor, Tensor]:
    """The least distances of images from all others, and the positions of these: [N, count] each, ascending.

    Args:
        distance: perceptual.
        images: [N, 3, H, W] in [-1, 1].
        blocks: the others, as `images`, block by block; `count` or more.
        count: neighbours of each.
    """
    with torch.no_grad():
        own = distance.embed(images)
        least, where, start = torch.empty(len(images), 0), torch.empty(len(images), 0, dtype=torch.long), 0
        for block in blocks:
            theirs = distance.embed(block)
            rows = [
                distance.between(
                    [part[i : i + 1].expand_as(t) for part, t in zip(own, theirs, strict=True)], theirs
                )
                for i in range(len(images))
            ]
            found = torch.stack(rows).cpu()
            at = torch.arange(start, start + len(block)).expand(len(images), -1)
            least, order = torch.cat([least, found], 1).topk(
                min(count, least.shape[1] + len(block)), 1, largest=False
            )
            where = torch.cat([where, at], 1).gather(1, order)
            start += len(block)
    return least, where


def neighbours(job: Job) -> Picture:
    """Images of seeds at the top, and below each its nearest in the data by a perceptual distance."""
    sampler, numbered, data = job.sampler, job.seeds(), job.data
    assert data is not None
    if data.size != sampler.size:
        raise UserError(
            f"--data: images of {data.size[0]} x {data.size[1]} px; the generator makes {sampler.size[0]} x "
            f"{sampler.size[1]} px"
        )
    zoom, count = job.zoom(sampler.size), min(NEAREST, len(data))
    layout.check_places((1 + count) * len(numbered[0]), sampler.size, zoom)
    name = job.options["distance"] or distance_name()
    device = sampler.generator.w_avg.device
    distance = load_distance(name, device)
    assert isinstance(distance, EmbeddingDistance)
    images = job.images(sampler, numbered, job.psi(sampler))

    def blocks() -> Iterator[Tensor]:
        for start in range(0, len(data), BLOCK):
            job.progress("images of the data", start, len(data))
            yield _compared(_of(data, range(start, min(start + BLOCK, len(data))))).to(device)

    least, where = nearest(distance, _compared(images).to(device), blocks(), count)
    rows = [list(layout.enlarged(images, zoom))]
    for rank in range(count):
        rows.append(list(layout.enlarged(_of(data, where[:, rank].tolist()), zoom)))
    left = [
        "generated",
        *(f"nearest in {data.name}" if rank == 0 else f"{rank + 1}." for rank in range(count)),
    ]
    record = {"distance": name, "neighbours": where.tolist(), "distances": least.tolist()}
    return Picture(layout.framed(layout.board(rows, (), left)), record)


def _of(data: ImageDataset, at: Sequence[int]) -> Tensor:
    return layout.rgb(torch.from_numpy(data.images(np.array(at, np.int64))))


def _compared(images_u8: Tensor) -> Tensor:
    return reduced_to_compare(to_signed(images_u8))
