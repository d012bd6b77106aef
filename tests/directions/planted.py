"""A generator with one direction that means something: w varies most along it, styles look at it most, and
images are the brighter, the further w is along it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from styleloom.metrics.classifiers.classifier import Classifier, ClassifierRecord
from styleloom.networks.assembly import StyleGenerator, SynthesisTrunk
from styleloom.sampling import Sampler
from styleloom.types import GrowthState, Images, Noise
from tiny import tiny

WIDTH = 16
LAYERS = 4


class LinearMapping(nn.Module):
    """w = M z, in place of a mapping network."""

    z_dim, label_dim = WIDTH, 0

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix)
        self.layers = nn.ModuleList([nn.Identity()])

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return z @ self.matrix.T


class Brightness(SynthesisTrunk):
    """Images of one colour: a tenth of the mean of w d over the layers."""

    num_noises = 0
    noise_sizes = ()

    def __init__(self, direction: Tensor, weights: list[Tensor]) -> None:
        super().__init__()
        self.direction = nn.Parameter(direction)
        self.weights = weights

    def forward(self, ws: Tensor, growth: GrowthState | None, noise: Noise) -> Images:
        level = (ws @ self.direction).mean(1) / 10
        return level[:, None, None, None].expand(-1, 3, 8, 8)

    def style_weights(self) -> list[Tensor]:
        return self.weights


def planted(seed: int = 0) -> tuple[Sampler, Tensor]:
    """A sampler and its direction [W], of length 1."""
    rng = torch.Generator().manual_seed(seed)
    direction = torch.randn(WIDTH, generator=rng)
    direction = direction / direction.norm()
    plane = torch.eye(WIDTH) - torch.outer(direction, direction)
    matrix = 4 * torch.outer(direction, torch.randn(WIDTH, generator=rng)) / WIDTH**0.5 + 0.5 * plane
    weights = [
        torch.outer(torch.randn(32, generator=rng), direction) + 0.05 * torch.randn(32, WIDTH, generator=rng)
        for _ in range(LAYERS)
    ]
    generator = StyleGenerator(
        LinearMapping(matrix),  # type: ignore[arg-type]
        Brightness(direction, weights),
        8,
        LAYERS,
        WIDTH,
        0.995,
    )
    return Sampler(generator.eval().requires_grad_(False), tiny()), direction


class MeanLogit(nn.Module):
    """The logit of an image is its mean."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((1, 2, 3))


def bright() -> Classifier:
    """A classifier of bright images."""
    record = ClassifierRecord("bright", 0, 0.5, 1.0, 0.0, 0, "planted", "0" * 64, {})
    return Classifier(MeanLogit(), tiny().discriminator, record, Path("bright"), "0" * 64)  # type: ignore[arg-type]
