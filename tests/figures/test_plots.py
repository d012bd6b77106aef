"""Plots of runs: their numbers, their documents, and that matplotlib draws them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

import styleloom
from styleloom.cli import main
from styleloom.figures.training_plots import METRICS
from styleloom.metrics.evaluation.definitions import parse_all
from styleloom.metrics.probes.stability import changes, images_at

from .tiny_runs import figure, refusal, run

LINES = [
    {"images_seen": 1000 * n, "kimg": 1.0 * n, "sec_total": 3600.0 * n, "swd": 100.0 / n, "level": level}
    | ({"metrics/kid5k_lite0": 1.0 / n, "metrics/ppl_wend10k_lite0": 10.0 * n} if n % 2 else {})
    for n, level in ((1, 1), (2, 1), (3, None), (4, None))
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plots")


def panels(out: Path) -> list[dict[str, Any]]:
    return json.loads(out.with_suffix(".json").read_text())["panels"]


def test_of_what_runs_recorded(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """ProGAN Figure 4, StyleGAN Figure 9."""
    path = run(folder, "stylegan2", (4000,), LINES)
    out = folder / "swd.png"
    pixels, _ = figure(capsys, "progan-4", path, out=out)
    assert pixels.shape[2] > 800
    a, b, c = panels(out)
    assert (a["series"][0]["x"], a["series"][0]["y"]) == ([1, 2, 3, 4], [100, 50, 100 / 3, 25])
    assert b["series"][0]["x"] == c["series"][0]["x"] == [1, 2, 3, 4]
    assert refusal(capsys, "progan-4", path, "--metric", "fid").endswith(
        "valid: metrics/kid5k_lite0, metrics/ppl_wend10k_lite0, swd"
    )
    out = folder / "metrics.png"
    figure(capsys, "stylegan-9", path, out=out)
    assert [panel["y"] for panel in panels(out)] == [
        "sliced Wasserstein distance ×1000",
        "kid5k_lite0",
        "ppl_wend10k_lite0",
    ]
    assert panels(out)[0]["marks"] == [3.0]  # full resolution
    assert panels(out)[1]["series"][0]["x"] == [1, 3]


def test_of_an_evaluation(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run(folder, "grey", (2000, 1000))
    entries = [
        {
            "subject": {"info": {"images_seen": seen}, "level": None},
            "metrics": {"kid5k_lite0": {"values": {"kid5k_lite0": {"mean": value}}}, "fid": {"error": "no"}},
        }
        for seen, value in ((2000, 1.5), (1000, 2.5))
    ]
    scores = folder / "scores.json"
    scores.write_text(json.dumps({"snapshots": entries}))
    out = folder / "scored.png"
    figure(capsys, "stylegan-9", path, "--scores", scores, out=out)
    (panel,) = panels(out)
    assert (panel["series"][0]["x"], panel["series"][0]["y"]) == ([1, 2], [2.5, 1.5])
    assert parse_all(METRICS)
    assert "has no statistics" in refusal(capsys, "stylegan-9", path)
    scores.write_text("{}")
    assert "not what `styleloom evaluate RUN --json` prints" in refusal(
        capsys, "stylegan-9", path, "--scores", scores
    )


def test_stability(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """MSG-GAN Figure 6: the changes of `metrics.probes.stability`, by resolution."""
    path, out = run(folder, "msg-progan", (1000, 2000, 3000)), folder / "stability.png"
    figure(capsys, "msg-gan-6", path, "--count", "3", out=out)
    (panel,) = panels(out)
    assert [series["name"] for series in panel["series"]] == ["4 px", "8 px", "16 px"]
    assert panel["series"][0]["x"] == [2, 3]
    ends = [styleloom.load(path / f"snapshot-00000{n}.safetensors", "cpu", "fp32") for n in (2, 3)]
    expected = changes(*(images_at(sampler, [0, 1, 2]) for sampler in ends))
    assert panel["series"][2]["y"][1] == pytest.approx(expected[16], rel=1e-5)
    single = run(folder, "progan", (1000,))
    assert "has 1 snapshots; at least 2" in refusal(capsys, "msg-gan-6", single)


def test_usage(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = run(folder, "rectangular", (1000, 2000)), folder / "usage.png"
    figure(capsys, "stylegan2-8", path, "--count", "20", out=out)
    (panel,) = panels(out)
    assert panel["kind"] == "shares"
    assert sum(series["y"][0] for series in panel["series"]) == pytest.approx(100)
    other = run(folder, "stylegan", (1000,))
    assert "needs a generator with images that are sums over levels" in refusal(capsys, "stylegan2-8", other)


def test_drawn_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The document is all that a plot is drawn from; a damaged one is refused by the name of its field."""
    path, out = run(folder, "transparent", (4000,), LINES), folder / "first.png"
    figure(capsys, "progan-4", path, out=out)
    document, again = out.with_suffix(".json"), folder / "again.png"
    assert main(["figure", "--from", str(document), "--out", str(again)]) == 0
    assert again.read_bytes() == out.read_bytes()
    capsys.readouterr()
    assert "there already" in refusal(capsys, "--from", document, "--out", again)
    good = json.loads(document.read_text())
    for change, message in (
        ({"panels": []}, "panels: missing"),
        ({"panels": [{"x": "a"}]}, "panels: "),
        ({"panels": [{"x": "a", "y": "b", "series": [{"name": "c", "x": [1], "y": []}]}]}, "has 1 x, 0 y"),
        ({"panels": [good["panels"][0] | {"kind": "pie"}]}, "kind: 'pie' is not valid"),
        ({"panels": [good["panels"][0] | {"marks": ["x"]}]}, "marks: 'x' is not valid"),
    ):
        document.write_text(json.dumps(good | change))
        assert message in refusal(capsys, "--from", document, "--out", folder / "no.png")
    document.write_text("{")
    assert "no JSON" in refusal(capsys, "--from", document, "--out", folder / "no.png")


def test_without_matplotlib(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    path = run(folder, "labels", (1000,), LINES)
    assert "pip install 'styleloom[figures]'" in refusal(capsys, "progan-4", path)


def test_names_are_those_that_were_given(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run by its folder's name; of equal names, with the folder that holds them."""
    first = run(folder / "a", "progan", (1000, 2000))
    second = run(folder / "b", "progan", (1000, 2000))
    out = folder / "named.png"
    figure(capsys, "msg-gan-6", first, second, "--count", "1", out=out)
    assert [panel["title"] for panel in panels(out)] == ["a/run-progan", "b/run-progan"]
    words = ("stylegan2-17", run(folder / "c", "stylegan", (1000,)), second, "--count", "2")
    figure(capsys, *words, out=folder / "values.png")
    (panel,) = panels(folder / "values.png")
    assert [series["name"].split()[0] for series in panel["series"]] == ["run-stylegan", "run-progan"]
