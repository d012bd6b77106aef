"""Making an archive from a source of images."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from styleloom.config.checks import check_choices
from styleloom.data.archive import ArchiveWriter
from styleloom.data.conversion import ConversionOptions, convert_image
from styleloom.data.decoding import BadImageError, quiet
from styleloom.data.encodings import ENCODINGS, Format
from styleloom.data.faces.aligned import FaceSource
from styleloom.data.index import Index, Recipe, content_digest, source_hash, tool_version
from styleloom.data.label_files import MAX_LISTED
from styleloom.data.labels import Labels
from styleloom.data.pixels import PixelArray
from styleloom.data.source_labels import check_unused, labels_of_source
from styleloom.data.sources import Source, ZipSource, opened, why_bad
from styleloom.data.sources.folder import FolderSource
from styleloom.data.unfinished import Line, Unfinished
from styleloom.data.workers import in_order, in_turn
from styleloom.errors import UserError, shown

logger = logging.getLogger(__name__)

Order: TypeAlias = Literal["shuffled", "source"]

SHUFFLE_SEED = 123

_WORTH_PROCESSES = 500  # images from which on processes are worth their start

_PENDING_BYTES = 2**29  # of converted images that wait for their turn to be stored


@dataclass(frozen=True)
class BuildOptions:
    """How to make an archive.

    Args:
        conversion: what to do with each image.
        labels: None; `folders`; `keep` (those of the source's dataset.json); or a CSV / JSON file.
        order: `shuffled`, once with seed 123 as the StyleGAN tools do; or `source`, the source's own order.
        skip_bad: leave bad files out and report them, instead of refusing.
        workers: processes, or threads for few images; 0 for one per core. They change no byte.
        overwrite: replace an existing destination.
        max_images: store so many and end, the first ones in `order`; 0 for all.
        format: how images are stored, none with any loss: `png`, `webp` (smaller), `raw` (bare numbers).
    """

    conversion: ConversionOptions
    labels: str | None = None
    order: Order = "shuffled"
    skip_bad: bool = False
    workers: int = 0
    overwrite: bool = False
    max_images: int = 0
    format: Format = "png"

    def __post_init__(self) -> None:
        check_choices(self)
        if self.workers < 0:
            raise UserError(f"workers {self.workers}: valid: 0 (one per core) or more")
        if self.max_images < 0:
            raise UserError(f"max_images {self.max_images}: valid: 0 (all) or more")


@dataclass(frozen=True)
class BadFile:
    """A file of the source that cannot be used, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class BuildReport:
    """What was made.

    Args:
        index: the index stored.
        skipped: bad files left out.
        ignored: how many files without an image ending were passed over, by ending.
        unknown_labels: names in the label file that the source does not have.
    """

    index: Index
    skipped: tuple[BadFile, ...] = ()
    ignored: Counter[str] = field(default_factory=Counter)
    unknown_labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Converted:
    name: str
    digest: bytes  # sha256 of the file; zeros when it could not be read
    result: tuple[bytes, PixelArray] | BadFile


def build_dataset(
    source: Source,
    dest: Path | str,
    options: BuildOptions,
    progress: Callable[[int, int], None] | None = None,
    encode: Callable[[PixelArray], bytes] | None = None,
) -> BuildReport:
    """Convert every image of `source` and store them at `dest`, whole or not at all.

    The same source, options and library versions give the same bytes. `progress` is told (done, total) after
    every image; `encode` turns pixels into a PNG file. Raises UserError: `dest` exists; labels missing; all
    bad files in one message (unless `options.skip_bad`); nothing left to store.
    """
    dest = Path(dest)
    encoding = ENCODINGS[options.format]
    own_encode, encode = encode is not None, encode or encoding.encode
    _check_destination(source, dest, options.overwrite)
    labels = labels_of_source(source, options.labels)
    if options.labels is None:
        check_unused(source)
    names = _in_order(source, options)
    wanted = options.max_images or len(names)
    if not options.skip_bad:  # with it, later images take the places of bad ones
        names = names[:wanted]
    with Unfinished(dest, _key(source, names, options, encode)) as kept, contextlib.ExitStack() as stack:
        writer = ArchiveWriter(kept.file, encoding)
        digests, bad = _gone_on(kept, writer, options)
        before = len(digests)
        # Closed explicitly, so that an interruption stops the threads before the partial file is removed.
        items = stack.enter_context(
            contextlib.closing(_converted(source, names[before:], options, encode, own_encode))
        )
        for done, item in enumerate(items, start=before + 1):
            if len(writer.files) == wanted:
                break
            digests[item.name] = item.digest
            if isinstance(item.result, BadFile):
                bad.append(item.result)
                kept.note(Line(item.name, item.digest, reason=item.result.reason))
            elif options.skip_bad or not bad:  # after a failure only the other failures matter
                writer.add(*item.result, item.name)
                kept.note(Line(item.name, item.digest, len(item.result[0])))
            if progress is not None:
                progress(done, min(len(names), wanted + len(bad)))
            if len(writer.files) == wanted:
                break
        bad.sort(key=lambda file: file.name)
        if bad and not options.skip_bad:
            raise UserError(describe_bad(bad, len(names)))
        if not writer.files:
            raise UserError(f"{describe_bad(bad, len(names))}\nno image is left to store")
        index = _index(writer, source, _recipe(source, options, digests, len(bad), len(writer.files)), labels)
        writer.finish(index)
    return BuildReport(index, tuple(bad), source.ignored, labels.unknown if labels else ())


def _key(
    source: Source, names: Sequence[str], options: BuildOptions, encode: Callable[[PixelArray], bytes]
) -> str:
    """What the entries of an archive follow from, apart from the contents of the source."""
    listed = hashlib.sha256("\n".join(names).encode("utf-8", "surrogatepass")).hexdigest()
    place = (source.kind, os.path.abspath(source.path), source.settings(), listed)
    own = (*place, options.conversion, options.skip_bad, options.format)
    return hashlib.sha256(repr((*own, encode.__qualname__, tool_version())).encode()).hexdigest()


def _gone_on(
    kept: Unfinished, writer: ArchiveWriter, options: BuildOptions
) -> tuple[dict[str, bytes], list[BadFile]]:
    """Take over what a killed process left, as far as it is whole: digests of images, and bad ones."""
    shape = (options.conversion.channels, *options.conversion.size)
    digests: dict[str, bytes] = {}
    bad: list[BadFile] = []
    for line in kept.lines:
        if line.reason:
            bad.append(BadFile(line.name, line.reason))
        elif not writer.again(line.size, line.name, shape):
            break
        digests[line.name] = line.digest
    if digests:
        logger.info(f"goes on after {len(digests):,} images that a build that was killed had done")
    writer.cut()
    kept.keep(kept.lines[: len(digests)])
    return digests, bad


def _check_destination(source: Source, dest: Path, overwrite: bool) -> None:
    """Raise UserError where writing to `dest` would destroy the source, or a file unasked."""
    if source.holds(dest):
        raise UserError(
            f"{shown(dest)} is the source {shown(source.path)} or lies in it; choose another place"
        )
    if os.path.lexists(dest) and not overwrite:
        raise UserError(f"{shown(dest)} exists; choose another name or overwrite it with --overwrite")


def _in_order(source: Source, options: BuildOptions) -> list[str]:
    """Names of all images, in the order in which they are stored."""
    names = list(source.names)
    if options.order == "shuffled":
        names.sort()  # so that the order in which a zip or folder lists its files has no say
        np.random.RandomState(SHUFFLE_SEED).shuffle(names)
    return names


def describe_bad(bad: Sequence[BadFile], total: int) -> str:
    """All bad files with their reasons, one a line; beyond `MAX_LISTED` a count."""
    lines = [f"{len(bad)} of {total} images are bad; mend or remove them, or leave them out with --skip-bad:"]
    lines += [f"  {shown(file.name)}: {file.reason}" for file in bad[:MAX_LISTED]]
    if len(bad) > MAX_LISTED:
        lines.append(f"  ... and {len(bad) - MAX_LISTED} more")
    return "\n".join(lines)


def _converted(
    source: Source,
    names: Sequence[str],
    options: BuildOptions,
    encode: Callable[[PixelArray], bytes],
    on_threads: bool,
) -> Generator[_Converted, None, None]:
    """Convert in several processes, yielding in the order of `names` and holding few images at a time.

    Few images are converted on threads instead: a process takes a second to start.
    """
    workers = options.workers or os.cpu_count() or 1
    height, width = options.conversion.size
    room = _PENDING_BYTES // (2 * options.conversion.channels * height * width)  # pixels, and their PNG file
    if workers > 1 and len(names) >= _WORTH_PROCESSES and not on_threads:
        work = partial(_convert_one, source, options=options.conversion, encode=encode)
        yield from in_order(work, names, workers, max(workers, room // 4))
        return
    most = max(1, min(4 * workers, room))
    with quiet(), ThreadPoolExecutor(workers) as pool:
        yield from in_turn(
            pool, lambda name: _convert_one(source, name, options.conversion, encode), names, most
        )


def _convert_one(
    source: Source, name: str, options: ConversionOptions, encode: Callable[[PixelArray], bytes]
) -> _Converted:
    digest = bytes(32)
    try:
        with opened(source, name) as data:
            digest = content_digest(data)
            pixels = convert_image(data, options)
    except (OSError, BadImageError) as error:
        return _Converted(name, digest, BadFile(name, why_bad(error)))
    return _Converted(name, digest, (encode(pixels), pixels))


def _recipe(
    source: Source, options: BuildOptions, digests: dict[str, bytes], num_skipped: int, num_images: int
) -> Recipe:
    conversion = options.conversion
    return Recipe(
        source=source.name,
        source_sha256=source_hash(digests),
        resolution=conversion.resolution,
        crop=conversion.crop,
        filter=conversion.filter,
        channels=conversion.channels,
        background=conversion.background,
        upscale=conversion.upscale,
        order=options.order,
        labels="none" if options.labels is None else Path(options.labels).name,
        num_images=num_images,
        num_skipped=num_skipped,
        tool_version=tool_version(),
        grid=conversion.grid,
        max_images=options.max_images,
        wide_height=conversion.wide_height,
        kind="" if isinstance(source, (FolderSource, ZipSource)) else source.kind,
        format=options.format,
        align=source.options.rule if isinstance(source, FaceSource) else "",
    )


def _index(writer: ArchiveWriter, source: Source, recipe: Recipe, labels: Labels | None) -> Index:
    """The index of what has been written."""
    files, sources = tuple(writer.files), tuple(writer.sources)
    faces = tuple(source.faces[name] for name in sources) if isinstance(source, FaceSource) else None
    if labels is None:
        return Index(recipe, writer.pixels_sha256, files, sources, faces=faces)
    values = tuple(labels.by_name[name] for name in sources)
    return Index(
        recipe, writer.pixels_sha256, files, sources, labels.label_dim, labels.classes, values, faces
    )
