"""Sizes of a network that follow from the shapes of its variables, where a file has no settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from styleloom.errors import UserError

Shapes: TypeAlias = Mapping[str, Sequence[int]]
"""Shapes of the variables by name."""


def shape_of(shapes: Shapes, name: str, axes: int) -> tuple[int, ...]:
    """The shape of a variable. Raises UserError where it is missing, or has another number of axes."""
    if name not in shapes:
        raise UserError(f"the variable {name} is missing, from which the size of the network follows")
    if len(shapes[name]) != axes:
        raise UserError(f"{name} has the shape {list(shapes[name])}, {axes} axes are expected")
    return tuple(shapes[name])


def count_of(shapes: Shapes, pattern: str) -> int:
    """How many variables have names of a pattern."""
    return sum(1 for name in shapes if re.fullmatch(pattern, name))
