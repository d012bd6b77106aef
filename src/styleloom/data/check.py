"""Reading all of an archive, and comparing it with what its index says; or all of another source."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from styleloom.data.archive_reader import open_archive
from styleloom.data.conversion import all_pixels
from styleloom.data.decoding import BadImageError, quiet
from styleloom.data.findings import Findings, Look
from styleloom.data.index import Index
from styleloom.data.labels import Labels
from styleloom.data.pixels import PixelArray
from styleloom.data.source_labels import labels_of_source
from styleloom.data.sources import Source, opened, why_bad
from styleloom.data.workers import in_turn
from styleloom.errors import UserError, shown

Progress = Callable[[int, int], None]

_AHEAD = 16  # decoded images that wait for their turn


@dataclass(frozen=True)
class CheckReport:
    """What is in an archive.

    Args:
        index: what the archive says of itself.
        problems: what is wrong, one sentence each; empty when all is well.
        class_counts: images per class index; empty without classes.
        findings: what else there is to know of its images.
    """

    index: Index
    problems: tuple[str, ...]
    class_counts: dict[int, int]
    findings: Findings

    @property
    def duplicates(self) -> tuple[tuple[str, ...], ...]:
        """Groups of two or more images with equal pixels, by their names in the source. Not a problem."""
        return self.findings.duplicates


@dataclass(frozen=True)
class SourceReport:
    """What is in a source that is no archive.

    Args:
        kind: what it is, in words.
        number: of images.
        problems: what is wrong, one sentence each.
        labels: those that the source has.
        class_counts: images per class index; empty without classes.
        ignored: files that were passed over, by ending.
        remarks: what else was left out.
        findings: of the images that can be read.
    """

    kind: str
    number: int
    problems: tuple[str, ...]
    labels: Labels | None
    class_counts: dict[int, int]
    ignored: Counter[str]
    remarks: tuple[str, ...]
    findings: Findings


def check_dataset(path_or_name: str | Path, progress: Progress | None = None) -> CheckReport:
    """Decode every image of an archive and compare size, channels and pixels with the index.

    `progress` is told (done, total). Raises UserError when the archive cannot be opened at all.
    """
    reader = open_archive(path_or_name)
    index = reader.index
    problems: list[str] = []
    total = hashlib.sha256()
    look = Look(len(index.sources))
    try:
        for position, source in enumerate(index.sources):
            try:
                pixels = reader.image(position)
            except UserError as error:
                problems.append(str(error))
            else:
                total.update(pixels.tobytes())
                look.add(source, pixels)
            if progress is not None:
                progress(position + 1, len(index.sources))
    finally:
        reader.close()
    if not problems and total.hexdigest() != index.pixels_sha256:
        problems.append(f"{path_or_name}: the pixels are not those of the index (pixels_sha256)")
    classes = Counter(label for label in index.labels or () if isinstance(label, int))
    return CheckReport(index, tuple(problems), dict(sorted(classes.items())), look.findings())


def check_source(source: Source, progress: Progress | None = None) -> SourceReport:
    """Decode every image of any source, and read its labels. `progress` is told (done, total)."""
    look = Look(len(source.names))
    problems: list[str] = []
    labels: Labels | None = None
    try:
        has_labels = source.own_labels() is not None or _says_labels(source)
        labels = labels_of_source(source, "keep") if has_labels else None
    except UserError as error:
        problems.append(str(error))
    for done, (name, result) in enumerate(_decoded(source), start=1):
        if isinstance(result, str):
            problems.append(f"{shown(name)}: {result}")
        else:
            look.add(name, result)
        if progress is not None:
            progress(done, len(source.names))
    values = labels.by_name.values() if labels is not None else ()
    classes = Counter(label for label in values if isinstance(label, int))
    return SourceReport(
        source.kind,
        len(source.names),
        tuple(problems),
        labels,
        dict(sorted(classes.items())),
        source.ignored,
        tuple(source.remarks),
        look.findings(),
    )


def _says_labels(source: Source) -> bool:
    """Whether there is a `dataset.json` with labels, as far as its text tells."""
    try:
        content = source.index()
    except OSError as error:
        raise UserError(f"{shown(source.path)}: {shown(source.index_name)}: {error}") from error
    text = b"" if content is None else content.replace(b" ", b"").replace(b"\n", b"")
    return b'"labels":' in text and b'"labels":null' not in text


def _decoded(source: Source) -> Iterator[tuple[str, PixelArray | str]]:
    """Pixels of each image, or what is wrong with it, in order; decoded on a few threads, few at a time."""

    def decode(name: str) -> PixelArray | str:
        try:
            with opened(source, name) as data:
                return all_pixels(data)
        except (OSError, BadImageError) as error:
            return why_bad(error)

    with quiet(), ThreadPoolExecutor(2) as pool:
        yield from zip(source.names, in_turn(pool, decode, source.names, _AHEAD), strict=True)
