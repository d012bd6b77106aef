"""StyleGAN's keyword arguments and names: what they stand for, and what they say otherwise."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from every import every
from styleloom.config.networks import FeatureMaps, StyleGANDiscriminator, StyleGANGenerator
from styleloom.errors import UserError
from styleloom.networks.build import build_generator
from styleloom.weights.stylegan_tf import (
    FusedScale,
    discriminator_config,
    discriminator_table,
    generator_config,
    generator_table,
    turned_conv_hwio,
)
from styleloom.weights.tables import conv_hwio, convert, locate

SMALL = {"resolution": 8, "fmap_max": 4, "latent_size": 5, "dlatent_size": 5, "mapping_layers": 1}


def test_defaults_are_configuration_f() -> None:
    assert generator_config({}) == StyleGANGenerator()
    sizes = {"num_channels": 3, "resolution": 1024}
    assert discriminator_config(sizes) == StyleGANDiscriminator()
    assert discriminator_config({}) == StyleGANDiscriminator(resolution=32, channels=1)


@every(
    ("kwargs", "fields"),
    [
        ({"use_noise": False}, {"noise": "none"}),
        ({"const_input_layer": False}, {"input": "w"}),
        ({"use_styles": False, "const_input_layer": False}, {"styles": "none", "input": "w"}),
        ({"use_pixel_norm": True}, {"normalization": ("pixel", "instance")}),
        ({"use_pixel_norm": True, "use_instance_norm": False}, {"normalization": ("pixel",)}),
        ({"use_instance_norm": False}, {"normalization": ()}),
        ({"blur_filter": None}, {"blur": (1,)}),
        ({"blur_filter": []}, {"blur": (1,)}),
        ({"blur_filter": [1, 3, 3, 1]}, {"blur": (1, 3, 3, 1)}),
        ({"dlatent_avg_beta": None}, {"w_avg_beta": 1.0}),
        ({"nonlinearity": "relu"}, {"activation": "relu"}),
        ({"fmap_base": 64, "fmap_max": 8, "fmap_decay": 2.0}, {"features": FeatureMaps(64, 8, decay=2.0)}),
        ({"fused_scale": True, "structure": "recursive", "style_mixing_prob": None, "use_wscale": True}, {}),
    ],
)
def test_arguments(kwargs: dict[str, Any], fields: dict[str, Any]) -> None:
    assert generator_config(kwargs) == StyleGANGenerator(**fields)


@every(
    ("kwargs", "message"),
    [
        (
            {"fmap_bas": 8192},
            r"StyleGAN G_style: unknown keyword argument 'fmap_bas', did you mean 'fmap_base'",
        ),
        ({"use_wscale": False}, r"StyleGAN G_style: use_wscale False is not supported, it must be True"),
        ({"fused_scale": "sometimes"}, r"fused_scale 'sometimes' is not supported, .* False or 'auto'"),
        ({"blur_filter": [[1, 2], [2, 1]]}, r"blur_filter \[\[1, 2\], \[2, 1\]\] is not supported"),
        ({"blur_filter": [1, -1]}, r"blur_filter \[1, -1\] is not valid, .* a sum other than 0"),
        ({"nonlinearity": "tanh"}, r"nonlinearity 'tanh' is not supported, it must be 'lrelu' or 'relu'"),
        ({"mapping_nonlinearity": "swish"}, r"mapping_nonlinearity 'swish' is not supported"),
        ({"dtype": "float16"}, r"dtype 'float16' is not supported"),
        ({"use_noise": "yes"}, r"use_noise 'yes' is not supported, it must be True or False"),
        ({"use_styles": False}, r"generator.input: 'constant' is not valid without styles"),
        ({"mapping_layers": 0, "label_size": 3}, r"generator.w_dim: 512 is not valid, .* input: 1024"),
        ({"mbstd_group_size": 4}, r"unknown keyword argument 'mbstd_group_size'"),
        ({"resolution": 100}, r"generator.resolution: 100 is not a power of two"),
    ],
)
def test_generator_arguments_that_are_not_valid(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        generator_config(kwargs)


@every(
    ("kwargs", "message"),
    [
        ({"latent_size": 512}, "StyleGAN D_basic: unknown keyword argument 'latent_size'"),
        ({"use_wscale": False}, "StyleGAN D_basic: use_wscale False is not supported"),
        ({"nonlinearity": "elu"}, "nonlinearity 'elu' is not supported"),
    ],
)
def test_discriminator_arguments_that_are_not_valid(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        discriminator_config(kwargs)


# ---- names


@every("fused", [True, False, "auto"])
def test_kernels_that_fused_scaling_turns(fused: FusedScale) -> None:
    """Those of the transposed convolutions; by default from 128 px on. All others keep their direction."""
    kernel = torch.arange(9.0).reshape(3, 3, 1, 1)
    assert torch.equal(turned_conv_hwio(kernel).flatten(), torch.arange(8.0, -1, -1))
    table = generator_table(StyleGANGenerator(), fused)
    for r in range(3, 11):
        layers = {}
        for conv in ("Conv0_up", "Conv1"):
            place = locate(table, f"G_synthesis/{2**r}x{2**r}/{conv}/weight")
            assert place is not None
            layers[conv] = place.layout
        turned = {True: True, False: False, "auto": r >= 7}[fused]
        assert layers == {"Conv0_up": turned_conv_hwio if turned else conv_hwio, "Conv1": conv_hwio}
    for conv in ("Conv0", "Conv1_down"):
        place = locate(discriminator_table(StyleGANDiscriminator()), f"512x512/{conv}/weight")
        assert place is not None
        assert place.layout is conv_hwio


def variables(**change: Tensor | None) -> dict[str, Tensor]:
    """Of the generator of SMALL, with some changed or left out."""
    shapes: dict[str, tuple[int, ...]] = {
        "dlatent_avg": (5,),
        "lod": (),
        "G_mapping/Dense0/weight": (5, 5),
        "G_mapping/Dense0/bias": (5,),
        "G_synthesis/4x4/Const/const": (1, 4, 4, 4),
    }
    for i, layer in enumerate(("4x4/Const", "4x4/Conv", "8x8/Conv0_up", "8x8/Conv1")):
        place = f"G_synthesis/{layer}"
        shapes |= {f"{place}/Noise/weight": (4,), f"{place}/bias": (4,)}
        shapes |= {f"{place}/StyleMod/weight": (5, 8), f"{place}/StyleMod/bias": (8,)}
        side = 4 << i // 2
        shapes[f"G_synthesis/noise{i}"] = (1, 1, side, side)
        if i:
            shapes[f"{place}/weight"] = (3, 3, 4, 4)
    for lod in (0, 1):
        shapes |= {
            f"G_synthesis/ToRGB_lod{lod}/weight": (1, 1, 4, 3),
            f"G_synthesis/ToRGB_lod{lod}/bias": (3,),
        }
    values: dict[str, Tensor | None] = {name: torch.randn(shape) for name, shape in shapes.items()}
    return {name: value for name, value in (values | change).items() if value is not None}


def test_a_complete_set_of_variables() -> None:
    cfg = generator_config(SMALL)
    given = variables()
    state = convert(generator_table(cfg), given, build_generator(cfg))
    prefix = "synthesis_network"
    for ours, theirs in (
        (f"{prefix}.to_rgb.8.bias", "ToRGB_lod0/bias"),
        (f"{prefix}.to_rgb.4.bias", "ToRGB_lod1/bias"),
        (f"{prefix}.blocks.0.layer0.noise.fixed", "noise0"),
        (f"{prefix}.blocks.0.layer1.noise.fixed", "noise1"),
        (f"{prefix}.blocks.1.layer0.noise.fixed", "noise2"),
        (f"{prefix}.blocks.1.layer1.noise.strength", "8x8/Conv1/Noise/weight"),
        (f"{prefix}.blocks.0.layer0.affine.bias", "4x4/Const/StyleMod/bias"),
    ):
        assert torch.equal(state[ours], given[f"G_synthesis/{theirs}"]), ours


@every(
    ("change", "message"),
    [
        ({"G_synthesis/noise3": None}, r"nothing found for: synthesis_network.blocks.1.layer1.noise.fixed"),
        ({"G_synthesis/noise4": torch.zeros(1, 1, 16, 16)}, r"unexpected: G_synthesis/noise4"),
        ({"G_synthesis/ToRGB_lod2/bias": torch.zeros(3)}, r"unexpected: G_synthesis/ToRGB_lod2/bias"),
        ({"G_synthesis/4x4/Dense/weight": torch.zeros(5, 64)}, r"unexpected: G_synthesis/4x4/Dense/weight"),
        ({"dlatent_avg": torch.zeros(6)}, r"dlatent_avg has the shape \[6\], which does not give \[5\]"),
    ],
)
def test_variables_that_do_not_fit(change: dict[str, Tensor | None], message: str) -> None:
    cfg = generator_config(SMALL)
    with pytest.raises(UserError, match=message):
        convert(generator_table(cfg), variables(**change), build_generator(cfg))


def test_a_single_channel() -> None:
    """Its noise strength is a list of one there, a scalar here."""
    cfg = generator_config({**SMALL, "fmap_base": 4, "fmap_max": 2})
    network = build_generator(cfg)
    name = "synthesis_network.blocks.1.layer0.noise.strength"
    assert network.state_dict()[name].shape == ()
    place = locate(generator_table(cfg), "G_synthesis/8x8/Conv0_up/Noise/weight")
    assert place is not None
    assert place.target == name
    assert place.layout(torch.tensor([2.5])).shape == ()
