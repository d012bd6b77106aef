"""A recipe: all that one picture is made from, and its text, the query string of a link.

seed=3&psi=0.7&b=8&b_mix=0,1,0&edit=smile:1.5&bend=16:rotate:30
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar, get_args
from urllib.parse import parse_qsl, quote, urlsplit

from styleloom.config.checks import one_of
from styleloom.config.parts import NoiseMode
from styleloom.config.seeds import MAX_IMAGE_SEED
from styleloom.errors import UserError, nearest, quoted
from styleloom.interactive.bending import Bend

MAX_TEXT = 8000
"""Longest text of a recipe, in characters."""

MAX_PARTS = 32
"""Most edits, and most bends."""

LIMIT = 100.0
"""Largest magnitude of psi, strengths and amounts: beyond it no generator makes anything."""

RANGES = ("coarse", "middle", "fine")
"""Of the three parts of a mixture, in order."""

Mixture = tuple[float, float, float]
"""How much of another image coarse, middle and fine layers take: 0 to 1."""

NO_MIXTURE: Mixture = (0.0, 0.0, 0.0)

T = TypeVar("T")


@dataclass(frozen=True)
class Recipe:
    """What one picture is made from.

    Args:
        model: which of the models that are there; empty for the first.
        seed: of z.
        latent: instead of the seed: the name of latents that are kept somewhere.
        psi: truncation, one number, or one for each layer.
        psi_layers: how many layers are truncated; None for all.
        label: class, for generators that take labels.
        noise: "random" (of `noise_seed`, else of the seed), "fixed", "none".
        noise_seed: None for the seed's own; of latents, for theirs.
        strength: what noise maps are multiplied by.
        b, c: seeds of the sources of a mixture; None for none.
        b_mix, c_mix: how much of them is taken.
        edits: names of directions and strengths.
        bends: what is done to feature maps, in this order.
        swap: level, px, from which on layers are those of `other`.
        other: the second model.
    """

    model: str = ""
    seed: int = 0
    latent: str = ""
    psi: tuple[float, ...] = (1.0,)
    psi_layers: int | None = None
    label: int | None = None
    noise: NoiseMode = "random"
    noise_seed: int | None = None
    strength: float = 1.0
    b: int | None = None
    b_mix: Mixture = NO_MIXTURE
    c: int | None = None
    c_mix: Mixture = NO_MIXTURE
    edits: tuple[tuple[str, float], ...] = ()
    bends: tuple[Bend, ...] = ()
    swap: int | None = None
    other: str = ""

    @property
    def truncation(self) -> float | list[float]:
        """psi as samplers take it."""
        return self.psi[0] if len(self.psi) == 1 else list(self.psi)

    @property
    def sources(self) -> list[tuple[int, Mixture]]:
        """Sources of a mixture of which something is taken."""
        pairs = ((self.b, self.b_mix), (self.c, self.c_mix))
        return [(seed, mix) for seed, mix in pairs if seed is not None and any(mix)]

    @property
    def plain(self) -> bool:
        """Whether the image is one of a seed, as flags of `generate` can say."""
        changed = (self.latent, self.sources, self.edits, self.bends, self.swap)
        return not any(changed) and self.strength == 1

    def text(self) -> str:
        """The query string: fields that are not their defaults, in a fixed order."""
        words: list[tuple[str, str]] = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value == field.default:
                continue
            if field.name == "edits":
                words += [("edit", f"{name}:{_number(strength)}") for name, strength in value]
            elif field.name == "bends":
                words += [("bend", bend.text()) for bend in value]
            else:
                words.append((field.name, _value_text(value)))
        return "&".join(f"{name}={quote(value, safe=':,|')}" for name, value in words)


def parse_recipe(text: str) -> Recipe:
    """The recipe of a query string, or of a link that ends with one.

    Raises UserError for a name or value that is not valid.
    """
    if len(text) > MAX_TEXT:
        raise UserError(f"recipe: {len(text):,} characters; valid: at most {MAX_TEXT:,}")
    query = urlsplit(text).query if "?" in text else text
    try:
        words = parse_qsl(query, keep_blank_values=True, max_num_fields=4 * MAX_PARTS, encoding="utf-8")
    except ValueError as error:
        raise UserError(f"recipe: {quoted(text)} is not valid; NAME=VALUE&NAME=VALUE") from error
    if query and not words:
        raise UserError(f"recipe: {quoted(text)} is not valid; NAME=VALUE&NAME=VALUE")
    return recipe_of(words)


def recipe_of(words: Iterable[tuple[str, str]]) -> Recipe:
    """The recipe of names and values; an empty value is the default."""
    given: dict[str, Any] = {}
    edits: dict[str, float] = {}
    bends: list[Bend] = []
    for name, value in words:
        if name not in PARSED:
            hint = nearest(name, PARSED)
            raise UserError(f"recipe: {quoted(name)} is not valid, {hint}choose from {', '.join(PARSED)}")
        if value == "":
            continue
        if name == "edit":
            direction, strength = _edit(value)
            edits[direction] = strength
        elif name == "bend":
            bends.append(Bend.parsed(value))
        else:
            given[name] = PARSED[name](name, value)
    if max(len(edits), len(bends)) > MAX_PARTS:
        raise UserError(f"recipe: {len(edits)} edits and {len(bends)} bends; valid: at most {MAX_PARTS}")
    kept = tuple((name, strength) for name, strength in edits.items() if strength)
    return replace(Recipe(), **given, edits=kept, bends=tuple(b for b in bends if not b.idle))


def _number(value: float) -> str:
    """The shortest text of a number."""
    return f"{value:.0f}" if value == int(value) else repr(value)


def _value_text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_number, value))
    return _number(value) if isinstance(value, float) else str(value)


# ---- values


def bounded(name: str, text: str, limit: float = LIMIT) -> float:
    """A finite number of at most this magnitude."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= limit:
        raise UserError(f"{name}: {quoted(text)} is not valid; a number of -{limit:g} to {limit:g}")
    return value


def _numbers(name: str, text: str) -> tuple[float, ...]:
    return tuple(bounded(name, word) for word in text.split(","))


def _mixture(name: str, text: str) -> tuple[float, ...]:
    values = _numbers(name, text)
    if len(values) != len(RANGES) or not all(0 <= value <= 1 for value in values):
        raise UserError(f"{name}: {quoted(text)} is not valid; of {', '.join(RANGES)} layers a number 0 to 1")
    return values


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 12 and int(text) <= MAX_IMAGE_SEED):
        raise UserError(f"{name}: {quoted(text)} is not valid; a whole number, 0 to {MAX_IMAGE_SEED}")
    return int(text)


def _noise(name: str, text: str) -> str:
    one_of(name, text, get_args(NoiseMode))
    return text


def _word(name: str, text: str) -> str:
    if len(text) > 200 or not text.isprintable():
        raise UserError(f"{name}: {quoted(text)} is not valid; a name")
    return text


def _edit(text: str) -> tuple[str, float]:
    """ "smile:1.5" to its name and strength; names may hold colons."""
    name, colon, strength = text.rpartition(":")
    if not colon or not name:
        raise UserError(f"edit: {quoted(text)} is not valid; NAME:STRENGTH")
    return _word("edit", name), bounded("edit", strength)


PARSED: Mapping[str, Callable[[str, str], Any]] = {
    "model": _word,
    "seed": _whole,
    "latent": _word,
    "psi": _numbers,
    "psi_layers": _whole,
    "label": _whole,
    "noise": _noise,
    "noise_seed": _whole,
    "strength": lambda name, text: bounded(name, text),
    "b": _whole,
    "b_mix": _mixture,
    "c": _whole,
    "c_mix": _mixture,
    "edit": lambda name, text: _edit(text),
    "bend": lambda name, text: Bend.parsed(text),
    "swap": _whole,
    "other": _word,
}
"""What reads the values, by name; `edit` and `bend` may be there several times."""
