"""Generators for metrics that probe one: linear maps of known coefficients, real networks in miniature."""

from __future__ import annotations

import torch
from torch import Tensor

from presets.shrink import shrink
from styleloom import presets
from styleloom.config import apply_overrides
from styleloom.config.networks import Mapping
from styleloom.layers.mapping import MappingNetwork
from styleloom.networks.assembly import StyleGenerator, SynthesisTrunk
from styleloom.networks.build import build_generator
from styleloom.sampling import Sampler
from styleloom.types import GrowthState, Images, Noise
from tiny import tiny

DIM = 16
"""Size of z and w of `linear`."""


class LinearSynthesis(SynthesisTrunk):
    """Images A w + noise, of the w of one layer."""

    num_noises = 1

    def __init__(self, matrix: Tensor, size: tuple[int, int], layer: int = 0) -> None:
        super().__init__()
        self.matrix, self.size, self.layer = matrix, size, layer
        self.noise_sizes = (size,)
        self.passes: list[int] = []

    def forward(self, ws: Tensor, growth: GrowthState | None, noise: Noise) -> Images:
        assert not isinstance(noise, str)
        self.passes.append(len(ws))
        return (ws[:, self.layer] @ self.matrix.t()).reshape(len(ws), -1, *self.size) + noise[0]


def linear(matrix: Tensor, normalize_z: bool = False, resolution: int = 8) -> Sampler:
    """Images A z + noise [N, 3, R, R], or A z / |z| sqrt(DIM) + noise: w is z, normalised or as it is.

    Args:
        matrix: A, [3 R R, DIM].
    """
    mapping = MappingNetwork(Mapping(layers=0, normalize_z=normalize_z), DIM, DIM, 0)
    synthesis = LinearSynthesis(matrix, (resolution, resolution))
    experiment = tiny(f"resolution={resolution}")
    layers = experiment.generator.num_ws
    return Sampler(StyleGenerator(mapping, synthesis, resolution, layers, DIM, 0.995).eval(), experiment)


def passes(sampler: Sampler) -> list[int]:
    """Images of each pass through `linear`."""
    synthesis = sampler.generator.synthesis_network
    assert isinstance(synthesis, LinearSynthesis)
    return synthesis.passes


def real(preset: str, *overrides: str, growth: GrowthState | None = None, resolution: int = 16) -> Sampler:
    """A preset's networks in miniature, with biases, noise and constants that count."""
    experiment = apply_overrides(shrink(presets.get(preset), resolution), overrides)
    generator = build_generator(experiment.generator).eval().requires_grad_(False)
    for name, t in generator.state_dict().items():
        if name.endswith(("strength", "bias")):
            t.normal_(std=0.3)
    return Sampler(generator, experiment, growth)


class Squared:
    """|a - b|^2: quadratic, so that a path length of `linear` does not depend on epsilon."""

    identity: dict[str, object] = {"name": "squared"}  # noqa: RUF012

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """[N, 3, H, W] each to [N]."""
        assert a.shape == b.shape
        assert a.shape[1] == 3
        return (a.double() - b.double()).square().flatten(1).sum(1)


def labels(*classes: int, dim: int = 3) -> Tensor:
    """One-hot [N, dim]."""
    return torch.eye(dim)[list(classes)]
