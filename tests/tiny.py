"""Data sets and experiments that train in milliseconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from data.images import build, make_folder
from styleloom.config import Experiment, apply_overrides
from styleloom.data import ImageDataset, open_dataset
from styleloom.presets import get
from styleloom.training.trainer import Trainer

OVERRIDES = (
    "resolution=8",
    "generator.z_dim=16",
    "generator.w_dim=16",
    "generator.mapping.layers=2",
    "generator.mapping.width=16",
    "generator.features.max=8",
    "discriminator.features.max=8",
    "precision=fp32",
    "d_regularizer.gamma=0.5",
    "learning_rate=0.002",
    "batch=8",
    "data.held_out=0",
    "total_kimg=0.064",
    "run.tick_kimg=0.016",
    "run.sample_every=100",
    "run.snapshot_every=100",
    "run.state_every=1",
    "run.swd_images=0",
    "g_regularizer.weight=2",
    "style_mixing=0.9",
    "generator.mapping.lr_multiplier=0.01",
    "ema_half_life_kimg=5",
    "data.mirror=horizontal",
)
"""The demo's networks at 8 px, about 10,000 parameters; 8 steps of 8 images, a tick and a state every 2. Path
length, style mixing and mirroring are on, which the demo leaves out."""

FLAGS = {"batch": "--batch", "precision": "--precision", "total_kimg": "--kimg"}
"""Fields that have a flag of their own; of several the last counts."""


def tiny(*overrides: str, **fields: Any) -> Experiment:
    """The smallest useful experiment, with further overrides and whole fields."""
    experiment = replace(apply_overrides(get("demo"), OVERRIDES), name="tiny")
    return replace(apply_overrides(experiment, overrides), **fields)


def flags(*overrides: str) -> list[str]:
    """The same experiment as words of the command line."""
    words = ["--preset", "demo"]
    for override in (*OVERRIDES[1:], *overrides):
        name, _, value = override.partition("=")
        words += [FLAGS[name], value] if name in FLAGS else ["--set", override]
    return words


def make_archive(
    root: Path, number: int = 20, side: int = 8, channels: int = 3, labels: str | None = None
) -> Path:
    """An archive of noise images; "folders" gives two classes."""
    source = make_folder(root / f"images-{number}-{side}-{channels}", number, side, channels)
    dest = root / f"{source.name}-{labels}.zip"
    return build(source, dest, side, labels=labels, channels=channels, overwrite=True)


def steps(trainer: Trainer, count: int) -> Trainer:
    """Take so many steps."""
    for _ in range(count):
        trainer.step()
    return trainer


def opened(path: Path) -> ImageDataset:
    """A data set that shares nothing with another one of the same path."""
    return open_dataset(path)


def same_state(a: Trainer, b: Trainer) -> None:
    """Every tensor and every counter is equal, bit for bit."""
    (ours, document), (theirs, other) = a.state(), b.state()
    assert document == other
    assert_equal(ours, theirs)


def assert_equal(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """The same names, and the same bits (NaN included)."""
    assert ours.keys() == theirs.keys()
    different = [name for name, t in ours.items() if t.numpy().tobytes() != theirs[name].numpy().tobytes()]
    assert not different
