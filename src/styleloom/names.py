"""Names of the data sets and models inside the package, and how they are told from a user's paths."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from styleloom.errors import UserError, quoted

PREFIX = "embedded:"
"""A name that begins so means what the package holds, whatever the working directory holds."""


def embedded_name(name: str | Path, embedded: Mapping[str, Path]) -> str | None:
    """The key of `embedded` that `name` means, or None where `name` is a path.

    A `Path`, and a text with a separator in it (``./emoji``), is a path. A bare name means what the package
    holds, unless the working directory holds something of that name too: then it is refused, and ``./emoji``
    or ``embedded:emoji`` says which is meant.

    Args:
        name: what a user or caller gave.
        embedded: what the package holds, by name.

    Raises UserError when a bare name means two things or is empty, or ``embedded:`` stands before an unknown
    one.
    """
    if isinstance(name, Path):
        return None
    if not name.strip():
        raise UserError(f"{quoted(name)}: an empty name; valid: a path, or {_valid(embedded)}")
    if name.startswith(PREFIX):
        bare = name[len(PREFIX) :]
        if bare not in embedded:
            raise UserError(f"{name}: the package holds no {quoted(bare)}; valid: {_valid(embedded)}")
        return bare
    if name not in embedded:
        return None
    if os.path.lexists(name):
        raise UserError(
            f"{name}: means two things, what comes with the package and {Path(name).absolute()}; "
            f"valid: {PREFIX}{name} or {os.curdir}{os.sep}{name}"
        )
    return name


def recorded_name(name: str, embedded: Mapping[str, Path]) -> str:
    """A name or absolute path that a run recorded, in a form that no working directory makes ambiguous."""
    return PREFIX + name if name in embedded else name


def _valid(embedded: Mapping[str, Path]) -> str:
    return ", ".join(PREFIX + name for name in sorted(embedded))
