"""Images on disk to batches of reals: sources, archives, data sets, loader."""

from __future__ import annotations

from styleloom.data.build import BuildOptions, BuildReport, build_dataset
from styleloom.data.check import CheckReport, check_dataset
from styleloom.data.conversion import ConversionOptions
from styleloom.data.dataset import ImageDataset, open_dataset
from styleloom.data.loader import Batch, Loader
from styleloom.data.sources import open_source

__all__ = [
    "Batch",
    "BuildOptions",
    "BuildReport",
    "CheckReport",
    "ConversionOptions",
    "ImageDataset",
    "Loader",
    "build_dataset",
    "check_dataset",
    "open_dataset",
    "open_source",
]
