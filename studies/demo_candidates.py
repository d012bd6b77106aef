"""The settings that the study of the demo compares, each as what it changes in the settings of before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from styleloom import presets
from styleloom.config import (
    ByResolution,
    DataOptions,
    Experiment,
    GradientPenalty,
    PathLength,
    RunOptions,
    apply_overrides,
)
from styleloom.config.networks import FeatureMaps, Mapping
from styleloom.config.serialize import differences
from styleloom.presets.stylegan2 import F_FFHQ

BEFORE, NOW = "before", "demo"
HELD_OUT = 640
"""Images that no training of the study sees; all are measured on them."""


def _before() -> Experiment:
    """The preset `demo` as it was before this study, written out: a change of the preset changes it not."""
    made = replace(
        F_FFHQ.with_data(resolution=32),
        name="demo",
        source="",
        d_regularizer=GradientPenalty(gamma=1.0, every=16),
        g_regularizer=PathLength(weight=2.0, every=4),
        learning_rate=ByResolution(0.0025),
        batch=ByResolution(16),
        ema_half_life_kimg=5,
        data=DataOptions(mirror="horizontal", held_out=HELD_OUT),
        run=RunOptions(),
    )
    shape = {"z_dim": 128, "w_dim": 128, "features": FeatureMaps(512, 128), "mapping": Mapping(4, 128)}
    return replace(
        made,
        generator=replace(made.generator, **shape),
        discriminator=replace(made.discriminator, features=FeatureMaps(512, 128)),
    )


@dataclass(frozen=True)
class Candidate:
    """One setting.

    Args:
        changes: of the settings of before, as `styleloom train --set` takes them.
        why: what one might expect of it.
    """

    changes: tuple[str, ...]
    why: str


def _features(change: str) -> tuple[str, ...]:
    """The same change of both networks' widths."""
    return tuple(f"{role}.features.{change}" for role in ("generator", "discriminator"))


_PLAIN = ("data.mirror=none", "g_regularizer.weight=0", "style_mixing=0")
_LARGE = (*_PLAIN, "batch=32", "learning_rate=0.01", "ema_half_life_kimg=1")
_BEST = (*_LARGE, "generator.mapping.lr_multiplier=0.1")
_PAIRS = ("loss=relativistic-pairing", "d_regularizer.r2_gamma=1")

CANDIDATES: dict[str, Candidate] = {
    BEFORE: Candidate((), "the preset before this study"),
    "no-mirror": Candidate(("data.mirror=none",), "4,000 images are enough, and faces are not symmetric"),
    "plain": Candidate(_PLAIN, "neither path length nor style mixing: more steps in the same time"),
    "plain-gamma-0.1": Candidate((*_PLAIN, "d_regularizer.gamma=0.1"), "a discriminator held back less"),
    "plain-lr-0.004": Candidate((*_PLAIN, "batch=32", "learning_rate=0.004"), "fewer operations an image"),
    "plain-lr-0.01": Candidate(_LARGE, "larger steps still, and an average that lags less"),
    "lr-0.006": Candidate((*_BEST, "learning_rate=0.006"), "the preset of now with smaller steps"),
    "lr-0.02": Candidate((*_BEST, "learning_rate=0.02"), "the preset of now with larger steps"),
    "gamma-3": Candidate((*_BEST, "d_regularizer.gamma=3"), "a discriminator that is held back more"),
    "r1-every-4": Candidate((*_BEST, "d_regularizer.every=4"), "a penalty that jumps less"),
    "batch-16": Candidate((*_BEST, "batch=16"), "more steps, fewer images"),
    "batch-64": Candidate((*_BEST, "batch=64"), "fewer steps, more images"),
    "wider": Candidate((*_BEST, *_features("base=1024")), "twice the features from 8 px on"),
    "orig": Candidate((*_BEST, "discriminator.architecture=orig"), "a discriminator of fewer operations"),
    "mapping-2": Candidate((*_BEST, "generator.mapping.layers=2"), "a shorter way from z to w"),
    "float32": Candidate((*_BEST, "precision=fp32"), "precision instead of speed"),
    "r3gan": Candidate((*_BEST, *_PAIRS), "the loss of R3GAN: relativistic pairing with R1 and R2"),
}
"""By name. A preset `demo` that differs from the settings of before is compared as well, as `demo`."""


def names() -> tuple[str, ...]:
    """All settings, with the present preset where it is another one than before."""
    return (*CANDIDATES, *([NOW] if changes(NOW) else []))


def experiment(name: str, seed: int = 0, kimg: float = 1.0) -> Experiment:
    """The experiment of a setting, for a training of `kimg` thousand images."""
    if name == NOW:
        made = presets.get(NOW)
        made = replace(made, data=replace(made.data, held_out=HELD_OUT))
    else:
        made = apply_overrides(_before(), CANDIDATES[name].changes)
    return replace(made, name=NOW, source="", seed=seed, total_kimg=kimg, run=RunOptions())


def changes(name: str) -> dict[str, Any]:
    """What a setting changes in the settings of before, by dotted field."""
    return {field: new for field, (_, new) in differences(experiment(BEFORE), experiment(name)).items()}
