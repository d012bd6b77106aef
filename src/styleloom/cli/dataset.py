"""`styleloom dataset build`."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.progress import MofNCompleteColumn

from styleloom.cli.progress import counting
from styleloom.cli.report import print_json, say, tell
from styleloom.data.build import BuildOptions, BuildReport, Order, build_dataset
from styleloom.data.conversion import LIMIT_PIXELS, SQUARE, ConversionOptions, Crop, Filter
from styleloom.data.decoding import MAX_PIXELS
from styleloom.data.encodings import Format
from styleloom.data.faces.alignment import Align
from styleloom.data.index import Index
from styleloom.data.label_files import MAX_LISTED
from styleloom.data.sources import Source, SourceOptions, open_source
from styleloom.errors import UserError, quoted, shown


@dataclass
class DatasetBuild:
    """Convert images, wherever they are, to an archive for training."""

    src: tyro.conf.Positional[str]
    """Folder (searched recursively), zip or tar of images, shards (shard-{000..127}.tar), TFRecords, LMDB,
    Parquet, a folder of `datasets`, CIFAR, MNIST, a manifest (CSV, JSONL), videos, or an embedded set:
    portraits, emoji."""
    dest: tyro.conf.Positional[Path]
    """The archive to write; ends in .zip."""
    resolution: int
    """Side of the stored images in px: a power of two >= 4. With --grid: 4 is the grid, 8 twice that, ..."""
    grid: str = "4,4"
    """HEIGHT,WIDTH of the lowest level in px; 3,4 stores 512x384 px (width x height) at --resolution 512."""
    crop: Crop = "center"
    """center: largest central part. none: exact proportions only. pad: black bars. border: not resized, black
    around. stretch: the whole image, proportions not kept, as MSG-GAN. center-crop-wide: as StyleGAN2-ADA.
    lsun-car: as StyleGAN. celeba: 128x128 px of aligned CelebA images."""
    wide_height: int = 0
    """With center-crop-wide: height of the images on the black square in px; 0 for 3/4 of the resolution."""
    filter: Filter = "lanczos"
    """Resampling filter."""
    align: Align | None = None
    """Cut faces out of photographs as FFHQ (or CelebA-HQ) did: those of --landmarks, or those it finds."""
    landmarks: Path | None = None
    """With --align: JSON of FFHQ's form, or {name: points}, 68 or 5 points a face."""
    channels: int = 3
    """1 (grey), 3 (RGB) or 4 (RGBA)."""
    background: str = "white"
    """Colour under transparent pixels for 1 and 3 channels; none: drop the transparency."""
    labels: str | None = None
    """'folders' (one class per sub-folder), 'keep' (those that the source has, such as in a dataset.json), or
    a CSV or JSON file."""
    level: int = 0
    """Of TFRecords: side of the images to read, px; 0 for the highest level."""
    every: str = "0.5s"
    """Of videos: time from frame to frame, e.g. 0.5s, 2s or 1min."""
    column: str = ""
    """Of tables: the column with the images, where there are several."""
    order: Order = "shuffled"
    """shuffled: once, with a fixed seed. source: as the source has them."""
    max_images: int = 0
    """Store so many images, the first ones in the order above (with shuffled: drawn from all); 0 for all."""
    format: Format = "png"
    """How images are stored, all without loss: png; webp is smaller; raw is largest and read fastest."""
    skip_bad: bool = False
    """Leave bad files out and report them, instead of stopping."""
    upscale: bool = False
    """Accept images smaller than the resolution and enlarge them."""
    overwrite: bool = False
    """Replace DEST if it exists."""
    max_megapixels: float = MAX_PIXELS / 1e6
    """Refuse larger images, before they are decoded; decoding takes up to 20 bytes for each pixel."""
    workers: int = 0
    """Processes; 0 for one per core. The archive is the same, byte for byte."""
    json: bool = False
    """Print one JSON document instead of a report."""

    def run(self) -> int:
        """Build; report on stdout, warnings and progress on stderr. Returns 0. Raises UserError."""
        if self.dest.suffix.lower() != ".zip":
            raise UserError(f"{shown(self.dest)}: an archive's name ends in .zip")
        options = BuildOptions(
            conversion=ConversionOptions(
                resolution=self.resolution,
                crop=self.crop,
                filter=self.filter,
                channels=self.channels,
                background=self.background,
                upscale=self.upscale,
                grid=parse_grid(self.grid),
                max_pixels=_pixels(self.max_megapixels),
                wide_height=self.wide_height,
            ),
            labels=self.labels,
            order=self.order,
            skip_bad=self.skip_bad,
            workers=self.workers,
            overwrite=self.overwrite,
            max_images=self.max_images,
            format=self.format,
        )
        source = open_source(self.src, SourceOptions(self.level, _seconds(self.every), self.column))
        try:
            if self.align is not None:
                source = self._faces(source, self.align)
            elif self.landmarks is not None:
                raise UserError("--landmarks: is for --align")
            with counting("converting", MofNCompleteColumn()) as progress:
                report = build_dataset(source, self.dest, options, progress)
        finally:
            source.close()
        for remark in source.remarks:
            tell(remark)
        _warn_about(report)
        if self.json:
            print_json(_build_document(self.dest, report))
        else:
            say(f"wrote {shown(self.dest)}: {summary(report.index)}")
        return 0

    def _faces(self, source: Source, align: Align) -> Source:
        from styleloom.data.faces.aligned import FaceOptions, FaceSource  # late: SciPy takes time to import

        if self.grid != "4,4":
            raise UserError(f"--grid {self.grid}: faces are squares; valid: 4,4")
        options = FaceOptions(align, self.resolution, self.landmarks, self.upscale)
        with counting("looking for faces", MofNCompleteColumn()) as progress:
            return FaceSource(source, options, progress)


def _pixels(megapixels: float) -> int:
    if not 1 <= megapixels <= LIMIT_PIXELS / 1e6:
        raise UserError(f"--max-megapixels: {megapixels:g} is not valid; valid: 1 to {LIMIT_PIXELS // 10**6}")
    return round(megapixels * 1e6)


_UNITS = {"": 1.0, "s": 1.0, "ms": 0.001, "min": 60.0}


def _seconds(text: str) -> float:
    """A time such as 0.5s in seconds. Raises UserError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)\s*(s|ms|min|)", text.strip())
    if match is None or not float(match[1]):
        raise UserError(f"--every {quoted(text)}: valid: a time above 0, e.g. 0.5s, 500ms or 1min")
    return float(match[1]) * _UNITS[match[2]]


def parse_grid(text: str) -> tuple[int, int]:
    """`HEIGHT,WIDTH` as two numbers. Raises UserError."""
    try:
        height, width = (int(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"grid {quoted(text)}: valid: HEIGHT,WIDTH, e.g. 4,4 (square) or 3,4") from None
    return height, width


def _warn_about(report: BuildReport) -> None:
    if report.ignored:
        endings = ", ".join(f"{count} {shown(ending)}" for ending, count in sorted(report.ignored.items()))
        number = sum(report.ignored.values())
        tell(f"passed over {number} files that are not images: {endings}")
    if report.unknown_labels:
        names = ", ".join(map(shown, report.unknown_labels[:MAX_LISTED]))
        tell(f"{len(report.unknown_labels)} labels name no image of the source: {names}")
    if report.skipped:
        tell(f"skipped {len(report.skipped)} bad files:")
        for file in report.skipped:
            tell(f"  {shown(file.name)}: {file.reason}")


def summary(index: Index) -> str:
    """An archive in a line."""
    recipe = index.recipe
    height, width = recipe.size
    shape = "" if recipe.grid == SQUARE else f" (width x height; grid {text_of(recipe.grid)})"
    labels = f", label_dim {index.label_dim}" if index.label_dim else ", no labels"
    skipped = f", {recipe.num_skipped} bad files skipped" if recipe.num_skipped else ""
    return (
        f"{recipe.num_images} images, {width}x{height} px{shape}, "
        f"{recipe.channels} channel{'s' * (recipe.channels > 1)}{labels}{skipped}"
    )


def text_of(value: Any) -> str:
    """A field of a recipe as it is printed."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def index_document(index: Index) -> dict[str, Any]:
    """What an index says, as JSON."""
    return {
        "num_images": index.recipe.num_images,
        "resolution": index.recipe.resolution,
        "grid": list(index.recipe.grid),
        "size": list(index.recipe.size),
        "channels": index.recipe.channels,
        "label_dim": index.label_dim,
        "classes": None if index.classes is None else list(index.classes),
        "recipe": dataclasses.asdict(index.recipe),
    }


def _build_document(dest: Path, report: BuildReport) -> dict[str, Any]:
    return {
        "path": str(dest),
        **index_document(report.index),
        "skipped": [dataclasses.asdict(file) for file in report.skipped],
        "ignored": dict(sorted(report.ignored.items())),
        "unknown_labels": list(report.unknown_labels),
    }
