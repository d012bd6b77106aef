"""Name tables and keyword arguments: what they accept, and what they say otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from every import every
from styleloom.config import MinibatchStd, StyleGAN2Discriminator, StyleGAN2Generator
from styleloom.errors import UserError
from styleloom.networks.build import build_discriminator
from styleloom.weights import stylegan2_ada, stylegan2_tf
from styleloom.weights.tables import Rule, Table, convert, dense_io, fill, locate

ADA = {"c_dim": 0, "img_resolution": 1024, "img_channels": 3}


def test_defaults_are_configuration_f() -> None:
    assert stylegan2_tf.generator_config({}) == StyleGAN2Generator()
    assert stylegan2_tf.discriminator_config({}) == StyleGAN2Discriminator()
    generator = stylegan2_ada.generator_config({**ADA, "z_dim": 512, "w_dim": 512})
    assert generator.features == StyleGAN2Generator().features
    discriminator = stylegan2_ada.discriminator_config(ADA)
    sides = discriminator.sides[::-1]
    of = discriminator.features.at_side
    assert [of(side) for side in sides] == [StyleGAN2Discriminator().features.at_side(side) for side in sides]


def test_ada_discriminator_ends_as_wide_as_its_last_block() -> None:
    kwargs = {**ADA, "img_resolution": 16, "channel_base": 32, "channel_max": 16}
    network = build_discriminator(stylegan2_ada.discriminator_config(kwargs))
    state = network.state_dict()
    assert state["tail.conv.weight"].shape[0] == 8
    assert state["tail.dense.weight"].shape[0] == 8
    assert state["blocks.0.conv.weight"].shape[0] == 2


@every(
    ("epilogue", "expected"),
    [
        ({}, MinibatchStd(4, 1)),
        ({"mbstd_num_channels": 0}, MinibatchStd(0)),
        ({"mbstd_group_size": 8, "mbstd_num_channels": 2}, MinibatchStd(8, 2)),
    ],
)
def test_ada_minibatch_std(epilogue: dict[str, Any], expected: MinibatchStd) -> None:
    kwargs = {**ADA, "epilogue_kwargs": epilogue}
    assert stylegan2_ada.discriminator_config(kwargs).minibatch_std == expected


def test_ada_minibatch_std_of_the_whole_batch() -> None:
    kwargs = {**ADA, "epilogue_kwargs": {"mbstd_group_size": None}}
    assert stylegan2_ada.discriminator_config(kwargs).minibatch_std.group_size > 10**9


TF_G, TF_D = stylegan2_tf.generator_config, stylegan2_tf.discriminator_config
REVISED = {"synthesis_func": "G_synthesis_stylegan_revised"}


def d_stylegan(kwargs: Mapping[str, Any]) -> StyleGAN2Discriminator:
    return TF_D(kwargs, "D_stylegan")


ADA_D = stylegan2_ada.discriminator_config


@every(
    ("config", "kwargs", "message"),
    [
        (TF_G, {"fmap_bas": 8192}, "unknown keyword argument 'fmap_bas', did you mean 'fmap_base'"),
        (
            TF_G,
            {"synthesis_func": "G_synthesis_stylegan"},
            "synthesis_func 'G_synthesis_stylegan' is not",
        ),
        (TF_G, {"architecture": "growing"}, "architecture 'growing' is not supported, it must be 'orig' or"),
        (TF_G, {**REVISED, "architecture": "skip"}, "unknown keyword argument 'architecture'"),
        (TF_D, {"architecture": "growing"}, "architecture 'growing' is not supported"),
        (d_stylegan, {"architecture": "orig"}, "D_stylegan: unknown keyword argument 'architecture'"),
        (TF_G, {"resample_kernel": [[1, 2], [2, 1]]}, r"resample_kernel \[\[1, 2\], \[2, 1\]\] is not"),
        (TF_G, {"resolution": 100}, "generator.resolution: 100 is not a power of two"),
        (TF_D, {"latent_size": 512}, "unknown keyword argument 'latent_size'"),
        (ADA_D, {"c_dim": 0}, "keyword argument 'img_resolution' is missing"),
        (ADA_D, {**ADA, "epilogue_kwargs": {"mbstd_group_size": 1}}, "mbstd_group_size 1 is not supported"),
        (ADA_D, {**ADA, "epilogue_kwargs": {"activation": "relu"}}, "activation 'relu' is not supported"),
        (ADA_D, {**ADA, "mapping_kwargs": {"layer_features": 3}}, "layer_features 3 is not supported"),
    ],
)
def test_arguments_that_are_not_valid(
    config: Callable[[Mapping[str, Any]], object], kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        config(kwargs)


def test_growing_networks_have_the_defaults_of_the_others() -> None:
    """`D_stylegan` and `G_synthesis_stylegan_revised` differ from F in their architecture alone."""
    run = {"structure": "recursive", "is_template_graph": True}
    assert TF_G({**REVISED, **run}) == replace(StyleGAN2Generator(), architecture="growing")
    assert d_stylegan(run) == replace(StyleGAN2Discriminator(), architecture="growing")


GROWING_G = stylegan2_tf.generator_table(StyleGAN2Generator(resolution=32, architecture="growing"))
SKIP_G = stylegan2_tf.generator_table(StyleGAN2Generator(resolution=32))
GROWING_D = stylegan2_tf.discriminator_table(StyleGAN2Discriminator(resolution=32, architecture="growing"))
SKIP_D = stylegan2_tf.discriminator_table(StyleGAN2Discriminator(resolution=32, architecture="skip"))


@every(
    ("table", "name", "target"),
    [
        (GROWING_G, "G_synthesis/ToRGB_lod0/mod_bias", "synthesis_network.blocks.3.to_rgb.affine.bias"),
        (GROWING_G, "G_synthesis/ToRGB_lod3/weight", "synthesis_network.blocks.0.to_rgb.weight"),
        (GROWING_G, "G_synthesis/32x32/Conv1/bias", "synthesis_network.blocks.3.conv.bias"),
        (GROWING_G, "G_synthesis/32x32/ToRGB/bias", None),
        (SKIP_G, "G_synthesis/32x32/ToRGB/bias", "synthesis_network.blocks.3.to_rgb.bias"),
        (SKIP_G, "G_synthesis/ToRGB_lod0/bias", None),
        (GROWING_D, "FromRGB_lod0/weight", "blocks.0.from_rgb.weight"),
        (GROWING_D, "FromRGB_lod2/bias", "blocks.2.from_rgb.bias"),
        (GROWING_D, "FromRGB_lod3/bias", "tail.from_rgb.bias"),
        (GROWING_D, "32x32/FromRGB/bias", None),
        (SKIP_D, "32x32/FromRGB/bias", "blocks.0.from_rgb.bias"),
        (SKIP_D, "4x4/FromRGB/bias", "tail.from_rgb.bias"),
        (SKIP_D, "FromRGB_lod0/bias", None),
    ],
)
def test_rgb_layers_are_named_by_level_or_by_side(table: Table, name: str, target: str | None) -> None:
    place = locate(table, name)
    assert (place and place.target) == target


# ---- tables

TABLE = Table(
    "test",
    (
        Rule("lod", None),
        Rule("{side}x{side}/weight", "{index}.weight", dense_io),
        Rule("{side}x{side}/bias", "{index}.bias"),
    ),
    lambda numbers: {"index": numbers.get("side", 4) // 4 - 1},
    {"filter{n}": torch.ones(2)},
)


def _network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))


def _variables() -> dict[str, Tensor]:
    return {
        "lod": torch.zeros(()),
        "4x4/weight": torch.arange(6.0).reshape(2, 3),
        "4x4/bias": torch.ones(3),
        "8x8/weight": torch.ones(3, 1),
        "8x8/bias": torch.ones(1),
        "filter7": torch.ones(2),
    }


def test_load() -> None:
    network = _network()
    fill(TABLE, _variables(), network)
    assert network.state_dict()["0.weight"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_repeated_numbers_agree() -> None:
    assert locate(TABLE, "4x8/bias") is None
    assert locate(TABLE, "4x4/biases") is None
    place = locate(TABLE, "8x8/bias")
    assert place is not None
    assert place.target == "1.bias"


@every(
    ("change", "message"),
    [
        ({"8x8/bias": None}, "test: the variables do not fit .*; nothing found for: 1.bias \\(8x8/bias\\)$"),
        ({"momentum": torch.ones(1)}, "unexpected: momentum$"),
        ({"16x16/bias": torch.ones(1), "4x4/bias": None}, "unexpected: 16x16/bias; nothing found for: 0"),
        ({"4x4/bias": torch.ones(2)}, r"4x4/bias has the shape \[2\], which does not give \[3\] for 0.bias"),
        ({"4x4/weight": torch.ones(2)}, r"4x4/weight has the shape \[2\]"),
        ({"4x4/weight": torch.ones(1, 1, 1)}, r"4x4/weight has the shape \[1, 1, 1\]"),
        ({"5x5/bias": torch.ones(3)}, "4x4/bias and 5x5/bias both stand for 0.bias"),
        ({"filter7": torch.zeros(2)}, "filter7 is .*, this configuration has"),
        ({"filter7": torch.ones(3)}, "filter7 is .*, this configuration has"),
    ],
)
def test_variables_that_do_not_fit(change: dict[str, Tensor | None], message: str) -> None:
    changed = {**_variables(), **change}
    variables = {name: value for name, value in changed.items() if value is not None}
    with pytest.raises(UserError, match=message):
        convert(TABLE, variables, _network())
