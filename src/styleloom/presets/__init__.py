"""Every named experiment: one file for each paper, merged here."""

from __future__ import annotations

from styleloom.config.experiment import Experiment
from styleloom.errors import UserError, nearest
from styleloom.presets import demo, stylegan2

PRESETS: dict[str, Experiment] = {
    **stylegan2.PRESETS,
    **demo.PRESETS,
}
"""Experiments by name, in the order of the papers' tables."""


def names() -> tuple[str, ...]:
    """The names of all presets."""
    return tuple(PRESETS)


def get(name: str) -> Experiment:
    """The preset `name`.

    Raises:
        UserError: there is none of that name; the message gives the nearest and all valid ones.
    """
    if name not in PRESETS:
        raise UserError(
            f"preset: {name!r} does not exist, {nearest(name, PRESETS)}choose from {', '.join(PRESETS)}"
        )
    return PRESETS[name]
