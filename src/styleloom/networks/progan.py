"""ProGAN (Karras et al. 2018): the networks of Table 2, which grow level by level.

The reader will find growth (section 2, Fig. 2) in `layers.growing`, the equalized learning rate (section 4.1)
in `layers.equalized`, pixel norm (section 4.2) in `layers.pixel_norm`, the minibatch standard deviation
(section 3) in `DiscriminatorTail`. The left half of Table 2 is `SynthesisNetwork`, the right half
`Discriminator`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from styleloom.config import networks as config
from styleloom.errors import UserError
from styleloom.layers.equalized import EqualizedConv, EqualizedDense, without_equalization
from styleloom.layers.growing import active, down2, fade_rgb, grown_features
from styleloom.layers.mapping import MappingNetwork
from styleloom.layers.minibatch_std import minibatch_std
from styleloom.layers.pixel_norm import pixel_norm
from styleloom.networks.assembly import DiscriminatorTrunk, StyleGenerator, SynthesisTrunk, one_resolution
from styleloom.ops.bias_act import ActivationSettings, bias_act
from styleloom.ops.conv_layer import ConvSettings, Resample
from styleloom.types import GrowthState, Images, Noise

BOX = (1.0, 1.0)
"""Taps with which upsampling repeats pixels and downsampling is the mean of 2 x 2 (appendix A)."""

ROOT2 = math.sqrt(2.0)
"""He's gain, within the weights; the leaky ReLU has none of its own (section 4.1)."""

INPUT_GAIN = ROOT2 / 4
"""The authors' gain of the input layer: He's for 16 inputs to each pixel, a 4x4 convolution of a 1x1 map."""


def hidden_conv(
    num_in: int, num_out: int, act: config.Activation, resample: Resample = "none", kernel: int = 3
) -> EqualizedConv:
    """A hidden convolution of either network, with bias and activation.

    "up" repeats pixels before it, "down" averages 2 x 2 between it and the bias; each is one convolution.
    """
    settings = ConvSettings(act, gain=1.0, resample=resample, taps=BOX)
    return EqualizedConv(num_in, num_out, kernel, settings, weight_gain=ROOT2)


def hidden_dense(num_in: int, num_out: int, act: config.Activation) -> EqualizedDense:
    """A hidden dense layer of a discriminator, with bias and activation."""
    return EqualizedDense(num_in, num_out, ActivationSettings(act, gain=1.0), weight_gain=ROOT2)


def normalized(x: Tensor) -> Tensor:
    """Pixel norm with statistics in float32; x [N, C, H, W] keeps its type."""
    return pixel_norm(x.float()).to(x.dtype)


# ---- generator


class DenseInput(nn.Module):
    """The input layer: w [N, W] -> [N, C, h, w], with a bias for each channel, and activation."""

    def __init__(self, cfg: config.ProGANGenerator) -> None:
        super().__init__()
        self.size = (cfg.features.at_side(4), *cfg.grid)
        gain = ROOT2 if cfg.gain == "sqrt2" else INPUT_GAIN
        self.dense = EqualizedDense(cfg.w_dim, math.prod(self.size), weight_gain=gain, bias=False)
        self.bias = nn.Parameter(torch.zeros(self.size[0]))
        self.act: config.Activation = cfg.activation

    def forward(self, w: Tensor) -> Tensor:
        """[N, W] -> [N, C, h, w]."""
        return bias_act(self.dense(w).unflatten(1, self.size), self.bias, self.act, gain=1.0)


class InputBlock(nn.Module):
    """The lowest level: input layer and convolution."""

    def __init__(self, cfg: config.ProGANGenerator) -> None:
        super().__init__()
        maps = cfg.features.at_side(4)
        self.input = DenseInput(cfg)
        self.conv = hidden_conv(maps, maps, cfg.activation)
        self.norm_input = cfg.pixel_norm == "every"
        self.norm = cfg.pixel_norm != "none"

    def forward(self, w: Tensor, enter: Callable[[Tensor], Tensor]) -> Tensor:
        """w [N, W] -> features [N, C, h, w]; the input layer computes in w's type, before `enter`."""
        x = self.input(w)
        x = self.conv(enter(pixel_norm(x) if self.norm_input else x))
        return normalized(x) if self.norm else x


class SynthesisBlock(nn.Module):
    """A level above the lowest: up-convolution and convolution."""

    def __init__(self, cfg: config.ProGANGenerator, side: int) -> None:
        super().__init__()
        num_in, num_out = cfg.features.at_side(side // 2), cfg.features.at_side(side)
        self.conv_up = hidden_conv(num_in, num_out, cfg.activation, "up")
        self.conv = hidden_conv(num_out, num_out, cfg.activation)
        self.norm = cfg.pixel_norm != "none"

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, I, H, W] -> [N, O, 2H, 2W]."""
        for layer in (self.conv_up, self.conv):
            x = normalized(layer(x)) if self.norm else layer(x)
        return x


class SynthesisNetwork(SynthesisTrunk):
    """The normalised latent to images of the active level (Table 2, left).

    Args:
        cfg: its configuration.
        rgb_sides: nominal sides, px, of the levels with a toRGB layer; None for every level.
    """

    num_noises = 0
    noise_sizes = ()

    def __init__(self, cfg: config.ProGANGenerator, rgb_sides: Sequence[int] | None = None) -> None:
        super().__init__()
        self.cfg = cfg
        self.blocks = nn.ModuleList([InputBlock(cfg), *(SynthesisBlock(cfg, side) for side in cfg.sides[1:])])
        gain = ROOT2 if cfg.gain == "sqrt2" else 1.0
        self.to_rgb = nn.ModuleDict(
            {
                str(side): EqualizedConv(cfg.features.at_side(side), cfg.channels, 1, weight_gain=gain)
                for side in (cfg.sides if rgb_sides is None else rgb_sides)
            }
        )
        if cfg.weights == "he":
            without_equalization(self)
        self.prefer_channels_last()

    def features(self, ws: Tensor, noise: Noise, top_level: int) -> list[Tensor]:
        """Features [N, C, H, W] of levels 0 to `top_level`; no higher one is evaluated.

        Args:
            ws: [N, 1, W], latent and label.
            noise: a mode, or no maps, since there are no noise inputs.
            top_level: 0 at the lowest.
        """
        if not isinstance(noise, str) and len(noise):
            raise UserError(f"noise: {len(noise)} maps given, this network takes none")
        xs = [self.blocks[0](ws[:, 0], self.enter)]
        for level in range(1, top_level + 1):
            xs.append(self.blocks[level](xs[-1]))
        return xs

    def style_weights(self) -> list[Tensor]:
        """Those of the input layer, which takes the one row of ws."""
        lowest = self.blocks[0]
        assert isinstance(lowest, InputBlock)
        return [lowest.input.dense.weight]

    def rgb(self, side: int, x: Tensor) -> Tensor:
        """Features of the level of nominal `side` px -> images [N, C, H, W], float32."""
        return self.to_rgb[str(side)](x).float()

    def forward(self, ws: Tensor, growth: GrowthState | None, noise: Noise) -> Images:
        """ws [N, 1, W] -> images [N, C, H, W] of the active level's size."""
        growth = active(growth, len(self.cfg.sides))
        xs = self.features(ws, noise, growth.level)
        side = self.cfg.sides[growth.level]
        return fade_rgb(lambda: self.rgb(side // 2, xs[-2]), self.rgb(side, xs[-1]), growth.alpha)


class LatentGenerator(StyleGenerator):
    """A generator whose one style input is the normalised latent itself: there is no w to average.

    `w_avg` stays 0 and is not stored.
    """

    no_truncation = "ProGAN has no w to truncate, its latents lie on a hypersphere"

    def __init__(self, cfg: config.ProGANGenerator, synthesis: SynthesisTrunk) -> None:
        labels = config.Mapping(layers=0, normalize_z=cfg.normalize_z, labels="join")
        mapping = MappingNetwork(labels, cfg.z_dim, cfg.w_dim, cfg.label_dim)
        super().__init__(mapping, synthesis, cfg.resolution, cfg.num_ws, cfg.w_dim, w_avg_beta=1.0)
        self.register_buffer("w_avg", torch.zeros(cfg.w_dim), persistent=False)


def build_generator(cfg: config.ProGANGenerator) -> StyleGenerator:
    """The generator of `cfg`, with fresh weights from the global random generator."""
    return LatentGenerator(cfg, SynthesisNetwork(cfg))


# ---- discriminator


class DiscriminatorBlock(nn.Module):
    """A level above the lowest: convolution, convolution with pooling."""

    def __init__(self, cfg: config.ProGANDiscriminator, side: int) -> None:
        super().__init__()
        here, below = cfg.features.at_side(side), cfg.features.at_side(side // 2)
        self.conv = hidden_conv(here, here, cfg.activation)
        self.pool_after = cfg.pooling == "after"
        self.conv_down = hidden_conv(here, below, cfg.activation, "none" if self.pool_after else "down")

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, I, H, W] -> [N, O, H/2, W/2]."""
        x = self.conv_down(self.conv(x))
        return down2(x) if self.pool_after else x


class DiscriminatorTail(nn.Module):
    """The lowest level: minibatch standard deviation, convolution, two dense layers.

    Args:
        features: channels; those of stage 0 are the first dense layer's outputs.
        grid: height and width, px.
        act: of the hidden layers.
        std: the minibatch standard deviation.
        outputs: of the network.
    """

    def __init__(
        self,
        features: config.FeatureMaps,
        grid: tuple[int, ...],
        act: config.Activation,
        std: config.MinibatchStd,
        outputs: int,
    ) -> None:
        super().__init__()
        self.std = std
        maps, hidden = features.at_side(4), features.at_side(2)
        self.conv = hidden_conv(maps + (std.features if std.group_size > 1 else 0), maps, act)
        self.dense = hidden_dense(maps * math.prod(grid), hidden, act)
        self.out = EqualizedDense(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, C, h, w] -> outputs [N, K], float32."""
        if self.std.group_size > 1:
            x = torch.cat([x, minibatch_std(x, self.std.group_size, self.std.features)], 1)
        x = self.conv(x)
        return self.out(self.dense(x.float().flatten(1)))


class GrowingDiscriminator(DiscriminatorTrunk):
    """Images of the active level to outputs: what ProGAN and StyleGAN share.

    Args:
        cfg: its configuration.
        blocks: of the levels above the lowest, low to high.
        outputs: of the network.
    """

    def __init__(
        self,
        cfg: config.ProGANDiscriminator | config.StyleGANDiscriminator,
        blocks: Iterable[nn.Module],
        outputs: int,
    ) -> None:
        super().__init__()
        self.from_rgb = nn.ModuleDict(
            {
                str(side): hidden_conv(cfg.channels, cfg.features.at_side(side), cfg.activation, kernel=1)
                for side in cfg.sides
            }
        )
        self.blocks = nn.ModuleList(blocks)
        self.tail = DiscriminatorTail(cfg.features, cfg.grid, cfg.activation, cfg.minibatch_std, outputs)
        self.shape: config.ImageShape = cfg
        self.prefer_channels_last()

    def from_image(self) -> list[nn.Module]:
        """fromRGB of the highest level, blocks from there on, the lowest level."""
        return [self.from_rgb[str(self.shape.resolution)], *reversed(self.blocks), self.tail]

    def outputs(self, images: Images, growth: GrowthState | None) -> Tensor:
        """Images [N, C, H, W] in [-1, 1] of the active level's size -> outputs [N, K]."""
        growth = active(growth, len(self.shape.sides))
        images = one_resolution(images, self.shape, growth.level)
        from_rgb = [lambda y, layer=layer: layer(self.enter(y)) for layer in self.from_rgb.values()]
        return self.tail(grown_features(images, growth, from_rgb, list(self.blocks)))


class Discriminator(GrowingDiscriminator):
    """Images of the active level to one logit each (Table 2, right); with labels, also to class logits."""

    def __init__(self, cfg: config.ProGANDiscriminator) -> None:
        blocks = (DiscriminatorBlock(cfg, side) for side in cfg.sides[1:])
        super().__init__(cfg, blocks, 1 + cfg.label_dim if cfg.classifies else 1)
        self.cfg = cfg
        if cfg.weights == "he":
            without_equalization(self)

    def forward(
        self, images: Images, label: Tensor | None = None, growth: GrowthState | None = None
    ) -> Tensor:
        """Images [N, C, H, W] in [-1, 1] of the active level's size -> logits [N].

        With labels [N, 1 + K]: the score, then a logit for each class (AC-GAN). `label` is no input.
        """
        outputs = self.outputs(images, growth)
        return outputs if self.cfg.classifies else outputs[:, 0]
