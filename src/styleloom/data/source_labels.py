"""Labels that a source has, or that are given for it."""

from __future__ import annotations

import json
from pathlib import Path

from styleloom.data.index import is_index, parse_index
from styleloom.data.labels import (
    Labels,
    labels_from_file,
    labels_from_folders,
    labels_from_index,
    match_labels,
)
from styleloom.data.sources import INDEX_NAME, Source
from styleloom.errors import UserError, note, shown


def labels_of_source(source: Source, labels: str | None) -> Labels | None:
    """What `BuildOptions.labels` asks for. Raises UserError."""
    if labels is None:
        return None
    names = [name for name in source.names if not name.endswith("/")]  # folders that cannot be listed
    if labels == "folders":
        return labels_from_folders(names)
    if labels != "keep":
        return labels_from_file(Path(labels), names)
    origin = f"{shown(source.path)}/{INDEX_NAME}"
    try:
        content = source.index()
    except OSError as error:
        raise UserError(f"labels keep: {origin} cannot be read: {error}") from error
    if content is None:
        raise UserError(
            f"labels keep: takes the labels of the source's {INDEX_NAME}, and there is no {origin}"
        )
    kept = (
        _of_archive(origin, content, names)
        if is_index(content)
        else labels_from_index(origin, content, names)
    )
    if kept is None:
        raise UserError(f"labels keep: {origin} has no labels")
    return kept


def check_unused(source: Source) -> None:
    """Say so when the source has labels that are not asked for."""
    try:
        content = source.index()
        fields = json.loads(content) if content is not None else None
    except (OSError, ValueError, RecursionError):
        return  # a file of that name that is something else
    if isinstance(fields, dict) and fields.get("labels"):
        origin = f"{shown(source.path)}/{INDEX_NAME}"
        note(f"the labels in {origin} are not used; --labels keep takes them")


def _of_archive(origin: str, content: bytes, names: list[str]) -> Labels | None:
    kept = parse_index(origin, content)
    if kept.labels is None:
        return None
    values = [list(label) if isinstance(label, tuple) else label for label in kept.labels]
    matched = match_labels(origin, list(zip(kept.files, values, strict=True)), names)
    # Classes without any image keep their place.
    return Labels(matched.by_name, kept.classes, kept.label_dim, matched.unknown)
