"""Name tables: which variable of other people's weights fills which entry of our state dict, and how its axes
are arranged."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from styleloom.errors import UserError, cut, nearest, quoted

Layout: TypeAlias = Callable[[Tensor], Tensor]
"""Turns a stored value into ours: another order of axes, a flip, an offset."""


# ---- layouts


def same(x: Tensor) -> Tensor:
    """Stored as ours."""
    return x


def dense_io(x: Tensor) -> Tensor:
    """Dense weights [in, out] -> [out, in]."""
    return x.t()


def conv_hwio(x: Tensor) -> Tensor:
    """Convolution weights [kh, kw, in, out] -> [out, in, kh, kw]."""
    return x.permute(3, 2, 0, 1)


def flipped(x: Tensor) -> Tensor:
    """Convolution weights [out, in, kh, kw], turned by 180 degrees."""
    return x.flip(2, 3)


def without_one(x: Tensor) -> Tensor:
    """Style biases without the 1 that they include; our networks add it at run time."""
    return x - 1


def unbatched(x: Tensor) -> Tensor:
    """A learned constant [C, H, W] -> [1, C, H, W]."""
    return x[None]


def noise_map(x: Tensor) -> Tensor:
    """A noise map [H, W] -> [1, 1, H, W]."""
    return x[None, None]


def scalar(x: Tensor) -> Tensor:
    """A number [] or [1] -> []."""
    return x.reshape(())


# ---- rules


@dataclass(frozen=True)
class Rule:
    """One line of a name table.

    Args:
        source: the source's name, with `{number}` fields; a field that appears twice must agree with itself.
        target: our name in the state dict, with the source's numbers and those that the table derives from
            them; None for a variable that our networks do not need.
        layout: stored value to ours.
    """

    source: str
    target: str | None
    layout: Layout = same


@dataclass(frozen=True)
class Table:
    """Every variable of one kind of network.

    Args:
        source: what the names come from, for messages.
        rules: at most one of them matches a name.
        derive: numbers in a source's name -> further fields for `Rule.target`.
        constants: variables that are no parameters, such as filters: pattern of the name, and the value that
            the variable must have.
    """

    source: str
    rules: tuple[Rule, ...]
    derive: Callable[[Mapping[str, int]], Mapping[str, Any]] = lambda numbers: {}
    constants: Mapping[str, Tensor] = field(default_factory=dict)


class Place(NamedTuple):
    """Where a source's variable goes: our name, or None for nowhere; and how."""

    target: str | None
    layout: Layout


def locate(table: Table, name: str) -> Place | None:
    """Where the variable `name` goes; None for a name that the table does not know."""
    places = []
    for rule in table.rules:
        numbers = _match(rule.source, name)
        if numbers is not None:
            target = rule.target and rule.target.format(**numbers, **table.derive(numbers))
            places.append(Place(target, rule.layout))
    assert len(places) < 2, f"{table.source}: {len(places)} rules match {name}"
    return places[0] if places else None


def _match(pattern: str, name: str) -> dict[str, int] | None:
    """The numbers in `name`, or None where it does not match."""
    seen: set[str] = set()
    expression = ""
    for text, number in re.findall(r"([^{]*)(?:{(\w+)}|$)", pattern):
        expression += re.escape(text)
        if number:
            expression += f"(?P={number})" if number in seen else rf"(?P<{number}>\d+)"
            seen.add(number)
    match = re.fullmatch(expression, name)
    return None if match is None else {key: int(value) for key, value in match.groupdict().items()}


# ---- conversion

MAX_LISTED = 8
"""Names that a message lists."""

MAX_LEVELS, MAX_NUMBERS = 12, 64
"""Sides and other numbers that are tried when a message names what is missing."""


def convert(table: Table, variables: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """`variables` under our names and in our layouts: a complete state dict of `network`.

    Raises:
        UserError: a variable is unexpected, missing, of the wrong shape or goes where another one went, or
            a constant differs.
    """
    expected = network.state_dict()
    state: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    unexpected = []
    for name, value in variables.items():
        if _is_constant(table, name, value):
            continue
        place = locate(table, name)
        if place is None or (place.target is not None and place.target not in expected):
            unexpected.append(name)
        elif place.target is not None:
            if place.target in origin:
                raise UserError(
                    f"{table.source}: {origin[place.target]} and {name} both stand for {place.target}"
                )
            origin[place.target] = name
            state[place.target] = _arranged(table, name, value, place, expected[place.target].shape)
    missing = [name for name in expected if name not in state]
    if missing or unexpected:
        parts = [f"unexpected: {_listed(unexpected)}"] if unexpected else []
        if missing:
            theirs = {place: name for name, place in expected_names(table, set(missing))}
            told = [f"{name} ({theirs[name]})" if name in theirs else name for name in missing]
            parts += [f"nothing found for: {_listed(told)}"]
        raise UserError(f"{table.source}: the variables do not fit this configuration; {'; '.join(parts)}")
    return state


def _listed(names: Sequence[str]) -> str:
    """The first names, and how many there are besides."""
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(cut(name) for name in names[:MAX_LISTED]) + more


def expected_names(table: Table, targets: Collection[str]) -> Iterator[tuple[str, str]]:
    """Names of the source that would stand for `targets`, each with its target."""
    for rule in table.rules:
        fields = re.findall(r"{(\w+)}", rule.source)
        sides = (4 << level for level in range(MAX_LEVELS))
        for number in sides if "side" in fields else range(MAX_NUMBERS if fields else 1):
            name = rule.source.format(**dict.fromkeys(fields, number))
            place = locate(table, name)
            target = None if place is None else place.target
            if target is not None and target in targets:
                yield name, target


def fill(table: Table, variables: Mapping[str, Tensor], network: nn.Module) -> None:
    """Fill `network` with `variables`; errors as in `convert`."""
    network.load_state_dict(convert(table, variables, network))


def _arranged(table: Table, name: str, value: Tensor, place: Place, shape: torch.Size) -> Tensor:
    try:
        arranged = place.layout(value)
    except (RuntimeError, IndexError):
        arranged = value
    if arranged.shape != shape:
        raise UserError(
            f"{table.source}: {name} has the shape {list(value.shape)}, which does not give {list(shape)} "
            f"for {place.target} of this configuration"
        )
    return arranged


def _is_constant(table: Table, name: str, value: Tensor) -> bool:
    for pattern, expected in table.constants.items():
        if _match(pattern, name) is not None:
            if value.shape != expected.shape or not torch.allclose(value, expected, atol=1e-6):
                raise UserError(
                    f"{table.source}: {name} is {value.tolist()}, this configuration has {expected.tolist()}"
                )
            return True
    return False


# ---- keyword arguments


REQUIRED: Any = object()
"""Stands for "no default" in a table of keyword arguments."""


def settings(
    where: str, kwargs: Mapping[str, Any], defaults: Mapping[str, Any], ignored: Collection[str] = ()
) -> dict[str, Any]:
    """Every keyword argument of an official function: what `kwargs` says, else its default.

    Args:
        where: the official function, for messages.
        kwargs: as recorded.
        defaults: of every argument that determines the network; REQUIRED for those without.
        ignored: arguments that choose how the network is run, not what it is.

    Raises:
        UserError: an argument is unknown, or a required one is missing.
    """
    for name in kwargs:
        if name not in defaults and name not in ignored:
            raise UserError(
                f"{where}: unknown keyword argument {quoted(name)}, {nearest(name, defaults)}"
                f"known: {', '.join((*defaults, *sorted(ignored)))}"
            )
    values = {name: kwargs.get(name, default) for name, default in defaults.items()}
    missing = [name for name, value in values.items() if value is REQUIRED]
    if missing:
        raise UserError(f"{where}: keyword argument {quoted(missing[0])} is missing, it has no default")
    return values


def only(where: str, name: str, value: Any, supported: Collection[Any]) -> None:
    """Raise UserError unless `value` is one that our networks can express."""
    if value not in supported:
        raise UserError(
            f"{where}: {name} {quoted(value)} is not supported, it must be "
            f"{' or '.join(map(repr, supported))}"
        )


def separable_taps(where: str, name: str, taps: Any) -> tuple[float, ...]:
    """The taps of a separable filter.

    Raises:
        UserError: they are no list of numbers; a filter with two axes is not supported.
    """
    try:
        numbers = tuple(float(tap) for tap in taps)
    except TypeError:
        raise UserError(
            f"{where}: {name} {quoted(taps)} is not supported, it must be a list of numbers"
        ) from None
    if not numbers or not all(map(math.isfinite, numbers)) or sum(numbers) == 0:
        raise UserError(
            f"{where}: {name} {quoted(taps)} is not valid, it must be numbers with a sum other than 0"
        )
    return numbers
