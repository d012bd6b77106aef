"""Reading the data sets of StyleGAN2-ADA's and StyleGAN3's tools as they are, without a build.

A zip or folder of images of one size, with a `dataset.json` at its top: `{"labels": [[name, label], ...]}`,
or null. Images are in the order of their names; integer labels are classes, as many as the largest says.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from styleloom.data.conversion import all_pixels, validate_resolution
from styleloom.data.decoding import BadImageError
from styleloom.data.image_names import INDEX_NAME
from styleloom.data.index import is_index
from styleloom.data.labels import Label, Labels, label_rows, labels_from_index
from styleloom.data.pixels import PixelArray
from styleloom.data.reader import ImageInfo, ImageReader
from styleloom.data.sources import Source, opened
from styleloom.data.sources.folder import FolderSource
from styleloom.data.sources.zip_file import ZipSource
from styleloom.data.zip_directory import stored_file
from styleloom.errors import UserError, shown


def ada_source(path: Path) -> Source | None:
    """The images at `path`, if it is a zip or folder with a `dataset.json` of these tools at its top."""
    try:
        if os.path.isdir(path):
            if not os.path.isfile(path / INDEX_NAME):
                return None
            source: Source = FolderSource(path)
        elif os.path.isfile(path):
            known = stored_file(path, INDEX_NAME)
            if known is not None and is_index(known):
                return None
            source = ZipSource(path)
        else:
            return None
    except UserError:
        return None
    try:
        content = source.index() if source.index_name == INDEX_NAME else None
    except OSError as error:
        raise UserError(f"{shown(path)}/{INDEX_NAME} cannot be read: {error}") from error
    if content is None or is_index(content) or not _has_labels(content):
        source.close()
        return None
    return source


def _has_labels(content: bytes) -> bool:
    """Whether a `dataset.json` is of these tools: it says something, or null, of labels and has no format."""
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(fields, dict) and "labels" in fields and "format" not in fields


class ADAReader(ImageReader):
    """Images and labels of such a data set.

    Its identity is a hash of names, sizes and `dataset.json`; of a zip, of the checksums of its files too.

    Raises UserError: an image without a label, sides that are no powers of two, images of two or more bands.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.names = tuple(sorted(source.names))
        content = source.index() or b""
        labels = labels_from_index(f"{shown(source.path)}/{INDEX_NAME}", content, self.names)
        self._labels = None if labels is None else tuple(labels.by_name[name] for name in self.names)
        first = self._decoded(0)
        channels, height, width = first.shape
        if channels == 2:
            raise UserError(f"{self._called(0)}: grey with transparency; valid: grey, RGB or RGBA")
        if height != width:
            raise UserError(f"{self._called(0)}: {width}x{height} px; such a data set has squares")
        validate_resolution(width)
        self.info = ImageInfo(
            name=source.path.resolve().stem,
            path=os.path.abspath(source.path),
            identity=(self._identity(content),),
            resolution=width,
            channels=channels,
            recipe={"source": source.name, "resolution": width, "num_images": len(self.names)},
            **_label_fields(labels, self._labels),
        )

    def __len__(self) -> int:
        return len(self.names)

    def images(self, indices: NDArray[np.int64]) -> PixelArray:
        """A new array, uint8 [N, C, H, W]. Raises UserError naming the file."""
        pixels = np.empty((len(indices), self.info.channels, *self.info.size), np.uint8)
        for row, index in enumerate(indices):
            image = self._decoded(int(index))
            if image.shape != pixels.shape[1:]:
                raise UserError(
                    f"{self._called(int(index))}: {list(image.shape)} where the first image has "
                    f"{list(pixels.shape[1:])} (channels, height, width)"
                )
            pixels[row] = image
        return pixels

    def labels(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [N, label_dim]: one-hot for classes, the vector itself otherwise, empty without labels."""
        return label_rows(self._labels, indices, self.info.label_dim)

    def source_name(self, index: int) -> str:
        """Name of the file."""
        return self.names[index]

    def close(self) -> None:
        """Close the zip."""
        self.source.close()

    def _decoded(self, index: int) -> PixelArray:
        try:
            with opened(self.source, self.names[index]) as data:
                return all_pixels(data)
        except (OSError, BadImageError) as error:
            raise UserError(f"{self._called(index)}: {error}") from error

    def _called(self, index: int) -> str:
        return f"{shown(self.source.path)}: {shown(self.names[index])}"

    def _identity(self, content: bytes) -> str:
        total = hashlib.sha256(content)
        for name in self.names:
            total.update(f"{name}\0{self.source.stamp(name)}\n".encode("utf-8", "surrogateescape"))
        return total.hexdigest()


def _label_fields(labels: Labels | None, values: tuple[Label, ...] | None) -> dict[str, Any]:
    if labels is None or values is None:
        return {}
    return {
        "label_dim": labels.label_dim,
        "has_vectors": isinstance(values[0], tuple),
        "classes": labels.classes,
    }
