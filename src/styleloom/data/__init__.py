"""Images on disk to batches of reals: sources, archives, data sets, loader.

In the order in which to read, first from a folder of images to an archive:

- sources: every kind of source, as named images
- image_names: which of these files are images, and which one is an index
- paths: whether a path is a file, a folder or something that cannot be read
- decoding: an image file to pixels, or the reason why not
- png: damage in PNG files that Pillow does not notice
- jpeg: the same for JPEG
- tiff: which TIFF files Pillow reads correctly
- conversion: pixels to one size and number of channels
- labels: classes or vectors by image name
- label_files: CSV and JSON files of labels
- source_labels: the labels of a source: from its folders, its index or a file
- build: `build_dataset`, a source to an archive
- workers: work in other processes
- unfinished: a build on its way, which goes on when it was killed
- stored_zip: zips of plain entries
- zip_directory: the directory of a zip, however long, at once
- encodings: PNG, WebP and bare numbers
- archive: the archive: image files and an index in a zip
- index: the index of an archive
- findings: copies, blanks, odd shapes among images, and advice
- check: `check_dataset`, an archive against its index; `check_source`, any source
- faces: faces of photographs

Then from an archive to batches:

- reader: `ImageReader`, what any place of images has to provide; subsets and lower levels
- archive_reader: images of an archive
- ada_reader: images of a data set of StyleGAN2-ADA's tools
- dataset: `ImageDataset`, a reader with memory, held-out part and levels; `open_dataset`
- memory: decoded images that stay in memory
- pixels: arrays of pixels, and means of blocks
- loader: `Loader`, batches in an order that depends on the seed alone
- reals: range, pyramid and fade of real images on their way to D
"""

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
    """Import the loader on first use only: it needs torch, which takes seconds to import."""
    if name in ("Batch", "Loader"):
        from styleloom.data import loader

        return getattr(loader, name)
    raise AttributeError(f"module 'styleloom.data' has no attribute {name!r}")
