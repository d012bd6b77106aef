"""Every figure of every kind of generator: it is made, or refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.images import build, make_folder
from styleloom.cli import main
from styleloom.figures.registry import FIGURES

from .tiny_runs import KINDS, experiment, run, snapshot

SMALL = {"count": "6", "columns": "3", "draws": "2", "steps": "2"}
LINES = [{"kimg": 1.0 * n, "images_seen": 1000 * n, "sec_total": 60.0 * n, "swd": 10.0 / n} for n in (1, 2)]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_every_figure(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = experiment(kind).generator
    photos = make_folder(tmp_path / "photos", 22, 16, generator.channels)
    data = build(photos, tmp_path / "data.zip", 16, grid=generator.grid, channels=generator.channels)
    path, trained = snapshot(tmp_path, kind), run(tmp_path, kind, (1000, 2000, 30_000_000), LINES)
    for name, figure in FIGURES.items():
        words = [name] if figure.snapshots[1] == 0 else [name, str(trained if figure.runs else path)]
        words += ["--data", str(data)] if figure.data else []
        small = SMALL | ({"count": "20"} if figure.instead else {})
        for option in small.keys() & figure.options.keys():
            words += [f"--{option}", small[option]]
        if generator.label_dim and "seeds" in figure.options and figure.snapshots[1] != 0:
            words += ["--classes", "1"]
        status = main(["figure", *words, "--out", str(tmp_path / f"{name}.png"), "--device", "cpu"])
        error = capsys.readouterr().err
        assert status == 0 or (status == 2 and f"{name}: needs a generator with" in error), (words, error)
