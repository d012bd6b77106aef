"""MSG-GAN (Karnewar and Wang 2020): generator and discriminator meet in an image at every level.

The reader will find the pyramid of images (section 2, equations 5 to 7) in `ProGANSynthesis` and
`StyleGANSynthesis`, the ways in which an image joins the discriminator's features (equations 10 to 12) in
`COMBINE`, the pass over all levels (equations 8, 9, 13 and 14) in `Discriminator.forward`. Tables 6 and 7
are `ProGANSynthesis` and `ProGANPyramidDiscriminator`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from styleloom.config import networks as config
from styleloom.errors import UserError
from styleloom.layers.equalized import EqualizedConv, EqualizedDense
from styleloom.layers.growing import down2
from styleloom.layers.minibatch_std import minibatch_std
from styleloom.networks import progan, stylegan
from styleloom.networks.assembly import DiscriminatorTrunk, StyleGenerator
from styleloom.networks.progan import ROOT2, hidden_conv, hidden_dense
from styleloom.ops.conv_layer import ConvSettings
from styleloom.types import GrowthState, Images, Noise, Pyramid

MSGDiscriminatorConfig: TypeAlias = config.MSGProGANDiscriminator | config.MSGStyleGANDiscriminator


def refuse_growth(growth: GrowthState | None) -> None:
    """Raise UserError for a growth state: all levels train together (section 2)."""
    if growth is not None:
        raise UserError(f"growth: {growth} given, the networks of MSG-GAN do not grow; valid: None")


# ---- generators


class ProGANSynthesis(progan.SynthesisNetwork):
    """The normalised latent to images at every connected level (Table 6)."""

    def __init__(self, cfg: config.MSGProGANGenerator) -> None:
        super().__init__(cfg, cfg.pyramid_sides)
        self.pyramid_sides = cfg.pyramid_sides

    def forward(self, ws: Tensor, growth: GrowthState | None, noise: Noise) -> Pyramid:
        """ws [N, 1, W] -> images [N, C, H, W], low to high."""
        return _pyramid(self, ws, growth, noise)


class StyleGANSynthesis(stylegan.SynthesisNetwork):
    """ws to images at every connected level: StyleGAN's layers, but no growth (appendix 6.1)."""

    def __init__(self, cfg: config.MSGStyleGANGenerator) -> None:
        super().__init__(cfg, cfg.pyramid_sides)
        self.pyramid_sides = cfg.pyramid_sides

    def forward(self, ws: Tensor, growth: GrowthState | None, noise: Noise) -> Pyramid:
        """ws [N, L, W] -> images [N, C, H, W], low to high."""
        return _pyramid(self, ws, growth, noise)


def _pyramid(
    network: ProGANSynthesis | StyleGANSynthesis, ws: Tensor, growth: GrowthState | None, noise: Noise
) -> Pyramid:
    """o_i = r^i(a_i) of equation 7 for every connected level i."""
    refuse_growth(growth)
    sides = network.cfg.sides
    features = dict(zip(sides, network.features(ws, noise, len(sides) - 1), strict=True))
    return tuple(network.rgb(side, features[side]) for side in network.pyramid_sides)


def build_progan_generator(cfg: config.MSGProGANGenerator) -> StyleGenerator:
    """MSG-ProGAN's generator, with fresh weights from the global random generator."""
    return progan.LatentGenerator(cfg, ProGANSynthesis(cfg))


def build_stylegan_generator(cfg: config.MSGStyleGANGenerator) -> StyleGenerator:
    """MSG-StyleGAN's generator, with fresh weights from the global random generator."""
    return stylegan.style_generator(cfg, StyleGANSynthesis(cfg))


# ---- how RGB joins the features of a level


def _linear(num_in: int, num_out: int, bias: bool) -> EqualizedConv:
    """r' of equations 11 and 12: a 1x1 convolution without activation."""
    return EqualizedConv(num_in, num_out, 1, weight_gain=ROOT2, bias=bias)


class Combine(nn.Module):
    """phi: features and RGB of a level to one tensor, features first.

    Args:
        num_out: channels of the result.
        of_rgb: what RGB passes before the two are concatenated.
        of_both: what they pass together.
    """

    def __init__(
        self, num_out: int, of_rgb: nn.Module | None = None, of_both: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.num_out = num_out
        self.of_rgb = of_rgb
        self.of_both = of_both

    def forward(self, x: Tensor, rgb: Tensor) -> Tensor:
        """Features [N, C, H, W] and RGB [N, 3, H, W] -> [N, num_out, H, W]."""
        joined = torch.cat([x, rgb if self.of_rgb is None else self.of_rgb(rgb)], 1)
        return joined if self.of_both is None else self.of_both(joined)


COMBINE: dict[str, Callable[[int, int], Combine]] = {
    # equation 10; 64 + 3 channels at 256 px
    "simple": lambda maps, rgb: Combine(maps + rgb),
    # equation 11, with half as many channels as there are features (appendix 6.1): 64 + 32 at 256 px;
    # with bias, as in the authors' PyTorch code
    "lin_cat": lambda maps, rgb: Combine(maps + maps // 2, of_rgb=_linear(rgb, maps // 2, bias=True)),
    # equation 12, with as many channels as there are features: 64 at 256 px;
    # without bias, as in the authors' TensorFlow code
    "cat_lin": lambda maps, rgb: Combine(maps, of_both=_linear(maps + rgb, maps, bias=False)),
}
"""For each name: what makes the layer from (channels of the features, channels of the image)."""


# ---- discriminators


class LevelStart(nn.Module):
    """How a level of the discriminator begins: phi where it is connected, minibatch standard deviation.

    The full resolution begins with fromRGB instead of phi.
    """

    def __init__(self, cfg: MSGDiscriminatorConfig, side: int) -> None:
        super().__init__()
        self.num_out = cfg.features.at_side(side)
        self.combine = None
        if side in cfg.pyramid_sides and side != cfg.resolution:
            self.combine = COMBINE[cfg.combine](self.num_out, cfg.channels)
            self.num_out = self.combine.num_out
        self.std = None
        if cfg.minibatch_std.group_size > 1 and (cfg.minibatch_std_at == "every" or side == 4):
            self.std = cfg.minibatch_std
            self.num_out += self.std.features

    def forward(self, x: Tensor, rgb: Tensor | None) -> Tensor:
        """Features [N, C, H, W], and the level's image where it is connected -> [N, num_out, H, W]."""
        if self.combine is not None:
            x = self.combine(x, rgb)
        if self.std is not None:
            x = torch.cat([x, minibatch_std(x, self.std.group_size, self.std.features)], 1)
        return x


class DiscriminatorBlock(nn.Module):
    """A level above the lowest: its start, convolution, convolution with pooling.

    Args:
        cfg: of the network.
        side: nominal, px.
        conv_down: the second convolution.
        pool: whether 2 x 2 pixels are averaged after it; otherwise it does that itself.
    """

    def __init__(self, cfg: MSGDiscriminatorConfig, side: int, conv_down: nn.Module, pool: bool) -> None:
        super().__init__()
        self.start = LevelStart(cfg, side)
        self.conv = hidden_conv(self.start.num_out, cfg.features.at_side(side), cfg.activation)
        self.conv_down = conv_down
        self.pool = pool

    def forward(self, x: Tensor, rgb: Tensor | None) -> Tensor:
        """Features [N, I, H, W] -> [N, O, H/2, W/2]."""
        x = self.conv_down(self.conv(self.start(x, rgb)))
        return down2(x) if self.pool else x


class DiscriminatorTail(nn.Module):
    """The lowest level, d_critic of equation 14: its start, convolution, two dense layers.

    Table 7's convolution of 4x4 to 1x1 px is the first dense layer: both weigh every value of the grid.
    """

    def __init__(self, cfg: MSGDiscriminatorConfig, out_gain: float) -> None:
        super().__init__()
        maps, hidden = cfg.features.at_side(4), cfg.features.at_side(2)
        self.start = LevelStart(cfg, 4)
        self.conv = hidden_conv(self.start.num_out, maps, cfg.activation)
        self.dense = hidden_dense(maps * math.prod(cfg.grid), hidden, cfg.activation)
        self.out = EqualizedDense(hidden, max(cfg.label_dim, 1), weight_gain=out_gain)

    def forward(self, x: Tensor, rgb: Tensor | None) -> Tensor:
        """Features [N, C, h, w] -> outputs [N, K], float32."""
        x = self.conv(self.start(x, rgb))
        return self.out(self.dense(x.float().flatten(1)))


class Discriminator(DiscriminatorTrunk):
    """A pyramid of images to one logit (section 2, Fig. 2). The base of the two discriminators.

    Args:
        cfg: its configuration.
        from_rgb: the first layer, of the full resolution.
        conv_down: (channels in, channels out) -> the second convolution of a block.
        pool: as in `DiscriminatorBlock`.
        out_gain: of the last layer's weights.
    """

    def __init__(
        self,
        cfg: MSGDiscriminatorConfig,
        from_rgb: nn.Module,
        conv_down: Callable[[int, int], nn.Module],
        pool: bool,
        out_gain: float,
    ) -> None:
        super().__init__()
        self.cfg = cfg
        self.from_rgb = from_rgb
        maps = {side: cfg.features.at_side(side) for side in cfg.sides}
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(cfg, side, conv_down(maps[side], maps[side // 2]), pool)
            for side in cfg.sides[1:]
        )
        self.tail = DiscriminatorTail(cfg, out_gain)
        self.prefer_channels_last()

    def forward(
        self, images: Images, label: Tensor | None = None, growth: GrowthState | None = None
    ) -> Tensor:
        """Images of the connected levels, low to high -> logits [N].

        Args:
            images: a tuple of [N, C, H, W] in [-1, 1], of all levels in `cfg.pyramid_sides`.
            label: [N, K]; picks its output where the network has one for each class.
            growth: None.
        """
        refuse_growth(growth)
        rgb = dict(zip(self.cfg.pyramid_sides, map(self.enter, self._checked(images)), strict=True))
        x = self.from_rgb(rgb[self.cfg.resolution])
        for side, block in zip(self.cfg.sides[:0:-1], reversed(self.blocks), strict=True):
            x = block(x, rgb.get(side))
        return stylegan.select_logit(self.tail(x, rgb.get(4)), label, self.cfg.label_dim)

    def from_image(self) -> list[nn.Module]:
        """fromRGB, blocks from the highest resolution on, the lowest level."""
        return [self.from_rgb, *reversed(self.blocks), self.tail]

    def _checked(self, images: Images) -> Pyramid:
        """The pyramid, when it is one of the levels that this network is connected at."""
        expected = [(self.cfg.channels, *self.cfg.size_at(side)) for side in self.cfg.pyramid_sides]
        given = (images,) if isinstance(images, Tensor) else tuple(images)
        batches = {len(x) for x in given}
        if isinstance(images, Tensor) or [tuple(x.shape[1:]) for x in given] != expected or len(batches) > 1:
            raise UserError(
                f"images: {'one tensor' if isinstance(images, Tensor) else 'a pyramid'} of "
                f"{', '.join(str(list(x.shape)) for x in given)} given; this discriminator takes a pyramid "
                f"(a tuple) of {', '.join(f'[N, {c}, {h}, {w}]' for c, h, w in expected)}"
            )
        return images


class ProGANPyramidDiscriminator(Discriminator):
    """MSG-ProGAN's discriminator (Table 7)."""

    def __init__(self, cfg: config.MSGProGANDiscriminator) -> None:
        act, pool = cfg.from_rgb_activation, cfg.pooling == "after"
        linear_gain = ROOT2 if cfg.gain == "sqrt2" else 1.0
        from_rgb = EqualizedConv(
            cfg.channels,
            cfg.features.at_side(cfg.resolution),
            1,
            ConvSettings(act, gain=1.0),
            weight_gain=linear_gain if act == "linear" else ROOT2,
        )

        def conv_down(num_in: int, num_out: int) -> nn.Module:
            return hidden_conv(num_in, num_out, cfg.activation, "none" if pool else "down")

        super().__init__(cfg, from_rgb, conv_down, pool, linear_gain)


class StyleGANPyramidDiscriminator(Discriminator):
    """MSG-StyleGAN's discriminator: Table 7 with StyleGAN's layers (appendix 6.1, the authors' code)."""

    def __init__(self, cfg: config.MSGStyleGANDiscriminator) -> None:
        from_rgb = hidden_conv(cfg.channels, cfg.features.at_side(cfg.resolution), cfg.activation, kernel=1)

        def conv_down(num_in: int, num_out: int) -> nn.Module:
            return stylegan.BlurredDown(num_in, num_out, cfg.activation, cfg.blur, cfg.blur_order)

        super().__init__(cfg, from_rgb, conv_down, pool=False, out_gain=1.0)
