"""`styleloom generate`: images from a snapshot."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from styleloom.cli.report import print_json, say
from styleloom.config.parts import MAX_LATENT_SEED, NoiseMode
from styleloom.errors import UserError, note, shown

if TYPE_CHECKING:
    from torch import Tensor

    from styleloom.networks.assembly import Truncation

MAX_IMAGES = 1_000_000


@dataclass
class Generate:
    """Generate images from a snapshot."""

    snapshot: tyro.conf.Positional[str]
    """A snapshot-*.safetensors, a run directory (its best snapshot, else the newest), or an embedded model:
    emoji-64."""
    seeds: str = "0-15"
    """Seeds: 0-63, or 1,5,9, or both mixed. One image each."""
    truncation: str = "1"
    """psi: 1 is the full variety, 0 the average image; or one value per layer, separated by commas."""
    truncation_layers: int | None = None
    """Truncate the first so many layers only."""
    grid: str | None = None
    """COLUMNSxROWS: one picture with all images, instead of one file each."""
    out: Path = Path("generated")
    """Folder for the images; with --grid the PNG file."""
    classes: str | None = None
    """Class of a generator trained with labels: one number, or one per image, separated by commas."""
    noise: NoiseMode = "random"
    """random: drawn from each seed. fixed: the maps stored with the network. none."""
    device: str = "auto"
    """auto, cpu, cuda, mps."""
    precision: Literal["auto", "fp32", "bf16", "tf32"] = "auto"
    """Of the convolutions."""
    batch: int | None = None
    """Images at once; it changes speed and memory, never an image."""
    json: bool = False
    """Print one JSON document."""

    def run(self) -> int:
        """Write the images; 0."""
        seeds = parse_seeds(self.seeds)
        truncation = parse_truncation(self.truncation)
        classes = None if self.classes is None else [_integer("classes", c) for c in self.classes.split(",")]
        shape = None if self.grid is None else _grid(self.grid)
        if shape is not None and shape[0] * shape[1] < len(seeds):
            raise UserError(f"--grid: {self.grid} has no room for {len(seeds)} seeds")
        if self.batch is not None and self.batch < 1:
            raise UserError(f"--batch: {self.batch} is not valid, at least 1")
        if shape is None and self.out.exists() and not self.out.is_dir():
            raise UserError(f"--out: {self.out} is a file; give a folder, or --grid COLUMNSxROWS")
        from styleloom import sampling  # late: torch takes seconds to import
        from styleloom.data.reals import to_uint8

        sampler = sampling.load(self.snapshot, self.device, self.precision)
        if sampler.growth is not None:
            height, width = sampler.size
            note(
                f"a snapshot from the middle of growing: images of {height} x {width} px, "
                f"level {sampler.growth.level}, alpha {sampler.growth.alpha:g}"
            )
        one_class = classes[0] if classes is not None and len(classes) == 1 else classes
        batches = sampler.batches(
            seeds, truncation, self.truncation_layers, one_class, self.noise, self.batch
        )
        files = self._write(map(to_uint8, batches), seeds, shape)
        if self.json:
            print_json({"snapshot": str(self.snapshot), "seeds": seeds, "files": [str(f) for f in files]})
        else:
            say(f"{len(seeds)} images in {shown(files[0] if len(files) == 1 else self.out)}")
        return 0

    def _write(
        self, batches: Iterable[Tensor], seeds: list[int], shape: tuple[int, int] | None
    ) -> list[Path]:
        """One picture, when all images are there; or one file each, as they come."""
        import torch

        from styleloom import sampling

        if shape is not None:
            file = self.out if self.out.suffix.lower() == ".png" else self.out / "grid.png"
            sampling.save_png(file, sampling.grid(torch.cat(list(batches)), shape[0]))
            return [file]
        files = [self.out / f"seed{seed:04d}.png" for seed in seeds]
        for file, image in zip(files, itertools.chain.from_iterable(batches), strict=True):
            sampling.save_png(file, image)
        return files


def parse_seeds(text: str) -> list[int]:
    """ "0-3,7" to [0, 1, 2, 3, 7]."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise UserError(f"--seeds: {part!r} is not valid; examples: 0-63, or 1,5,9")
        span = range(int(first), int(last if dash else first) + 1)
        if span[-1] > MAX_LATENT_SEED:
            raise UserError(f"--seeds: {part!r} is not valid; the largest seed is {MAX_LATENT_SEED}")
        if span[-1] - span[0] >= MAX_IMAGES - len(seeds):
            raise UserError(f"--seeds: {text!r} is not valid; at most {MAX_IMAGES} images at a time")
        seeds += span
    return seeds


def parse_truncation(text: str) -> Truncation:
    """ "0.7" to a number, "1,1,0.5" to a list."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        raise UserError(f"--truncation: {text!r} is not valid; a number, or one per layer: 1,1,0.7,...")
    return values[0] if len(values) == 1 else values


def _integer(field: str, text: str) -> int:
    if not text.strip().isdecimal():
        raise UserError(f"--{field}: {text!r} is not valid; a whole number, or one per image: 0,1,...")
    return int(text)


def _grid(text: str) -> tuple[int, int]:
    columns, _, rows = text.partition("x")
    if not (columns.isdecimal() and rows.isdecimal() and int(columns) and int(rows)):
        raise UserError(f"--grid: {text!r} is not valid; COLUMNSxROWS, for example 8x8")
    return int(columns), int(rows)
