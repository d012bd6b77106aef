"""The study of projections, small: every arm is projected, kept, and on the page."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import inversion as study
import inversion_page
from data.images import build, encoded
from styleloom import snapshot
from styleloom.errors import UserError
from styleloom.networks.build import build_generator
from tiny import tiny


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> study.ProjectionStudy:
    root = tmp_path_factory.mktemp("projection")
    (source := root / "images").mkdir()
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (16, 16, 3)).astype(np.uint8)
        (source / f"{i}.png").write_bytes(encoded(pixels))
    settings = tiny("resolution=16")
    torch.manual_seed(0)
    model = root / "model.safetensors"
    snapshot.write_snapshot(model, build_generator(settings.generator), settings, images_seen=1234)
    return study.ProjectionStudy(
        held_out=str(build(source, root / "held.zip", 16)),
        snapshot=str(model),
        out=root / "projection.md",
        work=root / "work",
        count=3,
        steps=2,
        tune=1,
        batch=2,
    )


def test_the_whole_study(options: study.ProjectionStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    assert study.main(options) == 0
    page = options.out.read_text()
    document = json.loads((options.folder / "results.json").read_text())
    assert {name: len(found) for name, found in document["arms"].items()} == {
        "generated": 3,
        "real": 3,
        "real-w+": 3,
    }
    assert all(result["tuned"]["steps_done"] == 1 for result in document["arms"]["real"])
    for row in inversion_page.ROWS:
        mean = np.mean([result["psnr"] for result in inversion_page.results(document, row)])
        assert re.search(rf"^\| {re.escape(row)} \| {mean:.2f} ± ", page, re.MULTILINE), row
    with Image.open(options.folder / "sheet.png") as sheet:
        assert sheet.size == (3 * 16, 6 * 16)
    assert str(options.work.parent) not in page

    monkeypatch.setattr(study, "Project", None)  # nothing is projected twice
    options.out.unlink()
    assert study.main(options) == 0
    assert options.out.read_text() == page


def test_other_settings_need_another_folder(options: study.ProjectionStudy) -> None:
    (options.work).mkdir(exist_ok=True)
    study.keep_settings(options.work / "other.json", {"steps": 2, "tune": 1})
    with pytest.raises(UserError, match=r"other settings \(steps\)"):
        study.keep_settings(options.work / "other.json", {"steps": 3, "tune": 1})


def test_too_few_images(options: study.ProjectionStudy, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has 3 images, fewer than --count"):
        study.main(dataclasses.replace(options, count=4, work=tmp_path))
    with pytest.raises(UserError, match="--steps: 0"):
        study.main(dataclasses.replace(options, steps=0))


def test_claims_come_from_the_numbers() -> None:
    def found(psnr: float, distance: float) -> dict[str, float]:
        return {"psnr": psnr, "ssim": 0.5, "distance": distance}

    real = [found(16, 0.3) | {"tuned": found(24, 0.1)} for _ in range(4)]
    arms = {
        "generated": [found(30, 0.01)] * 3 + [found(30, 0.4)],
        "real": real,
        "real-w+": [found(20, 0.2)] * 4,
    }
    names = {"held_out": "held.zip", "snapshot": "portraits-64"}
    options = {"count": 4, "steps": 2, "tune": 1, "batch": 2, "seed": 0}
    document = {
        "date": "2026-01-01",
        "machine": "a machine",
        "sha256": "0" * 64,
        "settings": names | options,
        "images_seen": 5,
        "distance": "d",
        "arms": arms,
    }
    lines = inversion_page.report(document, "seen").splitlines()
    verdicts = [line.rsplit("|", 2)[1].strip() for line in lines if line.endswith(("| yes |", "| no |"))]
    assert verdicts == ["yes", "yes", "yes", "no"]  # the area is 0.75
    assert "seen" in lines
