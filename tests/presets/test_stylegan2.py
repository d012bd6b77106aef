"""StyleGAN2's presets against the numbers that its paper and its authors' code give."""

from __future__ import annotations

from itertools import product

import pytest

from styleloom import presets
from styleloom.config import Adam, Experiment
from styleloom.config.serialize import differences
from styleloom.presets import stylegan2

# name: feature maps base, px, gamma, kimg, mirror
TABLE = {
    "stylegan2-e": (8192, 1024, 100, 25000, "horizontal"),
    "stylegan2-f": (16384, 1024, 10, 25000, "horizontal"),
    "stylegan2-f-paper-lazy8": (16384, 1024, 10, 25000, "horizontal"),
    "stylegan2-e-car": (8192, 512, 100, 57000, "none"),
    "stylegan2-f-car": (16384, 512, 10, 57000, "none"),
    "stylegan2-f-cat": (16384, 256, 10, 88000, "none"),
    "stylegan2-f-church": (16384, 256, 100, 48000, "none"),
    "stylegan2-f-horse": (16384, 256, 100, 100000, "none"),
}
ARCHITECTURES = ("orig", "skip", "resnet")
CELLS = {
    f"stylegan2-e-g-{g}-d-{d}{suffix}": (g, d, suffix)
    for suffix, g, d in product(("", "-car"), ARCHITECTURES, ARCHITECTURES)
}


def test_every_row_is_here() -> None:
    assert set(stylegan2.PRESETS) == set(TABLE) | set(CELLS)
    assert set(stylegan2.PRESETS) <= set(presets.PRESETS)


@pytest.mark.parametrize("name", TABLE)
def test_rows(name: str) -> None:
    base, px, gamma, kimg, mirror = TABLE[name]
    experiment = presets.get(name)
    assert (experiment.generator.features.base, experiment.discriminator.features.base) == (base, base)
    assert experiment.resolution == px
    assert experiment.d_regularizer.gamma == gamma
    assert experiment.total_kimg == kimg
    assert experiment.data.mirror == mirror
    assert (experiment.generator.architecture, experiment.discriminator.architecture) == ("skip", "resnet")


@pytest.mark.parametrize("name", CELLS)
def test_cells_of_table_2_change_the_architecture_alone(name: str) -> None:
    g, d, suffix = CELLS[name]
    experiment = presets.get(name)
    assert (experiment.generator.architecture, experiment.discriminator.architecture) == (g, d)
    assert experiment.d_regularizer.gamma == 100
    changed = differences(presets.get(f"stylegan2-e{suffix}"), experiment)
    assert set(changed) <= {"name", "source", "generator.architecture", "discriminator.architecture"}


@pytest.mark.parametrize("name", stylegan2.PRESETS)
def test_what_all_of_the_paper_shares(name: str) -> None:
    experiment: Experiment = presets.get(name)
    assert experiment.loss == "nonsaturating"
    assert experiment.d_regularizer.every == 16
    assert experiment.g_regularizer.every == (8 if name.endswith("lazy8") else 4)
    assert (experiment.g_regularizer.weight, experiment.g_regularizer.decay) == (2, 0.01)
    assert experiment.g_regularizer.batch_shrink == 2
    assert experiment.adam == Adam(beta1=0, beta2=0.99, epsilon=1e-8)
    assert {experiment.learning_rate(2**r) for r in range(2, 11)} == {0.002}
    assert {experiment.batch(2**r) for r in range(2, 11)} == {32}
    assert experiment.ema_half_life_kimg == 10
    assert experiment.style_mixing == 0.9
    assert experiment.growth.mode == "none"
    for network in (experiment.generator, experiment.discriminator):
        assert network.resample_filter == (1, 3, 3, 1)
        assert (network.features.max, network.features.min, network.features.decay) == (512, 1, 1)
        assert (network.channels, network.label_dim, network.clamp) == (3, 0, None)
    mapping = experiment.generator.mapping
    assert (mapping.layers, mapping.width, mapping.lr_multiplier, mapping.normalize_z) == (8, 512, 0.01, True)
    assert (experiment.generator.z_dim, experiment.generator.w_dim) == (512, 512)
    assert experiment.generator.w_avg_beta == 0.995
    std = experiment.discriminator.minibatch_std
    assert (std.group_size, std.features) == (4, 1)


def test_feature_maps_of_both_sizes() -> None:
    sides = [2**r for r in range(2, 11)]
    e, f = (presets.get(f"stylegan2-{row}").generator.features for row in "ef")
    assert [e.at_side(side) for side in sides] == [512, 512, 512, 512, 256, 128, 64, 32, 16]
    assert [f.at_side(side) for side in sides] == [512, 512, 512, 512, 512, 256, 128, 64, 32]
