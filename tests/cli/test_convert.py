"""`styleloom convert` as it is typed: networks for other images, and what a snapshot keeps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from every import every
from styleloom.cli import main
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.snapshot import read_snapshot, write_snapshot
from tiny import tiny


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, experiment = tmp_path_factory.mktemp("convert") / "full.safetensors", tiny()
    networks = [build_generator(experiment.generator) for _ in range(2)]
    d = build_discriminator(experiment.discriminator)
    write_snapshot(path, networks[0], experiment, networks[1], d, images_seen=5)
    return path


def test_networks_for_other_images(full: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.safetensors"
    words = ["--keep", "full", "--resolution", "16", "--grid", "4,6", "--channels", "4", "--labels", "3"]
    assert main(["convert", str(full), str(out), *words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["networks"] == ["generator", "generator in training", "discriminator"]
    assert [change["field"] for change in told["surgery"]] == ["label_dim", "channels", "grid", "resolution"]
    found = read_snapshot(out)
    g = found.experiment.generator
    assert (g.resolution, g.grid, g.channels, g.label_dim) == (16, (4, 6), 4, 3)
    assert found.info["converted"] == {"file": full.name, "sha256": read_snapshot(full).sha256}
    images = found.generator(torch.randn(2, g.z_dim), torch.eye(3)[:2])
    assert found.discriminator is not None
    assert found.discriminator(images, torch.eye(3)[:2]).shape == (2,)
    assert main(["convert", str(full), str(out), "--resolution", "16"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["convert", str(full), str(out), "--resolution", "16", "--overwrite"]) == 0
    assert "resolution: 8 -> 16" in capsys.readouterr().out


def test_what_is_kept(full: Path, tmp_path: Path) -> None:
    was = read_snapshot(full)
    for words, source in (([], was.generator), (["--which", "raw"], was.raw)):
        out = tmp_path / f"{len(words)}.safetensors"
        assert main(["convert", str(full), str(out), *words]) == 0
        found = read_snapshot(out)
        assert source is not None
        assert torch.equal(found.generator.state_dict()["w_avg"], source.state_dict()["w_avg"])
        name = "synthesis_network.const"
        assert torch.equal(found.generator.state_dict()[name], source.state_dict()[name])
        assert found.raw is None
        assert found.discriminator is None


@every(
    ("words", "message"),
    [
        (["out.pt"], "ends with .safetensors"),
        (["out.safetensors", "--grid", "4x6"], "--grid: 4x6"),
        (["out.safetensors", "--channels", "2"], "channels: 2"),
        (["out.safetensors", "--resolution", "12"], "resolution: 12"),
    ],
)
def test_what_is_refused(
    words: list[str],
    message: str,
    full: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert main(["convert", str(full), *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
