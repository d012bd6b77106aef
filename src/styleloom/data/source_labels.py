"""Labels that a source has, or that are given for it."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

from styleloom.data.image_names import INDEX_NAME
from styleloom.data.index import is_index, parse_index
from styleloom.data.label_files import listed
from styleloom.data.labels import (
    Labels,
    labels_from_file,
    labels_from_folders,
    labels_from_index,
    match_labels,
)
from styleloom.data.sources import EMBEDDED_SETS, Source
from styleloom.errors import UserError, shown

logger = logging.getLogger(__name__)


def labels_of_source(source: Source, labels: str | None) -> Labels | None:
    """The labels that `BuildOptions.labels` asks for; None for none. Raises UserError."""
    names = [name for name in source.names if not name.endswith("/")]  # folders that cannot be listed
    if labels is None or not names:
        return None
    if labels == "folders":
        return labels_from_folders(names)
    if labels != "keep":
        return labels_from_file(Path(labels), names)
    return _kept(source, names)


def _kept(source: Source, names: list[str]) -> Labels:
    own = source.own_labels()
    if own is not None:
        missing = [name for name in names if name not in own.by_name]
        if missing:
            raise UserError(f"labels keep: {shown(source.path)}: {listed(missing)} without a label")
        return own
    origin = _origin(source)
    try:
        content = source.index()
    except OSError as error:
        raise UserError(f"labels keep: {origin} cannot be read: {error}") from error
    if content is None or source.index_name is None:
        raise UserError(
            f"labels keep: {shown(source.path)}, {source.kind}, has no labels; a folder or zip keeps them in "
            f"its {INDEX_NAME}, and there is no {origin}"
        )
    # dataset.json may lie in a folder of the source; its names are relative to that folder.
    folder = source.index_name.removesuffix(INDEX_NAME)
    below = [name.removeprefix(folder) for name in names]
    of = _of_archive if is_index(content) else labels_from_index
    kept = of(origin, content, below)
    if kept is None:
        raise UserError(f"labels keep: {origin} has no labels")
    return replace(kept, by_name={folder + name: label for name, label in kept.by_name.items()})


def _origin(source: Source) -> str:
    return f"{shown(source.path)}/{shown(source.index_name or INDEX_NAME)}"


def check_unused(source: Source) -> None:
    """Log a warning when the source has labels that are not asked for."""
    try:
        if source.own_labels() is not None:
            logger.warning(f"the labels of {shown(source.path)} are not used; --labels keep takes them")
            return
        content = source.index()
        fields = json.loads(content) if content is not None else None
    except (OSError, ValueError, RecursionError, UserError):
        return  # a file of that name that is something else
    if isinstance(fields, dict) and fields.get("labels"):
        embedded = EMBEDDED_SETS.get(source.name) == source.path
        where = f"of {source.name}" if embedded else f"in {_origin(source)}"
        logger.warning(f"the labels {where} are not used; --labels keep takes them")


def _of_archive(origin: str, content: bytes, names: list[str]) -> Labels | None:
    kept = parse_index(origin, content)
    if kept.labels is None:
        return None
    values = [list(label) if isinstance(label, tuple) else label for label in kept.labels]
    matched = match_labels(origin, list(zip(kept.files, values, strict=True)), names)
    # Classes without any image keep their place.
    return Labels(matched.by_name, kept.classes, kept.label_dim, matched.unknown)
