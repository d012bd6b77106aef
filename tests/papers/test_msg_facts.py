"""Numbers printed in the paper on MSG-GAN (Karnewar and Wang 2020), or that follow from what is printed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from every import every
from styleloom.config.networks import (
    MSGProGANDiscriminator,
    MSGProGANGenerator,
    MSGStyleGANDiscriminator,
    MSGStyleGANGenerator,
)
from styleloom.layers.equalized import EqualizedConv
from styleloom.networks.build import build_discriminator, build_generator, count_parameters
from styleloom.networks.msg import COMBINE, Combine

GENERATORS: dict[str, Callable[..., Any]] = {"ProGAN": MSGProGANGenerator, "StyleGAN": MSGStyleGANGenerator}
DISCRIMINATORS: dict[str, Callable[..., Any]] = {
    "ProGAN": MSGProGANDiscriminator,
    "StyleGAN": MSGStyleGANDiscriminator,
}

Shape = tuple[int, ...]


@cache
def generator(base: str, resolution: int) -> Any:
    """On the meta device: shapes alone, no memory, no time."""
    with torch.device("meta"):
        return build_generator(GENERATORS[base](resolution=resolution))


@cache
def discriminator(base: str, resolution: int, combine: str) -> Any:
    """On the meta device."""
    with torch.device("meta"):
        return build_discriminator(DISCRIMINATORS[base](resolution=resolution, combine=combine))


def shapes(network: nn.Module, *inputs: Any) -> dict[str, Shape]:
    """Module by module: the shape of its result without the batch, and of what is flattened without 1 x 1."""
    found: dict[str, Shape] = {}
    handles = []
    for name, module in network.named_modules():

        def record(_m: nn.Module, _args: Any, out: Any, name: str = name) -> None:
            if isinstance(out, Tensor):
                found[name] = tuple(out.shape[1:])

        handles.append(module.register_forward_hook(record))
    network(*inputs)
    for handle in handles:
        handle.remove()
    return found


# ---- number of parameters

# Sums of the layers of Tables 6 and 7.
G_COUNTS = {
    ("ProGAN", 1024): 23_079_115,
    ("ProGAN", 256): 23_044_309,
    ("ProGAN", 128): 22_933_394,
    ("ProGAN", 32): 20_719_628,
    ("StyleGAN", 1024): 26_219_627,
    ("StyleGAN", 256): 26_086_229,
}
D_COUNTS = {
    ("simple", 1024): 23_163_681,
    ("simple", 256): 23_126_145,
    ("simple", 128): 23_011_585,
    ("simple", 32): 20_775_937,
    ("lin_cat", 1024): 28_210_753,
    ("lin_cat", 256): 28_152_577,
    ("cat_lin", 1024): 24_238_625,
    ("cat_lin", 256): 24_198_273,
}


@every(("base", "resolution"), G_COUNTS)
def test_parameters_of_generators(base: str, resolution: int) -> None:
    assert count_parameters(generator(base, resolution)) == G_COUNTS[base, resolution]


@every("base", DISCRIMINATORS)
@every(("combine", "resolution"), D_COUNTS)
def test_parameters_of_discriminators(base: str, combine: str, resolution: int) -> None:
    """Both have the same layers (appendix 6.1)."""
    assert count_parameters(discriminator(base, resolution, combine)) == D_COUNTS[combine, resolution]


# ---- Table 6

# side: channels of both convolutions
TABLE_6 = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64, 512: 32, 1024: 16}


def test_table_6() -> None:
    """Latent Vector 512, Norm; Conv 4x4, Conv 3x3; Upsample, Conv 3x3, Conv 3x3; and so on; 1x1 to RGB."""
    g = generator("ProGAN", 1024)
    found = shapes(g, torch.zeros(2, 512, device="meta"))
    found = {name.removeprefix("synthesis_network."): shape for name, shape in found.items()}
    assert found["mapping_network"] == (512,)
    assert g.mapping_network.config.normalize_z
    for i, (side, maps) in enumerate(TABLE_6.items()):
        first = "input" if side == 4 else "conv_up"
        assert found[f"blocks.{i}.{first}"] == found[f"blocks.{i}.conv"] == (maps, side, side)
        assert found[f"to_rgb.{side}"] == (3, side, side)
    layers = len(TABLE_6)
    assert len(g.synthesis_network.blocks) == len(g.synthesis_network.to_rgb) == layers
    kernels = sorted(p.shape[2] for n, p in g.named_parameters() if n.endswith("weight") and p.ndim == 4)
    assert kernels == [1] * layers + [3] * (2 * layers - 1)  # all but the first, a dense layer
    acts = {name: m.settings.act for name, m in g.named_modules() if hasattr(m, "settings")}
    assert {act for name, act in acts.items() if "to_rgb" in name} == {"linear"}
    assert {act for name, act in acts.items() if "conv" in name} == {"lrelu"}


@pytest.mark.parametrize("resolution", [32, 128, 256])
def test_models_1_to_3_are_the_first_blocks(resolution: int) -> None:
    found = {name: p.shape for name, p in generator("ProGAN", resolution).named_parameters()}
    full = {name: p.shape for name, p in generator("ProGAN", 1024).named_parameters()}
    assert found.items() <= full.items()
    assert (
        len(generator("ProGAN", resolution).synthesis_network.blocks) == {32: 4, 128: 6, 256: 7}[resolution]
    )


@pytest.mark.parametrize("base", GENERATORS)
def test_an_image_of_every_level(base: str) -> None:
    g = generator(base, 1024)
    images = g(torch.zeros(2, 512, device="meta"), noise="none")
    assert [tuple(x.shape) for x in images] == [(2, 3, side, side) for side in TABLE_6]


# ---- Table 7

# side: what begins the level (FromRGB or phi_simple), MinBatchStd, the two convolutions
TABLE_7 = {
    1024: (16, 17, 16, 32),
    512: (35, 36, 32, 64),
    256: (67, 68, 64, 128),
    128: (131, 132, 128, 256),
    64: (259, 260, 256, 512),
    32: (515, 516, 512, 512),
    16: (515, 516, 512, 512),
    8: (515, 516, 512, 512),
}
LOWEST = (515, 516, 512, 512, 1)
"""phi_simple, MinBatchStd, Conv 3x3, Conv 4x4 (to 1x1 px), Fully Connected."""


def pyramid(resolution: int) -> tuple[Tensor, ...]:
    """Images of every level."""
    sides = [side for side in TABLE_6 if side <= resolution]
    return tuple(torch.zeros(4, 3, side, side, device="meta") for side in sides)


def test_table_7() -> None:
    d = discriminator("ProGAN", 1024, "simple")
    found = shapes(d, pyramid(1024))
    for i, (side, (start, std, first, second)) in enumerate(reversed(TABLE_7.items())):
        block = f"blocks.{i}"
        assert found["from_rgb" if side == 1024 else f"{block}.start.combine"] == (start, side, side)
        assert found[f"{block}.start"] == (std, side, side)
        assert found[f"{block}.conv"] == (first, side, side)
        assert found[f"{block}.conv_down"] == (second, side, side)  # activated, then pooled
        assert found[block] == (second, side // 2, side // 2)
    assert len(d.blocks) == len(TABLE_7)
    combined, std, conv, whole, logit = LOWEST
    assert found["tail.start.combine"] == (combined, 4, 4)
    assert found["tail.start"] == (std, 4, 4)
    assert found["tail.conv"] == (conv, 4, 4)
    assert found["tail.dense"] == (whole,)
    assert d.tail.dense.weight.shape == (whole, conv * 4 * 4)
    assert found["tail.out"] == (logit,)
    acts = {name: m.settings.act for name, m in d.named_modules() if hasattr(m, "settings")}
    assert {name for name, act in acts.items() if act == "linear"} == {"from_rgb", "tail.out"}
    assert set(acts.values()) == {"linear", "lrelu"}


@pytest.mark.parametrize("resolution", [32, 128, 256])
def test_models_3_to_1_are_the_last_blocks(resolution: int) -> None:
    """Model 3 enters at 256 px, model 2 at 128, model 1 at 32: what is below is the same."""
    full = shapes(discriminator("ProGAN", 1024, "simple"), pyramid(1024))
    found = shapes(discriminator("ProGAN", resolution, "simple"), pyramid(resolution))
    assert found.pop("from_rgb") == (TABLE_6[resolution], resolution, resolution)
    top = f"blocks.{resolution.bit_length() - 4}.start"
    assert found.pop(top) == (TABLE_6[resolution] + 1, resolution, resolution)
    assert found.items() <= full.items()


# ---- combine functions (section 2, equations 10 to 12; appendix 6.1)


def test_channels_of_block_3() -> None:
    """256 px: 64 features and RGB. lin_cat: 32 and 64 are 96; cat_lin: 64."""
    assert {name: make(64, 3).num_out for name, make in COMBINE.items()} == {
        "simple": 67,
        "lin_cat": 96,
        "cat_lin": 64,
    }
    of_rgb = COMBINE["lin_cat"](64, 3).of_rgb
    assert of_rgb is not None
    assert of_rgb(torch.zeros(1, 3, 2, 2)).shape[1] == 32


def linear(layer: nn.Module | None, x: Tensor) -> Tensor:
    """A 1x1 convolution of gain sqrt(2) under the equalized learning rate, without activation."""
    assert isinstance(layer, EqualizedConv)
    y = torch.einsum("oi,nihw->nohw", layer.weight[:, :, 0, 0], x) * (2 / x.shape[1]) ** 0.5
    return y if layer.bias is None else y + layer.bias[:, None, None]


EQUATIONS: dict[str, Callable[[Combine, Tensor, Tensor], Tensor]] = {
    "simple": lambda c, x, rgb: torch.cat([x, rgb], 1),
    "lin_cat": lambda c, x, rgb: torch.cat([x, linear(c.of_rgb, rgb)], 1),
    "cat_lin": lambda c, x, rgb: linear(c.of_both, torch.cat([x, rgb], 1)),
}
BIASES = {"simple": 0, "lin_cat": 1, "cat_lin": 0}


@pytest.mark.parametrize("name", EQUATIONS)
def test_combine_functions(name: str) -> None:
    assert set(EQUATIONS) == set(COMBINE)
    x, rgb = torch.randn(2, 6, 4, 5), torch.randn(2, 3, 4, 5)
    combine = COMBINE[name](6, 3)
    biases = [p for n, p in combine.named_parameters() if n.endswith("bias")]
    assert len(biases) == BIASES[name]
    for bias in biases:
        nn.init.normal_(bias)
    out = combine(x, rgb)
    assert out.shape[1] == combine.num_out
    torch.testing.assert_close(out, EQUATIONS[name](combine, x, rgb))


# ---- levels of connection (Table 4)


@pytest.mark.parametrize(
    ("connections", "sides"),
    [
        ("none", (1024,)),
        ("coarse", (4, 8, 1024)),
        ("middle", (16, 32, 1024)),
        ("fine", (64, 128, 256, 512, 1024)),
        ("all", tuple(TABLE_6)),
    ],
)
@pytest.mark.parametrize("base", GENERATORS)
def test_levels_of_connection(base: str, connections: str, sides: Shape) -> None:
    """What reaches the discriminator, and the heads that there are for it."""
    with torch.device("meta"):
        g: Any = build_generator(GENERATORS[base](connections=connections))
        d: Any = build_discriminator(DISCRIMINATORS[base](connections=connections))
    assert tuple(map(int, g.synthesis_network.to_rgb)) == sides
    levels = dict(zip(TABLE_6, [d.tail, *d.blocks], strict=True))
    joined = tuple(side for side, level in levels.items() if level.start.combine is not None)
    assert joined == sides[:-1]
    assert g.synthesis_network.pyramid_sides == d.cfg.pyramid_sides == sides
