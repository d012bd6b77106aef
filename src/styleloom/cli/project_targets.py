"""Targets: images of files, folders and archives as the generator makes them, and of seeds."""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from styleloom.cli.paste_back import faces_of
from styleloom.data.archive import is_archive
from styleloom.data.conversion import ConversionOptions, convert_image, pixels_as_they_are, shape_as_it_is
from styleloom.data.decoding import BadImageError, quiet
from styleloom.data.image_names import IMAGE_SUFFIXES
from styleloom.data.paths import path_kind
from styleloom.data.pixels import ImageData
from styleloom.data.reals import to_signed
from styleloom.data.sources import EMBEDDED_SETS, open_source, opened
from styleloom.errors import UserError, shown
from styleloom.names import embedded_name

if TYPE_CHECKING:
    from styleloom.sampling import Sampler

logger = logging.getLogger(__name__)

CHANNELS = {1: "grey", 3: "RGB", 4: "RGBA"}

SHEET = "sheet.png"
"""The picture of all targets, beside their folders."""

MAX_NAME = 80
"""Longest name of a target's folder, in characters."""


@dataclass(frozen=True)
class Target:
    """An image to be projected.

    Args:
        name: of its folder.
        image: [C, H, W] in [-1, 1].
        record: where it comes from and what was done to it, as JSON.
    """

    name: str
    image: Tensor
    record: dict[str, Any]


def image_targets(given: Sequence[str], sampler: Sampler, count: int | None, exact: bool) -> Iterator[Target]:
    """The images of files, and the first `count` of each folder and archive, as the generator makes them.

    Images of another size are cropped to its proportions and resized, others are brought to its channels;
    with `exact` such images are refused. Raises UserError for what is no image, and where there is none.
    """
    changed: list[str] = []
    with quiet():
        for where, name, data, face in _files(given, count):
            try:
                target, change = _target(where, name, data, sampler)
                if face is not None:
                    target.record["face"] = face
            except BadImageError as error:
                raise UserError(f"{shown(where)}: {error}") from error
            if change and exact:
                raise UserError(f"--exact: {shown(where)} is {change}")
            changed += [f"{shown(where)} is {change}"] if change else []
            yield target
    if changed:
        more = f"; so are {len(changed) - 1} more" if len(changed) > 1 else ""
        logger.info(f"{changed[0]}: cropped in the middle, resized and converted{more}")


def _files(given: Sequence[str], count: int | None) -> Iterator[tuple[str, str, ImageData, Any]]:
    """What each image is called in messages, its own name, its file, and where a face was cut out."""
    for text in given:
        if embedded_name(text, EMBEDDED_SETS) is None:
            valid = "an image, a folder of images, a zip of images, or an embedded set"
            kind = path_kind(Path(text), "no such target", valid)
            if kind == "file" and Path(text).suffix.lower() in IMAGE_SUFFIXES:
                try:
                    yield text, Path(text).name, Path(text).read_bytes(), None
                except OSError as error:
                    raise UserError(f"cannot read {shown(text)}: {error.strerror or error}") from error
                continue
        faces = faces_of(text) if is_archive(text) else {}
        with contextlib.closing(open_source(text)) as source:
            for name in source.names[:count]:
                try:
                    with opened(source, name) as data:
                        yield f"{text}: {name}", name, data, faces.get(name)
                except OSError as error:
                    raise UserError(f"{shown(text)}: {shown(name)}: {error}") from error


def _target(where: str, name: str, data: ImageData, sampler: Sampler) -> tuple[Target, str | None]:
    """One image, and how it differs from those of the generator, in words; None where it does not."""
    generator = sampler.experiment.generator
    channels, size = generator.channels, sampler.size
    bands, *own = shape_as_it_is(data)
    change = None
    if tuple(own) != size or bands != channels:
        kinds = [CHANNELS.get(n, f"of {n} channels") for n in (bands, channels)]
        change = (
            f"{own[1]} x {own[0]} px, {kinds[0]}; the generator makes {size[1]} x {size[0]} px, {kinds[1]}"
        )
    if tuple(own) == size:
        pixels = pixels_as_they_are(data, channels)
    else:
        grid = (generator.grid[0], generator.grid[1])
        options = ConversionOptions(sampler.resolution, channels=channels, upscale=True, grid=grid)
        pixels = convert_image(data, options)
    record = {"image": where} | ({"changed": change} if change else {})
    return Target(PurePosixPath(name).stem, to_signed(torch.tensor(pixels)), record), change


def seed_targets(seeds: Sequence[int], rngs: Sequence[str], images: Tensor) -> list[Target]:
    """Images [N, C, H, W] of seeds, not rounded to 8 bits, as the authors' code projects them."""
    return [
        Target(f"seed{seed:04d}", image.cpu(), {"seed": seed, "rng": rng})
        for seed, rng, image in zip(seeds, rngs, images, strict=True)
    ]


def with_own_names(targets: Sequence[Target]) -> list[Target]:
    """The same targets under names that can be folders beside the sheet, each once."""
    taken = {SHEET}
    found = []
    for target in targets:
        plain = re.sub(r"[^\w.-]+", "-", target.name).strip(".-")[:MAX_NAME] or "target"
        numbered = (plain if i == 1 else f"{plain}-{i}" for i in itertools.count(1))
        name = next(name for name in numbered if name.lower() not in taken)
        taken.add(name.lower())
        found.append(Target(name, target.image, target.record))
    return found
