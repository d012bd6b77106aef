"""What generators, discriminators and feature networks have to provide, and what passes between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from torch import Tensor

from styleloom.config.growth import GrowthState as GrowthState
from styleloom.config.parts import NoiseMode as NoiseMode

Pyramid: TypeAlias = tuple[Tensor, ...]
"""Images of one scene at several resolutions, low to high, each [N, C, H, W] in [-1, 1]."""

Images: TypeAlias = Tensor | Pyramid
"""One tensor [N, C, H, W] in [-1, 1], or a pyramid of them."""

Noise: TypeAlias = NoiseMode | Sequence[Tensor]
"""A mode, or one map [N or 1, 1, H, W] for each noise input, in layer order."""


LogitFunction: TypeAlias = Callable[[Images, Tensor | None], Tensor]
"""What losses see of a discriminator: images and label to logits [N]. It knows the state of growth."""


@runtime_checkable
class Generator(Protocol):
    """Latents to images, in two stages."""

    @property
    def resolution(self) -> int:
        """Side of the output image, in px."""
        ...

    @property
    def num_ws(self) -> int:
        """Number of style inputs: the L of `ws`."""
        ...

    def mapping(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z [N, Z] (and label [N, K]) to ws [N, L, W], without truncation."""
        ...

    def synthesis(self, ws: Tensor, growth: GrowthState | None = None, noise: Noise = "random") -> Images:
        """ws [N, L, W] to images in [-1, 1] (not clipped)."""
        ...


@runtime_checkable
class Discriminator(Protocol):
    """Images to one logit each."""

    def __call__(
        self, images: Images, label: Tensor | None = None, growth: GrowthState | None = None
    ) -> Tensor:
        """Images in [-1, 1] to logits [N]."""
        ...


@runtime_checkable
class FeatureNetwork(Protocol):
    """Images to vectors in which sets of images are compared. How it resizes images is part of it."""

    @property
    def identity(self) -> dict[str, Any]:
        """What its numbers depend on, as JSON: "name", "weights" (sha256, hex), "resize" and so on."""
        ...

    @property
    def layers(self) -> Mapping[str, int]:
        """Name of each layer that can be asked for, and the number of its features."""
        ...

    def features(self, images_u8: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """uint8 [N, 3, H, W] of any size to float32 [N, D] for each of `layers`."""
        ...


@runtime_checkable
class PerceptualDistance(Protocol):
    """How different two images look."""

    @property
    def identity(self) -> dict[str, Any]:
        """As of a `FeatureNetwork`."""
        ...

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Two batches, floating [N, 3, H, W] in [-1, 1], to one distance each [N], differentiable."""
        ...


@runtime_checkable
class EmbeddingDistance(PerceptualDistance, Protocol):
    """A perceptual distance in two parts, so that an image that is compared often is embedded once."""

    def embed(self, images: Tensor) -> Sequence[Tensor]:
        """Floating [N, 1 or 3, H, W] in [-1, 1] to what `between` compares, each [N, ...]."""
        ...

    def between(self, a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
        """`distance` [N] of images whose `embed` are given."""
        ...
