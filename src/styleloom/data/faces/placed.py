"""Where a face was cut out of its photograph, as an index records it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from styleloom.errors import quoted


@dataclass(frozen=True)
class Placed:
    """Where a face was cut out.

    Args:
        photograph: its name in the source.
        square: corners, x and y, in the upright photograph, px: upper left, lower left, lower right, upper
            right.
    """

    photograph: str
    square: tuple[tuple[float, float], ...]


def placed(value: Any) -> Placed:
    """One place as JSON has it. Raises TypeError or KeyError."""
    corners = value["square"]
    numbers = [number for corner in corners for number in corner]
    well_formed = len(corners) == 4 and len(numbers) == 8
    if not well_formed or not all(
        type(number) in (int, float) and math.isfinite(number) for number in numbers
    ):
        raise TypeError(f"the square of a face is {quoted(corners)}, not four corners")
    if not isinstance(value["photograph"], str):
        raise TypeError(f"the photograph of a face is {quoted(value['photograph'])}, not a name")
    return Placed(value["photograph"], tuple((float(x), float(y)) for x, y in corners))
