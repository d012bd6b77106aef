"""The importer of ProGAN's TensorFlow code: keyword arguments and layouts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from every import every
from styleloom.config.networks import FeatureMaps, MinibatchStd, ProGANDiscriminator, ProGANGenerator
from styleloom.errors import UserError
from styleloom.networks.build import build_generator
from styleloom.weights import progan_tf
from styleloom.weights.tables import conv_hwio, fill, locate

G, D = progan_tf.generator_config, progan_tf.discriminator_config


def test_defaults_are_the_papers_but_for_the_size_of_images() -> None:
    size = {"resolution": 1024, "num_channels": 3}
    assert G(size) == ProGANGenerator()
    assert D(size) == ProGANDiscriminator()
    assert (G({}).resolution, G({}).channels) == (D({}).resolution, D({}).channels) == (32, 1)


def test_every_argument_counts() -> None:
    sizes = {"num_channels": 3, "resolution": 64, "label_size": 2, "fmap_base": 100, "fmap_decay": 0.5}
    common = {"resolution": 64, "label_dim": 2, "features": FeatureMaps(100, 20, decay=0.5)}
    kwargs = {
        **sizes,
        "fmap_max": 20,
        "latent_size": 7,
        "normalize_latents": False,
        "use_pixelnorm": False,
        "use_leakyrelu": False,
        "fused_scale": False,  # of no consequence: fused or not, G is the same
        "structure": "recursive",
    }
    expected = ProGANGenerator(**common, z_dim=7, normalize_z=False, pixel_norm="none", activation="relu")  # type: ignore[arg-type]
    assert G(kwargs) == expected
    assert G({"fmap_max": 20}).z_dim == 20  # the latent is as wide as stage 0
    of_d = {**sizes, "fmap_max": 20, "mbstd_group_size": 16, "fused_scale": False}
    assert D(of_d) == ProGANDiscriminator(**common, minibatch_std=MinibatchStd(16), pooling="after")  # type: ignore[arg-type]


@every(
    ("config", "kwargs", "message"),
    [
        (G, {"fmap_bas": 8192}, "unknown keyword argument 'fmap_bas', did you mean 'fmap_base'"),
        (G, {"mbstd_group_size": 4}, "G_paper: unknown keyword argument 'mbstd_group_size'"),
        (D, {"latent_size": 512}, "D_paper: unknown keyword argument 'latent_size'"),
        (G, {"use_wscale": False}, "G_paper: use_wscale False is not supported, it must be True"),
        (D, {"use_wscale": False}, "D_paper: use_wscale False is not supported, it must be True"),
        (G, {"pixelnorm_epsilon": 1e-4}, "pixelnorm_epsilon 0.0001 is not supported, it must be 1e-08"),
        (G, {"dtype": "float16"}, "dtype 'float16' is not supported"),
        (D, {"dtype": "float16"}, "dtype 'float16' is not supported"),
        (G, {"fused_scale": "auto"}, "fused_scale 'auto' is not supported, it must be True or False"),
        (G, {"use_pixelnorm": "yes"}, "use_pixelnorm 'yes' is not supported"),
        (G, {"resolution": 100}, "generator.resolution: 100 is not a power of two"),
        (D, {"mbstd_group_size": -1}, "minibatch_std.group_size: -1 is not valid"),
    ],
)
def test_arguments_that_are_not_valid(
    config: Callable[[Mapping[str, Any]], object], kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        config(kwargs)


def test_names_choose_the_layout() -> None:
    """A fused weight [kh, kw, out, in] is that of a transposed convolution, as the formula defines it."""
    table = progan_tf.generator_table(ProGANGenerator(resolution=32))
    fused, plain = (locate(table, f"16x16/{name}/weight") for name in ("Conv0_up", "Conv0"))
    assert fused is not None
    assert plain is not None
    assert fused.target == plain.target == "synthesis_network.blocks.2.conv_up.weight"
    assert plain.layout is conv_hwio
    stored, x = torch.randn(3, 3, 5, 4), torch.randn(1, 4, 6, 6)
    spread = F.conv_transpose2d(x, stored.permute(3, 2, 0, 1), padding=1)  # x[i] stored[a] added to y[i + a]
    torch.testing.assert_close(F.conv2d(x, fused.layout(stored), padding=1), spread)


def test_levels_are_counted_from_full_resolution() -> None:
    for table, ours in (
        (progan_tf.generator_table(ProGANGenerator(resolution=32)), "synthesis_network.to_rgb.{}.bias"),
        (progan_tf.discriminator_table(ProGANDiscriminator(resolution=32)), "from_rgb.{}.bias"),
    ):
        theirs = "ToRGB" if "to_rgb" in ours else "FromRGB"
        for lod in range(4):
            place = locate(table, f"{theirs}_lod{lod}/bias")
            assert place is not None
            assert place.target == ours.format(32 >> lod)


def test_variables_that_are_missing_are_named() -> None:
    cfg = G({"resolution": 8, "fmap_max": 4})
    with pytest.raises(UserError, match=r"nothing found for: .*blocks\.0\.input\.bias"):
        fill(progan_tf.generator_table(cfg), {"lod": torch.zeros(())}, build_generator(cfg))
