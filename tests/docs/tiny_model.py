"""What stands in for trained networks when commands and scripts of the documents run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from styleloom import presets, snapshot
from styleloom.config import Experiment, apply_overrides
from styleloom.networks.build import build_generator

RESOLUTION = 16

OVERRIDES = (
    f"resolution={RESOLUTION}",
    "generator.z_dim=16",
    "generator.w_dim=16",
    "generator.mapping.layers=2",
    "generator.mapping.width=16",
    "generator.features.max=8",
    "discriminator.features.max=8",
    "precision=fp32",
    "batch=16",
    "data.held_out=16",
    "total_kimg=0.032",
    "run.swd_images=16",
)


def experiment(name: str) -> Experiment:
    """The demo under the name of a preset, at 16 px, with few parameters; two steps of 16 images."""
    return replace(apply_overrides(presets.get("demo"), OVERRIDES), name=name)


def write_snapshot(path: Path) -> Path:
    """A snapshot of an untrained tiny generator."""
    tiny = experiment("tiny")
    snapshot.write_snapshot(path, build_generator(tiny.generator), tiny)
    return path


def write_photos(folder: Path, number: int = 40, side: int = 20) -> Path:
    """A folder of images that differ."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(number):
        pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:03d}.png")
    return folder
