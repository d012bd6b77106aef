"""One thread, and a summary of how close the comparison was: `pytest tests/parity -v`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from .golden_file import WORST


@pytest.fixture(autouse=True, scope="package")
def _one_thread() -> Iterator[None]:
    """The networks are tiny: threads that wait for each other would take most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if WORST and terminalreporter.verbosity >= 1:
        terminalreporter.section("golden parity: largest difference / tolerance")
        for function, (ratio, where) in WORST.items():
            terminalreporter.write_line(f"{ratio:9.4f}  {function}  ({where})")
