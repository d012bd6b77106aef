"""What the controls of a page say: a value for each name, as the script sends them; and back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from styleloom.errors import UserError, quoted
from styleloom.interactive.bending import BOUNDS
from styleloom.interactive.recipe import RANGES, Recipe, recipe_of

BENDS = 2
"""Operations on feature maps that a page has controls for."""

SIMPLE = ("seed", "latent", "psi_layers", "noise", "noise_seed", "strength", "b", "c", "swap", "other")
"""Controls whose value is that of the field of this name; label is one, too, where there are classes."""

NO_SWAP = "none"

MIXED = ("b", "c")
"""Sources, which count where something of them is taken."""


def recipe_of_controls(model: str, text: str) -> Recipe:
    """The recipe that controls say.

    Args:
        model: of the page.
        text: JSON, an object of names and values.

    Raises UserError for what is no such text.
    """
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError("controls: no JSON; an object of names and values") from error
    if not isinstance(given, dict) or len(text) > 20_000:
        raise UserError("controls: an object of names and values is expected")
    words = [("model", model)]
    for name, value in given.items():
        words += _words(name, value, given)
    return recipe_of([(name, value) for name, value in words if value != ""])


def _words(name: str, value: Any, given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What one control adds to a recipe."""
    kind, _, part = name.partition("@")
    if name == "psi":
        layers = [_text(given[key]) for key in _numbered(given, "psi")]
        return [("psi", ",".join(layers) if given.get("psi_each") and layers else _text(value))]
    if name in MIXED and not any(_number(given.get(f"{name}_mix@{layers}") or 0) for layers in RANGES):
        return []
    if name == "other" and given.get("swap") in (None, NO_SWAP):
        return []
    if name in SIMPLE or name == "label":
        return [(name, "" if value in (None, NO_SWAP) else _text(value))]
    if kind == "edit" and part:
        return [("edit", f"{part}:{_text(value)}")]
    if name in ("b_mix@coarse", "c_mix@coarse"):
        own = [_number(given.get(f"{kind}@{layers}") or 0) for layers in RANGES]
        return [(kind, ",".join(map(_text, own)))] if any(own) else []
    if kind == "bend_kind" and value in BOUNDS:
        side, amount, share = (given.get(f"bend_{word}@{part}") for word in ("side", "amount", "share"))
        low, high, idle = BOUNDS[value]
        placed = idle + (high - idle if _number(amount) > 0 else idle - low) * _number(amount)
        return [("bend", f"{_text(side)}:{value}:{placed:.6g}:{_text(share)}")]
    return []


def _numbered(given: Mapping[str, Any], kind: str) -> list[str]:
    keys = [key for key in given if key.startswith(f"{kind}@")]
    return sorted(keys, key=lambda key: int(key.split("@")[1]) if key.split("@")[1].isdecimal() else 0)


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"controls: {quoted(value)} is no number")
    return number


def _text(value: Any) -> str:
    """A value as recipes have it: whole numbers without a point, as sliders send them in either way."""
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, (int, float)):
        number = _number(value)
        return f"{number:.0f}" if number == int(number) else f"{number:.6g}"
    return str(value)


def values_of(recipe: Recipe, names: list[str]) -> list[Any]:
    """The value of each control for a recipe, for a page that a link opens."""
    psi = list(recipe.psi)
    found: dict[str, Any] = {name: getattr(recipe, name) for name in SIMPLE}
    found |= {"label": recipe.label, "psi": psi[0], "psi_each": len(psi) > 1}
    found["swap"] = NO_SWAP if recipe.swap is None else str(recipe.swap)
    found |= {f"psi@{i}": psi[i] if len(psi) > 1 and i < len(psi) else psi[0] for i in range(64)}
    for kind in ("b_mix", "c_mix"):
        found |= {f"{kind}@{r}": part for r, part in zip(RANGES, getattr(recipe, kind), strict=True)}
    found |= {f"edit@{name}": strength for name, strength in recipe.edits}
    for at, bend in enumerate(recipe.bends[:BENDS]):
        low, high, idle = BOUNDS[bend.kind]
        span = high - idle if bend.amount > idle else idle - low
        found[f"bend_kind@{at}"], found[f"bend_side@{at}"] = bend.kind, str(bend.side)
        found[f"bend_amount@{at}"] = (bend.amount - idle) / span if span else 0.0
        found[f"bend_share@{at}"] = bend.share
    return [found.get(name) for name in names]
