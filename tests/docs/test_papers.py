"""PAPERS.md: every symbol that it names exists."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[2] / "PAPERS.md").read_text()
SYMBOLS = sorted(set(re.findall(r"`([\w/]+)\.py:([\w.]+)`", TEXT)))


@pytest.mark.parametrize(("module", "symbol"), SYMBOLS)
def test_symbol_exists(module: str, symbol: str) -> None:
    found = importlib.import_module(f"styleloom.{module.replace('/', '.')}")
    for part in symbol.split("."):
        found = getattr(found, part)


def test_every_row_that_maps_names_a_symbol() -> None:
    mapped = [line for line in TEXT.splitlines() if re.match(r"\| (§|App\.|Table|eq\.)", line)]
    assert len(mapped) > 30
    for line in mapped:
        assert re.search(r"`[\w/]+\.py:[\w.]+`", line), line


@pytest.mark.parametrize("equation", [1, 2, 3, 4])
def test_every_equation_of_stylegan2_is_mapped(equation: int) -> None:
    part = TEXT.split("## StyleGAN2")[1].split("## StyleGAN\n")[0]
    cells = " ".join(line.split("|")[1] for line in part.splitlines() if line.startswith("| §"))
    numbers = re.findall(r"eq\. ([\d, ]+)", cells)
    assert str(equation) in " ".join(numbers)
