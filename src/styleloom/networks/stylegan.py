"""StyleGAN (Karras et al. 2019): adaptive instance normalization, noise inputs, and the generators of its
ablation (Table 1, configurations B to F).

The reader will find equation 1 in `adaptive_instance_norm`, what follows every convolution (Fig. 1b) in
`Epilogue`, and the growing networks that configurations B to F share in `SynthesisNetwork` and
`Discriminator`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from styleloom.config import networks as config
from styleloom.errors import UserError
from styleloom.layers.equalized import EqualizedConv, EqualizedDense
from styleloom.layers.growing import active, down2, fade_rgb, up2
from styleloom.layers.mapping import MappingNetwork
from styleloom.layers.noise import NoiseInput
from styleloom.layers.pixel_norm import pixel_norm
from styleloom.networks.assembly import StyleGenerator, SynthesisTrunk, Truncation
from styleloom.networks.progan import BOX, INPUT_GAIN, ROOT2, GrowingDiscriminator, hidden_conv, normalized
from styleloom.ops import upfirdn
from styleloom.ops.bias_act import RULES, add_noise, bias_act
from styleloom.ops.conv2d import conv2d
from styleloom.ops.conv_layer import ConvSettings
from styleloom.ops.instance_norm import instance_norm
from styleloom.types import GrowthState, Images, Noise, NoiseMode

# ---- filters and styles


def blur(x: Tensor, taps: tuple[float, ...]) -> Tensor:
    """Cross-correlate each feature map with the separable `taps`, normalised to sum 1 (appendix C).

    [N, C, H, W] to the same size; zeros beyond the border, which thereby darkens.
    """
    if len(taps) == 1:
        return x
    before, after = (len(taps) - 1) // 2, len(taps) // 2
    kernel = upfirdn.fir_kernel(taps[::-1])  # turned: upfirdn2d convolves
    return upfirdn.upfirdn2d(x, kernel, (1, 1), (1, 1), (before, after, before, after))


def modulate(x: Tensor, style: Tensor) -> Tensor:
    """x (y_s + 1) + y_b: features [N, C, H, W], style [N, 2C] with the scales y_s first.

    The 1 stands for the paper's initial scale of 1, with a bias that starts at 0.
    """
    scale, shift = style[:, :, None, None].chunk(2, 1)
    return torch.addcmul(shift.to(x.dtype), x, (scale + 1).to(x.dtype))


def adaptive_instance_norm(x: Tensor, style: Tensor) -> Tensor:
    """AdaIN(x, y) = y_s (x - mean(x)) / sigma(x) + y_b (equation 1), with `style` as in `modulate`."""
    return modulate(instance_norm(x), style)


NORMALIZATIONS: dict[str, Callable[[Tensor], Tensor]] = {"pixel": normalized, "instance": instance_norm}


class Epilogue(nn.Module):
    """What follows a convolution, the constant or the dense input (Fig. 1b): noise, bias, activation,
    normalization, style.

    Args:
        cfg: the generator.
        side: nominal side of the level, px.
    """

    def __init__(self, cfg: config.StyleGANGenerator, side: int) -> None:
        super().__init__()
        channels = cfg.features.at_side(side)
        self.noise = NoiseInput(cfg.size_at(side), channels) if cfg.noise == "per-channel" else None
        self.bias = nn.Parameter(torch.zeros(channels))
        self.act: config.Activation = cfg.activation
        self.normalization = cfg.normalization
        self.affine = EqualizedDense(cfg.w_dim, 2 * channels) if cfg.styles == "adain" else None

    def forward(self, x: Tensor, w: Tensor, noise: NoiseMode | Tensor) -> Tensor:
        """Features [N, C, H, W], w [N, W] -> [N, C, H, W]."""
        y = x + self.bias.to(x.dtype)[:, None, None]
        scaled = None if self.noise is None else self.noise(x.shape[0], noise)
        if scaled is not None:
            y = add_noise(y, scaled)
        y = RULES[self.act].consume(y)
        for layer in self.normalization:
            y = NORMALIZATIONS[layer](y)
        return y if self.affine is None else modulate(y, self.affine(w))


class SynthesisLayer(Epilogue):
    """A 3x3 convolution, perhaps after upsampling, and its epilogue.

    Args:
        cfg, side: as in `Epilogue`.
        up: whether the features come from the level below.
    """

    def __init__(self, cfg: config.StyleGANGenerator, side: int, up: bool = False) -> None:
        super().__init__(cfg, side)
        self.up, self.taps = up, cfg.blur
        self.blur_first = cfg.blur_order == "paper"
        self.conv = EqualizedConv(
            cfg.features.at_side(side // 2 if up else side),
            cfg.features.at_side(side),
            3,
            ConvSettings(resample="up" if up and not self.blur_first else "none", taps=BOX),
            weight_gain=ROOT2,
            bias=False,
        )

    def forward(self, x: Tensor, w: Tensor, noise: NoiseMode | Tensor) -> Tensor:
        """Features [N, I, H, W], w [N, W] -> [N, O, H, W], or [N, O, 2H, 2W]."""
        if not self.up:
            y = self.conv(x)
        elif self.blur_first:
            y = self.conv(blur(up2(x), self.taps))
        else:
            y = blur(self.conv(x), self.taps)
        return super().forward(y, w, noise)


# ---- generator


class SynthesisInput(nn.Module):
    """The features of the lowest level before their epilogue: a learned constant, or a dense layer."""

    def __init__(self, cfg: config.StyleGANGenerator) -> None:
        super().__init__()
        channels = cfg.features.at_side(4)
        self.size = (channels, *cfg.grid)
        self.const = nn.Parameter(torch.ones(1, *self.size)) if cfg.input == "constant" else None
        self.dense = None
        if self.const is None:
            self.dense = EqualizedDense(cfg.w_dim, math.prod(self.size), weight_gain=INPUT_GAIN, bias=False)

    def forward(self, source: Tensor) -> Tensor:
        """What a dense layer takes, w or z [N, W] -> [N, C, h, w]."""
        if self.const is not None:
            return self.const.expand(source.shape[0], -1, -1, -1)
        assert self.dense is not None
        return self.dense(source).reshape(-1, *self.size)


class SynthesisBlock(nn.Module):
    """The two layers of one resolution; at the lowest the first is the epilogue of the input."""

    def __init__(self, cfg: config.StyleGANGenerator, side: int) -> None:
        super().__init__()
        self.layer0 = Epilogue(cfg, side) if side == 4 else SynthesisLayer(cfg, side, up=True)
        self.layer1 = SynthesisLayer(cfg, side)

    def forward(
        self,
        x: Tensor,
        ws: Sequence[Tensor],
        noises: Sequence[NoiseMode | Tensor],
        enter: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Features of the lower resolution, or the input, to features of this one.

        The epilogue of the input computes in the input's type, before `enter`.
        """
        return self.layer1(enter(self.layer0(x, ws[0], noises[0])), ws[1], noises[1])


class SynthesisNetwork(SynthesisTrunk):
    """g: ws to an image of the active level (Fig. 1b).

    Indices of w and of noise maps: at side 2^r the first layer has 2r-4 and the second 2r-3. With `input` "z"
    (`LatentInputGenerator`) ws have a last slot more, which holds z for the dense input.

    Args:
        cfg: the configuration.
        rgb_sides: nominal sides of the levels that have a toRGB; None for all.
    """

    def __init__(self, cfg: config.StyleGANGenerator, rgb_sides: Sequence[int] | None = None) -> None:
        super().__init__()
        self.cfg = cfg
        self.input = SynthesisInput(cfg)
        self.blocks = nn.ModuleList(SynthesisBlock(cfg, side) for side in cfg.sides)
        self.to_rgb = nn.ModuleDict(
            {
                str(side): EqualizedConv(cfg.features.at_side(side), cfg.channels, 1)
                for side in (cfg.sides if rgb_sides is None else rgb_sides)
            }
        )
        with_noise = cfg.sides if cfg.noise == "per-channel" else ()
        self.noise_sizes = tuple(cfg.size_at(side) for side in with_noise for _ in range(2))
        self.num_noises = len(self.noise_sizes)
        self.prefer_channels_last()

    def features(self, ws: Tensor, noise: Noise, top_level: int) -> list[Tensor]:
        """ws [N, L, W] -> features [N, C, H, W] of levels 0 to `top_level`; no higher one runs."""
        if not isinstance(noise, str) and len(noise) != self.num_noises:
            raise UserError(f"noise: {len(noise)} maps given, this network takes {self.num_noises}")
        layers = ws.unbind(1)
        # without noise inputs `noise` has no maps; layers take a mode and ignore it
        noises = [noise] * len(layers) if isinstance(noise, str) else list(noise) or ["none"] * len(layers)
        # The constant stays float32 until instance normalization has taken its mean away: it begins as 1, and
        # for hundreds of steps differs from 1 by about a learning rate, which bfloat16 would round off.
        x = self.channels_last(self.input(layers[-1 if self.cfg.input == "z" else 0]))
        found = []
        for level in range(top_level + 1):
            here = slice(2 * level, 2 * level + 2)
            x = self.blocks[level](x, layers[here], noises[here], self.enter)
            found.append(x)
        return found

    def style_weights(self) -> list[Tensor]:
        """Scales and biases of every layer's style, [2C, W]; row 0 has those of a dense input as well."""
        none = torch.empty(0, self.cfg.w_dim, device=next(self.parameters()).device)
        blocks = [block for block in self.blocks if isinstance(block, SynthesisBlock)]
        layers = [layer for block in blocks for layer in (block.layer0, block.layer1)]
        weights = [none if layer.affine is None else layer.affine.weight for layer in layers]
        if self.cfg.input == "z":
            weights.append(none)
        elif self.input.dense is not None:
            weights[0] = torch.cat([self.input.dense.weight, weights[0]])
        return weights

    def rgb(self, side: int, x: Tensor) -> Tensor:
        """Features of the level whose nominal side is `side` -> image [N, C, H, W], float32."""
        return self.to_rgb[str(side)](x).float()

    def forward(self, ws: Tensor, growth: GrowthState | None, noise: Noise) -> Images:
        """ws [N, L, W] -> images of the active level, in its own resolution: [N, C, H, W]."""
        sides = self.cfg.sides
        growth = active(growth, len(sides))
        features = self.features(ws, noise, growth.level)
        image = self.rgb(sides[growth.level], features[-1])
        return fade_rgb(lambda: self.rgb(sides[growth.level - 1], features[-2]), image, growth.alpha)


class LatentInputGenerator(StyleGenerator):
    """Configuration C as the paper words it: the last slot of ws holds the normalised z, for the input layer.

    It is no style: truncation leaves it as it is.
    """

    def mapping(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z [N, Z], label [N, K] -> ws [N, L, W]: w for all layers, then z."""
        styles = super().mapping(z, label)[:, :-1]
        latent = pixel_norm(z) if self.mapping_network.config.normalize_z else z
        return torch.cat([styles, latent[:, None]], 1)

    def truncate(self, ws: Tensor, psi: Truncation, layers: int | None = None) -> Tensor:
        """As in `StyleGenerator`; the last slot stays, whatever `psi` is given for it."""
        styles = super().truncate(ws, psi, layers)[:, :-1]
        return torch.cat([styles, ws[:, -1:]], 1)


def build_generator(cfg: config.StyleGANGenerator) -> StyleGenerator:
    """The generator of `cfg`, with fresh weights from the global random generator."""
    return style_generator(cfg, SynthesisNetwork(cfg))


def style_generator(cfg: config.StyleGANGenerator, synthesis: SynthesisTrunk) -> StyleGenerator:
    """`synthesis` with the mapping network of `cfg`."""
    mapping = MappingNetwork(
        cfg.mapping, cfg.z_dim, cfg.w_dim, cfg.label_dim, weight_gain=ROOT2, act_gain=1.0
    )
    shell = LatentInputGenerator if cfg.input == "z" else StyleGenerator
    return shell(mapping, synthesis, cfg.resolution, cfg.num_ws, cfg.w_dim, cfg.w_avg_beta)


# ---- discriminator


class BlurredDown(nn.Module):
    """A 3x3 convolution to half the resolution, with a low-pass filter: [N, I, H, W] -> [N, O, H/2, W/2].

    Pooling precedes bias and activation, as in ProGAN's code.

    Args:
        num_in, num_out: channels.
        act: activation.
        taps: of the filter.
        order: "code" filters before the convolution, "paper" between convolution and pooling.
    """

    def __init__(
        self,
        num_in: int,
        num_out: int,
        act: config.Activation,
        taps: tuple[float, ...],
        order: Literal["code", "paper"],
    ) -> None:
        super().__init__()
        self.taps = taps
        self.blur_first = order == "code"
        self.conv = hidden_conv(num_in, num_out, act, "down")

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, I, H, W] -> [N, O, H/2, W/2]."""
        if self.blur_first:
            return self.conv(blur(x, self.taps))
        y = conv2d(x, (self.conv.weight * self.conv.scale).to(x.dtype), padding=1)
        settings = self.conv.settings
        return bias_act(down2(blur(y, self.taps)), self.conv.bias, settings.act, gain=settings.gain)


class DiscriminatorBlock(nn.Module):
    """The layers of one resolution above the lowest: convolution, down-convolution."""

    def __init__(self, cfg: config.StyleGANDiscriminator, side: int) -> None:
        super().__init__()
        here, below = cfg.features.at_side(side), cfg.features.at_side(side // 2)
        self.conv = hidden_conv(here, here, cfg.activation)
        self.conv_down = BlurredDown(here, below, cfg.activation, cfg.blur, cfg.blur_order)

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, I, H, W] -> [N, O, H/2, W/2]."""
        return self.conv_down(self.conv(x))


def checked_label(label: Tensor | None, label_dim: int) -> Tensor:
    """`label` [N, K], when it is of so many classes. Raises UserError otherwise."""
    if label is None or label.shape[1] != label_dim:
        raise UserError(f"label: this discriminator needs labels of {label_dim} classes")
    return label


def select_logit(outputs: Tensor, label: Tensor | None, label_dim: int) -> Tensor:
    """Of outputs [N, K], the one of the label's class: [N]; without labels there is a single one."""
    return (outputs * checked_label(label, label_dim)).sum(1) if label_dim else outputs[:, 0]


class Discriminator(GrowingDiscriminator):
    """Images of the active level to one logit each: ProGAN's discriminator with low-pass filters."""

    def __init__(self, cfg: config.StyleGANDiscriminator) -> None:
        blocks = (DiscriminatorBlock(cfg, side) for side in cfg.sides[1:])
        super().__init__(cfg, blocks, max(cfg.label_dim, 1))
        self.cfg = cfg

    def forward(
        self, images: Images, label: Tensor | None = None, growth: GrowthState | None = None
    ) -> Tensor:
        """Images [N, C, H, W] of the active level in [-1, 1], label [N, K] -> logits [N]."""
        return select_logit(self.outputs(images, growth), label, self.cfg.label_dim)
