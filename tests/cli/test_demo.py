"""`styleloom demo`, with a smaller network and a few steps."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import styleloom
from metrics.plugged import Projection, plugged
from styleloom.cli import main
from styleloom.cli.demo import free_folder
from styleloom.presets import PRESETS
from styleloom.runs.directory import RunDirectory
from styleloom.training.trainer import Trainer
from tiny import tiny


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "demo", tiny("data.held_out=100", "run.swd_images=16"))


@pytest.mark.usefixtures("small")
def test_the_whole_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), "--device", "cpu", "--seed", "3", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["swd_trained"] > 0
    assert RunDirectory(out / "run").read_experiment()[0].seed == 3
    assert document["held_out_images"] == 100
    assert document["kid_lite0_of_reals"] < 30 < document["kid_lite0"]  # it has learned nothing in 8 steps
    assert document["recall_lite0"] < document["recall_lite0_of_reals"] <= 1
    assert 0 <= document["precision_lite0"] <= document["precision_lite0_of_reals"]
    assert all(Path(path).read_bytes().startswith(b"\x89PNG") for path in document["pictures"].values())
    assert styleloom.load(document["snapshot"], "cpu").generate([0]).shape == (1, 3, 8, 8)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("styleloom.cli.demo_measures.FEATURES", "proj")
    with plugged(Projection()):
        yield


@pytest.mark.usefixtures("small", "quick")
def test_it_says_where_everything_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    out.mkdir()  # then a number is added
    assert main(["demo", "--out", str(out), "--minutes", "1e-9", "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    assert str(tmp_path / "demo-2") in shown
    assert "styleloom generate" in shown
    assert "kernel distance to them" in shown
    assert "recall" in shown
    assert list(out.iterdir()) == []


@pytest.mark.usefixtures("small", "quick")
def test_a_signal_in_the_training_keeps_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures are made, the document is printed, and the status says that it is not complete."""
    step = Trainer.step

    def interrupted(trainer: Trainer) -> object:
        signal.raise_signal(signal.SIGTERM)
        return step(trainer)

    monkeypatch.setattr(Trainer, "step", interrupted)
    assert main(["demo", "--out", str(tmp_path / "demo"), "--device", "cpu", "--json"]) == 130
    document = json.loads(capsys.readouterr().out)
    assert document["images_seen"] == 8
    assert all(Path(path).exists() for path in document["pictures"].values())


@pytest.mark.usefixtures("small")
def test_without_the_feature_network_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("styleloom.features.weights.locate_weights", lambda file: None)
    words = ["--out", str(tmp_path / "demo"), "--minutes", "1e-9", "--device", "cpu", "--json"]
    assert main(["demo", *words]) == 0
    printed = capsys.readouterr()
    assert "kid_lite0" not in json.loads(printed.out)
    assert "kernel distance and recall not measured" in printed.err
    assert "styleloom[metrics]" in printed.err


def test_free_folder(tmp_path: Path) -> None:
    assert free_folder(tmp_path / "x") == tmp_path / "x"
    for name in ("x", "x-2"):
        (tmp_path / name).mkdir()
    assert free_folder(tmp_path / "x") == tmp_path / "x-3"
