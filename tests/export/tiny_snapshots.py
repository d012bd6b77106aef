"""Generators of every family, small enough to export in seconds."""

from __future__ import annotations

from pathlib import Path

import torch

from styleloom.config import apply_overrides
from styleloom.networks.build import build_generator
from styleloom.presets import get
from styleloom.snapshot import Snapshot, read_snapshot, write_snapshot

SMALL = ("resolution=8", "generator.features.max=8", "discriminator.features.max=8", "generator.z_dim=16")
STYLES = ("generator.w_dim=16", "generator.mapping.layers=2", "generator.mapping.width=16")


def snapshot(folder: Path, preset: str, *overrides: str, images_seen: float | None = None) -> Snapshot:
    """One of `preset`, with weights that count, in a file."""
    styles = () if preset.startswith(("progan", "msg-progan")) else STYLES
    experiment = apply_overrides(get(preset), [*SMALL, *styles, *overrides])
    generator = build_generator(experiment.generator)
    with torch.no_grad():
        for name, t in generator.state_dict().items():
            if name.endswith(("strength", "bias", "w_avg")):
                t.normal_(std=0.3)
    path = folder / "tiny.safetensors"
    write_snapshot(
        path, generator, experiment, **({} if images_seen is None else {"images_seen": images_seen})
    )
    return read_snapshot(path)
