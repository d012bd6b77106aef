"""The pictures of `styleloom demo`: sheets, a sheet for a blind look with its key, and a strip from noise to
finish."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from styleloom.data.dataset import ImageDataset
from styleloom.data.reals import to_uint8
from styleloom.images import grid, save_png
from styleloom.runs.pictures import samples

if TYPE_CHECKING:
    from styleloom.sampling import Sampler
    from styleloom.training.trainer import Trainer

COLUMNS, ROWS = 12, 8
"""Images of a sheet."""

BLIND, BLIND_COLUMNS = 16, 8
"""Real and as many generated images of the sheet for a blind look."""

STRIP_SEEDS, MOMENTS = 8, 10
"""Rows and columns of the strip."""

ENLARGED_PX, FRAME_PX = 64, 4
"""Small images are shown larger, pixel by pixel, so that they can be seen; width of the key's frames."""


def make_pictures(folder: Path, sampler: Sampler, reals: ImageDataset, seed: int) -> dict[str, Path]:
    """Sheets of real images and of generated ones, saved in `folder`, by what they show."""
    count = COLUMNS * ROWS
    sheets = {"real images, held out": ("reals.png", first_images(reals, 0, count))}
    for psi in (1.0, 0.7):
        fakes = to_uint8(sampler.generate(range(count), psi))
        sheets[f"generated, truncation {psi:g}"] = (f"generated-psi-{psi:g}.png", fakes)
    made = {name: save_sheet(folder / file, images, COLUMNS) for name, (file, images) in sheets.items()}
    return made | blind_sheets(folder, sampler, reals, seed)


def blind_sheets(folder: Path, sampler: Sampler, reals: ImageDataset, seed: int) -> dict[str, Path]:
    """Real and generated images that no other sheet shows, shuffled; the same with the generated framed."""
    after = COLUMNS * ROWS
    shown = first_images(reals, max(min(after, len(reals) - BLIND), 0), BLIND)
    fakes = to_uint8(sampler.generate(range(after, after + BLIND))).cpu()
    order = torch.randperm(len(shown) + BLIND, generator=torch.Generator().manual_seed(seed))
    images = enlarged(torch.cat([shown, fakes])[order])
    key = images.clone()
    inner = (slice(None), slice(None), slice(FRAME_PX, -FRAME_PX), slice(FRAME_PX, -FRAME_PX))
    colour = torch.tensor([255, 0, 0, 255], dtype=torch.uint8)[: images.shape[1], None, None]
    key[order >= len(shown)] = colour
    key[inner] = images[inner]
    found = {
        f"blind look, {BLIND} of {len(images)} are generated": ("blind.png", images),
        "its key, the generated are framed": ("blind-key.png", key),
    }
    return {name: save_sheet(folder / file, made, BLIND_COLUMNS) for name, (file, made) in found.items()}


def first_images(dataset: ImageDataset, start: int, count: int) -> Tensor:
    """So many images of a data set, or as many as there are: uint8 [N, C, H, W]."""
    return torch.from_numpy(dataset.images(torch.arange(start, min(start + count, len(dataset))).numpy()))


def enlarged(images: Tensor) -> Tensor:
    """Images [N, C, H, W] of about `ENLARGED_PX`, each pixel repeated."""
    factor = max(ENLARGED_PX // images.shape[-1], 1)
    return images.cpu().repeat_interleave(factor, 2).repeat_interleave(factor, 3)


def save_sheet(path: Path, images: Tensor, columns: int) -> Path:
    """A grid of uint8 images [N, C, H, W], each enlarged."""
    save_png(path, grid(enlarged(images) if images.shape[-1] < ENLARGED_PX else images, columns))
    return path


class Strip:
    """The same seeds at moments of a training: a row for each seed, a column for each moment.

    Images are those of the EMA of the generator, without truncation. The first moment is the untrained
    network, the last the end; they lie closer together at the beginning, where a picture changes fastest:
    moment k of n is at (k / n)^2 of the minutes, or of the experiment's images where these end first. The
    picture is saved at every moment, so that it is there whatever ends the training.

    Args:
        path: of the picture.
        trainer: before its first step.
        minutes: that it will train.
    """

    def __init__(self, path: Path, trainer: Trainer, minutes: float) -> None:
        self.path, self.trainer, self.seconds = path, trainer, minutes * 60
        self.began = time.monotonic()
        self.columns: list[Tensor] = []
        self.images_seen: list[int] = []
        self.add()

    def __call__(self, line: dict[str, Any]) -> None:
        """Take what `fit` reports after a step."""
        if len(self.columns) < MOMENTS - 1 and self.share() >= (len(self.columns) / (MOMENTS - 1)) ** 2:
            self.add()

    def share(self) -> float:
        """How much of the training is over, 0 to 1."""
        total = self.trainer.experiment.total_kimg * 1000
        passed = (time.monotonic() - self.began) / max(self.seconds, 1e-9)
        return max(passed, self.trainer.images_seen / total)

    def add(self) -> None:
        """Add the present moment, unless the last is as old as it, and save the picture."""
        seen = self.trainer.images_seen
        if self.images_seen and self.images_seen[-1] == seen:
            return
        self.images_seen.append(seen)
        self.columns.append(samples(self.trainer.ema, self.trainer.experiment, STRIP_SEEDS))
        save_sheet(self.path, torch.stack(self.columns, 1).flatten(0, 1), len(self.columns))
