"""Checks that configuration classes share: a wrong field fails at construction, by name."""

from __future__ import annotations

import typing
from collections.abc import Collection, Sequence
from typing import Any, Literal

from styleloom.config.annotations import field_types, optional
from styleloom.errors import UserError, nearest, quoted


def one_of(field: str, value: Any, valid: Collection[Any]) -> None:
    """Raise UserError unless `value` is among `valid`."""
    if value not in valid:
        hint = nearest(str(value), [str(v) for v in valid])
        raise UserError(
            f"{field}: {quoted(value)} is not valid, {hint}choose from {', '.join(map(str, valid))}"
        )


def check_choices(config: Any, prefix: str = "") -> None:
    """Raise UserError for the first field of `config` whose value its annotation does not list.

    It looks at fields whose type is a `Literal`, a tuple of items of such a type, or either of these or None.

    Args:
        config: instance of a dataclass.
        prefix: what the message puts before the field's name, such as ``generator.``.
    """
    for name, annotation in field_types(type(config)).items():
        inner, may_be_none = optional(annotation)
        several = typing.get_origin(inner) is tuple
        choice = typing.get_args(inner)[0] if several else inner
        value = getattr(config, name)
        if typing.get_origin(choice) is not Literal or (may_be_none and value is None):
            continue
        for item in value if several else (value,):
            one_of(f"{prefix}{name}", item, typing.get_args(choice))


MAX_COUNT = 2**24
"""Largest whole number of a field: a larger count would hang a run or fill the memory."""


def at_least(field: str, value: float | None, low: float) -> None:
    """Raise UserError unless `value` is None or a number >= `low`; a whole one is at most `MAX_COUNT`."""
    if value is not None and not value >= low:
        raise UserError(f"{field}: {quoted(value)} is not valid, it must be at least {low}")
    if isinstance(value, int) and value > MAX_COUNT:
        raise UserError(f"{field}: {quoted(value)} is not valid, it must be at most {MAX_COUNT}")


def above(field: str, value: float, low: float) -> None:
    """Raise UserError unless `value` > `low`."""
    if not value > low:
        raise UserError(f"{field}: {quoted(value)} is not valid, it must be more than {low}")


def within(field: str, value: float, low: float, high: float) -> None:
    """Raise UserError unless `low` <= `value` <= `high`."""
    if not low <= value <= high:
        raise UserError(f"{field}: {quoted(value)} is not valid, it must lie in [{low}, {high}]")


MAX_TAPS = 64
"""Most taps of a separable filter."""


def taps(field: str, values: Sequence[float]) -> None:
    """Raise UserError unless `values` can be the taps of a filter.

    They are 1 to `MAX_TAPS` numbers, and their sum, by which the filter is divided, is neither zero nor huge.
    """
    if not 1 <= len(values) <= MAX_TAPS:
        raise UserError(
            f"{field} (number of taps): {len(values)} is not valid, it must lie in [1, {MAX_TAPS}]"
        )
    if not 1e-6 <= abs(sum(values)) <= 1e12:
        raise UserError(
            f"{field}: {quoted(values)} is not valid, the taps' sum must be neither zero nor huge, such as "
            "1,3,3,1"
        )


MAX_SIDE = 2**14
"""Largest side of images, px: sixteen times the papers'."""


def power_of_two(field: str, value: int, low: int) -> None:
    """Raise UserError unless `value` is a power of two in [`low`, `MAX_SIDE`]; it names the nearest."""
    if value > MAX_SIDE:
        raise UserError(f"{field}: {quoted(value)} is not valid, it must be at most {MAX_SIDE}")
    if value < low or value & (value - 1):
        below = max(low, 1 << max(value, 1).bit_length() - 1)
        names = f"{below} or {2 * below}" if value > low else str(low)
        raise UserError(f"{field}: {value} is not a power of two of at least {low}; the nearest: {names}")
