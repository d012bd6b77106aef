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
from family_measures import METRICS, of_generator, of_reals
from family_pictures import sheet, tiles
from family_settings import AUTHORS, MINIATURES, MODELS, FamilyStudy, experiment
from styleloom import presets, sampling
from styleloom.config import ByResolution, FeatureMaps, Mapping
from styleloom.config.growth import lod_at
from styleloom.config.serialize import differences
from styleloom.data import open_dataset
from styleloom.errors import UserError
from styleloom.images import save_png
from styleloom.runs.directory import RunDirectory
from tiny import make_archive

STUDIES = Path(__file__).parents[2] / "studies"
NAMES = ("progan", "stylegan-f", "msg-progan", "msg-stylegan", "stylegan2-d", "stylegan2-f")
GROWING = ("progan", "stylegan-f", "stylegan2-d")


def test_each_paper_keeps_its_losses_and_schedule():
    assert tuple(MINIATURES) == NAMES
    for name in NAMES:
        small, preset = experiment(name, 100, 3), presets.get(name)
        assert (small.resolution, small.seed, small.total_kimg) == (32, 3, 100)
        for field in ("loss", "drift", "g_regularizer", "step_order", "style_mixing", "optimizer", "adam"):
            assert getattr(small, field) == getattr(preset, field), field
        assert replace(small.d_regularizer, gamma=preset.d_regularizer.gamma) == preset.d_regularizer
        assert (small.growth.mode == "progressive") == (name in GROWING)
        for network in (small.generator, small.discriminator):
            assert network.features == FeatureMaps(512, 128)
        assert (small.batch(8), small.batch(32), small.data.held_out) == (16, 16, 512)


def test_a_model_with_its_authors_constants_changes_feature_maps_and_length_alone():
    assert (*NAMES, *AUTHORS) == MODELS
    for name, source in AUTHORS.items():
        made, preset = experiment(name, 100, 3), presets.get(source).with_data(resolution=32)
        changed = {key.split(".")[-1] for key in differences(preset, made) if not key.startswith("run.")}
        assert changed == {"source", "base", "max", "held_out", "total_kimg", "seed"}


def test_latents_and_mapping_networks_are_small():
    for name in NAMES:
        g = experiment(name, 100, 0).generator
        assert (g.z_dim, getattr(g, "w_dim", 128)) == (128, 128)
        assert getattr(g, "mapping", Mapping(4, 128)) == Mapping(4, 128)


def test_growing_models_are_below_full_resolution_for_40_kimg():
    for kimg in (60, 160):
        growth = experiment("stylegan-f", kimg, 0).growth
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
        data=replace(made.data, held_out=8),
        run=replace(made.run, tick_kimg=ByResolution(0.016)),
        precision="fp32",
    )


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study of small models on a small data set, in this process."""
    archive = make_archive(tmp_path, 24, side=16)
    monkeypatch.setattr(family, "open_dataset", lambda *_: open_dataset(archive))
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    options = FamilyStudy(
        kimg=0.016, repeats=2, out=tmp_path / "results" / "family.md", runs=tmp_path / "runs"
    )
    monkeypatch.setattr(type(options), "experiment", lambda self, name: small(name, self.kimg))
    return options


@pytest.mark.parametrize("name", NAMES)
def test_one_step_of_every_model(study, name):
    assert family.train(study, name)
    run = RunDirectory(study.runs / name)
    (line,) = run.stats.read()
    assert (line["images_seen"], line["skipped_g"], line["skipped_d"]) == (16, 0, 0)
    assert line["swd"] > 0
    assert sampling.load(run.snapshots()[-1], "cpu").generate([0]).shape[-1] in (8, 16)


def test_a_training_goes_on_unless_its_settings_changed(study):
    assert family.train(study, "stylegan2-f")
    longer = replace(study, kimg=0.048)
    assert family.train(longer, "stylegan2-f")
    lines = RunDirectory(study.runs / "stylegan2-f").stats.read()
    assert [line["images_seen"] for line in lines] == [16, 32, 48]
    study.runs.joinpath("progan").symlink_to(study.runs / "stylegan2-f")
    with pytest.raises(UserError, match="has other settings than progan has now; --fresh trains it anew"):
        family.begin(study, "progan")
    assert family.train(replace(study, fresh=True), "stylegan2-f")
    assert len(RunDirectory(study.runs / "stylegan2-f").stats.read()) == 1


def test_generated_images_are_further_from_reals_than_reals(study):
    family.train(study, "msg-stylegan")
    sampler = sampling.load(RunDirectory(study.runs / "msg-stylegan").snapshots()[-1], "cpu")
    train_set, held_out = family.data_set(study.experiment("msg-stylegan")).split(8)
    fakes, reals = of_generator(sampler, held_out, 2), of_reals(train_set, held_out)
    for values, count in ((fakes, 2), (reals, 1)):
        assert {name: len(each) for name, each in values.items()} == dict.fromkeys(METRICS, count)
        assert all(0 <= share <= 1 for share in values["precision"] + values["recall"])
    assert fakes["swd"][0] != fakes["swd"][1]
    assert min(fakes["kid"]) > max(map(abs, reals["kid"]))
    assert min(fakes["swd"]) > max(reals["swd"])


def test_outcomes_become_a_page_with_pictures(study, capsys):
    some = replace(study, only=("progan", "msg-stylegan"))
    assert family.main(some) == 0
    page = study.out.read_text()
    assert capsys.readouterr().out == page + "\n"
    rows = [line.split("|")[1].strip() for line in page.splitlines() if ".png) |" in line]
    assert rows == [f"[{name}](family/{name}.png)" for name in ("progan", "msg-stylegan", "reals")]
    sheets = sorted(path.name for path in study.folder.glob("*.png"))
    assert sheets == ["all.png", "msg-stylegan.png", "progan.png", "reals.png"]
    with Image.open(study.folder / "all.png") as picture:
        assert picture.size == (3 * (4 * 32 + 16) + 16, 32 + 16 * 32 + 16)

    (study.folder / "seen.md").write_text("## Seen\n\nNoise, as after one step.\n")
    assert "\n\n## Seen\n\nNoise, as after one step.\n\n## Command\n" in family.write_page(study)


def test_finished_models_are_not_trained_again(study):
    assert family.outcome_of(study, "progan") is None
    assert family.main(replace(study, only=("progan",))) == 0
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
    words = ["--kimg", "0.08", "--repeats", "1"]
    words += ["--out", str(tmp_path / "family.md"), "--runs", str(tmp_path / "runs")]
    command = [sys.executable, str(STUDIES / "family.py"), *words]
    subprocess.run(command, check=True)
    page = (tmp_path / "family.md").read_text()
    assert all(f"| [{name}](family/{name}.png) |" in page for name in MODELS)
    again = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "kimg" not in again.stderr  # nothing is trained anew
    assert again.stdout.strip() == page.strip()
