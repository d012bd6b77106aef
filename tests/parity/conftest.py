"""A summary of how close the comparison was: `pytest tests/parity -v`."""

from __future__ import annotations

import pytest

from .golden_file import WORST


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if WORST and terminalreporter.verbosity >= 1:
        terminalreporter.section("golden parity: largest difference / tolerance")
        for function, (ratio, where) in WORST.items():
            terminalreporter.write_line(f"{ratio:9.4f}  {function}  ({where})")
