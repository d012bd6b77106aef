"""Trainings that were made sick on purpose: the rules name the sickness. A healthy one hears nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from styleloom.data import open_dataset
from styleloom.diagnosis import episodes
from styleloom.errors import UserError
from styleloom.runs.fit import fit, start
from styleloom.runs.metrics import judge_of
from tiny import tiny

COMMON = (
    "batch=16",
    "learning_rate=0.005",
    "run.tick_kimg=0.08",
    "run.state_every=100",
    "data.held_out=640",
    "g_regularizer.weight=0",
    "total_kimg=1.28",  # 80 steps
)


def sicknesses(out: Path, *overrides: str) -> set[str]:
    """What the rules find in the course of a tiny training on the portraits."""
    trainer, run = start(out, tiny(*COMMON, *overrides), open_dataset("portraits", 8), "cpu")
    try:
        fit(trainer, run)
    except UserError:  # diverged
        pass
    finally:
        trainer.close()
    found = episodes(trainer.experiment, run.stats.read(), judge_of(trainer.experiment).score)
    return {episode.finding.rule for episode in found}


@pytest.mark.parametrize(
    ("expected", "overrides"),
    [
        ("mode-collapse", ["generator.z_dim=1", "style_mixing=0"]),  # z is 1 or -1: two images
        ("skipped-updates", ["learning_rate=1e6", "total_kimg=0.4"]),
        (
            "learning-rate-too-high exploding-gradients images-out-of-range",
            ["learning_rate=1", "learning_rate_factor=0:0.001,0.64:0.001,0.7:1"],
        ),
        ("vanishing-gradients indifferent-discriminator", ["learning_rate=0.1", "total_kimg=1.92"]),
        ("penalty-without-effect", ["d_regularizer.gamma=1e-6"]),
        ("penalty-too-strong", ["d_regularizer.gamma=3000"]),
        pytest.param(
            "discriminator-overfitting",
            [
                "data.held_out=4624",  # leaves 16 images
                "discriminator.features.max=64",
                "d_regularizer.gamma=0.003",
                "data.mirror=none",
                "style_mixing=0",
                "total_kimg=6.4",
            ],
            marks=pytest.mark.slow,
        ),
        ("no-improvement", ["learning_rate=1e-7", "run.snapshot_every=1", "run.swd_images=64"]),
    ],
)
def test_a_sick_training(expected: str, overrides: list[str], tmp_path: Path) -> None:
    assert set(expected.split()) <= sicknesses(tmp_path / "run", *overrides)


def test_a_healthy_training(tmp_path: Path) -> None:
    assert sicknesses(tmp_path / "run") == set()


def test_train_speaks_as_a_sickness_begins(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    overrides = ("learning_rate=1e6", "total_kimg=0.4", "run.max_skipped=1000")
    assert sicknesses(tmp_path / "run", *overrides) == {"skipped-updates"}
    (said,) = [r.getMessage() for r in caplog.records if "Updates are skipped" in r.getMessage()]
    assert "of the discriminator in the last 5 steps. Try: --precision fp32" in said
    assert said.startswith("at 0.08 kimg: ")
