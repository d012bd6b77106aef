"""Images/s of the loader by number of worker threads, decoding PNG from an archive; and at a lower level, as
a growing run begins: in the first epoch, which decodes, and in later ones, which do not.

styleloom dataset build emoji emoji-256.zip --resolution 256 --upscale
python benchmarks/loader.py emoji-256.zip
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from styleloom.cli.report import print_json
from styleloom.data import ImageDataset, Loader, open_dataset
from styleloom.environment import describe_machine


@dataclass
class LoaderTime:
    """Time the loader."""

    archive: tyro.conf.Positional[Path]
    """What `styleloom dataset build` wrote."""
    workers: tuple[int, ...] = (0, 1, 2)
    """Threads to compare; 0 decodes in the caller."""
    batch: int = 32
    """Images at once."""
    batches: int = 24
    """How many to time."""
    level: int = 8
    """Nominal side of the lower level, px."""

    def run(self) -> dict[str, Any]:
        """Measure; the document that is printed."""
        torch.set_num_threads(1)
        dataset = open_dataset(self.archive)
        rates: dict[int, float] = {}
        for workers in self.workers:
            with Loader(dataset, seed=0, mirror=True, workers=workers) as loader:
                loader.next(self.batch)
                began = time.perf_counter()
                for _ in range(self.batches):
                    loader.next(self.batch)
                rates[workers] = self.batch * self.batches / (time.perf_counter() - began)
        return {
            "benchmark": "loader",
            "resolution": dataset.resolution,
            "machine": describe_machine(torch.device("cpu")),
            "images_per_sec": rates,
            "level": self.level,
            "level_images_per_sec": {workers: self.level_rates(dataset, workers) for workers in self.workers},
        }

    def level_rates(self, dataset: ImageDataset, workers: int) -> dict[str, float]:
        """Images/s of the lower level, none of which has been made before."""
        rates: dict[str, float] = {}
        batches = max(1, len(dataset) // self.batch)
        with Loader(dataset.at(self.level), seed=0, mirror=True, workers=workers) as loader:
            for epoch in ("first_epoch", "later_epochs"):
                began = time.perf_counter()
                for _ in range(batches):
                    loader.next(self.batch)
                rates[epoch] = self.batch * batches / (time.perf_counter() - began)
                loader.next(self.batch)  # the rest of the first epoch
        return rates


if __name__ == "__main__":
    print_json(tyro.cli(LoaderTime).run())
