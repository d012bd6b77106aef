"""`styleloom mix` as it is typed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import styleloom
from styleloom.cli import main
from styleloom.latents import load_latents
from styleloom.networks.build import build_generator
from styleloom.sampling import Sampler
from styleloom.snapshot import write_snapshot
from tiny import tiny


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mix") / "snapshot-000001.safetensors"
    experiment = tiny("resolution=16", "label_dim=2")
    generator = build_generator(experiment.generator)
    for name, t in generator.state_dict().items():
        if name.endswith("strength"):
            t.fill_(0.3)
    write_snapshot(path, generator, experiment)
    return path


def test_a_sheet(snapshot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of seeds and a latent file; its latents are kept and shown again; it says how to make it again."""
    out, kept = tmp_path / "mix.png", tmp_path / "cells.latent.safetensors"
    common = ["--device", "cpu", "--precision", "fp32"]
    words = ["mix", str(snapshot), "--rows", "0-1", "--columns", "5,np:6", "--classes", "1", *common]
    written = ["--out", str(out), "--save-latents", str(kept)]
    assert main([*words, *written, "--truncation", "0.7", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["styles"] == {"coarse": [0, 1, 2], "middle": [3, 4, 5]}  # 16 px have no fine ones
    assert [record["rng"] for record in document["columns"]] == ["torch", "numpy"]
    with Image.open(out) as image:
        pixels, record = np.asarray(image), json.loads(image.text["styleloom"])  # type: ignore[attr-defined]
    assert record["rows"] == document["rows"]
    assert [row["class"] for row in record["rows"] + record["columns"]] == [1] * 4
    assert record["latents_sha256"] == {}
    assert pixels.shape == (5 * 16, 3 * 16, 3)
    assert (pixels[:16, :16] == 255).all()
    g = styleloom.load(snapshot, "cpu", "fp32")
    shown = styleloom.to_uint8(g.render(load_latents(kept))).permute(0, 2, 3, 1).numpy()
    assert (pixels[16:32, 16:32] == shown[0]).all()
    assert (pixels[64:, 32:] == shown[7]).all()
    left = styleloom.to_uint8(g.generate([1], 0.7, classes=1, noise="fixed"))[0].permute(1, 2, 0).numpy()
    assert (pixels[32:48, :16] == left).all()
    again = tmp_path / "again.png"
    files = ["mix", str(snapshot), "--rows", str(kept), "--columns", "3", "--classes", "0", "--styles", "0-1"]
    assert main([*files, "--out", str(again), *common]) == 0
    assert "8 rows and 1 columns in" in capsys.readouterr().out
    with Image.open(again) as image:
        assert (np.asarray(image)[16:32, :16] == shown[0]).all()
        record = json.loads(image.text["styleloom"])  # type: ignore[attr-defined]
    assert record["latents_sha256"] == {str(kept): hashlib.sha256(kept.read_bytes()).hexdigest()}
    assert (record["rows"][0]["class"], record["columns"][0]["class"]) == (1, 0)


def test_refusals(snapshot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = tmp_path / "there.png"
    there.touch()
    words = ["mix", str(snapshot), "--classes", "1", "--device", "cpu"]
    for extra, message in (
        (["--out", str(there)], "there already; replace it with --overwrite"),
        (["--out", "mix.jpg"], "valid: a name that ends with .png"),
        (["--styles", "fine"], "styles: this generator of 16 px has no fine layers"),
        (["--styles", "coarse", "6"], "styles: '6' is not valid"),
        (["--rows", "x"], "--rows: 'x' is not valid"),
        (["--columns", "np:x"], "--columns: 'x' is not valid"),
        (["--rows", "no.latent.safetensors"], "no.latent.safetensors: there is no such file"),
        (["--truncation", "much"], "--truncation: 'much' is not valid"),
        (["--save-latents", str(tmp_path / "x.safetensors")], "ends with .latent.safetensors"),
        (
            ["--rows", "0-9999", "--columns", "0-9999"],
            "--rows: 200030001 images of 16 x 16 px are too many for one picture",
        ),
    ):
        out = [] if "--out" in extra else ["--out", str(tmp_path / "mix.png")]
        assert main([*words, *out, *extra]) == 2, extra
        *_, error = capsys.readouterr().err.splitlines()
        assert error.startswith("styleloom: error: ")
        assert message in error
    assert [path.name for path in tmp_path.iterdir()] == ["there.png"]


def test_sources_are_checked_before_latents_are_drawn_or_kept(
    snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Sampler, "latents", None)  # would fail with another error
    kept = ["--save-latents", str(tmp_path / "x.latent.safetensors"), "--out", str(tmp_path / "x.png")]
    for words, message in (
        (["--rows", "0-9999", "--columns", "0-9999"], "are too many for one picture"),
        (["--columns", "no.latent.safetensors"], "there is no such file"),
    ):
        assert main(["mix", str(snapshot), "--classes", "1", *kept, *words]) == 2
        assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
