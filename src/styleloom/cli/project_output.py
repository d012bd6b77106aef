"""The files of `project`: a folder for each target, and a sheet of all."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleloom.atomic import atomic_path
from styleloom.cli.paste_back import SUFFIX, PasteBack
from styleloom.cli.project_targets import SHEET, Target
from styleloom.cli.sheets import MAX_SHEET_PIXELS, check_free, chunks
from styleloom.data.reals import to_uint8
from styleloom.errors import UserError, shown
from styleloom.images import Sheet, save_png
from styleloom.latents import Latents, save_latents
from styleloom.metrics.reconstruction import psnr, ssim

LATENT = "projected.latent.safetensors"
RESULT = "result.json"

PASTED = ("projected", "tuned")
"""Pictures that are put into the photograph."""

NOT_ALWAYS = re.compile(
    r"step\d{4,}\.png|\w+-in-photograph\.png|tuned\.(png|safetensors|latent\.safetensors)"
)
"""Files of a target that another projection of it may not write."""


@dataclass
class TargetFolder:
    """What was found for one target, and where it is kept.

    Args:
        path: the folder.
        target: what was projected.
        settings: how, as JSON.
        in_sheet: whether pictures are kept for a sheet.
        paste: puts results into photographs.
        shown: these pictures in the order in which they were made, uint8 [C, H, W], by name.
    """

    path: Path
    target: Target
    settings: Mapping[str, Any]
    in_sheet: bool = True
    shown: dict[str, Tensor] = field(default_factory=dict)
    paste: PasteBack | None = None

    def clear(self, used: Sequence[Path | None]) -> None:
        """Remove what an earlier projection left and this one may not replace, but for the files `used`."""
        kept = [path.resolve() for path in used if path is not None]
        for path in self.path.glob("*"):
            if NOT_ALWAYS.fullmatch(path.name) and path.resolve() not in kept:
                path.unlink()

    def picture(self, name: str, image: Tensor, in_sheet: bool = True) -> Tensor:
        """Write NAME.png, [C, H, W] in [-1, 1], with all that is needed to make it again; uint8 [C, H, W]."""
        self.path.mkdir(parents=True, exist_ok=True)
        pixels = to_uint8(image).cpu()
        if in_sheet and self.in_sheet:
            self.shown[name] = pixels
        record = dict(self.settings) | self._record() | {"picture": name}
        save_png(self.path / f"{name}.png", pixels, chunks(record))
        if self.paste is not None and name in PASTED:
            place = self.target.record["face"]
            self.paste.write(self.path / f"{name}{SUFFIX}.png", place, pixels, chunks(record))
        return pixels

    def latent(self, file: str, latents: Latents) -> None:
        """Write a latent file with the record of its target."""
        document = {**latents.document, "images": [self._record()]}
        save_latents(self.path / file, replace(latents, document=document))

    def quality(self, pixels: Tensor) -> dict[str, float | None]:
        """PSNR, dB, and SSIM of a picture against the target; null for the PSNR of equal images."""
        pair = (pixels[None], to_uint8(self.target.image)[None])
        decibels = psnr(*pair).item()
        return {"psnr": decibels if math.isfinite(decibels) else None, "ssim": ssim(*pair).item()}

    def result(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Write result.json; what it says."""
        document = self._record() | dict(self.settings) | dict(found)
        with atomic_path(self.path / RESULT) as partial:
            partial.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n")
        return document

    def _record(self) -> dict[str, Any]:
        return {"target": self.target.record}


def sheet_fits(columns: int, targets: Sequence[Target]) -> bool:
    """Whether a sheet with a row for each target is no larger than sheets may be."""
    height, width = targets[0].image.shape[1:]
    return columns * len(targets) * height * width <= MAX_SHEET_PIXELS


def save_sheet(path: Path, folders: Sequence[TargetFolder], settings: Mapping[str, Any]) -> None:
    """A row for each target, with the pictures that all have."""
    names = [name for name in folders[0].shown if all(name in folder.shown for folder in folders)]
    sheet = Sheet(len(names), len(folders))
    for folder in folders:
        sheet.add(torch.stack([folder.shown[name] for name in names]))
    targets = [folder.target.record for folder in folders]
    save_png(path, sheet.pixels, chunks({**settings, "rows": targets, "columns": names}))


def check_results_free(out: Path, names: Sequence[str], overwrite: bool) -> None:
    """Raise UserError where something is in the way of the results."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out: {shown(out)} is a file; valid: a folder")
    check_free("out", [out / SHEET, *(out / name for name in names)], overwrite)
