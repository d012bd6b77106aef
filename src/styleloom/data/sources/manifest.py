"""A list of images: a CSV or JSONL file with paths, and if wanted crop boxes and labels."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from styleloom.data.conversion import all_pixels
from styleloom.data.decoding import BadImageError
from styleloom.data.label_files import MAX_LISTED, is_number, text_of
from styleloom.data.labels import Labels, match_labels
from styleloom.data.pixels import ImageData
from styleloom.data.sources.place import Place
from styleloom.data.sources.source import Source, SourceOptions, file_size, read_file
from styleloom.errors import UserError, quoted, shown

_ENDINGS = (".csv", ".jsonl", ".tsv")
_PATHS = ("path", "file", "filename", "file_name", "image", "name")
_LABELS = ("label", "class", "cls")
_BOX = ("left", "top", "right", "bottom")
_MAX_BYTES = 2**31


def fits(place: Place) -> bool:
    """Whether a place is a CSV or JSONL file."""
    return not place.is_folder and place.ends(*_ENDINGS)


@dataclass(frozen=True)
class _Row:
    path: str
    box: tuple[float, ...] | None
    label: Any


class ManifestSource(Source):
    """The images that a manifest lists, in its order; paths are relative to its folder.

    An image that is listed again, as with several crop boxes in it, is called `PATH#2`, `PATH#3`, ...
    Raises UserError: all bad lines in one message.
    """

    kind = "a manifest"

    def __init__(self, place: Place, options: SourceOptions) -> None:
        super().__init__(place.path)
        self._folder = place.path.parent
        rows = _rows(place.path)
        seen: Counter[str] = Counter()
        self._rows: dict[str, _Row] = {}
        for row in rows:
            seen[row.path] += 1
            number = seen[row.path]
            self._rows[row.path if number == 1 else f"{row.path}#{number}"] = row
        self.names = tuple(self._rows)

    def size(self, name: str) -> int:
        """Bytes of one file. Raises OSError."""
        return file_size(self._folder / self._rows[name].path)

    def read(self, name: str) -> ImageData:
        """One file, or the pixels in its crop box. Raises OSError or BadImageError."""
        row = self._rows[name]
        data = read_file(self._folder / row.path)
        return data if row.box is None else _cropped(data, row.box)

    def settings(self) -> str:
        """The crop boxes."""
        return repr([(row.path, row.box) for row in self._rows.values()])

    def own_labels(self) -> Labels | None:
        """Those of the column `label`; None without one. Raises UserError."""
        pairs = [(name, row.label) for name, row in self._rows.items() if row.label is not None]
        return match_labels(shown(self.path), pairs, self.names) if pairs else None

    def holds(self, path: Path) -> bool:
        """Whether `path` is the manifest or one of its images."""
        resolved = path.resolve()
        return super().holds(path) or any(
            (self._folder / row.path).resolve() == resolved for row in self._rows.values()
        )


def _cropped(data: bytes, box: tuple[float, ...]) -> ImageData:
    """Pixels uint8 [C, H, W] within a box of whole px. Raises BadImageError."""
    pixels = all_pixels(data)
    left, top, right, bottom = (round(side) for side in box)
    height, width = pixels.shape[1:]
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise BadImageError(
            f"crop box {left},{top},{right},{bottom} (left, top, right, bottom) is not within the "
            f"{width}x{height} px"
        )
    return np.ascontiguousarray(pixels[:, top:bottom, left:right])


def _rows(path: Path) -> list[_Row]:
    """The rows of a manifest. Raises UserError naming all bad lines."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(f"{shown(path)}: larger than {_MAX_BYTES:,} bytes")
        text = text_of(path.read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{shown(path)}: cannot be read ({error})") from error
    read = _json_lines if path.suffix.lower() == ".jsonl" else _csv_lines
    found: list[_Row] = []
    problems: list[str] = []
    for number, fields in read(path, text):
        try:
            if isinstance(fields, str):
                raise ValueError(fields)
            found.append(_row(fields))
        except ValueError as error:
            problems.append(f"  line {number}: {error}")
    if problems:
        more = f"\n  ... and {len(problems) - MAX_LISTED} more" if len(problems) > MAX_LISTED else ""
        lines = "\n".join(problems[:MAX_LISTED])
        raise UserError(f"{shown(path)}: {len(problems)} bad lines:\n{lines}{more}")
    return found


def _json_lines(path: Path, text: str) -> list[tuple[int, Any]]:
    found: list[tuple[int, Any]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            fields = f"not JSON ({error})"
        found.append((number, fields if isinstance(fields, (dict, str)) else "not a JSON object"))
    return found


def _csv_lines(path: Path, text: str) -> list[tuple[int, Any]]:
    separator = next((mark for mark in ",;\t" if mark in text.partition("\n")[0]), ",")
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator))
    except csv.Error as error:
        raise UserError(f"{shown(path)}: not CSV ({error})") from error
    heading = [cell.strip().lower() for cell in rows[0]] if rows else []
    if not set(heading) & set(_PATHS):
        raise UserError(
            f"{shown(path)}: its first line names no column of paths ({', '.join(_PATHS)}); other columns: "
            f"{', '.join(_BOX)} (a crop box, px) and {_LABELS[0]}"
        )
    found: list[tuple[int, Any]] = []
    for number, cells in enumerate(rows[1:], start=2):
        if not any(map(str.strip, cells)):
            continue
        wrong = f"{len(cells)} cells where the heading has {len(heading)}"
        fields = dict(zip(heading, cells, strict=False))
        found.append((number, fields if len(cells) == len(heading) else wrong))
    return found


def _row(fields: dict[str, Any]) -> _Row:
    """Raises ValueError."""
    path = next((fields[key] for key in _PATHS if key in fields), None)
    if not isinstance(path, str) or not path.strip():
        raise ValueError(f"no path ({', '.join(_PATHS)})")
    label = next((fields[key] for key in _LABELS if key in fields), None)
    if isinstance(label, str):
        label = label.strip()
        label = int(label) if label.isdecimal() else label or None
    return _Row(path.strip(), _box(fields), label)


def _box(fields: dict[str, Any]) -> tuple[float, ...] | None:
    """The crop box of a row: `box`, or four columns. Raises ValueError."""
    values = fields.get("box")
    if values is None and any(str(fields.get(key) or "").strip() for key in _BOX):
        values = [fields.get(key) for key in _BOX]
    if values is None:
        return None
    if not isinstance(values, list) or len(values) != 4 or not all(is_number(str(value)) for value in values):
        raise ValueError(f"crop box {quoted(values)}; valid: {', '.join(_BOX)}, px")
    return tuple(float(str(value)) for value in values)
