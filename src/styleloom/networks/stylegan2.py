"""StyleGAN2 (Karras et al. 2020): weight demodulation and the architectures of Fig. 7.

The reader will find equations 1-3 in `ops.modulated_conv`, the layers of Fig. 2c and d in `StyledConv`, how
features meet RGB in `SynthesisNetwork.forward` and `Discriminator.forward`: the three ways of Fig. 7, and the
progressive growing of configurations B to D.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from styleloom.config import networks as config
from styleloom.errors import UserError, quoted
from styleloom.layers.equalized import EqualizedConv, EqualizedDense
from styleloom.layers.growing import active, fade_rgb, grown_features
from styleloom.layers.mapping import MappingNetwork
from styleloom.layers.minibatch_std import minibatch_std
from styleloom.layers.noise import NoiseInput
from styleloom.networks.assembly import DiscriminatorTrunk, StyleGenerator, SynthesisTrunk, one_resolution
from styleloom.networks.stylegan import checked_label, select_logit
from styleloom.ops.bias_act import ActivationSettings
from styleloom.ops.conv_layer import ConvSettings
from styleloom.ops.modulated_conv import ModulatedSettings, modulated_layer
from styleloom.ops.upfirdn import downsample2d, upsample2d
from styleloom.types import GrowthState, Images, Noise, NoiseMode

RESNET_GAIN = math.sqrt(0.5)
"""Both branches of a residual block add up at unit variance (section 4.1)."""

RGB_AT_EVERY_LEVEL: tuple[config.Architecture, ...] = ("skip", "growing")
"""Architectures with toRGB and fromRGB at every level; the others have them at full resolution alone."""


def meets_rgb(cfg: config.StyleGAN2Generator | config.StyleGAN2Discriminator, side: int) -> bool:
    """Whether the level of `side` has a toRGB or fromRGB."""
    return side == cfg.resolution or cfg.architecture in RGB_AT_EVERY_LEVEL


def resolve_growth(
    cfg: config.StyleGAN2Generator | config.StyleGAN2Discriminator, growth: GrowthState | None
) -> GrowthState:
    """Where a network stands: at full resolution, unless it grows. Raises UserError where it does not."""
    if growth is not None and not cfg.grows:
        raise UserError(
            f"growth: {growth} given to a {cfg.role} of architecture {quoted(cfg.architecture)}; "
            f"it has one resolution, 'growing' is the architecture that grows"
        )
    return active(growth, len(cfg.sides))


class StyledConv(nn.Module):
    """Modulated convolution, normalization, noise, bias, leaky ReLU (Fig. 2c and d); or toRGB, without noise,
    normalization and activation.

    Args:
        num_in, num_out, w_dim: channels and style size.
        kernel: side of the kernel.
        settings: normalization, activation, gain, clamp, and the change of resolution.
        noise_size: height and width of the noise map, px; None for no noise input.
    """

    def __init__(
        self,
        num_in: int,
        num_out: int,
        w_dim: int,
        kernel: int,
        settings: ModulatedSettings,
        noise_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.affine = EqualizedDense(w_dim, num_in)
        self.weight = nn.Parameter(torch.randn(num_out, num_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(num_out))
        self.noise = NoiseInput(noise_size) if noise_size else None
        self.scale = 1 / math.sqrt(num_in * kernel**2)
        self.settings = settings

    def forward(self, x: Tensor, w: Tensor, noise: NoiseMode | Tensor = "none") -> Tensor:
        """x [N, I, H, W], w [N, W] -> [N, O, H', W']."""
        style = self.affine(w) + 1
        maps = None if self.noise is None else self.noise(x.shape[0], noise)
        return modulated_layer(x, self.weight, style, self.bias, self.scale, self.settings, maps)


class SynthesisBlock(nn.Module):
    """The layers of one resolution: up-convolution (but at 4x4), convolution, perhaps toRGB and skip."""

    def __init__(self, cfg: config.StyleGAN2Generator, side: int) -> None:
        super().__init__()
        num_in, num_out = cfg.features.at_side(side // 2), cfg.features.at_side(side)
        size = cfg.size_at(side)
        same = ModulatedSettings(cfg.activation, clamp=cfg.clamp, normalization=cfg.normalization)
        up = replace(same, resample="up", taps=cfg.resample_filter)
        self.conv_up = None
        self.skip = None
        if side > 4:
            self.conv_up = StyledConv(num_in, num_out, cfg.w_dim, 3, up, size)
            if cfg.architecture == "resnet":
                shortcut = ConvSettings(resample="up", taps=cfg.resample_filter).times(RESNET_GAIN)
                self.skip = EqualizedConv(num_in, num_out, 1, shortcut, bias=False)
                same = same.times(RESNET_GAIN)
        self.conv = StyledConv(num_out, num_out, cfg.w_dim, 3, same, size)
        self.to_rgb = None
        if meets_rgb(cfg, side):
            rgb = ModulatedSettings(clamp=cfg.clamp, normalization="none")
            self.to_rgb = StyledConv(num_out, cfg.channels, cfg.w_dim, 1, rgb)

    def forward(self, x: Tensor, ws: Sequence[Tensor], noises: Sequence[NoiseMode | Tensor]) -> Tensor:
        """Features of the lower resolution to features of this one."""
        if self.conv_up is None:
            return self.conv(x, ws[0], noises[0])
        if self.skip is None:
            return self.conv(self.conv_up(x, ws[0], noises[0]), ws[1], noises[1])
        y = self.skip(x)
        return self.conv(self.conv_up(x, ws[0], noises[0]), ws[1], noises[1]) + y


class SynthesisNetwork(SynthesisTrunk):
    """g: ws to an image, from a learned constant (Fig. 2d and 7).

    Layer indices of w: the 4x4 convolution has 0; at side 2^r the up-convolution has 2r-5, the convolution
    2r-4 and toRGB 2r-3, which the next block's up-convolution shares.
    """

    def __init__(self, cfg: config.StyleGAN2Generator) -> None:
        super().__init__()
        self.cfg = cfg
        self.const = nn.Parameter(torch.randn(1, cfg.features.at_side(4), *cfg.grid))
        self.blocks = nn.ModuleList(SynthesisBlock(cfg, side) for side in cfg.sides)
        self.noise_sizes = tuple(
            cfg.size_at(side) for side in cfg.sides for _ in range(1 if side == 4 else 2)
        )
        self.num_noises = len(self.noise_sizes)
        self.prefer_channels_last()

    def forward(self, ws: Tensor, growth: GrowthState | None, noise: Noise) -> Images:
        """ws [N, L, W] -> images [N, C, H, W] of the active resolution: full but in "growing"."""
        growth = resolve_growth(self.cfg, growth)
        noises = [noise for _ in range(self.num_noises)] if isinstance(noise, str) else list(noise)
        if len(noises) != self.num_noises:
            raise UserError(f"noise: {len(noises)} maps given, this network takes {self.num_noises}")
        layers = ws.unbind(1)
        # A growing network shows its active level and, until that has faded in, the one below.
        shown = growth.level - int(growth.alpha < 1) if self.cfg.grows else 0
        x = self.enter(self.const.expand(ws.shape[0], -1, -1, -1))
        image: Tensor | None = None
        for level in range(growth.level + 1):
            block = self.blocks[level]
            assert isinstance(block, SynthesisBlock)
            own = slice(max(2 * level - 1, 0), 2 * level + 1)
            x = block(x, layers[own], noises[own])
            if block.to_rgb is not None and level >= shown:
                rgb = block.to_rgb(x, layers[2 * level + 1]).float()
                image = rgb if image is None else self._add_level(image, rgb, growth.alpha)
        assert image is not None
        return image

    def style_weights(self) -> list[Tensor]:
        """Those of every convolution's style, [I, W], and of the last toRGB's, which has its own row."""
        blocks = [block for block in self.blocks if isinstance(block, SynthesisBlock)]
        layers = [layer for block in blocks for layer in (block.conv_up, block.conv)]
        return [layer.affine.weight for layer in (*layers, blocks[-1].to_rgb) if layer is not None]

    def _add_level(self, image: Tensor, rgb: Tensor, alpha: float) -> Tensor:
        """The image of the levels below, [N, C, H/2, W/2], and the RGB of this one, [N, C, H, W]."""
        if self.cfg.grows:
            return fade_rgb(lambda: image, rgb, alpha)
        return upsample2d(image, self.cfg.resample_filter) + rgb


class DiscriminatorBlock(nn.Module):
    """The layers of one resolution above 4x4: convolution, down-convolution, perhaps fromRGB and skip."""

    def __init__(self, cfg: config.StyleGAN2Discriminator, side: int) -> None:
        super().__init__()
        here, below = cfg.features.at_side(side), cfg.features.at_side(side // 2)
        same = ConvSettings(cfg.activation, clamp=cfg.clamp)
        down = replace(same, resample="down", taps=cfg.resample_filter)
        resnet = cfg.architecture == "resnet"
        self.from_rgb = None
        if meets_rgb(cfg, side):
            self.from_rgb = EqualizedConv(cfg.channels, here, 1, same)
        self.conv = EqualizedConv(here, here, 3, same)
        self.conv_down = EqualizedConv(here, below, 3, down.times(RESNET_GAIN) if resnet else down)
        self.skip = None
        if resnet:
            shortcut = ConvSettings(resample="down", taps=cfg.resample_filter).times(RESNET_GAIN)
            self.skip = EqualizedConv(here, below, 1, shortcut, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, I, H, W] -> [N, O, H/2, W/2]."""
        if self.skip is None:
            return self.conv_down(self.conv(x))
        y = self.skip(x)
        return self.conv_down(self.conv(x)) + y


class DiscriminatorTail(nn.Module):
    """4x4: minibatch standard deviation, convolution, two dense layers."""

    def __init__(self, cfg: config.StyleGAN2Discriminator) -> None:
        super().__init__()
        self.std = cfg.minibatch_std
        maps, hidden = cfg.features.at_side(4), cfg.features.at_side(2)
        extra = self.std.features if self.std.group_size > 1 else 0
        self.from_rgb = None
        if meets_rgb(cfg, 4):
            self.from_rgb = EqualizedConv(cfg.channels, maps, 1, ConvSettings(cfg.activation))
        self.conv = EqualizedConv(maps + extra, maps, 3, ConvSettings(cfg.activation, clamp=cfg.clamp))
        pixels = cfg.grid[0] * cfg.grid[1]
        self.dense = EqualizedDense(maps * pixels, hidden, ActivationSettings(cfg.activation))
        selected = max(cfg.label_dim, 1)
        self.out = EqualizedDense(hidden, cfg.projection.width if cfg.projects else selected)

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, C, 4, 4] -> outputs [N, K], float32."""
        if self.std.group_size > 1:
            x = torch.cat([x, minibatch_std(x, self.std.group_size, self.std.features)], 1)
        x = self.conv(x)
        return self.out(self.dense(x.float().flatten(1)))


class Discriminator(DiscriminatorTrunk):
    """Images to one logit each (Fig. 7, lower half)."""

    def __init__(self, cfg: config.StyleGAN2Discriminator) -> None:
        super().__init__()
        self.cfg = cfg
        self.blocks = nn.ModuleList(DiscriminatorBlock(cfg, side) for side in cfg.sides[:0:-1])
        self.tail = DiscriminatorTail(cfg)
        self.projection = None
        if cfg.projects:
            self.projection = MappingNetwork(cfg.projection, 0, cfg.projection.width, cfg.label_dim)
        self.prefer_channels_last()

    def forward(
        self, images: Images, label: Tensor | None = None, growth: GrowthState | None = None
    ) -> Tensor:
        """Images [N, C, H, W] in [-1, 1] of the active resolution, label [N, K] -> logits [N]."""
        growth = resolve_growth(self.cfg, growth)
        images = one_resolution(images, self.cfg, growth.level)
        x = self._grown(images, growth) if self.cfg.grows else self._features(images)
        return self._select(self.tail(x), label)

    def from_image(self) -> list[nn.Module]:
        """Blocks from the highest resolution on, then the lowest level."""
        return [*self.blocks, self.tail]

    def lower_from_rgb(self) -> list[nn.Module]:
        """Those of all levels but the highest, where the network grows."""
        found = [block.from_rgb for block in self.blocks if isinstance(block, DiscriminatorBlock)]
        lower = [*found[1:], self.tail.from_rgb] if self.cfg.grows else []
        return [layer for layer in lower if layer is not None]

    def _features(self, images: Tensor) -> Tensor:
        """Fig. 7: images of full resolution to features of the lowest level."""
        skip = self.cfg.architecture == "skip"
        y = images
        x: Tensor | None = None
        for block in self.blocks:
            assert isinstance(block, DiscriminatorBlock)
            if block.from_rgb is not None:
                t = block.from_rgb(self.enter(y))
                x = t if x is None else x + t
            assert x is not None
            x = block(x)
            if skip:
                y = downsample2d(y, self.cfg.resample_filter)
        assert x is not None
        return x if self.tail.from_rgb is None else x + self.tail.from_rgb(self.enter(y))

    def _grown(self, images: Tensor, growth: GrowthState) -> Tensor:
        """Configurations B to D: images of the active level to features of the lowest."""
        levels = [self.tail, *reversed(self.blocks)]
        from_rgb = [lambda y, layer=level.from_rgb: layer(self.enter(y)) for level in levels]
        return grown_features(images, growth, from_rgb, levels[1:])

    def _select(self, outputs: Tensor, label: Tensor | None) -> Tensor:
        """One logit per image: the label's output, or its projection, as the authors' codes select it."""
        if self.projection is None:
            return select_logit(outputs, label, self.cfg.label_dim)
        direction = self.projection(None, checked_label(label, self.cfg.label_dim))
        return (outputs * direction).sum(1) / math.sqrt(direction.shape[1])


def build_generator(cfg: config.StyleGAN2Generator) -> StyleGenerator:
    """The generator of `cfg`, with fresh weights from the global random generator."""
    mapping = MappingNetwork(cfg.mapping, cfg.z_dim, cfg.w_dim, cfg.label_dim)
    synthesis = SynthesisNetwork(cfg)
    return StyleGenerator(mapping, synthesis, cfg.resolution, cfg.num_ws, cfg.w_dim, cfg.w_avg_beta)
