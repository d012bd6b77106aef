"""What scripts/ship_model.py puts into the package: the best snapshot of a run, and what a card must say."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from styleloom import presets, snapshot
from styleloom.cli import main
from styleloom.errors import UserError
from tiny import flags, make_archive

SCRIPT = Path(__file__).parents[1] / "scripts" / "ship_model.py"


@pytest.fixture
def facts(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as it is."""
    spec = importlib.util.spec_from_file_location("ship_model", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "ship_model", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def script(facts: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, which writes into a folder of the test and measures with the data set there."""
    embedded = str(make_archive(tmp_path, 24, side=16))
    monkeypatch.setattr(facts, "FOLDER", tmp_path / "pretrained")
    monkeypatch.setattr(facts, "EMBEDDED", {"portraits-64": embedded})
    monkeypatch.setattr(facts, "SWD_IMAGES", 8)
    return facts


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of three snapshots at 16 px, of 24 images of which none is held out."""
    archive = make_archive(tmp_path, 24, side=16)
    words = [*flags("run.snapshot_every=1", "total_kimg=0.048"), "--out", str(tmp_path / "run")]
    assert main(["train", "--data", str(archive), "--device", "cpu", *words]) == 0
    return tmp_path / "run"


def test_the_best_snapshot_ships(script: ModuleType, run: Path, tmp_path: Path) -> None:
    (tmp_path / "seen.md").write_text("Noise.\n")
    held_out = str(make_archive(tmp_path, 12, side=16))
    options = script.ShipModel(
        run, tmp_path / "seen.md", held_out, name="portraits-64", trained_on="a lathe", directions=False
    )
    folder = script.ship(options)
    assert folder == tmp_path / "pretrained" / "portraits-64"
    assert {file.name for file in folder.iterdir()} == {
        "snapshot.safetensors", "experiment.json", "stats.jsonl", "CARD.md",
        "reals.png", "generated-psi-1.png", "generated-psi-0.7.png",
    }  # fmt: skip

    shipped = snapshot.read_snapshot(folder / "snapshot.safetensors")
    assert (shipped.experiment.name, shipped.experiment.source) == (
        "portraits-64",
        presets.get("portraits-64").source,
    )
    info = shipped.info
    assert "path" not in info["data"]
    of_run = json.loads((folder / "stats.jsonl").read_text().splitlines()[-1])
    assert of_run["images_seen"] == info["images_seen"]
    names = ("kid6_lite0", "pr6_lite0")
    networks = script.FeatureNetworks(script.torch.device("cpu"))
    reals = script.RealImages(script.open_dataset(held_out))
    each = {}
    for path in sorted(run.glob("snapshot-0*.safetensors")):
        sampler = script.sampling.load(path, "cpu", "fp32")
        evaluation = script.Evaluation(script.parse_all(",".join(names)), networks)
        document = evaluation.run(script.Subject("one", {}, sampler, reals))
        each[snapshot.read_snapshot(path).info["images_seen"]] = script.numbers(document, names)["kid"]
    assert len(each) == 3
    assert info["images_seen"] == min(each, key=lambda seen: each[seen])
    assert info["kid"] == pytest.approx(min(each.values()))

    card = (folder / "CARD.md").read_text()
    for words in (
        f"| {info['images_seen']:,} |", f"| {info['kid']:.2f} |", f"| {info['kid_of_reals']:.2f} |",
        f"| {info['swd']:.1f} |", "hours, a lathe", "24 images of `images-24-16-3-None`; 12 others", "Noise.",
        "--preset portraits-64", ", batch.base 8", "make_portraits.mjs --count 50000", "Personas by Draftbit",
        "https://creativecommons.org/licenses/by/4.0/", "adaptations",
    ):  # fmt: skip
        assert words in card


def test_what_cannot_ship(
    script: ModuleType, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "seen.md").write_text("Noise.\n")
    held_out = str(make_archive(tmp_path, 12, side=16))
    small = str(make_archive(tmp_path, 3, side=16))
    for words, message in {
        ("demo", held_out): "--name: demo is no model that ships; valid: portraits-64",
        ("portraits-64", None): "--held-out: needed, the run held no images out",
        ("portraits-64", small): "has 3 images; valid: 4 or more",
    }.items():
        with pytest.raises(UserError, match=message):
            script.ship(
                script.ShipModel(run, tmp_path / "seen.md", words[1], name=words[0], directions=False)
            )
    monkeypatch.setattr(script, "MAX_MB", 0.01)
    with pytest.raises(UserError, match=r"at most 0\.01 MB go into the package"):
        script.ship(
            script.ShipModel(run, tmp_path / "seen.md", held_out, name="portraits-64", directions=False)
        )
    assert not (tmp_path / "pretrained").exists()


def test_every_model_that_ships_has_a_preset_and_an_origin(facts: ModuleType) -> None:
    for name in facts.EMBEDDED:
        assert name in presets.names()
        assert (facts.ORIGINS / f"{name}.md").read_text().strip()
