"""Every script of examples/ runs, as `python examples/NAME.py` would, on tiny data."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from styleloom import presets
from styleloom.cli import main
from styleloom.features.registry import NETWORKS

from .tiny_model import RESOLUTION, experiment, write_photos, write_snapshot

EXAMPLES = Path(__file__).parents[2] / "examples"

Run = Callable[..., None]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(presets.PRESETS, "demo", experiment("demo"))

    def start(script: str, *words: str) -> None:
        monkeypatch.setattr(sys, "argv", [script, *words])
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")

    return start


def test_train_on_a_folder(run: Run, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos")
    run("train_on_a_folder.py", "photos", "--resolution", str(RESOLUTION), "--out", "out", "--device", "cpu")
    assert len(list((tmp_path / "out").glob("seed*.png"))) == 4
    assert list((tmp_path / "out/run").glob("snapshot-0*.safetensors"))


def test_interpolate(run: Run, tmp_path: Path) -> None:
    write_snapshot(tmp_path / "s.safetensors")
    run("interpolate.py", "s.safetensors", "--seeds", "3", "8", "--steps", "5")
    with Image.open(tmp_path / "interpolation.png") as image:
        assert image.size == (5 * RESOLUTION, RESOLUTION)


def test_truncation_sheet(run: Run, tmp_path: Path) -> None:
    write_snapshot(tmp_path / "s.safetensors")
    run("truncation_sheet.py", "s.safetensors", "--seeds", "1", "2", "3", "--columns", "5")
    with Image.open(tmp_path / "truncation.png") as image:
        assert image.size == (5 * RESOLUTION, 3 * RESOLUTION)
        middle = image.crop((2 * RESOLUTION, 0, 3 * RESOLUTION, RESOLUTION))
        below = image.crop((2 * RESOLUTION, RESOLUTION, 3 * RESOLUTION, 2 * RESOLUTION))
        assert middle.tobytes() == below.tobytes(), "at psi 0 every seed gives the average image"


def test_own_features(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_snapshot(tmp_path / "s.safetensors")
    write_photos(tmp_path / "photos", side=RESOLUTION)
    assert main(["dataset", "build", "photos", "photos.zip", "--resolution", str(RESOLUTION)]) == 0
    capsys.readouterr()
    run("own_features.py", "s.safetensors", "photos.zip", "--images", "30")
    lines = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    assert set(lines) == {"fd30_colours", "kid30_colours"}
    assert float(lines["fd30_colours"]) > 0
    del NETWORKS["colours"]


def test_every_example_has_a_test() -> None:
    tested = {f"test_{path.stem}" for path in EXAMPLES.glob("*.py")}
    assert tested <= set(globals())
