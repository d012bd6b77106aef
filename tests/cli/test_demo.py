"""`styleloom demo`, with a smaller network and a few steps."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import styleloom
from metrics.plugged import Projection, plugged
from styleloom import presets
from styleloom.cli import demo_pictures, main
from styleloom.cli.demo import free_folder
from styleloom.data import open_dataset
from styleloom.networks.build import build_generator
from styleloom.presets import PRESETS
from styleloom.runs.directory import RunDirectory
from styleloom.sampling import Sampler
from styleloom.training.trainer import Trainer
from tiny import tiny


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "demo", tiny("data.held_out=64", "run.swd_images=16"))


@pytest.mark.usefixtures("small")
def test_the_whole_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), "--device", "cpu", "--seed", "3", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["swd_trained"] > 0
    assert RunDirectory(out / "run").read_experiment()[0].seed == 3
    assert document["held_out_images"] == 64
    assert document["data"] == "portraits"
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
    assert "styleloom app" in shown
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


@pytest.mark.usefixtures("small", "quick")
def test_other_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--out", str(tmp_path / "demo"), "--minutes", "1e-9", "--device", "cpu", "--json"]
    assert main(["demo", "--data", "emoji", *words]) == 0
    assert json.loads(capsys.readouterr().out)["data"] == "emoji"
    assert RunDirectory(tmp_path / "demo" / "run").read_experiment()[1]["path"] == "emoji"
    assert main(["demo", "--data", "faces", "--out", str(tmp_path / "other")]) == 2
    assert "--data: 'faces' is not valid, choose from portraits, emoji" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_the_preset_leaves_4000_portraits() -> None:
    demo = presets.get("demo")
    assert (demo.data.held_out, demo.resolution) == (640, 32)
    assert presets.get("emoji-64").data.held_out == 256  # as the model in the package was trained


# ---- pictures


def picture(path: Path | str) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.usefixtures("small", "quick")
def test_the_strip_shows_the_same_seeds_from_noise_to_finish(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column is what the generator's average makes of eight seeds; a moment is shown once."""
    saved = []
    save = demo_pictures.save_sheet
    monkeypatch.setattr(demo_pictures, "save_sheet", lambda *a: saved.append(a[0].name) or save(*a))
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), "--device", "cpu", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    moments = document["strip_images_seen"]
    assert moments[0] == 0
    assert moments[-1] == document["images_seen"] == 64  # the experiment ends before the minutes
    assert moments == sorted({*moments})
    assert saved.count("strip.png") == len(moments) <= demo_pictures.MOMENTS
    strip = picture(out / "strip.png")
    assert strip.shape == (demo_pictures.STRIP_SEEDS * 64, len(moments) * 64, 3)
    sampler = styleloom.load(document["snapshot"], "cpu", "fp32")
    last = styleloom.to_uint8(sampler.generate(range(demo_pictures.STRIP_SEEDS))).numpy()
    column = strip[::8, -64::8].reshape(demo_pictures.STRIP_SEEDS, 8, 8, 3).transpose(0, 3, 1, 2)
    assert np.array_equal(column, last)
    assert not np.array_equal(strip[:, :64], strip[:, -64:])


def test_moments_are_closer_at_the_beginning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By the clock: (k / 9)^2 of the minutes, whatever the steps take."""
    clock = [0.0]
    monkeypatch.setattr(demo_pictures.time, "monotonic", lambda: clock[0])
    trainer = Trainer(tiny("total_kimg=1000"), open_dataset("portraits", 8), "cpu")
    trainer.close()
    strip = demo_pictures.Strip(tmp_path / "strip.png", trainer, 1.35)  # 81 seconds
    for second in range(1, 82):
        clock[0], trainer.images_seen = second + 0.01, 8 * second
        strip({})
    strip.add()
    assert [seen // 8 for seen in strip.images_seen] == [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]


def test_the_key_of_the_blind_look(tmp_path: Path) -> None:
    """Sixteen of 32 are framed; those without are held-out images, in an order that the seed gives."""
    made = tiny()
    sampler = Sampler(build_generator(made.generator).eval(), made)
    reals = open_dataset("portraits", 8).split(100)[1]
    found = demo_pictures.blind_sheets(tmp_path, sampler, reals, seed=1)
    sheet, key = (picture(path) for path in found.values())
    known = {image.transpose(1, 2, 0).tobytes() for image in reals.images(np.arange(len(reals)))}
    framed = []
    for index in range(32):
        y, x = index // 8 * 64, index % 8 * 64
        tile, shown = (picture[y : y + 64, x : x + 64] for picture in (sheet, key))
        framed.append(not np.array_equal(tile, shown))
        assert np.array_equal(tile[4:-4, 4:-4], shown[4:-4, 4:-4])
        assert (tile[::8, ::8].tobytes() in known) != framed[-1]
    assert sum(framed) == 16
    assert framed != sorted(framed)
    demo_pictures.blind_sheets(tmp_path, sampler, reals, seed=2)
    assert not np.array_equal(picture(tmp_path / "blind.png"), sheet)


def test_free_folder(tmp_path: Path) -> None:
    assert free_folder(tmp_path / "x") == tmp_path / "x"
    for name in ("x", "x-2"):
        (tmp_path / name).mkdir()
    assert free_folder(tmp_path / "x") == tmp_path / "x-3"
