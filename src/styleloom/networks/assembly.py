"""What the networks of all papers share: precision of the trunk, the running average of w, truncation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from styleloom import arguments
from styleloom.config.networks import ImageShape
from styleloom.errors import UserError, quoted
from styleloom.layers.mapping import MappingNetwork
from styleloom.layers.noise import NoiseInput
from styleloom.ops.tracing import traced
from styleloom.types import GrowthState, Images, Noise

Truncation: TypeAlias = float | Sequence[float]
"""psi for all layers, or one psi per layer."""


def _check_tensor(name: str, value: object, expected: Sequence[int | None], meaning: str) -> None:
    """Raise UserError unless `value` is a tensor of the shape `expected`, in which None is any number."""
    if not isinstance(value, Tensor):
        raise UserError(f"{name}: {quoted(value)} is not valid; a tensor, {meaning}")
    arguments.shape(name, value.shape, expected, meaning)


def finest(images: Images) -> Tensor:
    """The images of highest resolution."""
    return images if isinstance(images, Tensor) else images[-1]


class Trunk(nn.Module):
    """Base of synthesis networks and discriminators: the arithmetic of the convolutions.

    Weights, styles, demodulation, statistics and RGB stay float32; activations between convolutions have
    `trunk_dtype`. Four-dimensional weights are kept channels-last, which the convolutions prefer.
    """

    trunk_dtype: torch.dtype = torch.float32

    def prefer_channels_last(self) -> None:
        """Store convolution weights channels-last; values do not change."""
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def enter(self, x: Tensor) -> Tensor:
        """Bring images or a constant into the trunk's type and layout."""
        return self.channels_last(x.to(self.trunk_dtype))

    def channels_last(self, x: Tensor) -> Tensor:
        """Bring [N, C, H, W] into the trunk's layout."""
        return x if traced() else x.contiguous(memory_format=torch.channels_last)


class DiscriminatorTrunk(Trunk):
    """Images to logits."""

    def from_image(self) -> list[nn.Module]:
        """Its parts in the order in which an image of full size passes them."""
        raise NotImplementedError

    def lower_from_rgb(self) -> list[nn.Module]:
        """Layers among those parts that an image of full size does not pass: fromRGB of lower levels."""
        return []


def one_resolution(images: Images, cfg: ImageShape, level: int) -> Tensor:
    """`images`, when they are what a discriminator of one resolution takes at `level`.

    Raises:
        UserError: they are a pyramid, or of another size or number of channels.
    """
    if not isinstance(images, Tensor):
        raise UserError("this discriminator takes images of one resolution, not a pyramid")
    expected = (cfg.channels, *cfg.size_at(cfg.sides[level]))
    if images.ndim != 4 or tuple(images.shape[1:]) != expected:
        raise UserError(
            f"images: {list(images.shape[1:])} given (channels, height, width), this discriminator takes "
            f"{list(expected)} at level {level}"
        )
    return images


class SynthesisTrunk(Trunk):
    """w to images."""

    num_noises: int
    noise_sizes: tuple[tuple[int, int], ...]
    """Height and width of every noise map, px, in layer order; empty without noise inputs."""

    @property
    def fixed_noise(self) -> list[Tensor]:
        """The noise maps [1, 1, H, W] that are stored with the network, in layer order."""
        return [module.fixed for module in self.modules() if isinstance(module, NoiseInput)]

    def forward(self, ws: Tensor, growth: GrowthState | None, noise: Noise) -> Images:
        raise NotImplementedError

    def style_weights(self) -> list[Tensor]:
        """What each row of ws is multiplied by first: weights [O, W]; O is 0 for a row that is no style.

        Where layers share a row, those of the convolution.
        """
        raise NotImplementedError


class StyleGenerator(nn.Module):
    """Mapping network, synthesis network and the running average of w (StyleGAN section 2).

    Args:
        mapping_network: z to w.
        synthesis_network: ws to images.
        resolution: px.
        num_ws: style inputs.
        w_dim: size of w.
        w_avg_beta: decay of the running average.
    """

    w_avg: Tensor

    no_truncation: str | None = None
    """Why this generator is not truncated, in words for its user; None where it is."""

    def __init__(
        self,
        mapping_network: MappingNetwork,
        synthesis_network: SynthesisTrunk,
        resolution: int,
        num_ws: int,
        w_dim: int,
        w_avg_beta: float,
    ) -> None:
        super().__init__()
        self.mapping_network = mapping_network
        self.synthesis_network = synthesis_network
        self.resolution = resolution
        self.num_ws = num_ws
        self.z_dim = mapping_network.z_dim
        self.label_dim = mapping_network.label_dim
        self.w_avg_beta = w_avg_beta
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def mapping(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z [N, Z] ~ N(0, 1), label [N, K] -> ws [N, L, W], one w for all layers, not truncated.

        Raises UserError for other shapes, for a missing label, and for a label that has no meaning here.
        """
        _check_tensor("z", z, (None, self.z_dim), "latents")
        if label is not None and not self.label_dim and label.shape[-1:] != (0,):
            raise UserError("label: this generator was trained without labels; valid: none")
        if self.label_dim:
            if label is None or label.shape[1:] != (self.label_dim,):
                raise UserError(f"label: this generator needs labels of {self.label_dim} classes")
            _check_tensor("label", label, (z.shape[0], self.label_dim), "one for each z")
        w = self.mapping_network(z, label)
        return w[:, None].expand(-1, self.num_ws, -1)

    def synthesis(self, ws: Tensor, growth: GrowthState | None = None, noise: Noise = "random") -> Images:
        """ws [N, L, W] -> images [N, C, R, R], about [-1, 1].

        Raises UserError for other shapes of ws or of noise maps, and for an unknown word for noise.
        """
        _check_tensor("ws", ws, (None, self.num_ws, self.w_avg.shape[0]), "a style for each layer")
        if isinstance(noise, str):
            arguments.noise_mode(noise)
        elif not isinstance(noise, Sequence):
            raise UserError(f"noise: {quoted(noise)} is not valid; a word, or one map for each noise input")
        return self.synthesis_network(ws, growth, noise)

    def forward(
        self,
        z: Tensor,
        label: Tensor | None = None,
        truncation: Truncation = 1.0,
        truncation_layers: int | None = None,
        noise: Noise = "random",
        growth: GrowthState | None = None,
    ) -> Images:
        """Latents to images: mapping, truncation, synthesis."""
        ws = self.truncate(self.mapping(z, label), truncation, truncation_layers)
        return self.synthesis(ws, growth, noise)

    @torch.no_grad()
    def update_w_avg(self, w_mean: Tensor) -> None:
        """Move the running average of w towards the mean [W] of a training batch.

        A mean that is not finite is left out: the average would never be finite again.
        """
        mean = w_mean.detach().to(self.w_avg.dtype)
        # torch.where instead of an if: the host need not wait for the device.
        mean = torch.where(mean.isfinite().all(), mean, self.w_avg)
        self.w_avg.lerp_(mean, 1 - self.w_avg_beta)

    def truncate(self, ws: Tensor, psi: Truncation, layers: int | None = None) -> Tensor:
        """w' = w_avg + psi (w - w_avg) (StyleGAN appendix B).

        Args:
            ws: [N, L, W].
            psi: one value, or one per layer.
            layers: truncate the first `layers` layers only; None for all.

        Raises:
            UserError: a psi that is no finite number, a wrong number of them or of layers, or a psi other
                than 1 for a generator without truncation.
        """
        values = arguments.truncation(psi, self.num_ws)
        if layers is not None:
            layers = arguments.whole("truncation layers", layers, 0, self.num_ws)
            values = values[:layers] + [1.0] * (self.num_ws - layers)
        if all(value == 1 for value in values):
            return ws
        if self.no_truncation is not None:
            given = sorted({value for value in values if value != 1})
            raise UserError(
                f"truncation: {', '.join(map(quoted, given))} is not valid, {self.no_truncation}; valid: 1"
            )
        factors = torch.tensor(values, dtype=ws.dtype, device=ws.device)[:, None]
        return self.w_avg + factors * (ws - self.w_avg)
