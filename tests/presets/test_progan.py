"""ProGAN's presets against the numbers that its paper and its authors' code give."""

from __future__ import annotations

import pytest

from every import every
from styleloom import presets
from styleloom.config import Adam, GradientPenalty
from styleloom.presets import progan

from .rows import changed, values

# Batch at 4 ... 1024 px of the results' preset: 16, then 14, 6 and 3 from 256 px on.
FIRST_BATCH = [16, 16, 16, 16, 16, 16, 14, 6, 3]


LSUN = {"progan-lsun": "horizontal", "progan-lsun-bedroom": "none", "progan-lsun-dog": "none"}
ABLATION = [f"progan-{letter}-{data}" for data in ("celeba", "bedroom") for letter in "defgh"]
LATER = [f"progan-{count}gpu" for count in (1, 2, 4, 8)]


def test_every_row_is_here() -> None:
    assert list(progan.PRESETS) == ["progan", *LSUN, "progan-cifar10", *ABLATION, *LATER]


def test_the_setting_of_the_results() -> None:
    experiment = presets.get("progan")
    assert values(experiment.batch) == FIRST_BATCH
    assert set(values(experiment.learning_rate)) == {0.001}
    assert (experiment.growth.stabilize_kimg, experiment.growth.fade_kimg) == (800, 800)
    assert experiment.total_kimg == 19000
    assert experiment.discriminator.minibatch_std.group_size == 16


@every("name", progan.PRESETS)
def test_what_all_share(name: str) -> None:
    experiment = presets.get(name)
    assert experiment.loss == "wgan"
    target = 750 if name == "progan-cifar10" else 1
    assert experiment.d_regularizer == GradientPenalty("two-sided", gamma=10, every=1, target=target)
    assert experiment.drift == 0.001
    assert experiment.g_regularizer.weight == 0
    assert experiment.g_regularizer.every == 1
    assert experiment.adam == Adam(beta1=0, beta2=0.99, epsilon=1e-8)
    assert experiment.optimizer == "adam"
    assert experiment.step_order == "d-first"
    assert experiment.ema_beta == 0.999
    assert experiment.style_mixing == 0
    assert (experiment.growth.mode, experiment.growth.initial_resolution) == ("progressive", 4)
    for network in (experiment.generator, experiment.discriminator):
        assert (network.channels, network.label_dim, network.activation) == (3, 0, "lrelu")
    assert experiment.generator.gain == "layer"
    assert experiment.discriminator.pooling == "before"
    if name in ABLATION:
        return
    assert experiment.generator.pixel_norm == "every"
    assert experiment.generator.weights == experiment.discriminator.weights == "equalized"
    if name == "progan-cifar10":
        return
    assert experiment.generator.z_dim == 512
    assert experiment.generator.features.base == experiment.discriminator.features.base == 8192
    assert experiment.data.mirror == LSUN.get(name, "horizontal")
    assert experiment.resolution == (256 if name in LSUN else 1024)


@every("name", LSUN)
def test_lsun(name: str) -> None:
    """One batch for all levels, 20M images, mirrored but for bedroom and dog; else as CelebA-HQ."""
    experiment = presets.get(name)
    assert values(experiment.batch)[:7] == [16] * 7
    assert experiment.total_kimg == 20000
    assert {field.partition(".at.")[0] for field in changed("progan", name)} <= {
        "generator.resolution",
        "discriminator.resolution",
        "batch",
        "total_kimg",
        "data.mirror",
    }


def test_cifar10() -> None:
    """Widths 128, 128, 128, 128 at 4 to 32 px (base 4096), z of 128, phases of 400 kimg, target 750."""
    assert changed("progan", "progan-cifar10") == {
        "generator.resolution": 32,
        "generator.z_dim": 128,
        "generator.features.base": 4096,
        "generator.features.max": 128,
        "discriminator.resolution": 32,
        "discriminator.features.base": 4096,
        "discriminator.features.max": 128,
        "d_regularizer.target": 750,
        "growth.stabilize_kimg": 400,
        "growth.fade_kimg": 400,
        "data.mirror": "none",
    }


ADDED = {
    "e": {"discriminator.minibatch_std.group_size": 16},
    "f": {"generator.weights": "equalized", "discriminator.weights": "equalized"},
    "g": {"generator.pixel_norm": "every"},
    "h": {"generator.features.base": 8192, "discriminator.features.base": 8192, "total_kimg": 19000},
}


@pytest.mark.parametrize("data", ["celeba", "bedroom"])
def test_rows_of_table_1_add_one_thing_each(data: str) -> None:
    d = presets.get(f"progan-d-{data}")
    for before, after in zip("defg", "efgh", strict=True):
        assert changed(f"progan-{before}-{data}", f"progan-{after}-{data}") == ADDED[after]
    assert (d.generator.pixel_norm, d.discriminator.minibatch_std.group_size) == ("none", 0)
    assert d.generator.weights == d.discriminator.weights == "he"
    assert (d.resolution, set(values(d.batch)), d.total_kimg) == (128, {16}, 10000)
    assert d.data.mirror == ("horizontal" if data == "celeba" else "none")
    # Half the maps at 16 px, a quarter of them from 32 px on, which leaves 32 in the last layers.
    full, crippled = presets.get("progan").generator.features, d.generator.features
    assert d.discriminator.features == crippled
    shares = [crippled.at_side(side) / full.at_side(side) for side in (4, 8, 16, 32, 64, 128)]
    assert shares == [1, 1, 0.5, 0.25, 0.25, 0.25]
    assert crippled.at_side(128) == 32


def test_later_presets() -> None:
    """Phases of 600 kimg, 12M images, groups of 4; the tables are those of test_schedules."""
    assert set(changed("progan", "progan-8gpu")) == {
        "discriminator.minibatch_std.group_size",
        "growth.stabilize_kimg",
        "growth.fade_kimg",
        "total_kimg",
        "learning_rate_factor",
        *(f"batch.at.{side}" for side in (4, 8, 16, 32, 256, 512, 1024)),
        "batch.base",
        *(f"learning_rate.at.{side}" for side in (128, 256, 512, 1024)),
        *(f"style_mixing_unit.at.{side}" for side in (4, 8, 16, 32)),
    }
    experiment = presets.get("progan-8gpu")
    assert (experiment.growth.stabilize_kimg, experiment.growth.fade_kimg) == (600, 600)
    assert experiment.total_kimg == 12000
    assert experiment.discriminator.minibatch_std.group_size == 4


@every("count", [1, 2, 4])
def test_fewer_devices_change_the_tables_alone(count: int) -> None:
    fields = {name.split(".")[0] for name in changed("progan-8gpu", f"progan-{count}gpu")}
    assert fields == {"batch", "learning_rate", "style_mixing_unit"}
