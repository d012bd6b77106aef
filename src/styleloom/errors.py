"""Errors that a user can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Wrong input from outside: a file, a field, a flag.

    The message names the file or field, the value, and what would be valid. The command line prints the
    message alone, without a traceback, and exits with status 2.
    """


def nearest(name: str, valid: Iterable[str]) -> str:
    """``"did you mean 'x'? "`` for a misspelt `name`, or an empty string when nothing is close."""
    matches = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.5)
    return f"did you mean {matches[0]!r}? " if matches else ""
