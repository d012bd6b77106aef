"""Building data sets from 1024 px JPEGs, by number of workers, beside one process that does what
StyleGAN2-ADA's tool does (Pillow, one image after the other, PNG without compression); then images/s of the
loader by format.

python benchmarks/dataset.py --images 120
"""

from __future__ import annotations

import io
import os
import resource
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from PIL import Image

from styleloom.cli.report import print_json
from styleloom.data import BuildOptions, ConversionOptions, Loader, build_dataset, open_dataset, open_source
from styleloom.data import build as build_module
from styleloom.data.encodings import ENCODINGS
from styleloom.environment import describe_machine

SOURCE_PX = 1024
SETS = {"FFHQ": 70_000, "LSUN Bedroom": 3_033_042}
"""Images of the sets that rates are extrapolated to."""


@dataclass
class DatasetTime:
    """Time builds, and loaders of what they made."""

    images: int = 120
    """JPEGs to convert."""
    resolutions: tuple[int, ...] = (256, 1024)
    """Sides of the results, px."""
    workers: tuple[int, ...] = (1, 2)
    """Processes to compare."""
    batches: int = 6
    """Batches of 8 to time of each loader."""

    def run(self) -> dict[str, Any]:
        """Measure; the document that is printed."""
        torch.set_num_threads(1)
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            write_photographs(root / "jpegs", self.images)
            rates = {side: self.builds(root, side) for side in self.resolutions}
            loaders = {side: self.loaders(root, side) for side in self.resolutions}
        return {
            "benchmark": "dataset",
            "machine": describe_machine(torch.device("cpu")),
            "load_average": os.getloadavg(),
            "images": self.images,
            "builds": rates,
            "loader_images_per_sec": loaders,
        }

    def builds(self, root: Path, side: int) -> dict[str, Any]:
        """Images/s of each way to one resolution, and hours for whole sets with the last one."""
        plain = rate(self.images, lambda: one_process(root / "jpegs", root / "plain.zip", side))
        found: dict[str, Any] = {"one process, Pillow": plain}
        for workers in self.workers:
            options = BuildOptions(ConversionOptions(side), workers=workers, overwrite=True)
            found[f"{workers} workers"] = rate(self.images, lambda options=options: build(root, options))
        last = found[f"{self.workers[-1]} workers"]["images_per_sec"]
        found["times as fast"] = last / plain["images_per_sec"]
        found["hours, extrapolated"] = {name: count / last / 3600 for name, count in SETS.items()}
        return found

    def loaders(self, root: Path, side: int) -> dict[str, float]:
        """Images/s of a loader that decodes in the caller, by format."""
        rates: dict[str, float] = {}
        for name in ENCODINGS:
            options = BuildOptions(ConversionOptions(side), format=name, overwrite=True)  # type: ignore[arg-type]
            build(root, options)
            with Loader(open_dataset(root / "x.zip"), seed=0, mirror=True) as loader:
                loader.next(8)
                began = time.perf_counter()
                for _ in range(self.batches):
                    loader.next(8)
                rates[name] = 8 * self.batches / (time.perf_counter() - began)
        return rates


def write_photographs(folder: Path, count: int) -> None:
    """JPEGs with structure at all scales, as photographs have it."""
    folder.mkdir()
    rng = np.random.RandomState(0)
    for i in range(count):
        pixels = np.full((SOURCE_PX, SOURCE_PX, 3), 128.0)
        for side in (4, 16, 64, 256):
            coarse = Image.fromarray(rng.randint(0, 256, (side, side, 3), np.uint8))
            smooth = coarse.resize((SOURCE_PX, SOURCE_PX), Image.Resampling.BICUBIC)
            pixels += (np.asarray(smooth) - 128.0) * (4 / side) ** 0.5
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i:05d}.jpg", quality=92)


def one_process(folder: Path, dest: Path, side: int) -> None:
    """Each file opened, cropped, resized and stored, in turn."""
    with zipfile.ZipFile(dest, "w", zipfile.ZIP_STORED) as archive:
        for i, path in enumerate(sorted(folder.iterdir())):
            with Image.open(path) as opened:
                pixels = np.array(opened)
            crop = min(pixels.shape[:2])
            top, left = (pixels.shape[0] - crop) // 2, (pixels.shape[1] - crop) // 2
            image = Image.fromarray(pixels[top : top + crop, left : left + crop])
            image = image.resize((side, side), Image.Resampling.LANCZOS)
            buffer = io.BytesIO()
            image.save(buffer, "png", compress_level=0, optimize=False)
            archive.writestr(f"{i:08d}.png", buffer.getbuffer())


def build(root: Path, options: BuildOptions) -> None:
    """Ours."""
    source = open_source(root / "jpegs")
    build_dataset(source, root / "x.zip", options)
    source.close()


def rate(images: int, work: Callable[[], None]) -> dict[str, float]:
    """Images/s by the clock, and seconds of processors for each, those of other processes included."""
    before, began = processor_seconds(), time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    used = processor_seconds() - before
    return {"images_per_sec": images / seconds, "processor_sec_per_image": used / images}


def processor_seconds() -> float:
    """Of this process and of those that it waited for."""
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


if __name__ == "__main__":
    build_module._WORTH_PROCESSES = 1  # processes are what is timed, however few images there are
    print_json(tyro.cli(DatasetTime).run())
