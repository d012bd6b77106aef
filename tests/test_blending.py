"""Two generators in one: which tensors come from where, and what cannot be blended."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import styleloom
from styleloom.blending import Blend, blend, level_of
from styleloom.cli import main
from styleloom.config import apply_overrides
from styleloom.errors import UserError
from styleloom.networks.build import build_generator
from styleloom.presets import get
from styleloom.sampling import Sampler
from styleloom.snapshot import Snapshot, read_snapshot, write_snapshot

NARROW = ("resolution=16", "generator.features.max=8", "generator.features.min=1")


def made(preset: str = "demo", *overrides: str, **info: Any) -> Snapshot:
    """A narrow generator whose tensors are all different from another's."""
    experiment = apply_overrides(get(preset), [*NARROW, *overrides])
    generator = build_generator(experiment.generator).eval().requires_grad_(False)
    for t in generator.state_dict().values():
        t.normal_()
    return Snapshot(generator, experiment, info)


@pytest.mark.parametrize(
    "preset",
    [
        "demo",
        "progan",
        "stylegan-b",
        "stylegan-f",
        "msg-progan",
        "msg-stylegan",
        "stylegan2-a",
        "stylegan2-d",
    ],
)
def test_swapped_levels(preset: str) -> None:
    """Every tensor is A's or B's; from full resolution on only what that level has is B's."""
    a, b = made(preset), made(preset)
    sources = {"a": a.generator.state_dict(), "b": b.generator.state_dict()}
    before = {name: tensor.clone() for name, tensor in sources["a"].items()}
    for at in (8, 16):
        mixed = blend(a, b, Blend(at)).generator.state_dict()
        names: dict[str, set[str]] = {"a": set(), "b": set()}
        for name, tensor in mixed.items():
            (found,) = [k for k, tensors in sources.items() if torch.equal(tensor, tensors[name])]
            names[found].add(name)
            side = level_of(name, a.experiment.generator)
            assert found == ("b" if side is not None and side >= at else "a"), name
        assert any("blocks.2." in name for name in names["b"])
        assert any("blocks.0." in name for name in names["a"])
    samplers = [Sampler.of(snapshot, "cpu") for snapshot in (a, b, blend(a, b, Blend(16)))]
    ours, theirs, images = (sampler.generate([0, 1], noise="fixed") for sampler in samplers)
    assert images.isfinite().all()
    assert not any(torch.equal(images, others) for others in (ours, theirs))
    assert all(torch.equal(t, before[name]) for name, t in sources["a"].items())  # A stays
    assert not any(torch.equal(t, sources["b"][name]) for name, t in sources["a"].items())


def test_the_fade() -> None:
    fade = Blend(16, "fade")
    assert [round(fade.part(side), 4) for side in (4, 8, 16, 32)] == [0.1824, 0.3775, 0.6225, 0.8176]
    assert fade.part(8) + fade.part(16) == pytest.approx(1)
    sharp = Blend(16, "fade", 0.001)
    assert [sharp.part(side) for side in (4, 8, 16, 1024)] == [0, 0, 1, 1]
    a, b = made(), made()
    mixed = blend(a, b, Blend(8, "fade", 0.5))
    ours, theirs, found = (s.generator.state_dict() for s in (a, b, mixed))
    for name, tensor in found.items():
        side = level_of(name, a.experiment.generator)
        part = 0.0 if side is None else Blend(8, "fade", 0.5).part(side)
        if name.endswith("noise.fixed"):  # maps of one or the other: a mean would be no unit noise
            assert torch.equal(tensor, theirs[name] if part >= 0.5 else ours[name])
        else:
            torch.testing.assert_close(tensor, (1 - part) * ours[name] + part * theirs[name])
    assert mixed.info["blend"]["width"] == 0.5


def test_what_cannot_be_blended() -> None:
    a = made()
    growing = made("stylegan-f", images_seen=0)
    assert growing.growth is not None
    for other, how, message in (
        (made("progan"), Blend(8), "have no common layers"),
        (
            made("demo", "generator.features.max=4"),
            Blend(8),
            "generator.features.max is 8 in the first and 4 in",
        ),
        (made("demo", "label_dim=3"), Blend(8), "generator.label_dim is 0 in the first and 3 in the second"),
        (made(), Blend(4), "at: 4 is not valid; a level, one of 8, 16"),
        (made(), Blend(32), "at: 32 is not valid"),
    ):
        with pytest.raises(UserError, match=message):
            blend(a, other, how)
    for pair in ((growing, made("stylegan-f")), (made("stylegan-f"), growing)):
        with pytest.raises(UserError, match="from the middle of growing"):
            blend(*pair, Blend(8))
    wrong: list[dict[str, Any]] = [{"mode": "mix"}, {"width": 0}, {"width": float("nan")}, {"at": "8"}]
    for fields in wrong:
        with pytest.raises(UserError, match=f"{next(iter(fields))}: .* is not valid"):
            Blend(fields.pop("at", 8), **fields)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / name for name in ("a.safetensors", "b.safetensors")]
    for seen, path in enumerate(paths):
        source = made()
        write_snapshot(path, source.generator, source.experiment, images_seen=1000 + seen)
    out = tmp_path / "out.safetensors"
    words = ["blend", *map(str, paths), "--at", "16", "--out", str(out)]
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    for name, path, seen in (("a", paths[0], 1000), ("b", paths[1], 1001)):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        record = document["blend"][name]
        assert (record["file"], record["sha256"], record["images_seen"]) == (path.name, digest, seen)
    assert document["blend"]["part_of_b"] == {"4": 0, "8": 0, "16": 1}
    assert read_snapshot(out).info["blend"] == document["blend"]
    expected = blend(read_snapshot(paths[0]), read_snapshot(paths[1]), Blend(16)).generator.state_dict()
    found = read_snapshot(out).generator.state_dict()
    assert all(torch.equal(t, found[name]) for name, t in expected.items())
    assert styleloom.load(out, "cpu").generate([0]).shape == (1, 3, 16, 16)
    assert main(words) == 2
    assert "there already; replace it with --overwrite" in capsys.readouterr().err
    again = [
        "blend",
        str(out),
        str(paths[1]),
        "--at",
        "8",
        "--mode",
        "fade",
        "--out",
        str(out),
        "--overwrite",
    ]
    assert main(again) == 0
    assert "part of B by level: 4 px 0.378, 8 px 0.622, 16 px 0.818" in capsys.readouterr().out
    assert read_snapshot(out).info["blend"]["a"]["blend"]["at"] == 16
    for extra, message in (
        (["--at", "5"], "at: 5 is not valid"),
        (["--at", "8", "--out", "x.png"], "a name that ends with .safetensors"),
        (["--at", "8", "--mode", "fade", "--width", "-1"], "width: -1.0 is not valid"),
    ):
        out_words = [] if "--out" in extra else ["--out", str(tmp_path / "no.safetensors")]
        assert main(["blend", *map(str, paths), *extra, *out_words]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "no.safetensors").exists()
