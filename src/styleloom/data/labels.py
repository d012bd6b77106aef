"""Labels of images: one class each, or one vector each."""

from __future__ import annotations

import logging
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from styleloom.data.label_files import json_pairs, listed, read_pairs, some
from styleloom.errors import UserError, quoted, shown

logger = logging.getLogger(__name__)

Label: TypeAlias = "int | tuple[float, ...]"

MAX_LABEL_DIM = 2**16
"""Most classes, and longest vectors: networks hold a row of weights for each."""

_MAX_FLOAT32 = 3.4028234663852886e38  # labels are stored as float32 in memory


@dataclass(frozen=True)
class Labels:
    """Labels by image name: all of them classes, or all of them vectors of one length.

    Args:
        by_name: class index (>= 0) or vector for each image.
        classes: name of each class, or of each place of the vectors, where they have names.
        label_dim: number of classes, or length of the vectors.
        unknown: names that the label file mentions and the source does not have.
    """

    by_name: Mapping[str, Label]
    classes: tuple[str, ...] | None
    label_dim: int
    unknown: tuple[str, ...] = ()


def label_rows(
    labels: Sequence[Label] | None, indices: NDArray[np.int64], label_dim: int
) -> NDArray[np.float32]:
    """float32 [N, label_dim] of the images at `indices`: one-hot for classes, the vector itself otherwise."""
    rows = np.zeros((len(indices), label_dim), np.float32)
    if labels is None:
        return rows
    for row, index in zip(rows, indices, strict=True):
        label = labels[index]
        if isinstance(label, tuple):
            row[:] = label
        else:
            row[label] = 1
    return rows


def labels_from_folders(names: Sequence[str]) -> Labels:
    """The class of an image is the first folder of its name, below the folders that all images share.

    Class indices follow the sorted folder names. Raises UserError listing images outside any such folder, and
    when there is one class only.
    """
    split = {name: name.split("/") for name in names}
    shared = 0
    while len({tuple(parts[: shared + 1]) for parts in split.values()}) == 1 and all(
        len(parts) > shared + 1 for parts in split.values()
    ):
        shared += 1
    loose = [name for name, parts in split.items() if len(parts) <= shared + 1]
    if len(loose) == len(names):
        raise UserError("labels folders: no sub-folders to take classes from; give one folder per class")
    if loose:
        raise UserError(f"labels folders: {listed(loose)} not in a sub-folder, so without a class")
    classes = tuple(sorted({parts[shared] for parts in split.values()}))
    _check_dim("folders", len(classes))
    index = {name: position for position, name in enumerate(classes)}
    return Labels({name: index[parts[shared]] for name, parts in split.items()}, classes, len(classes))


def labels_from_file(path: Path, names: Sequence[str]) -> Labels:
    """Read labels from CSV or JSON.

    CSV: ``name,class`` or ``name,v1,v2,...``, with commas, semicolons or tabs. A first row is a heading if it
    starts with name, file or filename, or names no image and stands above numbers. It names the places of
    vectors.
    JSON: an object ``{name: label}``, or ``{"labels": [[name, label], ...]}``. A label is a class index, a
    class name, or a list of numbers; all labels are of one kind. Class names are numbered in sorted order.
    Names are those of the images, in any normal form of Unicode, with / or \\ between folders.
    Raises UserError for anything else, listing every image that has no label.
    """
    known = {same_name(name) for name in names}
    pairs, heading = read_pairs(path, lambda name: same_name(name) in known)
    labels = match_labels(shown(path), pairs, names)
    # The heading of a column of numbers names an attribute, which `styleloom train-classifiers` shows.
    columns = tuple(heading[1:])
    vectors = isinstance(next(iter(labels.by_name.values())), tuple)
    if vectors and len(columns) == len(set(columns) - {""}) == labels.label_dim:
        labels = replace(labels, classes=columns)
    return labels


def labels_from_index(origin: str, content: bytes, names: Sequence[str]) -> Labels | None:
    """Labels of a ``dataset.json`` as StyleGAN2-ADA's tools write it; None where it says that there are none.

    ``{"labels": [[name, class or vector], ...]}``, or null in place of the list. Raises UserError.
    """
    pairs = json_pairs(origin, content.decode("utf-8-sig", "surrogateescape").strip())
    return match_labels(origin, pairs, names) if pairs else None


def same_name(name: str) -> str:
    """`name` with composed letters (Unicode NFC) and / between folders: the same on every system."""
    name = name.replace("\\", "/")
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def match_labels(origin: str, pairs: Sequence[tuple[str, Any]], names: Sequence[str]) -> Labels:
    """Check that (name, label) `pairs` label every image in `names` once, and number the classes.

    `origin` is named in errors. Raises UserError.
    """
    given, unknown = _by_image(origin, pairs, names)
    missing = [name for name in names if name not in given]
    if missing:
        raise UserError(f"labels {origin}: {listed(missing)} without a label{_unmatched(missing, unknown)}")
    kinds = {_kind(origin, name, given[name]) for name in names}
    if len(kinds) > 1:
        raise UserError(f"labels {origin}: mixes {' and '.join(sorted(kinds))}; use one kind for all images")
    if kinds == {"vectors"}:
        return _vectors(origin, given, unknown)
    if kinds == {"class names"}:
        classes = tuple(sorted(set(given.values())))
        _check_dim(origin, len(classes))
        index = {label: position for position, label in enumerate(classes)}
        return Labels({name: index[given[name]] for name in names}, classes, len(classes), unknown)
    return _classes(origin, given, unknown)


def _by_image(
    origin: str, pairs: Sequence[tuple[str, Any]], names: Sequence[str]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Labels by the images' own names, and the names that match none."""
    twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if twice:
        raise UserError(f"labels {origin}: {listed(twice)} labelled more than once")
    # Exact names first: a source may hold two names that `same_name` cannot tell apart.
    exact, images = dict(pairs), set(names)
    given = {name: exact[name] for name in names if name in exact}
    rest = [(name, label) for name, label in pairs if name not in images]
    if not rest:
        return given, ()
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(same_name(name), []).append(name)
    unknown: list[str] = []
    for name, label in rest:
        found = alike.get(same_name(name), [])
        if len(found) != 1:
            unknown.append(name)
        elif found[0] in given:
            raise UserError(f"labels {origin}: {listed(found)} labelled more than once")
        else:
            given[found[0]] = label
    return given, tuple(unknown)


def _unmatched(missing: Sequence[str], unknown: Sequence[str]) -> str:
    """For a message: names of the label file that are no image, and which image one of them may mean."""
    if not unknown:
        return ""
    text = f"; names in it that are no image: {some(list(map(quoted, unknown)))}"
    for key in (_as_path, _last_part, _stem):
        by_key: dict[str, str] = {}
        for name in missing:
            by_key.setdefault(key(name), name)
        near = next((name for name in unknown if key(name) in by_key), None)
        if near is not None:
            return f"{text}; write {quoted(by_key[key(near)])} for {quoted(near)}"
    return text


def _as_path(name: str) -> str:
    return "/".join(part for part in same_name(name.strip()).casefold().split("/") if part not in ("", "."))


def _last_part(name: str) -> str:
    return _as_path(name).rpartition("/")[2]


def _stem(name: str) -> str:
    return _last_part(name).partition(".")[0]


def _classes(origin: str, given: Mapping[str, int], unknown: tuple[str, ...]) -> Labels:
    largest = max(given, key=lambda name: given[name])
    label_dim, used = given[largest] + 1, len(set(given.values()))
    if label_dim > MAX_LABEL_DIM:
        raise UserError(
            f"labels {origin}: {shown(largest)} is of class {quoted(given[largest])}; valid: 0 to "
            f"{MAX_LABEL_DIM - 1}. There are {used} different ones: number them from 0, or give names"
        )
    if used < label_dim:
        logger.warning(
            f"labels {origin}: {label_dim:,} classes, 0 to {label_dim - 1}, of which {used:,} have images; "
            "the others train nothing"
        )
    return Labels(given, None, label_dim, unknown)


def _vectors(origin: str, given: Mapping[str, Any], unknown: tuple[str, ...]) -> Labels:
    lengths = {len(vector) for vector in given.values()}
    if len(lengths) > 1 or 0 in lengths:
        raise UserError(f"labels {origin}: vectors have lengths {sorted(lengths)}; use one length >= 1")
    label_dim = lengths.pop()
    _check_dim(origin, label_dim)
    vectors = {name: tuple(float(value) for value in vector) for name, vector in given.items()}
    return Labels(vectors, None, label_dim, unknown)


def _check_dim(origin: str, label_dim: int) -> None:
    if label_dim > MAX_LABEL_DIM:
        raise UserError(
            f"labels {origin}: {label_dim:,} classes or numbers in a vector; valid: at most {MAX_LABEL_DIM:,}"
        )


def _kind(origin: str, name: str, label: Any) -> str:
    if isinstance(label, int) and not isinstance(label, bool) and label >= 0:
        return "class indices"
    if isinstance(label, str) and label:
        return "class names"
    if isinstance(label, list) and are_finite(label):
        return "vectors"
    raise UserError(
        f"labels {origin}: {shown(name)}: label {quoted(label)} is not a class index >= 0, a class name "
        "or a list of finite numbers"
    )


def are_finite(values: Iterable[Any]) -> bool:
    """Whether all are numbers, no booleans, that float32 can hold."""
    return all(
        isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _MAX_FLOAT32
        for value in values
    )
