"""The models in the package: small, complete, honest about themselves, and ready at once."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from PIL import Image

from styleloom import presets, sampling, snapshot
from styleloom.cli import main
from styleloom.config import from_json
from styleloom.data.dataset import open_dataset
from styleloom.data.reals import to_uint8
from styleloom.errors import UserError
from styleloom.metrics.swd import sliced_wasserstein
from styleloom.networks.assembly import finest
from styleloom.pretrained import EMBEDDED_MODELS
from styleloom.snapshot_names import find_snapshot, numbered_snapshots


@pytest.mark.parametrize("name", EMBEDDED_MODELS)
def test_a_model_is_complete(name: str) -> None:
    path = EMBEDDED_MODELS[name]
    assert path.stat().st_size <= 15e6
    loaded = snapshot.read_snapshot(name)
    assert loaded.experiment.generator == presets.get(name).generator
    assert from_json(json.loads((path.parent / "experiment.json").read_text())) == loaded.experiment
    lines = [json.loads(line) for line in (path.parent / "stats.jsonl").read_text().splitlines()]
    assert lines[-1]["images_seen"] == loaded.info["images_seen"]
    card = (path.parent / "CARD.md").read_text()
    assert f"{loaded.info['images_seen']:,}" in card
    assert f"{loaded.info['swd']:.1f}" in card
    assert "path" not in loaded.info["data"]  # of the machine that made it
    assert {"reals.png", "generated-psi-1.png", "generated-psi-0.7.png"} <= {
        file.name for file in path.parent.iterdir()
    }


@pytest.mark.parametrize("name", EMBEDDED_MODELS)
def test_a_model_is_as_good_as_its_card_says(name: str) -> None:
    """Distance to the last images of the embedded set, again; far from that of fresh weights."""
    loaded = snapshot.read_snapshot(name)
    embedded = loaded.info.get("embedded", loaded.info["data"]["name"])
    _, reals = open_dataset(embedded, loaded.experiment.resolution).split(256)
    count = len(reals)
    images = torch.from_numpy(reals.images(torch.arange(count).numpy()))
    sampler = sampling.Sampler.of(loaded, "cpu", "fp32")
    found = sliced_wasserstein(images, to_uint8(sampler.generate(range(count)))).average
    assert found == pytest.approx(loaded.info["swd"], rel=0.05)  # the card's may be of bf16
    with torch.no_grad():
        for parameter in sampler.generator.parameters():
            parameter.normal_()
    worse = to_uint8(finest(sampler.generator(torch.randn(count, sampler.generator.z_dim))))
    assert found < 0.7 * sliced_wasserstein(images, worse).average


def test_generate_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["generate", "portraits-64", "--seeds", "0-15", "--out", str(tmp_path), "--device", "cpu"]
    assert main(words) == 0
    files = sorted(tmp_path.glob("*.png"))
    assert len(files) == 16
    with Image.open(files[0]) as picture:
        assert picture.size == (64, 64)


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"or an embedded model: portraits-64"):
        snapshot.read_snapshot("portraits-65")


def test_names_paths_and_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "styleloom")
    """A bare name is the package's, unless something of the user's has it too; a run is its best snapshot."""
    monkeypatch.chdir(tmp_path)
    model = EMBEDDED_MODELS["portraits-64"]
    assert find_snapshot("portraits-64") == find_snapshot("embedded:portraits-64") == model
    Path("portraits-64").mkdir()
    with pytest.raises(UserError, match="portraits-64: means two things"):
        snapshot.read_snapshot("portraits-64")
    assert find_snapshot("embedded:portraits-64") == EMBEDDED_MODELS["portraits-64"]
    for own in ("./portraits-64", Path("portraits-64")):
        with pytest.raises(UserError, match="is a folder, but no run directory"):
            snapshot.read_snapshot(own)
    Path("portraits-64", "experiment.json").write_text("{}")
    with pytest.raises(UserError, match="this run has no snapshot"):
        snapshot.read_snapshot("./portraits-64")
    for name in ("000001", "000002-500", "000002", "000002-016", "x", "0000001x"):
        Path("portraits-64", f"snapshot-{name}.safetensors").touch()
    order = [path.name[9:-12] for path in numbered_snapshots(Path("portraits-64"))]
    assert order == ["000001", "000002-016", "000002-500", "000002"]
    assert find_snapshot("./portraits-64").name == "snapshot-000002.safetensors"
    assert caplog.messages == ["portraits-64 is a run: its snapshot-000002.safetensors is taken"]
    Path("portraits-64", "snapshot-best.safetensors").touch()
    assert find_snapshot(tmp_path / "portraits-64").name == "snapshot-best.safetensors"
