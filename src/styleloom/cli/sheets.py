"""Pictures and other files that commands write: sheets of many images, records, files in the way."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import styleloom
from styleloom.errors import UserError, quoted, shown

MAX_SHEET_PIXELS = 2**28
"""Most pixels of a sheet: 16 x 16 images of 1024 x 1024 px."""


def parse_grid(text: str) -> tuple[int, int]:
    """ "8x4" to 8 columns and 4 rows."""
    columns, _, rows = text.partition("x")
    if not (columns.isdecimal() and rows.isdecimal() and int(columns) and int(rows)):
        raise UserError(f"--grid: {quoted(text)} is not valid; COLUMNSxROWS, for example 8x8")
    return int(columns), int(rows)


def check_sheet(flag: str, places: int, size: tuple[int, int]) -> None:
    """Raise UserError, for `flag`, where so many images of `size` (height, width) are too large a picture."""
    height, width = size
    most = MAX_SHEET_PIXELS // (height * width)
    if places > most:
        raise UserError(
            f"--{flag}: {places} images of {height} x {width} px are too many for one picture; valid: at "
            f"most {most} places"
        )


def check_free(flag: str, paths: Sequence[Path], overwrite: bool) -> None:
    """Raise UserError, for `flag`, where one of `paths` is there already and may not be replaced."""
    there = [path for path in paths if path.exists()]
    if there and not overwrite:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        way = "replace it" if len(paths) == 1 else f"choose another --{flag}, or replace them"
        raise UserError(f"--{flag}: {shown(there[0])}{more}: there already; {way} with --overwrite")


def chunks(record: Mapping[str, Any]) -> dict[str, str]:
    """Text chunks of a PNG file: all that is needed to make it again."""
    return {"Software": f"styleloom {styleloom.__version__}", "styleloom": json.dumps(record)}
