"""The library speaks through `logging`; printing is for the command line."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import styleloom
from styleloom.cli import main

PACKAGE = Path(styleloom.__file__).parent
LIBRARY = [path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).parts[0] != "cli"]


def printing(code: str) -> Iterator[str]:
    """Each place in `code` that prints or names a standard stream."""
    for node in ast.walk(ast.parse(code)):
        text = ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""
        if text in ("print", "sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"):
            yield f"line {node.lineno}: {text}"
        if isinstance(node, ast.ImportFrom) and node.module == "sys":
            yield f"line {node.lineno}: from sys import"


def test_the_library_prints_nothing() -> None:
    assert len(LIBRARY) > 50
    assert {path.name: found for path in LIBRARY if (found := list(printing(path.read_text())))} == {}
    for code in (
        "print(1)",
        "sys.stderr.write('x')",
        "f(file=sys.stdout)",
        "from sys import stderr",
    ):
        assert list(printing(code)), code


def test_loggers_are_named_by_their_modules() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("getLogger"):
                # or of another library that is told to be quiet: torch.onnx.__name__
                assert re.fullmatch(r"(torch\.onnx\.)?__name__|LIBRARY", ast.unparse(node.args[0])), path


def test_the_host_decides_what_is_heard() -> None:
    """No handler and no level of ours: warnings reach stderr by Python's last resort, or where the host says.

    The command line takes its own handler away again.
    """
    assert main(["--version"]) == 0
    assert main(["presets", "no-such"]) == 2
    logger = logging.getLogger("styleloom")
    assert (logger.handlers, logger.level, logger.propagate) == ([], logging.NOTSET, True)
