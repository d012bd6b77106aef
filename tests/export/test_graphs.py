"""Graphs of generators, run by onnxruntime and by torch.export.load, give the sampler's images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from styleloom.cli import main
from styleloom.errors import UserError
from styleloom.export import checks
from styleloom.export.targets import Options, export
from styleloom.sampling import Sampler
from styleloom.snapshot import Snapshot, read_snapshot

from .tiny_snapshots import snapshot


def run(file: Path, **inputs: Any) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(None, {name: np.asarray(t) for name, t in inputs.items()})[0]


def sampler_of(given: Snapshot) -> Sampler:
    assert given.path is not None
    return Sampler.of(read_snapshot(given.path), "cpu", "fp32")


FAMILIES = {
    "stylegan2-f": (),
    "stylegan2-e-g-orig-d-orig": (),
    "stylegan2-e-g-resnet-d-resnet": ("channels=1",),
    "stylegan2-d": (),
    "stylegan-f": (),
    "msg-stylegan": (),
    "progan": (),
    "msg-progan": (),
}
"""Every family, block and topology."""


@pytest.mark.parametrize("preset", FAMILIES)
def test_onnx_of_every_family(preset: str, tmp_path: Path) -> None:
    given = snapshot(tmp_path, preset, *FAMILIES[preset])
    record = export(given, tmp_path / "out", "onnx", Options())
    sampler = sampler_of(given)
    psi = 0.5 if "psi" in record["graphs"]["generator"]["inputs"] else 1.0
    z, _ = sampler.draw(range(7, 11))
    inputs = {"z": z.numpy()} | ({"psi": np.array([psi], np.float32)} if psi != 1 else {})
    expected = sampler.generate(range(7, 11), psi, noise="fixed").numpy()
    found = run(tmp_path / "out" / "generator.onnx", **inputs)
    np.testing.assert_allclose(found, expected, atol=1e-4 * max(1, abs(expected).max()))
    assert (tmp_path / "out" / "synthesis.onnx").exists() == ("synthesis" in record["graphs"]) == (psi != 1)


def test_the_three_graphs_are_one_another(tmp_path: Path) -> None:
    given = snapshot(tmp_path, "stylegan2-f", "label_dim=3")
    out = tmp_path / "out"
    export(given, out, "onnx", Options())
    sampler = sampler_of(given)
    classes = np.array([2, 0], np.int64)
    z = sampler.draw([3, 4])[0].numpy()
    ws = run(out / "mapping.onnx", **{"z": z, "class": classes})
    mean = sampler.generator.w_avg.numpy()
    image = run(out / "synthesis.onnx", ws=mean + 0.6 * (ws - mean))
    whole = run(out / "generator.onnx", **{"z": z, "psi": np.array([0.6], np.float32), "class": classes})
    expected = sampler.generate([3, 4], 0.6, classes=[2, 0], noise="fixed").numpy()
    np.testing.assert_allclose(image, expected, atol=1e-4)
    np.testing.assert_allclose(whole, expected, atol=1e-4)


def test_noise_as_an_input(tmp_path: Path) -> None:
    """A map for each noise input, as the sampler draws them of a seed; none leaves it out."""
    given = snapshot(tmp_path, "stylegan2-f")
    export(given, tmp_path / "input", "onnx", Options(noise="input"))
    export(given, tmp_path / "none", "onnx", Options(noise="none"))
    sampler = sampler_of(given)
    z, maps = sampler.draw([3, 4])
    inputs = {"z": z.numpy(), "psi": np.array([0.7], np.float32)}
    noise = {f"noise_{i}": t.numpy() for i, t in enumerate(maps)}
    np.testing.assert_allclose(
        run(tmp_path / "input" / "generator.onnx", **inputs, **noise),
        sampler.generate([3, 4], 0.7).numpy(),
        atol=1e-4,
    )
    np.testing.assert_allclose(
        run(tmp_path / "none" / "generator.onnx", **inputs),
        sampler.generate([3, 4], 0.7, noise="none").numpy(),
        atol=1e-4,
    )
    with pytest.raises(UserError, match="takes no noise"):
        export(snapshot(tmp_path, "progan"), tmp_path / "no", "onnx", Options(noise="input"))
    assert not (tmp_path / "no").exists()


def test_half_precision_halves_the_file(tmp_path: Path) -> None:
    given = snapshot(tmp_path, "stylegan2-f", "generator.features.max=64")
    whole = export(given, tmp_path / "whole", "onnx", Options())["graphs"]["synthesis"]
    half = export(given, tmp_path / "half", "onnx", Options(half=True))["graphs"]["synthesis"]
    assert half["bytes"] < 0.6 * whole["bytes"]
    sampler = sampler_of(given)
    ws = sampler.latents([1]).values.numpy()
    expected = sampler.generate([1], noise="fixed").numpy()
    error = abs(run(tmp_path / "half" / "synthesis.onnx", ws=ws) - expected).max()
    assert 1e-6 < error < 0.02


def test_pt2(tmp_path: Path) -> None:
    given = snapshot(tmp_path, "stylegan-f", "label_dim=2")
    export(given, tmp_path / "out", "pt2", Options())
    sampler = sampler_of(given)
    module = torch.export.load(tmp_path / "out" / "generator.pt2").module()
    found = module(sampler.draw([5])[0], torch.tensor([0.7]), torch.tensor([1]))
    torch.testing.assert_close(
        found, sampler.generate([5], 0.7, classes=1, noise="fixed"), rtol=1e-4, atol=1e-4
    )


def test_a_growing_run_is_exported_at_its_level(tmp_path: Path) -> None:
    given = snapshot(tmp_path, "stylegan2-d", "resolution=16", images_seen=0)
    assert given.growth is not None
    record = export(given, tmp_path / "out", "pt2", Options(noise="input"))
    maps = [
        shape for name, shape in record["graphs"]["generator"]["inputs"].items() if name.startswith("noise")
    ]
    assert maps == [["batch", 1, 8, 8] if i else ["batch", 1, 4, 4] for i in range(3)]


def test_a_graph_that_differs_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = snapshot(tmp_path, "progan")
    true = checks.probe

    def wrong(*arguments: Any) -> checks.Probe:
        found = true(*arguments)
        found.outputs["image"] += 0.01
        return found

    monkeypatch.setattr("styleloom.export.pt2.probe", wrong)
    with pytest.raises(UserError, match=r"differs from the sampler by 0\.01"):
        export(given, tmp_path / "out", "pt2", Options())
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.safetensors"]


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(snapshot(tmp_path, "progan").path)
    out = tmp_path / "out"
    assert main(["export", path, str(out), "--to", "pt2", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert {"out": str(out), **json.loads((out / "export.json").read_text())} == record
    graph = record["graphs"]["generator"]
    assert graph["bytes"] == (out / "generator.pt2").stat().st_size
    assert graph["latency_ms"] > 0
    assert graph["max_difference"].keys() == {"1", "5"}
    assert main(["export", path, str(out), "--to", "pt2"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["export", path, str(out), "--to", "pt2", "--overwrite"]) == 0
    assert "generator.pt2: z to image" in capsys.readouterr().out
    assert main(["export", path, str(tmp_path / "x"), "--to", "pt2", "--half"]) == 2
    assert "--half: True is not valid with --to pt2" in capsys.readouterr().err
    assert main(["export", path, str(tmp_path / "x.onnx"), "--to", "onnx"]) == 2
    assert "name a folder" in capsys.readouterr().err
