"""`styleloom generate`: images from a snapshot."""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

import styleloom
from styleloom.cli.report import print_json, say
from styleloom.cli.sheets import check_free, check_sheet, chunks, parse_grid
from styleloom.cli.wanted_images import (
    KeptImages,
    WantedImages,
    one_or_each,
    parse_labels,
    parse_numbered,
    parse_seeds,
    parse_whole,
    refuse_given,
)
from styleloom.config.experiment import Precision
from styleloom.config.parts import NoiseMode, Rng
from styleloom.errors import UserError, quoted, shown
from styleloom.snapshot_names import find_snapshot

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

OTHER_IMAGES = (".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""Endings that --out refuses, since it would make folders of these names."""


@dataclass
class Generate:
    """Generate images from a snapshot."""

    snapshot: tyro.conf.Positional[str | None] = None
    """A snapshot-*.safetensors, a run directory (its best snapshot, else the newest), a file of another code
    (*.pkl, *.pt, *.pth), hf://owner/name, or an embedded model: portraits-64. --from names its own."""
    start: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """Instead of seeds: a picture that says what it is made from (PNG), to be made again; or a link of
    `styleloom app`, or what follows the ? in it."""
    directions: tuple[Path, ...] = ()
    """Files of `styleloom directions`, for a link with edits; the models of the package have their own."""
    seeds: str | None = None
    """Seeds: 0-63, or 1,5,9, or both mixed; 0-15 by default. One image each. np:85 is numpy's seed 85."""
    rng: Rng = "torch"
    """What seeds without a prefix draw z from: our generator, or numpy's, as the authors' scripts do."""
    latents: tuple[Path, ...] = ()
    """Instead of seeds: files of latents (*.latent.safetensors), to be shown again."""
    save_latents: Path | None = None
    """Keep what the images are made from in this file (*.latent.safetensors)."""
    truncation: str = "1"
    """psi: 1 is the full variety, 0 the average image; or one value per layer, separated by commas."""
    truncation_layers: int | None = None
    """Truncate the first so many layers only."""
    grid: str | None = None
    """COLUMNSxROWS: one picture with all images, instead of one file each; free places are white."""
    out: Path = Path("generated")
    """Folder for the images; with --grid the PNG file."""
    overwrite: bool = False
    """Replace files that are there already."""
    classes: str | None = None
    """Class of a generator trained with labels: one number, or one per image, separated by commas."""
    label: str | None = None
    """Instead of a class: the label's numbers, separated by commas, or a text file with a line per image."""
    noise: NoiseMode = "random"
    """random: drawn from each seed. fixed: the maps stored with the network. none."""
    noise_seed: str | None = None
    """Noise from these seeds instead: one, or one per image. With one seed or latent, an image each."""
    device: str = "auto"
    """auto, cpu, cuda, mps."""
    precision: Precision = "auto"
    """Arithmetic of the convolutions."""
    batch: int | None = None
    """Images that are held in memory before they are written. It does not change the images."""
    json: bool = False
    """Print one JSON document."""

    def run(self) -> int:
        """Write the images; 0."""
        if self.start is not None:
            from styleloom.cli.generate_from import again

            return again(self)
        if self.snapshot is None:
            raise UserError("generate: no snapshot given; a file, a run directory, an embedded model")
        if self.directions:
            raise UserError("--directions: valid with --from alone; see `styleloom edit`")
        if self.noise_seed is not None and self.noise != "random":
            raise UserError(f"--noise-seed: not valid with --noise {self.noise}, which draws none")
        wanted = self._kept() if self.latents else self._wanted()
        count = len(wanted)
        shape = None if self.grid is None else parse_grid(self.grid)
        if shape is not None and shape[0] * shape[1] < count:
            raise UserError(f"--grid: {self.grid} has no room for {count} {wanted.kind}")
        if self.batch is not None and self.batch < 1:
            raise UserError(f"--batch: {self.batch} is not valid, at least 1")
        path = find_snapshot(self.snapshot)
        files = self._files(wanted, shape)
        from styleloom import latents, sampling  # late: torch takes seconds to import

        if self.save_latents is not None:
            latents.check_latent_name(self.save_latents)
            check_free("save-latents", [self.save_latents], self.overwrite)
        sampler = sampling.load(path, self.device, self.precision)
        if shape is not None:
            check_sheet("grid", shape[0] * shape[1], sampler.size)
        if sampler.growth is not None:
            height, width = sampler.size
            logger.info(
                f"a snapshot from the middle of growing: images of {height} x {width} px, "
                f"level {sampler.growth.level}, alpha {sampler.growth.alpha:g}"
            )
        batches = wanted.images(sampler, self.batch)
        if self.save_latents is not None:
            latents.save_latents(self.save_latents, wanted.latents(sampler))
        settings = {
            "snapshot": self.snapshot if path.name == "snapshot.safetensors" else path.name,
            "snapshot_sha256": sampler.snapshot_sha256,
            **wanted.settings,
            "styleloom": styleloom.__version__,
        }
        self._write(batches, wanted, files, shape, settings)
        if self.json:
            images = [wanted.record(i) for i in range(count)]
            seeds = {} if isinstance(wanted, KeptImages) else {"seeds": wanted.seeds}
            heads = {"snapshot": self.snapshot, **seeds, "files": [str(f) for f in files]}
            print_json(settings | heads | {"images": images})
        else:
            say(f"{count} images in {shown(files[0] if len(files) == 1 else self.out)}")
        return 0

    def _wanted(self) -> WantedImages:
        """Seeds, classes, labels and seeds of noise, as many of each. Raises UserError."""
        if self.classes is not None and self.label is not None:
            raise UserError(f"--classes: {quoted(self.classes)} is not valid with --label; give one of them")
        seeds, rngs = parse_numbered("0-15" if self.seeds is None else self.seeds, self.rng)
        given: dict[str, list[Any]] = {"seeds": list(zip(seeds, rngs, strict=True))}
        if self.classes is not None:
            given["classes"] = [parse_whole("classes", c) for c in self.classes.split(",")]
        if self.label is not None:
            given["label"] = parse_labels(self.label)
        if self.noise_seed is not None:
            given["noise-seed"] = parse_seeds(self.noise_seed, "noise-seed")
        each = one_or_each(given)
        return WantedImages(
            [seed for seed, _ in each["seeds"]],
            [rng for _, rng in each["seeds"]],
            each.get("classes"),
            each.get("label"),
            each.get("noise-seed"),
            self.noise,
            self.truncation,
            self.truncation_layers,
        )

    def _kept(self) -> KeptImages:
        """The images of --latents. Raises UserError for flags that have no meaning with them."""
        own = ("seeds", "rng", "truncation", "truncation_layers", "classes", "label")
        refuse_given(self, own, "with --latents, which have their own")
        seeds = None if self.noise_seed is None else parse_seeds(self.noise_seed, "noise-seed")
        return KeptImages(self.latents, self.noise, seeds)

    def _files(self, wanted: WantedImages | KeptImages, shape: tuple[int, int] | None) -> list[Path]:
        """Where the images go. Raises UserError where something is in the way."""
        suffix, is_folder = self.out.suffix.lower(), self.out.is_dir()
        if not is_folder and (suffix in OTHER_IMAGES or (shape is None and suffix == ".png")):
            where = (
                "a name that ends with .png" if shape else "a folder, or --grid COLUMNSxROWS for one picture"
            )
            raise UserError(
                f"--out: {shown(self.out)} is not valid, images are written as PNG; valid: {where}"
            )
        if shape is not None and suffix == ".png" and not is_folder:
            files = [self.out]
        elif self.out.exists() and not is_folder:
            raise UserError(f"--out: {shown(self.out)} is a file; give a folder, or --grid COLUMNSxROWS")
        elif shape is not None:
            files = [self.out / "grid.png"]
        else:
            files = [self.out / f"{name}.png" for name in _names(wanted)]
        check_free("out", files, self.overwrite)
        others = set(self.out.glob("*.png")) - set(files) if shape is None and is_folder else set()
        if others:
            logger.info(
                f"{shown(self.out)} holds {len(others)} other PNG files, beside which these are written"
            )
        return files

    def _write(
        self,
        batches: Iterable[Tensor],
        wanted: WantedImages | KeptImages,
        files: Sequence[Path],
        shape: tuple[int, int] | None,
        settings: dict[str, Any],
    ) -> None:
        """One picture, when all images are there; or one file each, as they come."""
        from styleloom.cli.progress import EvaluationProgress
        from styleloom.data.reals import to_uint8
        from styleloom.images import Sheet, save_png

        count = len(wanted)
        sheet = None if shape is None else Sheet(*shape)
        done = itertools.count()
        with EvaluationProgress() as progress:
            progress("images", 0, count)
            for batch in batches:
                images = to_uint8(batch)
                if sheet is not None:
                    sheet.add(images)
                for image, at in zip(images, done, strict=False):
                    if sheet is None:
                        save_png(files[at], image, chunks(settings | wanted.record(at)))
                    progress("images", at + 1, count)
        if sheet is not None:
            records = [wanted.record(i) for i in range(count)]
            save_png(files[0], sheet.pixels, chunks(settings | {"images": records}))


def _names(wanted: WantedImages | KeptImages) -> list[str]:
    """File names of all images; equal ones get a number."""
    seen: Counter[str] = Counter()
    names = []
    for name in map(wanted.name, range(len(wanted))):
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return names
