"""A feature network and distance of one's own, small enough for tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleloom.features import registry
from styleloom.features.registry import NetworkEntry

DIM = 6


class Projection:
    """Fixed random projections of the 4 x 4 means of an image."""

    def __init__(self, weights: str = "w1") -> None:
        rng = torch.Generator().manual_seed(1)
        self.matrix = torch.randn(48, DIM, generator=rng)
        self.weights = weights
        self.calls = 0

    @property
    def identity(self) -> dict[str, Any]:
        return {"name": "projection", "weights": self.weights, "resize": "mean 4 x 4"}

    @property
    def layers(self) -> Mapping[str, int]:
        return {"out": DIM, "classes": DIM}

    def features(self, images_u8: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        self.calls += len(images_u8)
        small = torch.nn.functional.adaptive_avg_pool2d(images_u8.float() / 255, 4).flatten(1)
        return {layer: small @ self.matrix * (1 if layer == "out" else 0.1) for layer in layers}

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Squared distance of the projections."""
        pooled = [torch.nn.functional.adaptive_avg_pool2d(x, 4).flatten(1) @ self.matrix for x in (a, b)]
        return (pooled[0] - pooled[1]).square().sum(1)


@contextmanager
def plugged(projection: Projection) -> Iterator[Projection]:
    """Known under the name "projection" meanwhile."""

    def build(paths: Sequence[Path], device: torch.device) -> Projection:
        return projection

    entry = NetworkEntry(
        suffix="proj",
        description="test",
        licence="MIT",
        features=build,
        distance=build,
        default_layer="out",
        logits_layer="classes",
    )
    registry.register("projection", entry)
    try:
        yield projection
    finally:
        del registry.NETWORKS["projection"]
