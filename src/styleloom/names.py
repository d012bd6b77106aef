"""Data sets and models that come with the package, by name, apart from paths of the user's own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from styleloom.errors import UserError, quoted

PREFIX = "embedded:"
"""Before a name: what the package holds under it, whatever the working directory holds."""


def embedded_name(name: str | Path, embedded: Mapping[str, Path]) -> str | None:
    """The key of `embedded` that `name` means, or None where `name` is a path.

    A `Path`, and a text with a separator in it (``./emoji``), is a path. A bare name is that of the package's
    own thing, unless the working directory holds something of that name too: then it is refused, and
    ``./emoji`` or ``embedded:emoji`` says which is meant.

    Args:
        name: what a user or caller gave.
        embedded: the package's own things by name.

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
