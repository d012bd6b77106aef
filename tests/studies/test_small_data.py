"""The study of few images, small: it goes from point to point, goes on where it stood, writes its page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import small_data as study
from styleloom.config import Experiment
from styleloom.errors import UserError
from tiny import tiny


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> study.SmallDataStudy:
    """With tiny networks, and a distance that costs nothing."""
    experiment = study.SmallDataStudy.experiment

    def small(self: study.SmallDataStudy, arm: str, seed: int, kimg: float) -> Experiment:
        full = experiment(self, arm, seed, kimg)
        kept = {name: getattr(full, name) for name in ("augment", "data", "total_kimg", "seed", "run")}
        return replace(tiny("resolution=8"), **kept)

    monkeypatch.setattr(study.SmallDataStudy, "experiment", small)
    monkeypatch.setattr(study, "kid", lambda options, measured, held_out: 0.5 + len(held_out))
    return study.SmallDataStudy(
        resolution=8,
        kimg=0.032,
        points=2,
        seeds=(3,),
        measured=8,
        out=tmp_path / "page.md",
        runs=tmp_path / "runs",
    )


def test_the_study_and_its_page(options: study.SmallDataStudy) -> None:
    assert study.main(options) == 0
    page, rows = options.out.read_text(), json.loads((options.folder / "points.json").read_text())
    assert [(row["kimg"], row["arm"]) for row in rows] == [
        (0.016, "without"),
        (0.016, "with"),
        (0.032, "without"),
        (0.032, "with"),
    ]
    assert [row["experiment"]["augment"]["mode"] for row in rows] == ["none", "ada"] * 2
    assert [row["p"] > 0 for row in rows] == [False, False, False, True]
    assert "not complete" not in page
    assert "| 0.032 | 8.5 | 8.5 |" in page
    assert all((options.folder / f"{name}.png").exists() for name in ("reals", "with-3", "without-3"))
    experiment = options.experiment("with", 3, 0.032)
    assert experiment.data.held_out == 4640 - options.images
    assert experiment.augment.mode == "ada"


def test_it_goes_on_where_it_stood(options: study.SmallDataStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    trained, begun = study.trained, []

    def stopped(*args: Any) -> Any:
        begun.append(args[1:])
        return None if len(begun) == 2 else trained(*args)

    monkeypatch.setattr(study, "trained", stopped)
    assert study.main(options) == 1
    assert study.main(options) == 0
    assert begun[2] == begun[1]  # what was done before is not done again
    assert len(begun) == 5
    longer = replace(options, kimg=0.064, points=4)
    with pytest.raises(UserError, match="other settings"):
        study.trained(replace(longer, adjust_kimg=7.0), "with", 3, 0.016)
