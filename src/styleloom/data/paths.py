"""What stands at a path that a user gave: a file, a folder, or nothing that could be read."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Literal

from styleloom.errors import UserError, quoted, shown

# Reading these may block or never end.
_SPECIAL = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def first_bytes(path: Path, most: int) -> bytes:
    """The first `most` bytes of a file. Raises UserError where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(most)
    except OSError as error:
        raise UserError(f"cannot read {shown(path)}: {error.strerror or error}") from error


def path_kind(path: Path, missing: str, valid: str) -> Literal["file", "folder"]:
    """Whether `path` is a regular file or a folder, links followed.

    Args:
        path: what a user gave.
        missing: what to say when nothing is there, e.g. "no such data set".
        valid: what would be valid.

    Raises UserError for anything else: nothing there, a loop of links, a device, a pipe, no permission.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        link = " (a link to nothing)" if os.path.islink(path) else ""
        raise UserError(f"{missing}: {shown(path)}{link}; valid: {valid}") from None
    except (OSError, ValueError) as error:  # a loop of links, a name too long, a zero byte in it
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{quoted(str(path))} cannot be read: {reason}; valid: {valid}") from error
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    kind = next((words for test, words in _SPECIAL if test(mode)), "neither file nor folder")
    raise UserError(f"{shown(path)} is {kind}; valid: {valid}")
