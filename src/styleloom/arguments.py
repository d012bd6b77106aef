"""Checks of what callers pass to the public functions and the command line, before any work begins.

Every check raises UserError that names the argument, its value and what would be valid, and all but `shape`
return the value in the one form that the rest of the code takes.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Iterable, Sequence
from typing import Any, get_args

from styleloom.config.checks import one_of
from styleloom.config.parts import NoiseMode
from styleloom.config.seeds import MAX_IMAGE_SEED
from styleloom.errors import UserError, quoted


def whole(name: str, value: Any, low: int, high: int | None = None) -> int:
    """A whole number within bounds, of Python, numpy or torch; no bool, and no float, not even 1.0."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: torch, for tensors of several numbers
        number = None
    if number is None or number < low or (high is not None and number > high):
        valid = f"at least {low}" if high is None else f"{low} to {high}"
        raise UserError(f"{name}: {quoted(value)} is not valid; a whole number, {valid}")
    return number


def wholes(name: str, values: Any, low: int, high: int | None = None) -> Sequence[int]:
    """A sequence of whole numbers within bounds. A range stays a range."""
    if isinstance(values, range):
        for end in values[:1], values[-1:]:
            for value in end:
                whole(name, value, low, high)
        return values
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise UserError(f"{name}: {quoted(values)} is not valid; a list of whole numbers")
    return [whole(name, value, low, high) for value in values]


def seeds(name: str, values: Any) -> Sequence[int]:
    """Seeds: whole numbers of 0 to `MAX_IMAGE_SEED`."""
    return wholes(name, values, 0, MAX_IMAGE_SEED)


def finite(name: str, value: Any) -> float:
    """A finite number, of Python, numpy or torch; no bool."""
    try:
        number = math.nan if isinstance(value, (bool, str, bytes)) else float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        number = math.nan
    if not -math.inf < number < math.inf:  # comparisons, which torch.compile and torch.export can trace
        raise UserError(f"{name}: {quoted(value)} is not valid; a finite number")
    return number


def truncation(value: Any, num_ws: int) -> list[float]:
    """psi of each of `num_ws` layers, from one number for all or one for each."""
    if isinstance(value, numbers.Real) or not isinstance(value, Iterable) or isinstance(value, (str, bytes)):
        return [finite("truncation", value)] * num_ws
    if getattr(value, "ndim", 1) == 0:  # an array of one number
        return [finite("truncation", value)] * num_ws
    values = [finite("truncation", psi) for psi in value]
    if len(values) != num_ws:
        raise UserError(f"truncation: {len(values)} values given, this generator has {num_ws} layers")
    return values


def noise_mode(value: Any) -> NoiseMode:
    """`value`, one of the words of `NoiseMode`."""
    one_of("noise", value, get_args(NoiseMode))
    return value


def shape(name: str, given: Sequence[int], expected: Sequence[int | None], meaning: str) -> None:
    """Raise UserError unless `given` is the shape `expected`, in which None stands for any number."""
    fits = len(given) == len(expected)
    if not fits or any(e is not None and g != e for g, e in zip(given, expected, strict=True)):
        wanted = ", ".join("N" if e is None else str(e) for e in expected)
        raise UserError(f"{name}: of shape {[*given]}; valid: [{wanted}], {meaning}")
