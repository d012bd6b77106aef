"""How far images are from their targets, by a perceptual distance."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from styleloom.data.pixels import reduced_to_compare
from styleloom.features import registry
from styleloom.features.weights import locate_weights
from styleloom.types import EmbeddingDistance, PerceptualDistance

PREFERRED = ("lpips-vgg", "efficientnet-lite0")
"""Distances, best first: the papers' own, and the one that needs no download."""


def distance_name() -> str:
    """The first of `PREFERRED` whose weights are here; the last where none has them."""
    for name in PREFERRED:
        if all(locate_weights(file) is not None for file in registry.entry(name).weights):
            return name
    return PREFERRED[-1]


class Comparison:
    """Distances of images from their targets, which are looked at once.

    Grey images are compared in three equal channels. Images with transparency are compared twice, over black
    and over white, and the mean of both distances counts. Images of 512 px and more are averaged down first,
    see `reduced_to_compare`.

    Args:
        distance: LPIPS in the papers.
        targets: [N, C, H, W] in [-1, 1].
    """

    def __init__(self, distance: PerceptualDistance, targets: Tensor) -> None:
        self.distance = distance
        self._from_targets: Callable[[Tensor], Tensor]
        with torch.no_grad():
            seen = _seen(targets)
            if isinstance(distance, EmbeddingDistance):
                embedded = [part.detach() for part in distance.embed(seen)]
                self._from_targets = lambda images: distance.between(distance.embed(images), embedded)
            else:
                self._from_targets = lambda images: distance.distance(images, seen)

    def __call__(self, images: Tensor) -> Tensor:
        """The distance [N] of images [N, C, H, W], about [-1, 1], from their targets; differentiable."""
        return self._from_targets(_seen(images)).unflatten(0, (-1, len(images))).mean(0)


def _seen(images: Tensor) -> Tensor:
    """Images [N, C, H, W] as a distance takes them, with 1 or 3 channels: [N or 2 N, C', H', W']."""
    if images.shape[1] == 4:
        colour, alpha = images[:, :3], (images[:, 3:] + 1) / 2
        images = torch.cat([torch.lerp(torch.full_like(colour, ground), colour, alpha) for ground in (-1, 1)])
    return reduced_to_compare(images)
