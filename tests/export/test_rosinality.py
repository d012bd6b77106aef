"""Checkpoints of rosinality's layout: other code reads them and makes the sampler's images."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from styleloom.cli import main
from styleloom.errors import UserError
from styleloom.export.targets import Options, export
from styleloom.networks.build import build_discriminator
from styleloom.runs.initial import read_networks
from styleloom.sampling import Sampler
from styleloom.snapshot import Snapshot, read_snapshot
from styleloom.weights import rosinality

from . import rosinality_networks as theirs
from .tiny_snapshots import snapshot

GOLDEN = Path(os.environ.get("STYLELOOM_GOLDEN_WEIGHTS", ""))
RECORDED = sorted(GOLDEN.glob("ros_converted*.json")) if "STYLELOOM_GOLDEN_WEIGHTS" in os.environ else []


def close(found: torch.Tensor, expected: np.ndarray | torch.Tensor) -> None:
    expected = torch.as_tensor(expected)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5 * max(1.0, float(expected.abs().max())))


@pytest.mark.skipif(not RECORDED, reason="STYLELOOM_GOLDEN_WEIGHTS names no folder of recorded files")
def test_the_reader_of_this_test_computes_what_the_port_does() -> None:
    for described in RECORDED:
        about = json.loads(described.read_text())
        file = torch.load(described.with_name(about["file"]), weights_only=True, map_location="cpu")
        arrays = np.load(described.with_suffix(".npz"))
        w = theirs.mapped(torch.from_numpy(arrays["z"]), file["g_ema"])
        close(w, arrays["w"])
        expected = arrays["img_psi1"]
        close(theirs.images(w[: len(expected)], file["g_ema"]), expected)
        if "d" in file and "D_logits" in arrays:
            close(theirs.logits(torch.from_numpy(arrays["D_images"]), file["d"]), arrays["D_logits"])


@pytest.mark.skipif(not RECORDED, reason="STYLELOOM_GOLDEN_WEIGHTS names no folder of recorded files")
def test_the_port_converts_to_the_same_bits(tmp_path: Path) -> None:
    """What its own converter made of a pickle of the authors is what we make of it."""
    for described in RECORDED:
        about = json.loads(described.read_text())
        given = read_snapshot(GOLDEN / about["converted_from"])
        export(given, tmp_path / "out.pt", "rosinality", Options(), overwrite=True)
        found = torch.load(tmp_path / "out.pt", weights_only=True)
        expected = torch.load(described.with_name(about["file"]), weights_only=True, map_location="cpu")
        assert torch.equal(found["latent_avg"], expected["latent_avg"])
        assert found["g_ema"].keys() == expected["g_ema"].keys()
        assert all(torch.equal(t, expected["g_ema"][name]) for name, t in found["g_ema"].items())


def full(tmp_path: Path, *overrides: str) -> Snapshot:
    """A snapshot with all three networks; the one in training differs from the average."""
    widths = ("generator.features.max=16", "discriminator.features.max=16", "resolution=16")
    given = snapshot(tmp_path, "stylegan2-f", *widths, *overrides)
    assert given.path is not None
    raw = read_snapshot(given.path).generator
    with torch.no_grad():
        raw.synthesis_network.get_parameter("const").mul_(2)
    d = build_discriminator(given.experiment.discriminator).requires_grad_(False)
    return replace(given, raw=raw, discriminator=d)


def test_other_code_makes_the_same_images(tmp_path: Path) -> None:
    given = full(tmp_path)
    out = tmp_path / "out.pt"
    record = export(given, out, "rosinality", Options())
    assert record["networks"] == ["g_ema", "g", "d"]
    assert (record["size"], record["latent"], record["n_mlp"]) == (16, 16, 2)
    file = torch.load(out, weights_only=True)
    assert file.keys() == {"g_ema", "g", "latent_avg", "d", "style_biases"}
    assert file["latent_avg"].shape == (16,)
    sampler = Sampler.of(given, "cpu", "fp32")
    z, _ = sampler.draw(range(4))
    w = theirs.mapped(z, file["g_ema"])
    w = file["latent_avg"] + 0.7 * (w - file["latent_avg"])
    images = sampler.generate(range(4), 0.7, noise="fixed")
    close(theirs.images(w, file["g_ema"]), images)
    assert not torch.equal(file["g"]["input.input"], file["g_ema"]["input.input"])
    assert given.discriminator is not None
    close(theirs.logits(images, file["d"])[:, 0], given.discriminator(images))


def test_what_is_written_is_read_again_bit_by_bit(tmp_path: Path) -> None:
    """Biases of styles, too, though the layout adds 1 to them; but those of a file that was changed since."""
    given = full(tmp_path)
    with torch.no_grad():
        for network in (given.generator, given.raw):
            for number, (name, t) in enumerate(sorted(network.state_dict().items())):  # type: ignore[union-attr]
                if name.endswith("affine.bias"):
                    t.normal_(std=10.0 ** (3 - 3 * number % 15))  # from thousands to 1e-12
    out = tmp_path / "out.pt"
    export(given, out, "rosinality", Options())
    again = read_networks(out)
    for ours, found in (
        (given.generator, again.generator),
        (given.raw, again.raw),
        (given.discriminator, again.discriminator),
    ):
        assert ours is not None
        assert found is not None
        state = found.state_dict()
        assert all(torch.equal(t, state[name]) for name, t in ours.state_dict().items())
    assert again.discriminator is not None
    file = torch.load(out, weights_only=True)
    name = "conv1.conv.modulation.bias"
    file["g_ema"][name] += 0.5
    torch.save(file, out)
    bias = read_snapshot(out).generator.synthesis_network.get_parameter("blocks.0.conv.affine.bias")
    assert torch.equal(bias, file["g_ema"][name] - 1)


def test_networks_in_training_go_from_one_layout_to_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of another code with G and D is exported, and converted, with both."""
    given = full(tmp_path)
    export(given, tmp_path / "a.pt", "rosinality", Options())
    capsys.readouterr()
    for source, out, to in (("a.pt", "b.pkl", "tf-pickle"), ("b.pkl", "c.pt", "rosinality")):
        words = ["export", str(tmp_path / source), str(tmp_path / out), "--to", to, "--json"]
        assert main(words) == 0
        assert "untrained" not in capsys.readouterr().err
    first, last = (torch.load(tmp_path / name, weights_only=True) for name in ("a.pt", "c.pt"))
    for key in ("g_ema", "g", "d", "style_biases"):
        assert first[key].keys() == last[key].keys()
        pairs = [(t, last[key][name]) for name, t in first[key].items() if isinstance(t, torch.Tensor)]
        assert all(torch.equal(a, b) for a, b in pairs)
    assert (
        main(["convert", str(tmp_path / "b.pkl"), str(tmp_path / "raw.safetensors"), "--which", "raw"]) == 0
    )
    taken = read_snapshot(tmp_path / "raw.safetensors")
    assert taken.info["origin"]["network"] == "G"
    assert given.raw is not None
    own = taken.generator.state_dict()
    assert all(torch.equal(t, own[name]) for name, t in given.raw.state_dict().items())


def test_our_own_reader_takes_it_for_a_snapshot(tmp_path: Path) -> None:
    given = full(tmp_path)
    export(given, tmp_path / "out.pt", "rosinality", Options())
    again = Sampler.of(read_snapshot(tmp_path / "out.pt"), "cpu", "fp32")
    expected = Sampler.of(given, "cpu", "fp32").generate([1, 2], 0.7, noise="fixed")
    close(again.generate([1, 2], 0.7, noise="fixed"), expected)


def test_what_the_layout_cannot_say_is_refused_by_name(tmp_path: Path) -> None:
    facts = [
        (
            "stylegan2-e-g-resnet-d-resnet",
            (),
            "generator.architecture is 'resnet', the format has 'skip' alone",
        ),
        ("stylegan2-f", ("channels=1",), "generator.channels is 1"),
        ("stylegan2-f", ("label_dim=2",), "generator.label_dim is 2"),
        ("stylegan2-f", ("generator.mapping.lr_multiplier=0.1",), r"generator.mapping.lr_multiplier is 0\.1"),
        ("stylegan2-f", ("generator.resample_filter=1,2,4,1",), "generator.resample_filter is"),
        ("stylegan2-f", ("generator.w_dim=8",), "generator.z_dim is 16.*generator.mapping.width is 16"),
        ("stylegan-f", (), "of StyleGAN2 alone; this generator is of 'stylegan'"),
    ]
    for preset, overrides, message in facts:
        with pytest.raises(UserError, match=message):
            export(snapshot(tmp_path, preset, *overrides), tmp_path / "no.pt", "rosinality", Options())
        assert not (tmp_path / "no.pt").exists()


def test_a_discriminator_that_it_cannot_say_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = full(tmp_path, "discriminator.minibatch_std.group_size=2")
    with caplog.at_level(logging.WARNING, "styleloom"):
        assert export(given, tmp_path / "out.pt", "rosinality", Options())["networks"] == ["g_ema", "g"]
    assert "discriminator.minibatch_std.group_size is 2" in caplog.text
    assert "its table of channels must be changed" in caplog.text


def test_the_channel_multiplier_is_told() -> None:
    from styleloom.presets import get

    for base, multiplier in ((8192, 1), (16384, 2), (10000, None)):
        cfg = get("stylegan2-f").generator
        cfg = replace(cfg, features=replace(cfg.features, base=base))
        assert rosinality.channel_multiplier(cfg) == multiplier  # type: ignore[arg-type]
