"""The images that `styleloom evaluate` compares: archives, embedded sets, and files of any origin."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from styleloom.data.archive import is_archive
from styleloom.data.dataset import ImageDataset, open_dataset
from styleloom.data.sources import EMBEDDED_SETS, open_source
from styleloom.errors import UserError, shown
from styleloom.metrics.evaluation.image_sets import FileImages
from styleloom.metrics.evaluation.image_size import Resize
from styleloom.names import embedded_name
from styleloom.snapshot_names import is_run, names_weights

ComparedImages: TypeAlias = ImageDataset | FileImages


def open_pair(
    subject: str, data: str | None, resize: Resize | None
) -> tuple[ComparedImages, ComparedImages | None, Resize | None]:
    """The images that are measured, the images of --data, and the resizing that brings both to one size.

    With `resize` that is the size of --data. Without it sizes stay, except that an embedded set of --data has
    the size of the images that are measured.
    """
    if resize is None or data is None:
        source = open_images(subject, None, _channels(data), resize)
        channels, height, _ = _shape(source)
        return source, None if data is None else open_images(data, height, channels), resize
    theirs = open_images(data, None, _channels(subject), resize)
    channels, *size = _shape(theirs)
    resize = replace(resize, size=tuple(size))
    return open_images(subject, None, channels, resize), theirs, resize


def open_images(
    name: str, resolution: int | None, channels: int, resize: Resize | None = None
) -> ComparedImages:
    """An archive or embedded set, or files; an embedded set at `resolution` px."""
    if embedded_name(name, EMBEDDED_SETS) is not None:
        return open_dataset(name, resolution)
    run = is_run(Path(name))
    if run or names_weights(name):
        what = "a run directory" if run else "a snapshot"
        sets = ", ".join(EMBEDDED_SETS)
        raise UserError(
            f"--data: {shown(name)} is {what}; valid: an archive, a folder or zip of images, {sets}"
        )
    return open_dataset(name) if is_archive(name) else FileImages(open_source(name), channels, resize)


def _shape(images: ComparedImages) -> tuple[int, int, int]:
    return (images.channels, *images.size) if isinstance(images, ImageDataset) else images.shape


def _channels(name: str | None) -> int:
    """Channels that files are read with: those of the archive they are compared with, else 3."""
    if name is None or not is_archive(name):
        return 3
    dataset = open_dataset(name)
    with contextlib.closing(dataset):
        return dataset.channels
