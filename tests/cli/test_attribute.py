"""styleloom attribute: a calibration, and the verdicts that it gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from metrics.probed import real
from styleloom import cli
from styleloom.attribution import distances, generated_images, load_calibration, plot
from styleloom.data.dataset import open_dataset
from styleloom.data.reals import to_signed, to_uint8
from styleloom.images import save_png
from styleloom.projection import Projection
from styleloom.projection.projector import Projector
from styleloom.sampling import load
from styleloom.snapshot import write_snapshot
from tiny import make_archive

CPU = ("--device", "cpu")
QUICK = ("--steps", "3", "--distance", "efficientnet-lite0", "--false-alarm", "0.3", "--miss", "0.2", *CPU)
"""Settings of calibrations of 4 and more images."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("data"), 12, 16)


def snapshot_of(
    path: Path, archive: Path, preset: str, *overrides: str, seed: int = 0, seen: int = 5
) -> Path:
    torch.manual_seed(seed)
    sampler = real(preset, "data.held_out=5", *overrides)
    data = {"fingerprint": open_dataset(archive).fingerprint, "name": "x"}
    write_snapshot(path, sampler.generator, sampler.experiment, images_seen=seen, data=data)
    return path


@pytest.fixture(scope="module")
def snapshot(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return snapshot_of(tmp_path_factory.mktemp("model") / "tiny.safetensors", archive, "stylegan2-f")


@pytest.fixture(scope="module")
def made(snapshot: Path, archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibration."""
    out = tmp_path_factory.mktemp("made") / "tiny.attribution.json"
    assert attribute(snapshot, "--data", archive, "--count", 4, *QUICK, "--out", out) == 0
    return out


def attribute(snapshot: Path, *words: object) -> int:
    return cli.main(["attribute", str(snapshot), *map(str, words)])


def test_a_calibration_holds_what_it_says(
    made: Path, snapshot: Path, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calibration = load_calibration(made)
    sampler, options = load(snapshot, "cpu", "fp32"), Projection(steps=3)
    generated = distances(sampler, generated_images(sampler, range(4)), options)
    held = torch.stack([torch.from_numpy(open_dataset(archive).image(i)) for i in range(7, 11)])
    assert calibration.generated == generated
    assert calibration.real == distances(sampler, to_signed(held), options)
    document = calibration.document
    assert document["method"]["snapshot_sha256"] == sampler.snapshot_sha256
    assert document["method"]["projection"]["steps"] == 3
    assert document["data"]["part"].startswith("held out")
    assert [record["seed"] for record in document["generated"]] == [0, 1, 2, 3]
    with Image.open(made.with_suffix(".png")) as image:
        assert image.width > 300
    out = tmp_path / "again.attribution.json"
    words = ("--data", archive, "--count", 4, *QUICK, "--out", out)
    assert attribute(snapshot, *words, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed.pop("calibration") == str(out)
    assert printed.pop("histogram") == str(out.with_suffix(".png"))
    assert printed == json.loads(out.read_text()) == json.loads(made.read_text())
    assert printed["results"]["roc_area"]["value"] == calibration.roc_area.value
    assert attribute(snapshot, *words) == 2
    assert "there already" in capsys.readouterr().err
    assert attribute(snapshot, *words, "--overwrite", "--seeds", "4-8", "--noise", "fixed") == 0
    told = capsys.readouterr().out
    other = load_calibration(out)
    assert [record["seed"] for record in other.document["generated"]] == [4, 5, 6, 7, 8]
    assert f"ROC area of efficientnet-lite0: {other.roc_area.value:.3f}" in told
    assert "held out: the last 5" in told


def test_verdicts_are_the_calibrations(
    made: Path, snapshot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sampler, calibration = load(snapshot, "cpu", "fp32"), load_calibration(made)
    save_png(tmp_path / "own.png", to_uint8(sampler.generate([1]))[0])
    Image.new("RGB", (40, 24), "#2080f0").save(tmp_path / "blue.jpg")
    words = (tmp_path / "own.png", tmp_path / "blue.jpg", "--calibration", made, *CPU, "--batch", 1)
    assert attribute(snapshot, *words, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    own, blue = document["images"]
    assert own["distance"] == pytest.approx(
        calibration.generated[1], rel=1e-4
    )  # but for the batch's rounding
    for found in (own, blue):
        verdict = calibration.verdict(found["distance"])
        assert found["kind"] == verdict.kind
        assert found["reals_as_near"]["count"] == verdict.reals_as_near.count
        assert found["generated_as_far"]["low"] == verdict.generated_as_far.low
    assert own["notes"] == list(calibration.verdict(own["distance"]).notes)
    assert "40 x 24 px" in blue["notes"][0]
    assert "compressed with losses" in blue["notes"][1]
    assert document["threshold"]["wanted"] == 0.3
    assert attribute(snapshot, *words, "--false-alarm", 0.5) == 0
    told = capsys.readouterr().out
    assert f"own.png: {calibration.verdict(own['distance']).kind}" in told
    assert told.count("of all) real images") == told.count("of all) generated ones") == 2
    assert "these rates hold for" in told
    assert attribute(snapshot, *words, "--exact") == 2
    assert attribute(snapshot, *words, "--false-alarm", 0.1) == 2
    assert "false_alarm: 4 images cannot show a rate of 0.1" in capsys.readouterr().err


def test_an_interrupted_calibration_goes_on(
    made: Path,
    snapshot: Path,
    archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain, steps = Projector.step, [0]

    def interrupted(self: Projector, draw: Any = None) -> Any:
        steps[0] += 1
        if steps[0] == 8:  # in the third batch
            raise KeyboardInterrupt
        return plain(self, draw)

    monkeypatch.setattr(Projector, "step", interrupted)
    out = tmp_path / "x.attribution.json"
    words = ("--data", archive, "--count", 4, *QUICK, "--out", out, "--batch", 2)
    assert attribute(snapshot, *words) == 130
    begun = json.loads(out.read_text())
    assert [record["distance"] is None for record in begun["generated"]] == [False] * 4
    assert [record["distance"] is None for record in begun["real"]] == [True] * 4
    assert attribute(snapshot, out.with_name("a.png"), "--calibration", out) == 2
    assert "4 of 8 images were measured" in capsys.readouterr().err
    assert attribute(snapshot, *words, "--seed", 1) == 2
    assert "was begun with other images or settings" in capsys.readouterr().err
    steps[0] = 100
    assert attribute(snapshot, *words) == 0
    assert "going on with 4 distances" in capsys.readouterr().err
    assert steps[0] == 100 + 2 * 3
    whole, expected = load_calibration(out), load_calibration(made)
    assert whole.generated == begun_distances(begun)
    assert whole.real == pytest.approx(expected.real, rel=1e-4)


def begun_distances(document: dict[str, Any]) -> list[float]:
    return [record["distance"] for record in document["generated"]]


def test_ctrl_c_leaves_the_verdicts_that_are_there(
    made: Path,
    snapshot: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain, steps = Projector.step, [0]

    def interrupted(self: Projector, draw: Any = None) -> Any:
        steps[0] += 1
        if steps[0] == 5:
            raise KeyboardInterrupt
        return plain(self, draw)

    monkeypatch.setattr(Projector, "step", interrupted)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (16, 16), "#2080f0").save(tmp_path / name)
    assert attribute(snapshot, tmp_path, "--calibration", made, *CPU, "--batch", 1, "--json") == 130
    (only,) = json.loads(capsys.readouterr().out)["images"]
    assert only["image"].endswith("a.png")


def test_without_matplotlib_there_is_a_note(
    snapshot: Path,
    archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(plot, "can_draw", lambda: False)
    out = tmp_path / "x.attribution.json"
    assert attribute(snapshot, "--data", archive, "--count", 4, *QUICK, "--out", out, "--json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["histogram"] is None
    assert "no histogram: it needs matplotlib" in printed.err
    assert [path.name for path in tmp_path.iterdir()] == ["x.attribution.json"]


@pytest.mark.parametrize(
    ("preset", "overrides", "seen", "words"),
    [
        ("stylegan2-f", ("label_dim=3",), 5, ("--classes", "2")),
        ("stylegan2-f", ("channels=1",), 5, ()),
        ("msg-stylegan", (), 5, ()),
        ("stylegan-f", (), 5, ()),
    ],
    ids=["labels", "grey", "pyramid", "growing"],
)
def test_other_generators(
    preset: str, overrides: tuple[str, ...], seen: int, words: tuple[str, ...], tmp_path: Path
) -> None:
    channels = 1 if "channels=1" in overrides else 3
    data = make_archive(tmp_path, 12, 16, channels)
    model = snapshot_of(tmp_path / "m.safetensors", data, preset, *overrides, seen=seen)
    out = tmp_path / "x.attribution.json"
    assert (load(model).growth is not None) == (preset == "stylegan-f")
    assert attribute(model, "--data", data, "--count", 4, *QUICK, "--out", out, *words) == 0
    Image.new("RGB", load(model).size, "#2080f0").save(tmp_path / "blue.png")
    assert attribute(model, tmp_path / "blue.png", "--calibration", out, *CPU) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "attribute: needs --data DATA"),
        (("{image}",), "attribute: needs --data DATA"),
        (("--calibration", "{made}"), "attribute: needs --data DATA"),
        (("{image}", "--calibration", "{made}", "--data", "{data}"), "attribute: needs --data DATA"),
        (("{image}", "--calibration", "{made}", "--seed", "0"), "--seed: not valid with --calibration"),
        (("--data", "{data}", "--exact"), "--exact: not valid with --data"),
        (("--data", "{data}", "--batch", "0"), "--batch: 0 is not valid"),
        (("--data", "{data}", "--count", "0"), "--count: 0 is not valid"),
        (
            ("--data", "{data}", "--count", "6", *QUICK),
            "count: 6 is not valid, images-12-16-3-None has 5 images",
        ),
        (
            ("--data", "{data}", "--count", "4"),
            "--false-alarm: 4 images cannot show a rate of 0.05; valid: 19",
        ),
        (("--data", "{data}", "--false-alarm", "2"), "--false-alarm: 2.0 is not valid"),
        (("--data", "{data}", "--seeds", "0-2"), "--miss: 3 images cannot show a rate of 0.05"),
        (("--data", "{data}", "--seeds", "x"), "--seeds: 'x' is not valid"),
        (("--data", "{data}", "--seeds", "0-30,7"), "--seeds: each once"),
        (("--data", "{data}", "--out", "x.json"), "no name of a calibration"),
        (
            ("--data", "{data}", "--distance", "lpips", "--count", "4", *QUICK[4:]),
            "no feature network 'lpips'",
        ),
        (("--data", "{data}", "--classes", "1", "--count", "4", *QUICK), "trained without labels"),
        (("--data", "nowhere.zip", "--count", "4", *QUICK), "nowhere.zip"),
        (("{empty}", "--calibration", "{made}"), "no images in it"),
        (("{image}", "--calibration", "nowhere.json"), "there is no such file"),
        (("{image}", "--calibration", "{other}"), "was made for another snapshot"),
    ],
)
def test_refusals(
    words: tuple[str, ...],
    message: str,
    snapshot: Path,
    archive: Path,
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    Image.new("RGB", (16, 16), "#2080f0").save(tmp_path / "a.png")
    document = json.loads(made.read_text())
    document["method"]["snapshot_sha256"] = "0" * 64
    (tmp_path / "other.attribution.json").write_text(json.dumps(document))
    places = {"image": tmp_path / "a.png", "data": archive, "made": made, "empty": tmp_path / "empty"}
    places["other"] = tmp_path / "other.attribution.json"
    assert attribute(snapshot, *(word.format(**places) for word in words)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "calibration.attribution.json").exists()


def test_generators_without_styles(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = snapshot_of(tmp_path / "m.safetensors", archive, "progan")
    assert (
        attribute(model, "--data", archive, "--count", 4, *QUICK, "--out", tmp_path / "x.attribution.json")
        == 2
    )
    assert "images are projected to w, but this generator has no styles" in capsys.readouterr().err
