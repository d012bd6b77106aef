"""`styleloom figure` as it is typed: the list, and what is refused before any work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from every import every
from figures.tiny_runs import refusal, run, snapshot
from styleloom.cli import main
from styleloom.figures.figure import PAPERS
from styleloom.figures.registry import FIGURES


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["figure", "--list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["figures"]
    assert [row["name"] for row in listed] == list(FIGURES)
    assert {row["paper"] for row in listed} == set(PAPERS)
    assert main(["figure", "--list"]) == 0
    table = capsys.readouterr().out
    assert all(f" {name} " in table for name in FIGURES)


@every("name", FIGURES)
def test_a_row_is_whole(name: str) -> None:
    figure = FIGURES[name]
    assert figure.name == name
    assert figure.number > 0
    assert figure.takes
    assert figure.shows[0].islower() or figure.shows.split()[0].isupper()
    assert set(figure.options) <= {field for field in vars(_filled()) if field != "start"}


def _filled() -> object:
    from styleloom.cli.figure import Figure

    return Figure()


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given, trained = snapshot(tmp_path, "stylegan2"), run(tmp_path, "progan", (1000,))
    plain = snapshot(tmp_path, "traditional")
    there = tmp_path / "there.png"
    there.touch()
    (tmp_path / "plot.json").touch()
    out = ("--out", tmp_path / "x.png")
    for words, message in (
        (["stylegan-3", given, "--out", there], "there already; replace it with --overwrite"),
        (["msg-gan-6", trained, "--out", tmp_path / "plot.png"], "plot.json: there already"),
        (["stylegan-3", given, "--out", "x.jpg"], "valid: a name that ends with .png"),
        (["stylegan-33", given], "figure: 'stylegan-33' does not exist, did you mean 'stylegan-3'?"),
        ([], "figure: none named"),
        (["stylegan-3", *out], "0 snapshots given; it takes a snapshot, with styles that can be mixed"),
        (["stylegan-3", given, given, *out], "2 snapshots given"),
        (["stylegan-3", given, "--draws", "3", *out], "--draws: not read by stylegan-3; it reads: --seeds, "),
        (["stylegan-3", given, "--data", "emoji", *out], "--data: not read by stylegan-3"),
        (["stylegan-7", *out], "--data: needed for stylegan-7"),
        (["stylegan-8", given, "--seeds", "1", "--count", "2", *out], "--count: not valid with --seeds"),
        (["stylegan-8", given, "--count", "0", *out], "--count: 0 is not valid, at least 1"),
        (["stylegan-8", given, "--seeds", "x", *out], "--seeds: 'x' is not valid"),
        (["stylegan-8", given, "--classes", "1", *out], "class: this generator was trained without labels"),
        (["progan-4", trained, "--classes", "1", *out], "--classes: not read by progan-4"),
        (["stylegan-7", "--data", "emoji", "--classes", "1", *out], "--classes: not read by stylegan-7"),
        (["stylegan-8", plain, *out], "needs a generator with styles that can be truncated"),
        (["stylegan-3", trained, *out], "of the family progan, has none"),
        (["msg-gan-1", given, *out], "needs a generator with images at several levels"),
        (["msg-gan-6", given, *out], "no run directory; msg-gan-6 takes one or more runs"),
        (["progan-1", trained, "--seeds", "np:3", *out], "progan-1 takes plain seeds only, without np:"),
        (["progan-5", given, "--truncation", "nan", *out], "truncation: nan is not valid"),
        (["progan-5", given, "--count", "99", "--zoom", "999", *out], "too many for one picture"),
        (["stylegan-7", "--data", "emoji", "--seeds", "999999", *out], "seeds: 999999 is not valid"),
    ):
        assert message in refusal(capsys, *words), words
    assert not (tmp_path / "x.png").exists()
