"""Numbers that change during a training.

A number by resolution, `ByResolution`, is a table: a base, and what holds at some resolutions instead. A
number by images seen, `ByImages`, is a curve through knots.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import sys
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar, get_args

from styleloom.config.checks import at_least, one_of
from styleloom.errors import UserError, quoted

Curve: TypeAlias = Literal["linear", "cosine", "step"]

MAX_KNOTS = 1000
"""Most knots of a number by images seen: every step of a training goes through them."""

GRAMMAR = f"KIMG:VALUE,KIMG:VALUE[:{'|'.join(get_args(Curve))}],..."
"""How a number by images seen is written."""


_LEAST, _MOST = -sys.float_info.max, sys.float_info.max  # whole numbers beyond them have no float


@dataclass(frozen=True)
class ByResolution:
    """A number that may depend on the resolution in training.

    Args:
        base: the number at every resolution that `at` does not list.
        at: pairs of a resolution, px, and the number there.
    """

    base: float
    at: tuple[tuple[int, float], ...] = ()

    def __call__(self, resolution: int) -> float:
        """The value at `resolution` px."""
        return dict(self.at).get(resolution, self.base)

    def named(self, name: str) -> Iterator[tuple[str, float]]:
        """Every value with its dotted name: `name` that of `base`, `name`.at.64 that at 64 px."""
        yield name, self.base
        yield from ((f"{name}.at.{resolution}", value) for resolution, value in self.at)


class Knot(NamedTuple):
    """A number has `value` once `kimg` thousands of real images are seen, and comes to it along `curve`.

    "linear" is a straight line from the knot before, "cosine" half a period of a cosine (Loshchilov and
    Hutter 2017, equation 5), "step" keeps the value of the knot before until `kimg`.
    """

    kimg: float
    value: float
    curve: Curve = "linear"


@dataclass(frozen=True)
class ByImages:
    """A number as a function of real images seen: it goes from knot to knot and stays at the last one.

    Before the first knot it has the first one's value. A ramp is `ByImages.parse("0:0,40:1")`, a warm-up with
    decay "0:0,500:1,10000:0.1:cosine".
    """

    knots: tuple[Knot, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "knots", tuple(map(_checked, self.knots)))
        if len(self.knots) < 2:
            raise UserError("a number by images seen needs two knots at least; write a constant as a number")
        if len(self.knots) > MAX_KNOTS:
            raise UserError(f"{len(self.knots)} knots are not valid; valid: 2 to {MAX_KNOTS}")
        for knot in self.knots:
            one_of("curve", knot.curve, get_args(Curve))
            at_least("kimg", knot.kimg, 0)
            if not all(_LEAST <= number <= _MOST for number in knot[:2]):
                raise UserError(
                    f"{quoted(knot.kimg)}:{quoted(knot.value)}: is not valid, both must be finite"
                )
        for before, after in zip(self.knots, self.knots[1:], strict=False):
            if not before.kimg < after.kimg:
                raise UserError(
                    f"kimg: {quoted(after.kimg)} is not valid after {quoted(before.kimg)}, "
                    f"knots must be in rising order"
                )
        if self.knots[0].curve != "linear":
            raise UserError(f"curve: {self.knots[0].curve} is not valid, no knot is before the first one")

    def __call__(self, images_seen: float) -> float:
        """The value after `images_seen` real images."""
        kimg = images_seen / 1000
        index = bisect_right([knot.kimg for knot in self.knots], kimg)
        if index in (0, len(self.knots)):
            return self.knots[max(index - 1, 0)].value
        before, after = self.knots[index - 1], self.knots[index]
        way = (kimg - before.kimg) / (after.kimg - before.kimg)
        share = {"linear": way, "cosine": (1 - math.cos(math.pi * way)) / 2, "step": 0.0}[after.curve]
        return before.value + (after.value - before.value) * share

    def __str__(self) -> str:
        """As `parse` reads it."""
        return format(self, "")

    def __format__(self, spec: str) -> str:
        """As `str`, with every number in the format `spec`."""
        return ",".join(
            f"{knot.kimg:{spec}}:{knot.value:{spec}}" + f":{knot.curve}" * (knot.curve != "linear")
            for knot in self.knots
        )

    @classmethod
    def parse(cls, text: str) -> ByImages:
        """Read `KIMG:VALUE,KIMG:VALUE[:linear|cosine|step],...`.

        Raises:
            UserError: it is not written so, or its knots are not valid.
        """
        count = text.count(",") + 1
        if count > MAX_KNOTS:  # before a million of them are read
            raise UserError(f"{count} knots are not valid; valid: 2 to {MAX_KNOTS}")
        return cls(tuple(_knot(item.strip()) for item in text.split(",")))


def _checked(given: Any) -> Knot:
    """A knot of a caller's, which may be a plain tuple."""
    row = tuple(given) if isinstance(given, (tuple, list)) else ()
    numbers = [n for n in row[:2] if isinstance(n, (int, float)) and not isinstance(n, bool)]
    if len(numbers) < 2 or len(row) > 3:
        raise UserError(f"knot: {quoted(given)} is not valid; valid: (kimg, value) or (kimg, value, curve)")
    return Knot(*row)


def _knot(text: str) -> Knot:
    words = text.split(":")
    try:
        kimg, value = (int(word) if word.strip().isdecimal() else float(word) for word in words[:2])
    except ValueError:
        raise UserError(f"{quoted(text)} is not valid; write {GRAMMAR}") from None
    if len(words) > 3:
        raise UserError(f"{quoted(text)} is not valid; write {GRAMMAR}")
    curve: Any = words[2].strip() if len(words) == 3 else "linear"
    return Knot(kimg, value, curve)


Number: TypeAlias = float | ByImages
"""The type of a field that is a constant or changes with the images seen."""


def values(number: Number) -> tuple[float, ...]:
    """The values at the knots, which bound `number` at all times; of a constant, that constant."""
    return tuple(knot.value for knot in number.knots) if isinstance(number, ByImages) else (number,)


def constant(number: Number) -> float:
    """`number`, which must be a constant, as in every configuration that `at` returns."""
    assert not isinstance(number, ByImages), "a number by images seen has no value before `at`"
    return number


Config = TypeVar("Config")


def at(config: Config, images_seen: float) -> Config:
    """`config`, a configuration dataclass, with every number by images seen replaced by its value.

    The result is not checked again: a ramp may begin at zero, which need not be valid as a constant.
    """
    changes: dict[str, Any] = {}
    for name, value in vars(config).items():  # faster than dataclasses.fields: a step begins with this
        if isinstance(value, ByImages):
            changes[name] = value(images_seen)
        elif dataclasses.is_dataclass(value) and (settled := at(value, images_seen)) is not value:
            changes[name] = settled
    if not changes:
        return config
    settled = copy.copy(config)
    for name, value in changes.items():
        object.__setattr__(settled, name, value)
    return settled


def by_images(config: Any, path: str = "") -> dict[str, ByImages]:
    """Every number by images seen of `config` by its dotted name."""
    found: dict[str, ByImages] = {}
    for field in dataclasses.fields(config):
        name, value = f"{path}{field.name}", getattr(config, field.name)
        if isinstance(value, ByImages):
            found[name] = value
        elif dataclasses.is_dataclass(value):
            found |= by_images(value, f"{name}.")
    return found
