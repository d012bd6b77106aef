"""What the network configurations of several papers share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from styleloom.config.checks import at_least, check_choices, power_of_two, within
from styleloom.errors import UserError, quoted

Activation: TypeAlias = Literal[
    "linear", "relu", "lrelu", "tanh", "sigmoid", "elu", "selu", "softplus", "swish"
]

NoiseMode: TypeAlias = Literal["random", "fixed", "none"]
"""Fresh N(0, 1) per call, the maps stored with the network, or no noise at all."""

Rng: TypeAlias = Literal["torch", "numpy"]
"""Where z of a seed comes from: "torch" is ours; "numpy" is `RandomState(seed).randn(1, Z)`, by which
the authors' scripts and their users number images."""


@dataclass(frozen=True)
class FeatureMaps:
    """Channels by depth (ProGAN appendix A): `min(base / 2^(stage * decay), max)`, never below `min`.

    Args:
        base: 8192 in ProGAN, StyleGAN, MSG-GAN and StyleGAN2 A-E; 16384 in StyleGAN2 F.
        max: upper bound.
        min: lower bound.
        decay: log2 of the reduction per doubling of the resolution.
    """

    base: int = 16384
    max: int = 512
    min: int = 1
    decay: float = 1.0

    def __post_init__(self) -> None:
        at_least("features.base", self.base, 1)
        at_least("features.min", self.min, 1)
        at_least("features.max", self.max, self.min)
        within("features.decay", self.decay, 0, 64)

    def at(self, stage: int) -> int:
        """Channels at `stage`; the block at side 2^r works with `at(r - 1)`."""
        return min(max(int(self.base / 2.0 ** (stage * self.decay)), self.min), self.max)

    def at_side(self, side: int) -> int:
        """Channels of the block whose side is `side` px."""
        return self.at(side.bit_length() - 2)


MAX_LAYERS = 256
"""Most layers of a mapping network; the papers have 0 to 8."""


@dataclass(frozen=True)
class Mapping:
    """The mapping network f: z -> w (StyleGAN section 2; StyleGAN2 keeps it).

    Args:
        layers: number of dense layers, each followed by `activation`, the last one included.
        width: outputs of the hidden layers.
        lr_multiplier: equalized learning-rate multiplier; weights are stored 1/lr_multiplier larger.
        activation: of every layer.
        normalize_z: project the input to the hypersphere first.
        labels: what is concatenated with z. "concat": the label times a learned matrix, normalised together
            with z (StyleGAN, StyleGAN2). "embed": a dense layer of the label, normalised apart from z (the
            authors' PyTorch port). "embed-z": the same, as wide as z rather than w (their TensorFlow code of
            ADA). "join": the label itself, normalised together with z (ProGAN).
    """

    layers: int = 8
    width: int = 512
    lr_multiplier: float = 0.01
    activation: Activation = "lrelu"
    normalize_z: bool = True
    labels: Literal["concat", "embed", "embed-z", "join"] = "concat"

    def __post_init__(self) -> None:
        check_choices(self, "mapping.")
        within("mapping.layers", self.layers, 0, MAX_LAYERS)
        at_least("mapping.width", self.width, 1)
        if not self.lr_multiplier > 0:
            at_least("mapping.lr_multiplier", self.lr_multiplier, 1e-9)


@dataclass(frozen=True)
class MinibatchStd:
    """Minibatch standard deviation (ProGAN section 3).

    Args:
        group_size: images over which the deviation is taken; from the batch size on it is the whole batch. 0
            leaves the layer out.
        features: feature maps that the layer appends.
    """

    group_size: int = 4
    features: int = 1

    def __post_init__(self) -> None:
        within("minibatch_std.group_size", self.group_size, 0, sys.maxsize)  # the largest: the whole batch
        at_least("minibatch_std.features", self.features, 1)


def image_size(resolution: int, grid: Sequence[int]) -> tuple[int, int]:
    """Height and width, px, of images whose nominal side is `resolution` px: `grid` * resolution / 4.

    `grid` is the height and width of the lowest level, px. The nominal side of an image is the side that it
    would have on the papers' grid, 4 x 4 px.
    """
    return grid[0] * resolution // 4, grid[1] * resolution // 4


@dataclass(frozen=True)
class ImageShape:
    """Images of a network, and the levels on which it makes or reads them.

    Args:
        resolution: side of the images, px; a power of two >= 8. On another grid than 4 x 4 it is the
            nominal side: images are `resolution / 4` times as large as the grid.
        channels: of the images.
        label_dim: number of classes; 0 without labels.
        grid: height and width of the lowest level, px: 4 x 4 in every paper. 3,4 gives 4:3 images, 384 x 512
            at resolution 512.
    """

    role: ClassVar[Literal["generator", "discriminator"]]
    resolution: int = 1024
    channels: int = 3
    label_dim: int = 0
    grid: tuple[int, ...] = (4, 4)

    def __post_init__(self) -> None:
        check_choices(self, f"{self.role}.")
        power_of_two(f"{self.role}.resolution", self.resolution, 8)
        at_least(f"{self.role}.channels", self.channels, 1)
        at_least(f"{self.role}.label_dim", self.label_dim, 0)
        if len(self.grid) != 2 or not all(2 <= side <= 16 for side in self.grid):
            raise UserError(
                f"{self.role}.grid: {quoted(self.grid)} is not valid, it must be "
                f"height,width of 2 to 16 px each"
            )

    @property
    def sides(self) -> tuple[int, ...]:
        """Nominal side of every level, px, low to high: 4, 8, ... resolution."""
        return tuple(2**r for r in range(2, self.resolution.bit_length()))

    def size_at(self, side: int) -> tuple[int, int]:
        """Height and width, px, of the level whose nominal side is `side`."""
        return image_size(side, self.grid)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images, px."""
        return self.size_at(self.resolution)

    @property
    def grows(self) -> bool:
        """Whether the network takes a `GrowthState`."""
        return False

    @property
    def mixes_styles(self) -> bool:
        """Whether a generator's layers can take the styles of different latents."""
        return False

    def styles_at(self, side: int) -> range:
        """Indices of a generator's style inputs at the level of nominal `side`, px; none without styles."""
        return range(0)

    @property
    def has_w(self) -> bool:
        """Whether a generator has a space W besides that of its latents."""
        return True

    @property
    def truncates(self) -> bool:
        """Whether a generator has styles, which are kept and truncated towards their mean."""
        return self.has_w

    @property
    def sums_levels(self) -> bool:
        """Whether a generator's image is the sum of the RGB outputs of its levels."""
        return False

    @property
    def pyramid_sides(self) -> tuple[int, ...] | None:
        """Nominal sides, px, low to high, of the pyramid of images from generator to discriminator (MSG-GAN);
        None where the generator makes one image."""
        return None
