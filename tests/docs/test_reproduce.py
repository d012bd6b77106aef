"""docs/reproduce.md: its commands, presets and metrics exist, and no row of a table is missing."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass

import tyro

from every import every
from styleloom import presets
from styleloom.cli import VERBS
from styleloom.config import apply_overrides
from styleloom.metrics.evaluation.definitions import METRICS, parse, parse_all
from styleloom.runs.plan import training_flops

from .pages import DOCUMENTS, REPRODUCE, commands, prose

TEXT = DOCUMENTS[REPRODUCE]

PAPER_PARTS = {
    "StyleGAN": "StyleGAN (",
    "MSG-GAN": "MSG-GAN (",
    "StyleGAN2": "StyleGAN2 (",
    "ProGAN": "ProGAN (",
}
"""Heading of a paper's part, and how the presets' sources begin that belong there."""

PAPER_PRESETS = [n for n, e in presets.PRESETS.items() if presets.place(e)[0] != presets.OWN]

MARKS = {"S", "C", "R", "R?"}
PRESET_COLUMNS = ("preset", "CelebA-HQ preset", "FFHQ preset", "row A", "row F", "nearest")
NOT_ROWS = ("authors' weights", "trained anew", "source", "real images")

COMMANDS = commands(TEXT, "styleloom")


def parts(level: str, text: str = TEXT) -> dict[str, str]:
    """Text below each heading of that level, by heading; what comes before the first is left out."""
    pieces = re.split(rf"^{level} (.+)\n", text, flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def in_backticks(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(text))


@dataclass(frozen=True)
class Table:
    """Cells of a table, its first line apart."""

    header: list[str]
    rows: list[list[str]]


def tables(text: str) -> list[Table]:
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        header, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines())
        found.append(Table(header, rows))
    return found


PAPER_TABLES = [table for paper in PAPER_PARTS for table in tables(parts("##")[paper])]


def verb_of(words: list[str]) -> str:
    return next(name for name in (" ".join(words[:2]), words[0]) if name in VERBS)


@every("words", COMMANDS)
def test_commands_can_be_parsed(words: list[str]) -> None:
    name = verb_of(words)
    verb = VERBS[name]
    command = getattr(importlib.import_module(verb.module), verb.command)
    filled = tyro.cli(command, args=words[len(name.split()) :])
    if name in ("evaluate", "train") and filled.metrics is not None:
        parse_all(filled.metrics)
    if name == "train":
        apply_overrides(presets.get(filled.preset), filled.overrides)


def test_there_are_commands_of_each_kind() -> None:
    verbs = {verb_of(words) for words in COMMANDS}
    assert verbs >= {"dataset build", "train", "evaluate", "features fetch", "train-classifiers"}


def test_data_that_commands_read_is_made_by_one() -> None:
    made = {words[3] for words in COMMANDS if words[:2] == ["dataset", "build"]}
    read = {words[words.index("--data") + 1] for words in COMMANDS if "--data" in words}
    assert "FFHQ.zip" in read <= made


def test_every_metric_in_backticks_exists() -> None:
    kinds = "|".join(sorted(METRICS, key=len, reverse=True))
    named = {
        word
        for word in set(in_backticks(TEXT)) - set(presets.PRESETS)
        if re.fullmatch(rf"(?:{kinds})\d*[\w.-]*", word)
    }
    assert {"fid50k", "ppl_zfull", "ppl2_wend", "pr50k3", "separability_w", "is50k"} <= named
    for name in named:
        parse(name)


@every("table", PAPER_TABLES)
def test_what_tables_name_exists(table: Table) -> None:
    for cell in [*table.header, *(cell for row in table.rows for cell in row)]:
        for word in in_backticks(cell):
            if word not in presets.PRESETS and not word.startswith("--"):
                parse(word)
    columns = [i for i, head in enumerate(table.header) if head in PRESET_COLUMNS]
    for row in table.rows:
        if not row[0].startswith(NOT_ROWS):
            for i in columns:
                assert in_backticks(row[i])[0] in presets.PRESETS, row


@every("table", PAPER_TABLES)
def test_values_have_tolerance_and_source(table: Table) -> None:
    width = len(table.header)
    assert all(len(row) == width for row in table.rows), table.header
    by_row = {row[0]: row for row in table.rows}
    if "source" in table.header:
        sources = [row[table.header.index("source")] for row in table.rows]
    else:
        sources = [cell for cell in by_row["source"][1:] if cell]
    assert sources
    for source in sources:
        assert set(re.findall(r"\b(?:[SC]\b|R\b\??)", source)) & MARKS, source
    if "nearest" not in table.header:  # rows that have no preset have no expectation
        assert "authors' weights" in {*table.header, *by_row}


@every("name", PAPER_PRESETS)
def test_every_row_of_the_papers_is_there(name: str) -> None:
    """In the part of its paper, and below the heading of each table that its source names."""
    source = presets.get(name).source
    paper = next(heading for heading, start in PAPER_PARTS.items() if source.startswith(start))
    part = parts("##")[paper]
    assert name in in_backticks(part)
    found = re.search(r"\bTables? (\d)(?: and (\d))?", source)
    for number in filter(None, found.groups() if found else ()):
        sections = [
            text
            for heading, text in parts("###", part).items()
            if re.match(rf"Tables? (?:\d and )?{number}\b", heading)
        ]
        assert sections, f"no section for table {number} of {paper}"
        assert any(name in in_backticks(section) for section in sections), source


def test_costs_are_those_of_the_code() -> None:
    (table,) = tables(parts("##")["Costs"])
    costs = {row[0].strip("`"): row[1] for row in table.rows}
    assert set(costs) <= set(presets.PRESETS)
    for name in ("msg-stylegan", "stylegan2-f"):  # each takes time; those that grow, seconds
        assert costs[name] == f"{training_flops(presets.get(name)) / 1e15:,.0f}"
