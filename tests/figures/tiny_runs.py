"""Snapshots and runs of every family, of 16 px, without training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from styleloom.cli import main
from styleloom.config import Experiment, apply_overrides
from styleloom.networks.assembly import StyleGenerator
from styleloom.networks.build import build_generator
from styleloom.presets import get
from styleloom.runs.directory import RunDirectory
from styleloom.snapshot import write_snapshot

SMALL = ("resolution=16", "generator.features.max=8", "discriminator.features.max=8", "precision=fp32")
"""With `z_dim` and `w_dim` of the preset, which cost little."""

KINDS: dict[str, tuple[str, ...]] = {
    "stylegan2": ("demo", "generator.z_dim=16", "generator.w_dim=16"),
    "labels": ("demo", "label_dim=3"),
    "rectangular": ("demo", "generator.grid=3,4", "discriminator.grid=3,4"),
    "grey": ("demo", "channels=1"),
    "transparent": ("demo", "channels=4"),
    "progan": ("progan",),
    "traditional": ("stylegan-b",),
    "stylegan": ("stylegan-f",),
    "growing": ("stylegan2-d",),
    "msg-progan": ("msg-progan",),
    "msg-stylegan": ("msg-stylegan",),
}


def experiment(kind: str) -> Experiment:
    """A small experiment of that kind."""
    preset, *overrides = KINDS[kind]
    return apply_overrides(get(preset), [*SMALL, *overrides])


def generator(of: Experiment, seed: int = 0) -> StyleGenerator:
    """Its generator, whose noise is seen."""
    torch.manual_seed(seed)
    made = build_generator(of.generator)
    for name, t in made.state_dict().items():
        if name.endswith("strength"):
            t.fill_(0.3)
    return made


def snapshot(folder: Path, kind: str, seed: int = 0, name: str = "snapshot-000001") -> Path:
    """A snapshot file."""
    path = folder / f"{kind}-{seed}" / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_snapshot(path, generator(experiment(kind), seed), experiment(kind))
    return path


def run(folder: Path, kind: str, images_seen: Sequence[int], lines: Sequence[dict[str, Any]] = ()) -> Path:
    """A run directory with snapshots whose weights drift, and lines of statistics."""
    path = folder / f"run-{kind}"
    path.mkdir(parents=True)
    directory, of = RunDirectory(path), experiment(kind)
    directory.write_experiment(of, {"path": "none", "name": "none", "fingerprint": "0" * 64, "count": 1})
    g = generator(of)
    for seen in images_seen:
        directory.save_snapshot(g, of, {"images_seen": seen}, 0)
        with torch.no_grad():
            for p in g.synthesis_network.parameters():
                p.add_(torch.randn_like(p), alpha=0.05)
    for step, line in enumerate(lines):
        directory.stats.append({"step": step, "tick": step, **line})
    return path


def figure(capsys: Any, name: str, *words: object, out: Path) -> tuple[Tensor, dict[str, Any]]:
    """The picture, uint8 [3, H, W], and the record in it, of a figure that can be made."""
    given = ["figure", name, *map(str, words), "--out", str(out), "--device", "cpu", "--precision", "fp32"]
    assert main(given) == 0, capsys.readouterr().err
    capsys.readouterr()
    with Image.open(out) as image:
        pixels = torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1)
        return pixels, json.loads(image.text["styleloom"])  # type: ignore[attr-defined]


def refusal(capsys: Any, *words: object) -> str:
    """The message of a figure that is refused."""
    assert main(["figure", *map(str, words), "--device", "cpu"]) == 2, words
    *_, error = capsys.readouterr().err.splitlines()
    assert error.startswith("styleloom: error: ")
    return error
