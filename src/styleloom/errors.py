"""Errors that a user can act on, and how text from outside is shown.

Names and texts that come from files may hold anything: terminal escapes, line breaks, half a gigabyte.
Messages show values by `quoted` and paths by `shown`; whatever is printed passes `printable`.
"""

from __future__ import annotations

import difflib
import itertools
import os
import shlex
import subprocess
from collections.abc import Iterable

QUOTE_CHARACTERS = 120
"""Longest piece of a file's or caller's text that a message repeats."""

PATH_CHARACTERS = 4096
"""Longest path that a message repeats: the longest that Linux accepts."""

MAX_CANDIDATES = 10_000
"""How many names are compared for the nearest one at most: a file may list any number."""

MESSAGE_CHARACTERS = 20_000
"""Longest message that is printed."""


class ProcessLostError(Exception):
    """Another process has ended or hangs: what all do together cannot go on."""


class UserError(Exception):
    """Wrong input from outside: a file, a field, a flag.

    The message names the file or field, the value, and what would be valid. The command line prints the
    message alone, without a traceback, and exits with status 2.
    """


def nearest(name: str, valid: Iterable[str]) -> str:
    """``"did you mean 'x'? "`` for a misspelt `name`, or an empty string when nothing is close."""
    candidates = [text for text in itertools.islice(valid, MAX_CANDIDATES) if len(text) <= QUOTE_CHARACTERS]
    matches = difflib.get_close_matches(name[:QUOTE_CHARACTERS], candidates, n=1, cutoff=0.5)
    return f"did you mean {quoted(matches[0])}? " if matches else ""


def quoted(value: object, limit: int = QUOTE_CHARACTERS) -> str:
    """`value` as a message shows it: in quotes if it is text, control characters escaped, the middle cut out.

    Args:
        value: text of unknown origin, or anything with a `repr`.
        limit: characters of the value that are shown at most.
    """
    if isinstance(value, str):
        return repr(cut(value, limit))
    return cut(printable(repr(value)), limit)


def cut(text: str, limit: int = QUOTE_CHARACTERS) -> str:
    """`text`, with its middle replaced by three dots when it has more than `limit` characters."""
    if len(text) <= limit:
        return text
    tail = limit // 3
    return f"{text[: limit - tail]}...{text[-tail:]}"


def printable(text: str) -> str:
    """`text` with every character escaped that a terminal might take for a command; line breaks stay."""
    text = cut(text, MESSAGE_CHARACTERS)
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in text
    )


def shown(name: object, limit: int = PATH_CHARACTERS) -> str:
    """A path or name unchanged, so that it can be copied from a message; with control characters, quoted."""
    text = cut(str(name), limit)
    return text if text.isprintable() else repr(text)


def shell_word(text: object) -> str:
    """`text` as one word of a command that the user may paste into a shell."""
    word = str(text)
    if os.name == "nt":
        return subprocess.list2cmdline([printable(word)])
    if word.isprintable():
        return shlex.quote(word)
    plain = word.translate({ord("\\"): "\\\\", ord("'"): "\\'"})  # $'...' takes escapes, in bash and zsh
    return "$'" + "".join(c if c.isprintable() else _byte_escapes(c) for c in plain) + "'"


def _byte_escapes(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
