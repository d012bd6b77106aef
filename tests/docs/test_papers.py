"""PAPERS.md: every symbol that it names exists, and every figure, table and equation is mapped."""

from __future__ import annotations

import importlib
import re

from every import every
from styleloom.figures.registry import FIGURES

from .pages import DOCUMENTS

TEXT = DOCUMENTS["PAPERS.md"]
SYMBOLS = sorted(set(re.findall(r"`([\w/]+)\.py:([\w.]+)`", TEXT)))


@every(("module", "symbol"), SYMBOLS)
def test_symbol_exists(module: str, symbol: str) -> None:
    found = importlib.import_module(f"styleloom.{module.replace('/', '.')}")
    for part in symbol.split("."):
        found = getattr(found, part)


def test_every_row_that_maps_names_a_symbol() -> None:
    mapped = [line for line in TEXT.splitlines() if re.match(r"\| (§|App\.|Table|eq\.)", line)]
    assert len(mapped) > 30
    for line in mapped:
        assert re.search(r"`[\w/]+\.py:[\w.]+`", line), line


@every("equation", [1, 2, 3, 4])
def test_every_equation_of_stylegan2_is_mapped(equation: int) -> None:
    part = TEXT.split("## StyleGAN2")[1].split("## StyleGAN\n")[0]
    cells = " ".join(line.split("|")[1] for line in part.splitlines() if line.startswith("| §"))
    numbers = re.findall(r"eq\. ([\d, ]+)", cells)
    assert str(equation) in " ".join(numbers)


COUNTS = {"StyleGAN2": (18, 3), "StyleGAN": (12, 4), "MSG-GAN": (14, 7), "ProGAN": (17, 4)}
"""Numbered figures and tables of each paper."""


def numbers(kind: str, cell: str) -> set[int]:
    """2, 10, 11, 12 in "Figs. 2, 10-12"; letters of parts do not count."""
    found: set[int] = set()
    for listed in re.findall(rf"\b{kind}s?\.? (\d[\d–, a-d]*)", cell):
        for first, last in re.findall(r"(\d+)[a-d]?(?:–(\d+))?", listed):
            found |= set(range(int(first), int(last or first) + 1))
    return found


@every("paper", COUNTS)
def test_every_figure_and_table_is_mapped_or_declared_absent(paper: str) -> None:
    part = re.split(r"^## ", TEXT.split(f"\n## {paper}\n")[1], flags=re.MULTILINE)[0]
    cells = [line.split("|")[1] for line in part.splitlines() if line.startswith("|")]
    for kind, count in zip(("Fig", "Table"), COUNTS[paper], strict=True):
        found = set().union(*(numbers(kind, cell) for cell in cells))
        assert found == set(range(1, count + 1)), f"{paper}, {kind}: {sorted(found)}"


def test_numbers_in_a_cell() -> None:
    assert numbers("Fig", "§2.1, Fig. 2c, d") == {2}
    assert numbers("Fig", "Figs. 2, 10–12") == {2, 10, 11, 12}
    assert numbers("Table", "§2, Tables 1–3, Fig. 5") == {1, 2, 3}
    assert numbers("Fig", "§2, eq. 8, 9, Fig. 2") == {2}


def figure_rows(paper: str) -> dict[int, str]:
    """What the paper's table of figures says of each: the last cell of its row, by number."""
    part = re.split(r"^## ", TEXT.split(f"\n## {paper}\n")[1], flags=re.MULTILINE)[0]
    table = part.split("\n| figure | content | here |\n")[1].split("\n\n")[0]
    rows = [line.split("|")[1:-1] for line in table.splitlines()[1:]]
    listed = [(number, row[-1].strip()) for row in rows for number in sorted(numbers("Fig", row[0]))]
    assert len(listed) == len(dict(listed)), f"{paper}: a figure stands twice"
    return dict(listed)


@every("paper", COUNTS)
def test_every_figure_has_a_command_or_a_reason(paper: str) -> None:
    """The table has all numbers of the paper, and the commands are those of `styleloom figure --list`."""
    rows = figure_rows(paper)
    assert sorted(rows) == list(range(1, COUNTS[paper][0] + 1))
    assert all(rows.values())
    registered = {figure.number: figure.name for figure in FIGURES.values() if figure.paper == paper}
    told = {
        n: name
        for n, cell in rows.items()
        for name in re.findall(r"`styleloom figure ([\w-]+)`", cell)
        if name.endswith(f"-{n}")
    }
    assert told == registered


def test_no_command_is_told_that_does_not_exist() -> None:
    told = set(re.findall(r"`styleloom figure ([\w-]+)", TEXT)) - {"NAME"}
    assert told == set(FIGURES)
