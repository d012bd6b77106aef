"""The study of all families trains what its table says, and writes a page that says what was trained."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import family
from family_measures import diversity, floor
from family_pictures import enlarge, sheet, tiles
from family_settings import MODELS, FamilyStudy, experiment
from styleloom import presets
from styleloom.config import FeatureMaps, Mapping
from styleloom.config.growth import lod_at
from styleloom.data import open_dataset
from styleloom.images import save_png
from styleloom.snapshot import read_snapshot
from tiny import make_archive

STUDIES = Path(__file__).parents[2] / "studies"
NAMES = ("progan", "stylegan-f", "msg-progan", "msg-stylegan", "stylegan2-d", "stylegan2-f")
GROWING = ("progan", "stylegan-f", "stylegan2-d")


def test_each_paper_keeps_its_losses_and_schedule():
    assert tuple(MODELS) == NAMES
    for name in NAMES:
        small, preset = experiment(name, 100, 3), presets.get(name)
        assert (small.resolution, small.seed, small.total_kimg) == (32, 3, 100)
        for field in ("loss", "drift", "g_regularizer", "step_order", "style_mixing", "optimizer", "adam"):
            assert getattr(small, field) == getattr(preset, field), field
        assert replace(small.d_regularizer, gamma=preset.d_regularizer.gamma) == preset.d_regularizer
        assert (small.growth.mode == "progressive") == (name in GROWING)
        for network in (small.generator, small.discriminator):
            assert network.features == FeatureMaps(512, 128)
        assert (small.batch(8), small.batch(32), small.data.held_out) == (16, 16, 256)


def test_generators_are_as_narrow_as_the_demo():
    demo = presets.get("demo").generator
    for name in NAMES:
        g = experiment(name, 100, 0).generator
        assert g.z_dim == demo.z_dim
        assert getattr(g, "w_dim", 128) == demo.w_dim
        assert getattr(g, "mapping", Mapping(4, 128)) == demo.mapping


def test_growing_models_spend_30_percent_below_full_resolution():
    growth = experiment("stylegan-f", 100, 0).growth
    lods = [lod_at(kimg * 1000, growth, 32) for kimg in (0, 9.99, 15, 20, 29.99, 35, 40, 100)]
    assert lods == pytest.approx([2, 2, 1.5, 1, 1, 0.5, 0, 0])


def small(name: str, kimg: float):
    """A model of the table with networks of 8 features on 16 px."""
    made = experiment(name, kimg, 0).with_data(resolution=16)

    def narrow(config):
        own = {field.name for field in dataclasses.fields(config)}
        fields = {"features": FeatureMaps(64, 8), "z_dim": 8, "w_dim": 8, "mapping": Mapping(2, 8)}
        return replace(config, **{key: value for key, value in fields.items() if key in own})

    return replace(
        made,
        generator=narrow(made.generator),
        discriminator=narrow(made.discriminator),
        data=replace(made.data, held_out=4),
        precision="fp32",
    )


@pytest.mark.parametrize("name", NAMES)
def test_one_step_of_every_model(tmp_path, name, capsys):
    dataset = open_dataset(make_archive(tmp_path, 8, side=16))
    settings = small(name, kimg=0.016)
    outcome, fakes = family.learn(settings, dataset, points=1, name=name, snapshots=tmp_path / "kept")
    assert (fakes.shape, fakes.dtype) == ((4, 3, 16, 16), torch.uint8)
    assert outcome == json.loads(json.dumps(outcome))
    assert [point["kimg"] for point in outcome["swd"]] == [0, 0.016]
    assert all(point["swd"] > 0 for point in outcome["swd"])
    assert (outcome["images_seen"], outcome["skipped_updates"]) == (16, 0)
    assert set(outcome["diversity"]) == {"spread", "nearest", "limit", "duplicates"}
    assert name in capsys.readouterr().err
    kept = read_snapshot(tmp_path / "kept" / f"{name}.safetensors")
    assert kept.experiment == settings


def test_images_of_a_lower_level_are_enlarged(tmp_path):
    dataset = open_dataset(make_archive(tmp_path, 8, side=16))
    settings = small("stylegan2-d", kimg=0.032)
    later = replace(settings, growth=replace(settings.growth, stabilize_kimg=1.0))
    outcome, fakes = family.learn(later, dataset, points=2, name="low", snapshots=tmp_path)
    assert [point["resolution"] for point in outcome["swd"]] == [16, 8, 8]
    assert torch.equal(fakes, enlarge(fakes[:, :, ::2, ::2], 2))


def test_diversity_of_reals_is_one_and_collapse_is_seen():
    reals = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8, generator=torch.manual_seed(0))
    same = diversity(reals, reals)
    assert (same["spread"], same["nearest"]) == (1, 1)
    assert same["duplicates"] == pytest.approx(0.05, abs=0.03)

    twins = diversity(reals[:20].repeat(2, 1, 1, 1), reals)
    assert (twins["nearest"], twins["duplicates"]) == (0, 1)
    assert twins["spread"] == pytest.approx(0.97, abs=0.03)

    flat = diversity(torch.full_like(reals, 7), reals)
    assert (flat["spread"], flat["nearest"], flat["duplicates"]) == (0, 0, 1)


def test_diversity_is_in_grey_levels():
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    images[1] = 10
    assert diversity(images, images)["limit"] == pytest.approx(10)


def test_the_floor_compares_sets_of_the_same_size(tmp_path):
    dataset = open_dataset(make_archive(tmp_path, 19, side=16))
    settings = small("progan", kimg=0.016)
    assert len(floor(settings, dataset)) == 3  # 15 images to train on, sets of 4
    assert all(value > 0 for value in floor(settings, dataset))


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study of small models on a small data set, in this process."""
    archive = make_archive(tmp_path, 24, side=16)
    monkeypatch.setattr(family, "open_dataset", lambda *_: open_dataset(archive))
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    options = FamilyStudy(kimg=0.016, points=1, out=tmp_path / "results" / "family.md")
    monkeypatch.setattr(type(options), "experiment", lambda self, name: small(name, self.kimg))
    return options


def test_outcomes_become_a_page_with_pictures(study):
    for name in ("progan", "msg-stylegan"):
        family.train(study, name)
    page = family.write_page(study)
    assert study.out.read_text() == page
    assert "| [progan](family/progan.png) |" in page
    assert "stylegan2-f" not in page
    assert "What the pictures show\n" not in page
    sheets = sorted(path.name for path in study.folder.glob("*.png"))
    assert sheets == ["all.png", "msg-stylegan.png", "progan.png", "reals.png"]
    with Image.open(study.folder / "all.png") as picture:
        assert picture.size == (3 * (4 * 32 + 16) + 16, 32 + 2 * 32 + 16)

    (study.folder / "seen.md").write_text("Noise, as after one step.\n")
    assert "## What the pictures show\n\nNoise, as after one step.\n" in family.write_page(study)


def test_finished_models_are_not_trained_again(study):
    assert family.outcome_of(study, "progan") is None
    family.train(study, "progan")
    assert family.outcome_of(study, "progan")["images_seen"] == 16
    assert family.outcome_of(replace(study, kimg=0.032), "progan") is None
    path = study.folder / "progan.json"
    document = json.loads(path.read_text())
    document["experiment"]["run"]["sample_every"] = 7
    path.write_text(json.dumps(document))
    assert family.outcome_of(study, "progan") is not None
    path.write_text(json.dumps(document | {"data": "another"}))
    assert family.outcome_of(study, "progan") is None
    document["experiment"]["of_another_version"] = 1
    path.write_text(json.dumps(document))
    assert family.outcome_of(study, "progan") is None


def test_sheets_are_cut_into_their_images(tmp_path):
    images = torch.randint(0, 256, (10, 3, 8, 8), dtype=torch.uint8, generator=torch.manual_seed(0))
    save_png(tmp_path / "sheet.png", sheet(images))
    found = tiles(tmp_path / "sheet.png", 8)
    assert len(found) == 16  # two rows of eight, the last six white
    for image, tile in zip(images, found, strict=False):
        assert np.array_equal(np.asarray(tile)[::2, ::2].transpose(2, 0, 1), image.numpy())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_study_in_miniature(tmp_path):
    words = ["--kimg", "0.08", "--points", "2", "--out", str(tmp_path / "family.md")]
    command = [sys.executable, str(STUDIES / "family.py"), *words]
    subprocess.run(command, check=True)
    page = (tmp_path / "family.md").read_text()
    assert all(f"| [{name}](family/{name}.png) |" in page for name in NAMES)
    again = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "SWD" not in again.stderr  # nothing is trained anew
    assert again.stdout.strip() == page.strip()
