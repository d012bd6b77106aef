"""Name tables and keyword arguments: what they accept, and what they say otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from styleloom.config import MinibatchStd, StyleGAN2Discriminator, StyleGAN2Generator
from styleloom.convert import stylegan2_ada, stylegan2_tf
from styleloom.convert.tables import Rule, Table, convert, dense_io, load, locate
from styleloom.errors import UserError
from styleloom.networks.build import build_discriminator

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


@pytest.mark.parametrize(
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
ADA_D = stylegan2_ada.discriminator_config


@pytest.mark.parametrize(
    ("config", "kwargs", "message"),
    [
        (TF_G, {"fmap_bas": 8192}, "unknown keyword argument 'fmap_bas', did you mean 'fmap_base'"),
        (TF_G, {"synthesis_func": "G_synthesis_stylegan_revised"}, "synthesis_func 'G_synthesis_stylegan_r"),
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
    load(TABLE, _variables(), network)
    assert network.state_dict()["0.weight"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_repeated_numbers_agree() -> None:
    assert locate(TABLE, "4x8/bias") is None
    assert locate(TABLE, "4x4/biases") is None
    place = locate(TABLE, "8x8/bias")
    assert place is not None
    assert place.target == "1.bias"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"8x8/bias": None}, "test: the variables do not fit .*; nothing found for: 1.bias$"),
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
