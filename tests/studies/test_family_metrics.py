"""The page of metrics of the family study, small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import family_metrics as study
from family_settings import experiment
from styleloom import snapshot
from styleloom.errors import UserError
from styleloom.networks.build import build_generator


def test_a_small_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(study, "HELD_OUT", 1870 - 60)
    for name in ("progan", "stylegan2-f"):
        settings = experiment(name, 1, 0)
        generator = build_generator(settings.generator)
        snapshot.write_snapshot(
            tmp_path / "kept" / f"{name}.safetensors", generator, settings, images_seen=1000
        )
    options = study.FamilyMetrics(tmp_path / "kept", images=24, splits=2, out=tmp_path / "page.md")
    assert study.main(options) == 0
    document = json.loads((tmp_path / "page.json").read_text())
    assert list(document["values"]) == ["reals", "progan", "stylegan2-f"]
    for values in document["values"].values():
        assert [set(v) for v in values] == [set(study.METRICS)] * 2
        assert values[0] != values[1]
    means = {name: sum(v["kid"] for v in values) / 2 for name, values in document["values"].items()}
    assert means["reals"] < min(means["progan"], means["stylegan2-f"]) / 5  # untrained networks are far off
    page = (tmp_path / "page.md").read_text()
    assert page == capsys.readouterr().out.removesuffix("\n")
    rows = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")]
    assert rows == ["model", "progan", "stylegan2-f", "reals"]


def test_halves_have_nothing_in_common() -> None:
    one, other = study.halves(50, 20, 3)
    assert len({*one.tolist(), *other.tolist()}) == 40
    assert study.halves(50, 20, 4)[0].tolist() != one.tolist()


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no generators; train them: python studies/family.py"):
        study.main(study.FamilyMetrics(tmp_path))
    (tmp_path / "progan.safetensors").touch()
    with pytest.raises(UserError, match="--images: 1000 is not valid; valid: 2 to 807"):
        study.main(study.FamilyMetrics(tmp_path, images=1000))
