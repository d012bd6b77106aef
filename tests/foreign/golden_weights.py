"""The folder of recorded weight files that STYLELOOM_GOLDEN_WEIGHTS names: files, outputs, and our own."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from styleloom.foreign.reading import read_foreign, take_discriminator
from styleloom.layers.growing import repeat_to
from styleloom.snapshot import Snapshot, foreign_snapshot
from styleloom.types import GrowthState, Images

FOLDER = Path(os.environ.get("STYLELOOM_GOLDEN_WEIGHTS") or "/nonexistent")

needs_golden = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="STYLELOOM_GOLDEN_WEIGHTS names no folder of recorded weight files"
)

LIMIT = 2e-5
"""Of the largest absolute value of a recorded array."""


def manifest(name: str) -> list[dict[str, Any]]:
    """The cases of `hostile` or `twins`; none without the folder."""
    path = FOLDER / name / "manifest.json"
    return json.loads(path.read_text())["files"] if path.exists() else []


def recorded() -> list[str]:
    """Names of the weight files with recorded outputs."""
    ends = (".pkl", ".pt", ".pth")
    names = [path.name for path in sorted(FOLDER.glob("*")) if path.suffix in ends] if FOLDER.is_dir() else []
    return [name for name in names if outputs_of(FOLDER / name) is not None]


def outputs_of(path: Path) -> Path | None:
    """The recorded outputs of a file; those of a set of files have the name without what each is."""
    stem = re.sub(r"_GAN_(GEN|GEN_SHADOW|DIS)_\d+$", "", path.stem)
    found = path.parent / f"{stem}.npz"
    return found if found.exists() else None


def difference(ours: Tensor, theirs: np.ndarray[Any, Any]) -> float:
    """Largest difference, relative to the largest recorded value."""
    reference = torch.from_numpy(theirs).double()
    assert ours.shape == reference.shape, f"{list(ours.shape)} for {list(reference.shape)}"
    return float((ours.double() - reference).abs().max() / reference.abs().max())


class Recorded:
    """One file with its outputs."""

    def __init__(self, path: Path, outputs: Path) -> None:
        self.file = read_foreign(path)
        with np.load(outputs) as stored:
            self.arrays = {name: stored[name] for name in stored.files}
        if re.search(r"_GAN_GEN_\d", path.name):  # the generator in training, alone in its file
            own = {name: array for name, array in self.arrays.items() if name.startswith(("z", "G_"))}
            self.arrays = {name.removeprefix("G_"): array for name, array in own.items()}

    def tensor(self, name: str) -> Tensor | None:
        return torch.from_numpy(self.arrays[name]) if name in self.arrays else None

    def outputs(self) -> set[str]:
        """Names of all outputs of the networks that are in the file."""
        inputs = r"z|z_normalised|label|truncation_latent|D_images.*|D_labels"
        role = {"D": r"(lod[\d.]+_)?D_.*", "G": "[Gg]_.*"}
        there = {
            name: next((r for r, names in role.items() if re.fullmatch(names, name)), "G_ema")
            for name in self.arrays
            if not re.fullmatch(inputs, name)
        }
        return {name for name, network in there.items() if network in self.file.inside.networks}

    def differences(self) -> Iterator[tuple[str, float]]:
        """Every output that is compared, and its difference."""
        if "D" in self.file.inside.networks and len(self.file.inside.networks) == 1:
            yield from self._logits(None)
            return
        average = foreign_snapshot(self.file)
        yield from self._styles("", average)
        raw = foreign_snapshot(self.file, "raw") if "G" in self.file.inside.networks else None
        if raw is not None:
            yield from self._styles("G_", raw)
        for name, array in self.arrays.items():
            own = raw if name.startswith(("G_", "g_")) else average
            if own is not None and re.match(r"(G_|g_|mix_|lod[\d.]+_)?img(_|$)", name):
                yield name, difference(self._image(name, own), array)
        if "D" in self.file.inside.networks:
            yield from self._logits(average)

    def _styles(self, prefix: str, snapshot: Snapshot) -> Iterator[tuple[str, float]]:
        """w and its average, truncated and not; arrays hold a row for each layer that their code feeds."""
        generator = snapshot.generator
        if not prefix and "truncation_latent" in self.arrays:  # a mean of draws, of which files have none
            generator.w_avg.copy_(torch.from_numpy(self.arrays["truncation_latent"]).reshape(-1))
        z = self.tensor("z")
        assert z is not None
        ws = generator.mapping(z, self.tensor("label"))
        for name, theirs in self.arrays.items():
            match = re.fullmatch(rf"{prefix}(ws?|latents)(?:_psi([\d.]+))?(?:_cut(\d+))?", name)
            if match is not None:
                psi, layers = float(match[2] or 1), min(int(match[3] or 99), generator.num_ws)
                ours = generator.truncate(ws, psi, layers)
                ours = ours[:, 0] if match[1] == "w" else ours[:, : theirs.shape[1]]
                yield name, difference(ours, theirs)
            elif name == f"{prefix}w_avg":
                yield name, difference(generator.w_avg, theirs)

    def _image(self, name: str, snapshot: Snapshot) -> Tensor:
        """Ours for the image array `name`, at its size."""
        psi, layers, growth = 1.0, None, snapshot.growth
        if "default_truncation" in name:
            default = snapshot.info["origin"].get("truncation", {"psi": 1.0, "layers": None})
            psi, layers = default["psi"], default["layers"]
        if match := re.search(r"psi([\d.]+)", name):
            psi = float(match[1])
        if match := re.search(r"cut(\d+)", name):
            layers = int(match[1])
        if match := re.match(r"lod([\d.]+)", name):
            growth = state_at(float(match[1]), snapshot.experiment.resolution)
        z = self.tensor("z_normalised" if "znorm" in name else "z")
        assert z is not None
        count, label = len(self.arrays[name]), self.tensor("label")
        ws = snapshot.generator.mapping(z[:count], None if label is None else label[:count])
        num_ws = snapshot.generator.num_ws
        ws = snapshot.generator.truncate(ws, psi, None if layers is None else min(layers, num_ws))
        if match := re.match(r"mix_img_idx(\d+)", name):  # from that layer on, styles of z in reverse order
            other = snapshot.generator.mapping(z.flip(0)[:count])
            ws = torch.cat([ws[:, : int(match[1])], other[:, int(match[1]) :]], 1)
        noise = "none" if name.endswith("noise_none") else "fixed"
        images = snapshot.generator.synthesis(ws, growth, noise)
        return repeat_to(level_of(images, name), self.arrays[name].shape[2:])

    def _logits(self, snapshot: Snapshot | None) -> Iterator[tuple[str, float]]:
        discriminator = take_discriminator(self.file)
        single = self.tensor("D_images")
        names = [name for name in self.arrays if re.fullmatch(r"D_images_\d+", name)]
        sides = sorted(names, key=lambda name: int(name.rsplit("_", 1)[1]))
        label = self.tensor("D_labels")
        for name, theirs in self.arrays.items():
            match = re.fullmatch(r"(?:lod([\d.]+)_)?D_(label_)?logits(_first3)?", name)
            if match is None:
                continue
            count = 3 if match[3] else len(theirs)
            images: Images = tuple(torch.from_numpy(self.arrays[side])[:count] for side in sides)
            growth = None if snapshot is None else snapshot.growth
            if single is not None:
                assert snapshot is not None
                side = snapshot.experiment.resolution
                growth = growth if match[1] is None else state_at(float(match[1]), side)
                active = side if growth is None else 4 << growth.level
                images = F.avg_pool2d(single[:count], side // active)
            logits = discriminator(images, None if label is None else label[:count], growth)
            logits = logits.reshape(count, -1)
            yield name, difference(logits[:, 1:] if match[2] else logits[:, :1], theirs.reshape(count, -1))


def state_at(lod: float, resolution: int) -> GrowthState:
    """Where a network stands at a level of detail."""
    whole = math.floor(lod)
    return GrowthState(resolution.bit_length() - 3 - whole, 1 - (lod - whole))


def level_of(images: Images, name: str) -> Tensor:
    """The image that an array holds: of a pyramid, that of the side in its name, or the largest."""
    if isinstance(images, Tensor):
        return images
    side = re.search(r"_(\d+)$", name)
    return next((im for im in images if side and im.shape[-1] == int(side[1])), images[-1])
