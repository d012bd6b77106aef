"""Images on disk to batches of reals: sources, archives, data sets, loader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from styleloom.data.build import BuildOptions, BuildReport, build_dataset
from styleloom.data.check import CheckReport, check_dataset
from styleloom.data.conversion import ConversionOptions
from styleloom.data.dataset import ImageDataset, open_dataset
from styleloom.data.reader import ImageInfo, ImageReader
from styleloom.data.sources import open_source

if TYPE_CHECKING:
    from styleloom.data.loader import Batch, Loader

__all__ = [
    "Batch",
    "BuildOptions",
    "BuildReport",
    "CheckReport",
    "ConversionOptions",
    "ImageDataset",
    "ImageInfo",
    "ImageReader",
    "Loader",
    "build_dataset",
    "check_dataset",
    "open_dataset",
    "open_source",
]


def __getattr__(name: str) -> Any:
    """What loads batches needs torch, which takes seconds to import: on first use only."""
    if name in ("Batch", "Loader"):
        from styleloom.data import loader

        return getattr(loader, name)
    raise AttributeError(f"module 'styleloom.data' has no attribute {name!r}")
