"""Label files, CSV and JSON, to pairs of name and label as they were written."""

from __future__ import annotations

import codecs
import csv
import io
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from styleloom.data.paths import path_kind
from styleloom.errors import UserError, quoted, shown

logger = logging.getLogger(__name__)

Pairs: TypeAlias = "list[tuple[str, Any]]"

MAX_LISTED = 50
"""How many names an error message lists before it gives a count of the rest."""

MAX_LABEL_BYTES = 2**30
"""Largest label file that is read."""

_HEADINGS = ("name", "file", "filename")
_SEPARATORS = (",", ";", "\t")
_EXPECTED = 'expected {name: label} or {"labels": [[name, label], ...]}'
_LONGEST_INDEX = 18  # digits; Python refuses to read numbers of thousands of digits


def read_pairs(path: Path, is_image: Callable[[str], bool]) -> tuple[Pairs, list[str]]:
    """(name, label) of each row of a label file, and the cells of a CSV's heading.

    A label is an int, a text or a list of numbers.

    Args:
        path: ends in .csv or .json.
        is_image: whether the source has an image of a name: the first row of a CSV whose name is none may be
            a heading.

    Raises UserError when it cannot be read or is of another form.
    """
    valid = "a CSV or JSON file, 'folders', 'keep'"
    if path.suffix.lower() not in (".csv", ".json"):
        raise UserError(
            f"labels {shown(path)}: unknown ending {quoted(path.suffix)}; "
            "valid: .csv, .json, 'folders', 'keep'"
        )
    if path_kind(path, f"labels {shown(path)}: cannot be read, no such file", valid) == "folder":
        raise UserError(f"labels {shown(path)}: cannot be read, it is a folder; valid: {valid}")
    try:
        size = path.stat().st_size
        if size > MAX_LABEL_BYTES:
            raise UserError(f"labels {shown(path)}: {size:,} bytes; valid: at most {MAX_LABEL_BYTES:,}")
        text = text_of(path.read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"labels {shown(path)}: cannot be read ({error}); valid: {valid}") from error
    if path.suffix.lower() == ".json":
        return json_pairs(shown(path), text), []
    heading, rows = _without_heading(shown(path), _rows(shown(path), text), is_image)
    return _csv_pairs(shown(path), rows), heading


def text_of(content: bytes) -> str:
    """UTF-8, or UTF-16 with its mark. Bytes that are neither become surrogates, as in Python's file names."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    return content.decode("utf-8-sig", "surrogateescape")


def json_pairs(origin: str, text: str) -> Pairs:
    """Pairs of ``{name: label}`` or ``{"labels": [[name, label], ...]}``; none for null labels.

    Raises UserError for anything else.
    """
    # Pairs, not a dictionary: a name that stands twice must not lose one of its labels unseen.
    try:
        content = json.loads(text, object_pairs_hook=_Object)
    except (ValueError, RecursionError) as error:
        raise UserError(f"labels {origin}: not JSON ({error})") from error
    if not isinstance(content, _Object):
        raise UserError(f"labels {origin}: {_EXPECTED}")
    rows = next((value for key, value in content if key == "labels"), content)
    if rows is None:
        return []
    if isinstance(rows, _Object):  # the whole, or in it {"labels": {name: label}}
        return list(rows)
    if isinstance(rows, list) and all(map(_is_row, rows)):
        return [(row[0], row[1]) for row in rows]
    raise UserError(f"labels {origin}: {_EXPECTED}")


def _is_row(row: Any) -> bool:
    return isinstance(row, list) and len(row) == 2 and isinstance(row[0], str)


class _Object(list[tuple[str, Any]]):
    """A JSON object with its order and its duplicates."""


def _csv_pairs(origin: str, rows: list[list[str]]) -> Pairs:
    short = [row[0] for row in rows if len(row) < 2]
    if short:
        raise UserError(f"labels {origin}: {listed(short)} with no value in the row; expected name,class")
    names, cells = [row[0] for row in rows], [row[1:] for row in rows]
    if any(len(values) > 1 for values in cells):
        wrong = [name for name, values in zip(names, cells, strict=True) if not all(map(is_number, values))]
        if wrong:
            raise UserError(f"labels {origin}: {listed(wrong)} with values that are not numbers")
        return [(name, list(map(float, values))) for name, values in zip(names, cells, strict=True)]
    return _one_column(origin, names, [values[0] for values in cells])


def _one_column(origin: str, names: list[str], values: list[str]) -> Pairs:
    """One value a row: all class indices, all class names, or all vectors of one number."""
    numbers = [is_number(value) for value in values]
    if not any(numbers):
        return list(zip(names, values, strict=True))
    if not all(numbers):
        at = numbers.index(False)
        raise UserError(
            f"labels {origin}: mixes numbers and texts ({quoted(values[at])} for {quoted(names[at])}); use "
            "numbers alone, or texts alone; numbers as class names are to be given as JSON: "
            '{"a.png": "10"}'
        )
    other = [value for value in values if not value.isdecimal()]
    if not other:
        long = [value for value in values if len(value) > _LONGEST_INDEX]
        if long:
            raise UserError(f"labels {origin}: class {quoted(long[0])} is too large")
        return [(name, int(value)) for name, value in zip(names, values, strict=True)]
    logger.warning(
        f"labels {origin}: taken as vectors of one number, for {quoted(other[0])} is no class; classes are "
        "whole numbers from 0, such as 1"
    )
    return [(name, [float(value)]) for name, value in zip(names, values, strict=True)]


def _rows(origin: str, text: str) -> list[list[str]]:
    """Rows of cells without blanks around values, empty rows, and empty columns at the end."""
    best: list[list[str]] = []
    for separator in _SEPARATORS:
        try:
            parsed = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
            rows = [[row[0], *map(str.strip, row[1:])] for row in parsed if any(map(str.strip, row))]
        except csv.Error as error:
            raise UserError(f"labels {origin}: not CSV ({error})") from error
        if not best or len(rows[0]) > 1:
            best = rows
        if best and len(best[0]) > 1:
            break
    while best and all(len(row) > 2 and not row[-1] for row in best):
        best = [row[:-1] for row in best]
    return best


def _without_heading(
    origin: str, rows: list[list[str]], is_image: Callable[[str], bool]
) -> tuple[list[str], list[list[str]]]:
    """The heading, empty where there is none, and the other rows."""
    if not rows or is_image(rows[0][0]):
        return [], rows
    first, others = rows[0], rows[1:]
    texts = not all(map(is_number, first[1:]))
    if first[0].strip().lower() in _HEADINGS:
        return first, others
    if texts and others and all(is_number(value) for row in others for value in row[1:]):
        logger.info(f"labels {origin}: the first row is taken as a heading: {quoted(','.join(first))}")
        return first, others
    return [], rows


def is_number(text: str) -> bool:
    """Whether a cell is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # 1_000 is a number in Python alone


def listed(names: Sequence[str]) -> str:
    """``"3 images (a.png, b.png, c.png)"``, cut at `MAX_LISTED`."""
    return f"{len(names)} image{'s' * (len(names) != 1)} ({some(list(map(shown, names)))})"


def some(texts: Sequence[str]) -> str:
    """``"a.png, b.png, and 3 more"``: at most `MAX_LISTED` of them, and how many there are besides."""
    more = f", and {len(texts) - MAX_LISTED} more" if len(texts) > MAX_LISTED else ""
    return ", ".join(texts[:MAX_LISTED]) + more
