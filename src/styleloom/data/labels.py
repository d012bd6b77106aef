"""Labels of images: one class each, or one vector each."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from styleloom.errors import UserError

Label: TypeAlias = "int | tuple[float, ...]"

MAX_LISTED = 50
"""How many names an error message lists before it gives a count of the rest."""


@dataclass(frozen=True)
class Labels:
    """Labels by image name: all of them classes, or all of them vectors of one length.

    Args:
        by_name: class index (>= 0) or vector for each image.
        classes: name of each class, where classes have names.
        label_dim: number of classes, or length of the vectors.
        unknown: names that the label file mentions and the source does not have.
    """

    by_name: Mapping[str, Label]
    classes: tuple[str, ...] | None
    label_dim: int
    unknown: tuple[str, ...] = ()


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
        raise UserError(f"labels folders: {_listed(loose)} not in a sub-folder, so without a class")
    classes = tuple(sorted({parts[shared] for parts in split.values()}))
    index = {name: position for position, name in enumerate(classes)}
    return Labels({name: index[parts[shared]] for name, parts in split.items()}, classes, len(classes))


def labels_from_file(path: Path, names: Sequence[str]) -> Labels:
    """Read labels from CSV or JSON.

    CSV: ``name,class`` or ``name,v1,v2,...``; a first row that starts with name, file or filename is a
        heading.
    JSON: an object ``{name: label}``, or ``{"labels": [[name, label], ...]}``. A label is a class index, a
    class name, or a list of numbers; all labels are of one kind. Class names are numbered in sorted order.
    Raises UserError for anything else, listing every image that has no label.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"labels {path}: cannot be read ({error}); valid: a CSV or JSON file, 'folders'"
        ) from error
    if path.suffix.lower() == ".csv":
        pairs = _csv_pairs(path, text)
    elif path.suffix.lower() == ".json":
        pairs = _json_pairs(path, text)
    else:
        raise UserError(f"labels {path}: unknown ending {path.suffix!r}; valid: .csv, .json, or 'folders'")
    return match_labels(str(path), pairs, names)


def match_labels(origin: str, pairs: Sequence[tuple[str, Any]], names: Sequence[str]) -> Labels:
    """Check that (name, label) `pairs` label every image in `names` once, and number the classes.

    `origin` is named in errors. Raises UserError.
    """
    twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if twice:
        raise UserError(f"labels {origin}: {_listed(twice)} labelled more than once")
    given = dict(pairs)
    missing = [name for name in names if name not in given]
    if missing:
        raise UserError(f"labels {origin}: {_listed(missing)} without a label")
    wanted = set(names)
    unknown = tuple(name for name in given if name not in wanted)
    kinds = {_kind(origin, name, given[name]) for name in names}
    if len(kinds) > 1:
        raise UserError(f"labels {origin}: mixes {' and '.join(sorted(kinds))}; use one kind for all images")
    if kinds == {"vectors"}:
        return _vectors(origin, {name: given[name] for name in names}, unknown)
    if kinds == {"class names"}:
        classes = tuple(sorted({given[name] for name in names}))
        index = {label: position for position, label in enumerate(classes)}
        return Labels({name: index[given[name]] for name in names}, classes, len(classes), unknown)
    label_dim = max(given[name] for name in names) + 1
    return Labels({name: given[name] for name in names}, None, label_dim, unknown)


def _vectors(origin: str, given: Mapping[str, Any], unknown: tuple[str, ...]) -> Labels:
    lengths = {len(vector) for vector in given.values()}
    if len(lengths) > 1 or 0 in lengths:
        raise UserError(f"labels {origin}: vectors have lengths {sorted(lengths)}; use one length >= 1")
    vectors = {name: tuple(float(value) for value in vector) for name, vector in given.items()}
    return Labels(vectors, None, lengths.pop(), unknown)


def _kind(origin: str, name: str, label: Any) -> str:
    if isinstance(label, int) and not isinstance(label, bool) and label >= 0:
        return "class indices"
    if isinstance(label, str) and label:
        return "class names"
    if isinstance(label, list) and all(map(_is_finite, label)):
        return "vectors"
    raise UserError(
        f"labels {origin}: {name}: label {label!r} is not a class index >= 0, a class name "
        "or a list of finite numbers"
    )


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _json_pairs(path: Path, text: str) -> list[tuple[str, Any]]:
    # Pairs, not a dictionary: a name that stands twice must not lose one of its labels unseen.
    try:
        content = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise UserError(f"labels {path}: not JSON ({error})") from error
    if isinstance(content, _Pairs) and len(content) == 1 and content[0][0] == "labels":
        rows = content[0][1]
        well_formed = isinstance(rows, list) and all(
            isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) for row in rows
        )
        if well_formed:
            return [(row[0], row[1]) for row in rows]
    elif isinstance(content, _Pairs):
        return list(content)
    raise UserError(f'labels {path}: expected {{name: label}} or {{"labels": [[name, label], ...]}}')


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with its order and its duplicates."""


def _csv_pairs(path: Path, text: str) -> list[tuple[str, Any]]:
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error as error:
        raise UserError(f"labels {path}: not CSV ({error})") from error
    if rows and rows[0][0].strip().lower() in ("name", "file", "filename"):
        rows = rows[1:]
    short = [row[0] for row in rows if len(row) < 2]
    if short:
        raise UserError(f"labels {path}: {_listed(short)} with no value in the row; expected name,class")
    cells = [[cell.strip() for cell in row[1:]] for row in rows]
    columns = {len(row) for row in cells}
    if columns == {1} and not all(_is_number(row[0]) for row in cells):
        return [(row[0], values[0]) for row, values in zip(rows, cells, strict=True)]
    if columns == {1} and all(row[0].isdecimal() for row in cells):
        return [(row[0], int(values[0])) for row, values in zip(rows, cells, strict=True)]
    wrong = [row[0] for row, values in zip(rows, cells, strict=True) if not all(map(_is_number, values))]
    if wrong:
        raise UserError(f"labels {path}: {_listed(wrong)} with values that are not numbers")
    return [(row[0], [float(value) for value in values]) for row, values in zip(rows, cells, strict=True)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _listed(names: Sequence[str]) -> str:
    """``"3 images (a.png, b.png, c.png)"``, cut at `MAX_LISTED`."""
    more = f", and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return f"{len(names)} image{'s' * (len(names) != 1)} ({', '.join(names[:MAX_LISTED])}{more})"
