"""Many facts in one test: all cases run, and one message shows each that is wrong."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import pytest

Test = Callable[..., None]


def every(names: str | tuple[str, ...], cases: Iterable[Any]) -> Callable[[Test], Test]:
    """A decorator with the arguments of `pytest.mark.parametrize` that makes one test of all cases.

    For tables of facts. Cases that cost real work, or that fail for reasons of their own, are parametrised.
    Fixtures are made once for all cases.
    """
    given = (names,) if isinstance(names, str) else names
    table = [dict(zip(given, (case,) if isinstance(names, str) else case, strict=True)) for case in cases]

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def run(**fixtures: Any) -> None:
            assert table, "there are no cases"
            wrong: list[str] = []
            first = None
            for case in table:
                try:
                    test(**fixtures, **case)
                except (Exception, pytest.fail.Exception) as error:
                    first = first or error
                    wrong.append(f"{_shown(case)}: {type(error).__name__}: {error}")
            if first is not None:
                lines = [f"{len(wrong)} of {len(table)} cases are wrong, the first as above", *wrong]
                raise AssertionError("\n".join(lines)) from first

        signature = inspect.signature(test)
        left = [parameter for name, parameter in signature.parameters.items() if name not in given]
        run.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
        return run

    return decorate


def _shown(case: dict[str, Any]) -> str:
    text = ", ".join(f"{name}={value!r}" for name, value in case.items())
    return text if len(text) < 200 else f"{text[:197]}..."
