"""Presets of our own: small networks, and what the data sets in the package need."""

from __future__ import annotations

from styleloom import presets
from styleloom.networks.build import build_generator, count_parameters


def test_models_that_ship_are_small() -> None:
    for name in ("emoji-64", "portraits-64"):
        experiment = presets.get(name)
        assert experiment.resolution == 64
        assert 4 * count_parameters(build_generator(experiment.generator)) < 15e6  # bytes


def test_portraits_are_trained_as_they_are() -> None:
    """Neither mirrored nor with labels, which their data set has."""
    portraits, emoji = presets.get("portraits-64"), presets.get("emoji-64")
    assert (portraits.data.mirror, portraits.generator.label_dim) == ("none", 0)
    assert (portraits.generator, portraits.discriminator) == (emoji.generator, emoji.discriminator)
    assert (portraits.d_regularizer.gamma, emoji.d_regularizer.gamma) == (1, 2)
    assert (portraits.batch(64), portraits.learning_rate(64), portraits.ema_half_life_kimg) == (
        16,
        0.0025,
        10,
    )
