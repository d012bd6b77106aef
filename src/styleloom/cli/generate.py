"""`styleloom generate`: images from a snapshot."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

import styleloom
from styleloom.cli.report import print_json, say
from styleloom.config.experiment import Precision
from styleloom.config.parts import NoiseMode
from styleloom.config.seeds import MAX_IMAGE_SEED
from styleloom.errors import UserError, quoted, shown
from styleloom.snapshot_names import find_snapshot

if TYPE_CHECKING:
    from torch import Tensor

    from styleloom.networks.assembly import Truncation

logger = logging.getLogger(__name__)

MAX_IMAGES = 1_000_000

MAX_SHEET_PIXELS = 2**28
"""Most pixels of a grid: 16 x 16 images of 1024 x 1024 px."""

MAX_LABEL_TEXT_BYTES = 2**26
"""Longest file of labels."""

OTHER_IMAGES = (".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""Endings that --out refuses, since it would make folders of these names."""


@dataclass(frozen=True)
class WantedImages:
    """What each image is made from: lists with a value for each image, or None for what is not given."""

    seeds: list[int]
    classes: list[int] | None
    labels: list[list[float]] | None
    noise_seeds: list[int] | None

    def record(self, at: int) -> dict[str, Any]:
        """What the image at position `at` is made from, as JSON."""
        named = (("class", self.classes), ("label", self.labels), ("noise_seed", self.noise_seeds))
        given = {name: values[at] for name, values in named if values is not None}
        return {"seed": self.seeds[at], **given}


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
    """Noise from these seeds instead: one, or one per image. With one seed in --seeds, an image each."""
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
        wanted = self._wanted()
        count = len(wanted.seeds)
        truncation = parse_truncation(self.truncation)
        shape = None if self.grid is None else _grid(self.grid)
        if shape is not None and shape[0] * shape[1] < count:
            raise UserError(f"--grid: {self.grid} has no room for {count} seeds")
        if self.batch is not None and self.batch < 1:
            raise UserError(f"--batch: {self.batch} is not valid, at least 1")
        path = find_snapshot(self.snapshot)
        files = self._files(wanted, shape)
        from styleloom import sampling  # late: torch takes seconds to import
        from styleloom.features.weights import sha256_of

        sampler = sampling.load(path, self.device, self.precision)
        _check_sheet(self.grid, shape, sampler.size)
        if sampler.growth is not None:
            height, width = sampler.size
            logger.info(
                f"a snapshot from the middle of growing: images of {height} x {width} px, "
                f"level {sampler.growth.level}, alpha {sampler.growth.alpha:g}"
            )
        batches = sampler.batches(
            wanted.seeds,
            truncation,
            self.truncation_layers,
            wanted.classes,
            self.noise if wanted.noise_seeds is None else wanted.noise_seeds,
            self.batch,
            wanted.labels,
        )
        settings = {
            "snapshot": self.snapshot if path.name == "snapshot.safetensors" else path.name,
            "snapshot_sha256": sha256_of(path),
            "truncation": truncation,
            "truncation_layers": self.truncation_layers,
            "noise": self.noise,
            "styleloom": styleloom.__version__,
        }
        self._write(batches, wanted, files, shape, settings)
        if self.json:
            images = [wanted.record(i) for i in range(count)]
            heads = {"snapshot": self.snapshot, "seeds": wanted.seeds, "files": [str(f) for f in files]}
            print_json(settings | heads | {"images": images})
        else:
            say(f"{count} images in {shown(files[0] if len(files) == 1 else self.out)}")
        return 0

    def _wanted(self) -> WantedImages:
        """Seeds, classes, labels and seeds of noise, as many of each. Raises UserError."""
        if self.classes is not None and self.label is not None:
            raise UserError(f"--classes: {quoted(self.classes)} is not valid with --label; give one of them")
        if self.noise_seed is not None and self.noise != "random":
            raise UserError(f"--noise-seed: not valid with --noise {self.noise}, which draws none")
        given: dict[str, list[Any]] = {"seeds": parse_seeds(self.seeds)}
        if self.classes is not None:
            given["classes"] = [_integer("classes", c) for c in self.classes.split(",")]
        if self.label is not None:
            given["label"] = parse_labels(self.label)
        if self.noise_seed is not None:
            given["noise-seed"] = parse_seeds(self.noise_seed, "noise-seed")
        count = max(map(len, given.values()))
        for name, values in given.items():
            if len(values) not in (1, count):
                raise UserError(f"--{name}: {len(values)} values; one, or one for each of {count} images")
        each = {name: values * count if len(values) == 1 else values for name, values in given.items()}
        return WantedImages(each["seeds"], each.get("classes"), each.get("label"), each.get("noise-seed"))

    def _files(self, wanted: WantedImages, shape: tuple[int, int] | None) -> list[Path]:
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
            files = [self.out / f"{name}.png" for name in self._names(wanted)]
        there = [file for file in files if file.exists()]
        if there and not self.overwrite:
            more = f" and {len(there) - 1} more" if len(there) > 1 else ""
            raise UserError(
                f"--out: {shown(there[0])}{more}: there already; choose another --out, or replace them with "
                "--overwrite"
            )
        others = set(self.out.glob("*.png")) - set(files) if shape is None and is_folder else set()
        if others:
            logger.info(
                f"{shown(self.out)} holds {len(others)} other PNG files, beside which these are written"
            )
        return files

    def _names(self, wanted: WantedImages) -> list[str]:
        """File names, which say how each image differs from the others; equal names get a number."""
        common = "" if self.noise == "random" else f"-noise-{self.noise}"
        if self.truncation != "1":
            several = "," in self.truncation
            digest = hashlib.sha256(self.truncation.encode()).hexdigest()[:8]
            common += f"-psi{digest if several else f'{float(self.truncation):g}'}"
        if self.truncation_layers is not None:
            common += f"-first{self.truncation_layers}"
        seen: dict[str, int] = {}
        names = []
        for i, seed in enumerate(wanted.seeds):
            name = f"seed{seed:04d}"
            name += "" if wanted.classes is None else f"-class{wanted.classes[i]}"
            if wanted.labels is not None:
                name += f"-label{hashlib.sha256(repr(wanted.labels[i]).encode()).hexdigest()[:8]}"
            name += "" if wanted.noise_seeds is None else f"-noise{wanted.noise_seeds[i]}"
            name += common
            seen[name] = seen.get(name, 0) + 1
            names.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
        return names

    def _write(
        self,
        batches: Iterable[Tensor],
        wanted: WantedImages,
        files: Sequence[Path],
        shape: tuple[int, int] | None,
        settings: dict[str, Any],
    ) -> None:
        """One picture, when all images are there; or one file each, as they come."""
        from styleloom.cli.progress import EvaluationProgress
        from styleloom.data.reals import to_uint8
        from styleloom.images import Sheet, save_png

        count = len(wanted.seeds)
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
                        save_png(files[at], image, _chunks(settings | wanted.record(at)))
                    progress("images", at + 1, count)
        if sheet is not None:
            records = [wanted.record(i) for i in range(count)]
            save_png(files[0], sheet.pixels, _chunks(settings | {"images": records}))


def _chunks(record: dict[str, Any]) -> dict[str, str]:
    """Text chunks of a PNG file: all that is needed to make it again."""
    return {"Software": f"styleloom {styleloom.__version__}", "styleloom": json.dumps(record)}


def _check_sheet(text: str | None, shape: tuple[int, int] | None, size: tuple[int, int]) -> None:
    """Raise UserError for a grid that is too large to be one picture."""
    if shape is not None and shape[0] * shape[1] * size[0] * size[1] > MAX_SHEET_PIXELS:
        most = MAX_SHEET_PIXELS // (size[0] * size[1])
        raise UserError(
            f"--grid: {quoted(text)} is not valid, with images of {size[0]} x {size[1]} px; valid: at most "
            f"{most} places"
        )


def parse_labels(text: str) -> list[list[float]]:
    """ "0.1,0.9" to one label; the path of a text file to one for each line."""
    path = Path(text)
    lines = [text]
    try:
        if path.is_file():
            if path.stat().st_size > MAX_LABEL_TEXT_BYTES:
                raise UserError(f"--label: {shown(path)} has more than {MAX_LABEL_TEXT_BYTES:,} bytes")
            lines = path.read_text(encoding="utf-8").splitlines()
        labels = [[float(number) for number in line.split(",")] for line in lines if line.strip()]
    except (OSError, ValueError) as error:  # ValueError: also what is no UTF-8
        raise UserError(
            f"--label: {quoted(text)} is not valid; numbers separated by commas, or a file with a line of "
            f"them for each image ({quoted(str(error))})"
        ) from error
    if not labels or len({len(label) for label in labels}) != 1 or not _all_finite(labels):
        raise UserError(f"--label: {quoted(text)} is not valid; as many finite numbers in each line")
    return labels


def _all_finite(labels: list[list[float]]) -> bool:
    return all(map(math.isfinite, itertools.chain.from_iterable(labels)))


def parse_seeds(text: str, flag: str = "seeds") -> list[int]:
    """ "0-3,7" to [0, 1, 2, 3, 7]."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise UserError(f"--{flag}: {quoted(part)} is not valid; examples: 0-63, or 1,5,9")
        span = range(int(first), int(last if dash else first) + 1)
        if span[-1] > MAX_IMAGE_SEED:
            raise UserError(f"--{flag}: {quoted(part)} is not valid; the largest seed is {MAX_IMAGE_SEED}")
        if span[-1] - span[0] >= MAX_IMAGES - len(seeds):
            raise UserError(f"--{flag}: {quoted(text)} is not valid; at most {MAX_IMAGES} images at a time")
        seeds += span
    return seeds


def parse_truncation(text: str) -> Truncation:
    """ "0.7" to a number, "1,1,0.5" to a list."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        raise UserError(f"--truncation: {quoted(text)} is not valid; a number, or one per layer: 1,1,0.7,...")
    return values[0] if len(values) == 1 else values


def _integer(field: str, text: str) -> int:
    if not text.strip().isdecimal():
        raise UserError(f"--{field}: {quoted(text)} is not valid; a whole number, or one per image: 0,1,...")
    return int(text)


def _grid(text: str) -> tuple[int, int]:
    columns, _, rows = text.partition("x")
    if not (columns.isdecimal() and rows.isdecimal() and int(columns) and int(rows)):
        raise UserError(f"--grid: {quoted(text)} is not valid; COLUMNSxROWS, for example 8x8")
    return int(columns), int(rows)
