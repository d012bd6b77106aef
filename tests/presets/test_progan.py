"""ProGAN's presets against the numbers that its paper and its authors' code give."""

from __future__ import annotations

import pytest

from styleloom import presets
from styleloom.config import Adam, GradientPenalty
from styleloom.presets import progan

from .rows import changed, values

# Batch at 4 ... 1024 px of the results' preset: 16, then 14, 6 and 3 from 256 px on.
FIRST_BATCH = [16, 16, 16, 16, 16, 16, 14, 6, 3]


def test_every_row_is_here() -> None:
    assert list(progan.PRESETS) == ["progan", *(f"progan-{count}gpu" for count in (1, 2, 4, 8))]


def test_the_setting_of_the_results() -> None:
    experiment = presets.get("progan")
    assert values(experiment.batch) == FIRST_BATCH
    assert set(values(experiment.learning_rate)) == {0.001}
    assert (experiment.growth.stabilize_kimg, experiment.growth.fade_kimg) == (800, 800)
    assert experiment.total_kimg == 19000
    assert experiment.discriminator.minibatch_std.group_size == 16


@pytest.mark.parametrize("name", progan.PRESETS)
def test_what_all_share(name: str) -> None:
    experiment = presets.get(name)
    assert experiment.loss == "wgan"
    assert experiment.d_regularizer == GradientPenalty("two-sided", gamma=10, every=1, target=1)
    assert experiment.drift == 0.001
    assert experiment.g_regularizer.weight == 0
    assert experiment.g_regularizer.every == 1
    assert experiment.adam == Adam(beta1=0, beta2=0.99, epsilon=1e-8)
    assert experiment.optimizer == "adam"
    assert experiment.step_order == "d-first"
    assert experiment.ema_beta == 0.999
    assert experiment.style_mixing == 0
    assert (experiment.growth.mode, experiment.growth.initial_resolution) == ("progressive", 4)
    assert experiment.resolution == 1024
    assert experiment.data.mirror == "horizontal"
    for network in (experiment.generator, experiment.discriminator):
        assert network.features.base == 8192
        assert (network.channels, network.label_dim, network.activation) == (3, 0, "lrelu")
    assert experiment.generator.z_dim == 512
    assert experiment.generator.pixel_norm == "every"
    assert experiment.generator.gain == "layer"
    assert experiment.discriminator.pooling == "before"


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


@pytest.mark.parametrize("count", [1, 2, 4])
def test_fewer_devices_change_the_tables_alone(count: int) -> None:
    fields = {name.split(".")[0] for name in changed("progan-8gpu", f"progan-{count}gpu")}
    assert fields == {"batch", "learning_rate", "style_mixing_unit"}
