"""The study of portraits, small: every part is measured, kept, and on the page."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import portraits as study
import portraits_neighbours
from data.images import build, encoded
from styleloom import snapshot
from styleloom.errors import UserError
from styleloom.networks.build import build_generator
from tiny import tiny


def archive(root: Path, name: str, number: int, first: int) -> Path:
    """Noise of 16 px under two attributes: bright or dark above, bright or dark below."""
    source, rows = root / name, ["image,above,below"]
    source.mkdir()
    for i in range(first, first + number):
        pixels = np.random.default_rng(i).integers(0, 90, (16, 16, 3))
        pixels[:8] += 120 * (i & 1)
        pixels[8:] += 60 * (i & 2)
        (source / f"{i:04d}.png").write_bytes(encoded(pixels.astype(np.uint8)))
        rows.append(f"{i:04d}.png,{i & 1},{(i & 2) // 2}")
    (table := root / f"{name}.csv").write_text("\n".join(rows))
    return build(source, root / f"{name}.zip", 16, labels=str(table))


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> study.PortraitsStudy:
    root = tmp_path_factory.mktemp("portraits")
    settings = tiny("resolution=16")
    torch.manual_seed(0)
    snapshot.write_snapshot(
        root / "model.safetensors",
        build_generator(settings.generator),
        settings,
        images_seen=1234,
        data={"name": "noise"},
    )
    return study.PortraitsStudy(
        train=str(archive(root, "train", 30, 0)),
        held_out=str(archive(root, "held", 20, 100)),
        snapshot=str(root / "model.safetensors"),
        out=root / "page.md",
        work=root / "work",
        images=10,
        compared=10,
        paths=4,
        latents=20,
        classifier_kimg=0.016,
    )


def test_a_small_study(options: study.PortraitsStudy, capsys: pytest.CaptureFixture[str]) -> None:
    assert study.main(options) == 0
    page = options.out.read_text()
    assert page == capsys.readouterr().out.removesuffix("\n")
    assert "1,234 portraits (of 30 in `noise`" in page
    for words in (
        "| held-out portraits |", "| psi 0.5 |", "| KID × 1000 at most 3 | no |", "| pixels |",
        "| features |", "| full |", "| separability_primal |", "| above |",
    ):  # fmt: skip
        assert words in page
    document = json.loads((options.folder / "numbers.json").read_text())
    found = document["distances"]
    assert set(found) == {"reals", "1", "0.7", "0.5"}
    assert found["reals"]["kid"] < found["1"]["kid"]  # an untrained network is far off
    assert len(document["neighbours"]["pixels"]["closest"]) == 10
    for name, size in {"nearest": (160, 64), "psi-1": (192, 128), "psi-0.7": (192, 128)}.items():
        with Image.open(options.folder / f"{name}.png") as picture:
            assert picture.size == size


def test_what_is_measured_is_kept(
    options: study.PortraitsStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study.main(options)
    (options.folder / "seen.md").write_text("Noise.\n")
    for part in ("distances", "path_lengths", "separabilities", "nearest_of"):
        monkeypatch.setattr(study, part, lambda m: pytest.fail("measured again"))
    study.main(options)
    assert "## What the pictures show\n\nNoise.\n" in options.out.read_text()
    with pytest.raises(pytest.fail.Exception, match="measured again"):
        study.main(dataclasses.replace(options, paths=5))


def test_more_held_out_portraits_are_needed_than_there_are(options: study.PortraitsStudy) -> None:
    with pytest.raises(UserError, match="--images: 11 is not valid; valid: 2 to 10"):
        study.Measurement(dataclasses.replace(options, images=11))


def test_the_nearest_is_found_whatever_the_blocks() -> None:
    rng = torch.Generator().manual_seed(0)
    others = torch.randint(0, 256, (50, 12), generator=rng).float()
    queries = torch.cat([others[[7, 31]], others[[3]] + 2])
    for size in (50, 8):
        distances, index = portraits_neighbours.nearest(queries, others.split(size))
        assert index.tolist() == [7, 31, 3]
        assert distances.tolist() == [0, 0, 2]


def test_reals_are_the_yardstick_of_duplicates() -> None:
    reals = torch.tensor([0.0, 2.0, 3.0, 4.0])
    found = portraits_neighbours.compared(torch.tensor([0.5, 1.9, 2.0, 9.0]), reals, reals == 0)
    assert (found["limit"], found["duplicates"], found["copies"], found["least"]) == (2, 2, 1, 0.5)
    assert found["within"]["0.05"] == 0
    assert portraits_neighbours.compared(torch.zeros(4), reals, reals == 0)["within"]["0.01"] == 4
