"""`styleloom edit`: images along directions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

import styleloom
from styleloom.cli.report import print_json, say
from styleloom.cli.sheets import check_free, check_sheet, chunks
from styleloom.cli.wanted_images import parse_numbered, parse_seeds, parse_truncation, refuse_given
from styleloom.config.experiment import Precision
from styleloom.config.parts import NoiseMode, Rng
from styleloom.errors import UserError, quoted, shown
from styleloom.file_hash import sha256_of
from styleloom.snapshot_names import find_snapshot

if TYPE_CHECKING:
    from torch import Tensor

    from styleloom.directions.direction_set import Directions
    from styleloom.latents import Latents
    from styleloom.networks.assembly import Truncation
    from styleloom.sampling import Sampler

GAP_PX = 8
"""White between the blocks of two directions."""


@dataclass
class Edit:
    """Show images along directions: a row for each image, a column for each strength.

    Several directions give blocks, one below the other.
    """

    snapshot: tyro.conf.Positional[str]
    """A snapshot-*.safetensors, a run directory (its best snapshot, else the newest), a file of another code
    (*.pkl, *.pt, *.pth), hf://owner/name, or an embedded model: portraits-64."""
    directions: Path
    """The file that `styleloom directions` wrote."""
    direction: tuple[str, ...]
    """NAME=-3..3, or NAME=-2,0,2: strengths along each direction."""
    seeds: str | None = None
    """Seeds: 0-3, or 1,5,9; np:85 is numpy's. Default: 0-3, unless there are --latents."""
    latents: tuple[Path, ...] = ()
    """Latent files (*.latent.safetensors) instead of seeds."""
    layers: str | None = None
    """Style layers that move: 0-5, or 0,3,4. Default: those of the directions."""
    steps: int = 7
    """Strengths of LOW..HIGH."""
    unit: Literal["deviation", "length"] = "deviation"
    """What a strength of 1 is: a standard deviation of latents along the direction, or a step of length 1."""
    orthogonal_to: str | None = None
    """Move along what is left of each direction, orthogonal to these: names, separated by commas."""
    truncation: str = "1"
    """psi of the seeds: 1 is the full variety, 0 the average image; or one value per layer."""
    classes: int | None = None
    """Class of the seeds, for a generator trained with labels."""
    noise: NoiseMode = "random"
    """Of the seeds. random: drawn from each. fixed: the maps stored with the network. none."""
    out: Path = Path("edit.png")
    """The PNG file."""
    save: Path | None = None
    """Keep the edited latents too: NAME.latent.safetensors, row by row."""
    overwrite: bool = False
    """Replace files that are there already."""
    device: str = "auto"
    """auto, cpu, cuda, mps."""
    precision: Precision = "auto"
    """Arithmetic of the convolutions."""
    json: bool = False
    """Print one JSON document."""

    def run(self) -> int:
        """Write the sheet; 0."""
        if not self.direction:
            raise UserError("--direction: none given; NAME=-3..3")
        wanted = [parse_direction(text, self.steps) for text in self.direction]
        layers = None if self.layers is None else parse_seeds(self.layers, "layers")
        if self.latents:
            if self.seeds is not None:
                raise UserError("--seeds: not valid with --latents; one of them")
            refuse_given(self, ("truncation", "classes", "noise"), "with --latents, which have their own")
        numbered = parse_numbered("0-3" if self.seeds is None else self.seeds)
        psi = parse_truncation(self.truncation)
        self._check_files()
        path = find_snapshot(self.snapshot)
        from styleloom import sampling  # late: torch takes seconds to import
        from styleloom.directions.direction_set import load_directions
        from styleloom.directions.editing import edited
        from styleloom.images import save_png
        from styleloom.latents import join, save_latents

        found = load_directions(self.directions)
        sampler = sampling.load(path, self.device, self.precision)
        found.check_fits(sampler.generator, sampler.snapshot_sha256)
        others = [] if self.orthogonal_to is None else [o.strip() for o in self.orthogonal_to.split(",")]
        columns = max(len(strengths) for _, strengths in wanted)
        start = self._latents(sampler, numbered, psi, columns * len(wanted))
        blocks = []
        for name, strengths in wanted:
            own, used = (f"{name}|{','.join(others)}" if others else name), found
            if others and own not in found.names:
                used = found.conditional(name, others)
            blocks.append(edited(start, used, own, strengths, layers, self.unit))
        sheet = _sheet(sampler, blocks, [len(strengths) for _, strengths in wanted], columns)
        record = self._record(sampler, found, blocks)
        save_png(self.out, sheet, chunks(record))
        if self.save is not None:
            save_latents(self.save, join(blocks))
        if self.json:
            print_json({"file": str(self.out), **record})
        else:
            kept = "" if self.save is None else f", latents in {shown(self.save)}"
            say(f"{sum(map(len, blocks))} images in {shown(self.out)}{kept}")
        return 0

    def _check_files(self) -> None:
        """Raise UserError for names that cannot be written."""
        if self.out.suffix.lower() != ".png":
            raise UserError(f"--out: {shown(self.out)} is not valid; a name that ends with .png")
        for flag, file in (("out", self.out), ("save", self.save)):
            check_free(flag, [] if file is None else [file], self.overwrite)
        if self.save is not None:
            from styleloom.latents import check_latent_name

            check_latent_name(self.save)

    def _latents(
        self, sampler: Sampler, numbered: tuple[list[int], list[Rng]], psi: Truncation, each: int
    ) -> Latents:
        """Where the edits start: --latents, else the seeds; `each` has so many places in the sheet."""
        from styleloom.latents import load_fitting

        if self.latents:
            start = load_fitting(self.latents, sampler)
            check_sheet("steps", len(start) * each, sampler.size)
            return start
        seeds, rngs = numbered
        check_sheet("steps", len(seeds) * each, sampler.size)
        return sampler.latents(seeds, psi, classes=self.classes, noise=self.noise, rng=rngs)

    def _record(self, sampler: Sampler, found: Directions, blocks: list[Latents]) -> dict[str, Any]:
        """All that is needed to make the sheet again, as JSON."""
        return {
            "command": "edit",
            "snapshot_sha256": sampler.snapshot_sha256,
            "directions": self.directions.name,
            "directions_sha256": sha256_of(self.directions),
            "method": found.method,
            "direction": list(self.direction),
            "orthogonal_to": self.orthogonal_to,
            "unit": self.unit,
            "latents_sha256": {str(file): sha256_of(file) for file in self.latents},
            "images": [record for block in blocks for record in block.labelled_images()],
            "styleloom": styleloom.__version__,
        }


def _sheet(sampler: Sampler, blocks: list[Latents], widths: list[int], columns: int) -> Tensor:
    """Blocks one below the other: uint8 [C, H, W]; a block of fewer columns is filled up with white."""
    import torch
    from torch.nn.functional import pad

    from styleloom.cli.progress import EvaluationProgress
    from styleloom.images import Sheet

    sheets: list[Tensor] = []
    total, done, step = sum(map(len, blocks)), 0, sampler.images_per_pass
    width = sampler.size[1]
    with EvaluationProgress() as progress:
        for block, own in zip(blocks, widths, strict=True):
            sheet = Sheet(own, len(block) // own)
            for at in range(0, len(block), step):
                progress("images", done, total)
                sheet.add(sampler.render(block[at : at + step]).cpu())
                done += len(block[at : at + step])
            gap = GAP_PX if sheets else 0
            sheets.append(pad(sheet.pixels, (0, (columns - own) * width, gap, 0), value=255))
    return torch.cat(sheets, 1)


def parse_direction(text: str, steps: int) -> tuple[str, list[float]]:
    """ "smile=-3..3" to its name and `steps` strengths; "smile=-2,0,2" to these."""
    valid = "NAME=-3..3, or NAME=-2,0,2"
    name, equals, values = text.rpartition("=")
    if not equals or not name:
        raise UserError(f"--direction: {quoted(text)} is not valid; {valid}")
    if ".." not in values:
        return name, _finite("direction", values, ",", valid)
    low, high = parse_range("direction", values, valid)
    if steps < 2:
        raise UserError(f"--steps: {steps} is not valid; at least 2")
    return name, [low + (high - low) * at / (steps - 1) for at in range(steps)]


def parse_range(flag: str, text: str, valid: str = "-1..1") -> tuple[float, float]:
    """ "-3..3" to -3 and 3; `valid` is an example, for the message."""
    ends = _finite(flag, text, "..", valid)
    if len(ends) != 2:
        raise UserError(f"--{flag}: {quoted(text)} is not valid; {valid}")
    return ends[0], ends[1]


def _finite(flag: str, text: str, separator: str, valid: str) -> list[float]:
    """The numbers of a text."""
    try:
        numbers = [float(number) for number in text.split(separator)]
    except ValueError:
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise UserError(f"--{flag}: {quoted(text)} is not valid; {valid}")
    return numbers
