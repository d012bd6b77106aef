"""Reading a whole archive and comparing it with what its index says."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from styleloom.data.archive_reader import open_archive
from styleloom.data.index import Index
from styleloom.errors import UserError


@dataclass(frozen=True)
class CheckReport:
    """What is in an archive.

    Args:
        index: what the archive says of itself.
        problems: what is wrong, one sentence each; empty when all is well.
        duplicates: groups of two or more images with equal pixels, by their names in the source. Not a
            problem.
        class_counts: images per class index; empty without classes.
    """

    index: Index
    problems: tuple[str, ...]
    duplicates: tuple[tuple[str, ...], ...]
    class_counts: dict[int, int]


def check_dataset(
    path_or_name: str | Path, progress: Callable[[int, int], None] | None = None
) -> CheckReport:
    """Decode every image and compare size, channels and pixels with the index.

    `progress` is told (done, total). Raises UserError when the archive cannot be opened at all.
    """
    reader = open_archive(path_or_name)
    index = reader.index
    problems: list[str] = []
    total = hashlib.sha256()
    by_content: dict[bytes, list[str]] = {}
    try:
        for position, source in enumerate(index.sources):
            try:
                pixels = reader.image(position).tobytes()
            except UserError as error:
                problems.append(str(error))
            else:
                total.update(pixels)
                by_content.setdefault(hashlib.sha256(pixels).digest(), []).append(source)
            if progress is not None:
                progress(position + 1, len(index.sources))
    finally:
        reader.close()
    if not problems and total.hexdigest() != index.pixels_sha256:
        problems.append(f"{path_or_name}: the pixels are not those of the index (pixels_sha256)")
    duplicates = tuple(tuple(names) for names in by_content.values() if len(names) > 1)
    classes = Counter(label for label in index.labels or () if isinstance(label, int))
    return CheckReport(index, tuple(problems), duplicates, dict(sorted(classes.items())))
