"""The importers of MSG-GAN's codes: keyword arguments, layouts, and what they say otherwise."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from every import every
from styleloom.config.networks import (
    FeatureMaps,
    MinibatchStd,
    MSGProGANDiscriminator,
    MSGProGANGenerator,
    MSGStyleGANDiscriminator,
    MSGStyleGANGenerator,
)
from styleloom.errors import UserError
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.weights import bmsg, msg_tf, stylegan_tf
from styleloom.weights.tables import conv_hwio, fill, locate

TF_G, TF_D = msg_tf.generator_config, msg_tf.discriminator_config
BMSG_G, BMSG_D = bmsg.generator_config, bmsg.discriminator_config

# ---- keyword arguments


def test_defaults_are_the_papers_but_for_the_size_of_images() -> None:
    assert TF_G({}) == MSGStyleGANGenerator()
    assert TF_D({"resolution": 1024, "num_channels": 3}) == MSGStyleGANDiscriminator()


def test_every_argument_of_d_basic_counts() -> None:
    kwargs = {
        "num_channels": 1,
        "resolution": 64,
        "label_size": 2,
        "fmap_base": 100,
        "fmap_decay": 0.5,
        "fmap_max": 20,
        "nonlinearity": "relu",
        "blur_filter": [1, 3, 1],
        "mbstd_group_size": 8,
        "mbstd_num_features": 2,
    }
    assert TF_D(kwargs) == MSGStyleGANDiscriminator(
        resolution=64,
        channels=1,
        label_dim=2,
        features=FeatureMaps(100, 20, decay=0.5),
        activation="relu",
        blur=(1, 3, 1),
        minibatch_std=MinibatchStd(8, 2),
    )


def test_bmsg_defaults_are_the_papers_channels() -> None:
    """Depth 9 is 1024 px; depth 7, the default, 256."""
    for build in (BMSG_G, BMSG_D):
        assert build({}).resolution == 256
        cfg = build({"depth": 9})
        assert cfg.resolution == 1024
        paper = MSGProGANGenerator().features
        assert [cfg.features.at_side(side) for side in cfg.sides] == [
            paper.at_side(side) for side in cfg.sides
        ]
        assert cfg.features.at(0) == paper.at(0)


def test_bmsg_differs_from_the_paper() -> None:
    g, d = BMSG_G({"depth": 9}), BMSG_D({"depth": 9})
    assert g == MSGProGANGenerator(features=g.features, normalize_z=False, gain="sqrt2")
    assert d == MSGProGANDiscriminator(
        features=d.features,
        combine="cat_lin",
        minibatch_std=MinibatchStd(sys.maxsize),
        minibatch_std_at="lowest",
        gain="sqrt2",
    )


@every(
    ("config", "kwargs", "message"),
    [
        (TF_G, {"fmap_bas": 8192}, "MSG-StyleGAN G_style: unknown .* 'fmap_bas', did you mean 'fmap_base'"),
        (TF_G, {"mbstd_group_size": 4}, "MSG-StyleGAN G_style: unknown keyword argument 'mbstd_group_size'"),
        (TF_G, {"use_styles": 1.5}, "MSG-StyleGAN G_style: use_styles 1.5 is not supported"),
        (TF_G, {"use_styles": False}, "generator.input: 'constant' is not valid without styles"),
        (TF_G, {"resolution": 100}, "generator.resolution: 100 is not a power of two"),
        (TF_D, {"latent_size": 512}, "MSG-StyleGAN D_basic: unknown keyword argument 'latent_size'"),
        (TF_D, {"nonlinearity": "tanh"}, "MSG-StyleGAN D_basic: nonlinearity 'tanh' is not supported"),
        (TF_D, {"use_wscale": False}, "use_wscale False is not supported, it must be True"),
        (TF_D, {"blur_filter": [[1, 2], [2, 1]]}, r"blur_filter \[\[1, 2\], \[2, 1\]\] is not supported"),
        (BMSG_G, {"depht": 7}, "BMSG-GAN Generator: unknown keyword argument 'depht', did you mean 'depth'"),
        (BMSG_G, {"feature_size": 512}, "BMSG-GAN Generator: unknown keyword argument 'feature_size'"),
        (BMSG_D, {"latent_size": 512}, "BMSG-GAN Discriminator: unknown keyword argument 'latent_size'"),
        (BMSG_G, {"depth": 1}, "Generator: depth 1 is not supported, it must be a number of at least 2"),
        (BMSG_G, {"depth": "7"}, "depth '7' is not supported"),
        (BMSG_G, {"depth": 9, "latent_size": 16}, "latent_size 16 is not valid, at depth 9 .* at least 32"),
        (
            BMSG_D,
            {"feature_size": 500},
            "feature_size 500 is not valid, at depth 7 it must be a power of two",
        ),
        (BMSG_D, {"use_eql": "yes"}, "use_eql 'yes' is not supported, it must be True or False"),
    ],
)
def test_arguments_that_are_not_valid(
    config: Callable[[Mapping[str, Any]], object], kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        config(kwargs)


# ---- tables


def test_names_of_the_tensorflow_code() -> None:
    cfg = TF_D({"resolution": 32, "num_channels": 3})
    table = msg_tf.discriminator_table(cfg)
    expected = {
        "FromRGB_lod0/bias": "from_rgb.bias",
        "32x32/Conv0/weight": "blocks.2.conv.weight",
        "8x8/Conv1_down/weight": "blocks.0.conv_down.conv.weight",
        "16x16/combine/weight": "blocks.1.start.combine.of_both.weight",
        "4x4/combine/weight": "tail.start.combine.of_both.weight",
        "4x4/Dense1/bias": "tail.out.bias",
    }
    places = {name: locate(table, name) for name in expected}
    assert {name: place and place.target for name, place in places.items()} == expected
    assert locate(table, "FromRGB_lod1/weight") is None
    assert set(expected.values()) <= set(build_discriminator(cfg).state_dict())


@every(("fused", "turned"), [("auto", {128}), (True, {8, 64, 128}), (False, set())])
def test_fused_scaling_stores_kernels_turned(fused: Any, turned: set[int]) -> None:
    cfg = TF_G({"resolution": 128})
    table = msg_tf.generator_table(cfg, fused)
    assert table.source == "MSG-StyleGAN generator (TensorFlow)"
    x = torch.arange(9.0).reshape(3, 3, 1, 1)
    for side in (8, 64, 128):
        place = locate(table, f"G_synthesis/{side}x{side}/Conv0_up/weight")
        assert place is not None
        expected = stylegan_tf.turned_conv_hwio if side in turned else conv_hwio
        assert torch.equal(place.layout(x), expected(x))


# ---- BMSG-GAN's layers


def bmsg_variables(network: str, depth: int, size: int, channels: int = 3) -> dict[str, Tensor]:
    """Random variables under that code's names."""

    def conv(name: str, *shape: int, transposed: bool = False) -> None:
        found[f"{name}.weight"] = torch.randn(shape)
        found[f"{name}.bias"] = torch.randn(shape[1 if transposed else 0])

    found: dict[str, Tensor] = {}
    maps = [size if level < 4 else size >> (level - 3) for level in range(depth)]
    if network == "generator":
        conv("layers.0.conv_1", size, size, 4, 4, transposed=True)
        conv("layers.0.conv_2", size, size, 3, 3)
        for level in range(depth):
            conv(f"rgb_converters.{level}", channels, maps[level], 1, 1)
        for level in range(1, depth):
            conv(f"layers.{level}.conv_1", maps[level], maps[level - 1], 3, 3)
            conv(f"layers.{level}.conv_2", maps[level], maps[level], 3, 3)
        return found
    conv("final_converter", size // 2, channels, 1, 1)
    conv("final_block.conv_1", size, size + 1, 3, 3)
    conv("final_block.conv_2", size, size, 4, 4)
    conv("final_block.conv_3", 1, size, 1, 1)
    for level in range(depth - 1):
        here, below = maps[level + 1], maps[level]
        conv(f"rgb_to_features.{level}", here if level == depth - 2 else here // 2, channels, 1, 1)
        conv(f"layers.{level}.conv_1", here, here, 3, 3)
        conv(f"layers.{level}.conv_2", below // 2, here, 3, 3)
    return found


def bmsg_network(network: str, depth: int, size: int, use_eql: bool) -> tuple[nn.Module, dict[str, Tensor]]:
    """One of ours with such variables, and the variables ready to use, without run-time coefficients."""
    variables = bmsg_variables(network, depth, size)
    if network == "generator":
        g_cfg = BMSG_G({"depth": depth, "latent_size": size, "use_eql": use_eql})
        ours: nn.Module = build_generator(g_cfg)
        fill(bmsg.generator_table(g_cfg, use_eql), variables, ours)
    else:
        d_cfg = BMSG_D({"depth": depth, "feature_size": size, "use_eql": use_eql})
        ours = build_discriminator(d_cfg)
        fill(bmsg.discriminator_table(d_cfg, use_eql), bmsg.joined(d_cfg, variables, use_eql), ours)
    if not use_eql:
        return ours, variables
    ready = {}
    for name, x in variables.items():
        fan_in = len(x) if network == "generator" and name == "layers.0.conv_1.weight" else x[0].numel()
        ready[name] = x * math.sqrt(2 / fan_in) if name.endswith("weight") else x
    return ours, ready


def hidden(x: Tensor, v: Mapping[str, Tensor], name: str, padding: int = 1) -> Tensor:
    """Convolution and leaky ReLU."""
    return F.leaky_relu(F.conv2d(x, v[f"{name}.weight"], v[f"{name}.bias"], padding=padding), 0.2)


def linear(x: Tensor, v: Mapping[str, Tensor], name: str) -> Tensor:
    """1x1 convolution."""
    return F.conv2d(x, v[f"{name}.weight"], v[f"{name}.bias"])


def close(ours: Tensor, expected: Tensor) -> None:
    """Equal but for rounding, which unscaled weights enlarge: small differences of large values."""
    assert ours.shape == expected.shape
    assert (ours - expected).abs().max() <= 1e-3 * expected.abs().max()


CASES = [(2, 8, True), (4, 8, False), (5, 8, True), (5, 8, False), (6, 16, True)]
"""depth, channels, use_eql."""


@torch.no_grad()
@pytest.mark.parametrize(("depth", "size", "use_eql"), CASES)
def test_bmsg_generator_layer_by_layer(depth: int, size: int, use_eql: bool) -> None:
    """Latents as they are, pixel norm after the 3x3 convolutions, an image of every level."""
    network, v = bmsg_network("generator", depth, size, use_eql)
    z = torch.randn(3, size) * 2

    def norm(x: Tensor) -> Tensor:
        return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()

    x = F.conv_transpose2d(z[:, :, None, None], v["layers.0.conv_1.weight"], v["layers.0.conv_1.bias"])
    x = norm(hidden(F.leaky_relu(x, 0.2), v, "layers.0.conv_2"))
    images = network(z)
    assert len(images) == depth
    for level in range(depth):
        if level:
            x = norm(hidden(F.interpolate(x, scale_factor=2), v, f"layers.{level}.conv_1"))
            x = norm(hidden(x, v, f"layers.{level}.conv_2"))
        expected = linear(x, v, f"rgb_converters.{level}")
        close(images[level], expected)


@torch.no_grad()
@pytest.mark.parametrize(("depth", "size", "use_eql"), CASES)
def test_bmsg_discriminator_layer_by_layer(depth: int, size: int, use_eql: bool) -> None:
    """[r'(x1); x2], both of C/2 channels, and the standard deviation of the whole batch at the end."""
    network, v = bmsg_network("discriminator", depth, size, use_eql)
    images = tuple(torch.randn(3, 3, 4 << level, 4 << level) for level in range(depth))
    x = linear(images[-1], v, f"rgb_to_features.{depth - 2}")
    for level in range(depth - 2, -1, -1):
        x = hidden(hidden(x, v, f"layers.{level}.conv_1"), v, f"layers.{level}.conv_2")
        name = f"rgb_to_features.{level - 1}" if level else "final_converter"
        x = torch.cat([linear(images[level], v, name), F.avg_pool2d(x, 2)], 1)
    std = (x.var(0, unbiased=False) + 1e-8).sqrt().mean()
    x = hidden(torch.cat([x, std.expand(3, 1, 4, 4)], 1), v, "final_block.conv_1")
    expected = linear(hidden(x, v, "final_block.conv_2", padding=0), v, "final_block.conv_3").flatten()
    close(network(images), expected)


@every(
    ("change", "message"),
    [
        ({"rgb_to_features.0.bias": None}, "rgb_to_features.0.weight has no counterpart, weight or bias is"),
        ({"final_converter.weight": None}, "final_converter.bias has no counterpart"),
        (
            {"rgb_to_features.0.bias": torch.ones(3)},
            r"rgb_to_features.0 has a weight of the shape \[4, 3, 1, 1\]; a bias of \[3\] does not fit it",
        ),
        ({"rgb_to_features.3.weight": torch.ones(4, 3, 1, 1)}, "rgb_to_features.3.weight has no counterpart"),
        ({"layers.0.conv_1.weight": None}, "nothing found for: blocks.0.conv.weight \\(layers"),
        ({"momentum": torch.ones(1)}, "BMSG-GAN discriminator: .* unexpected: momentum"),
        ({"layers.2.conv_2.weight": torch.ones(5)}, r"layers.2.conv_2.weight has the shape \[5\]"),
        ({"final_converter.weight": torch.ones(4, 1, 1, 1)}, r"final_converter has the shape \[4, 2\]"),
    ],
)
def test_bmsg_variables_that_do_not_fit(change: dict[str, Tensor | None], message: str) -> None:
    changed = {**bmsg_variables("discriminator", 4, 8), **change}
    with pytest.raises(UserError, match=message):
        imported({name: x for name, x in changed.items() if x is not None})


def imported(variables: dict[str, Tensor]) -> nn.Module:
    """The discriminator of depth 4 and 8 channels, filled with `variables`."""
    cfg = BMSG_D({"depth": 4, "feature_size": 8})
    network = build_discriminator(cfg)
    fill(bmsg.discriminator_table(cfg), bmsg.joined(cfg, variables), network)
    return network
