"""Latents that were kept give the images that they came from, bit for bit; nothing else passes the door."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from styleloom.config import apply_overrides
from styleloom.errors import UserError
from styleloom.latents import FORMAT, Latents, check_fits, join, load_latents, save_latents
from styleloom.networks.build import build_generator
from styleloom.precision import set_precision
from styleloom.presets import get
from styleloom.sampling import Sampler, load
from styleloom.snapshot import write_snapshot
from styleloom.tensor_file import write_tensors
from styleloom.types import GrowthState

NARROW = ("resolution=16", "generator.features.max=16")

GRID = ("generator.grid=3,4", "discriminator.grid=3,4")

EVERY_KIND: dict[str, tuple[tuple[str, ...], GrowthState | None]] = {
    "demo": (("demo", "generator.features.max=16"), None),
    "labels": (("demo", "label_dim=3"), None),
    "one channel": (("demo", "channels=1"), None),
    "four channels, rectangular": (
        ("demo", "channels=4", "generator.grid=3,4", "discriminator.grid=3,4"),
        None,
    ),
    "progan, labels": (("progan", "generator.z_dim=16", "label_dim=3"), None),
    "progan, growing": (("progan",), GrowthState(1, 0.5)),
    "traditional": (("stylegan-b",), None),
    "input z": (("stylegan-c-paper",), None),
    "stylegan": (("stylegan-f",), None),
    "stylegan, growing": (("stylegan-f",), GrowthState(1, 0.25)),
    "msg-progan": (("msg-progan",), None),
    "pyramid": (("msg-stylegan",), None),
    "stylegan2, growing": (("stylegan2-d",), GrowthState(1, 0.5)),
    "skip": (("stylegan2-f",), None),
}
"""Presets with overrides, and where they stand: every family, every space, every shape of image."""

IN_Z = {"progan, labels", "progan, growing", "traditional", "msg-progan"}


def made(preset: str, *overrides: str, growth: GrowthState | None = None) -> Sampler:
    """A narrow generator whose noise and average matter."""
    experiment = apply_overrides(get(preset), [*NARROW, *overrides])
    generator = build_generator(experiment.generator).eval().requires_grad_(False)
    for name, t in generator.state_dict().items():
        if name.endswith("strength"):
            t.fill_(0.3)
    generator.w_avg.normal_()
    return Sampler(generator, experiment, growth)


@pytest.fixture
def g() -> Sampler:
    return made("demo")


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_what_was_kept_is_rendered_as_it_was_generated(kind: str, tmp_path: Path) -> None:
    (preset, *overrides), growth = EVERY_KIND[kind]
    g = made(preset, *overrides, growth=growth)
    assert g.space == ("z" if kind in IN_Z else "w")
    seeds, path = list(range(18)), tmp_path / "x.latent.safetensors"  # more than a pass
    classes = [seed % g.label_dim for seed in seeds] if g.label_dim else None
    psis: list[Any] = [1.0] if g.space == "z" else [1.0, 0.6, [0.1 * i for i in range(g.generator.num_ws)]]
    for precision, psi in itertools.product(("fp32", "bf16"), psis):
        set_precision(precision, torch.device("cpu"), g.generator)
        save_latents(path, g.latents(seeds, psi, classes=classes))
        images = g.generate(seeds, psi, classes=classes)
        assert images.shape == (18, g.experiment.generator.channels, *g.size)
        assert torch.equal(g.render(load_latents(path)), images)
        assert torch.equal(g.render(load_latents(path)[[17, 3]]), images[[17, 3]])
    for noise in ("fixed", "none", 7):
        images = g.generate([4], noise=noise, classes=classes and 1)
        for kept in (
            g.latents([4], noise=noise, classes=classes and 1),
            g.with_noise(g.latents([4], classes=classes and 1), noise),
        ):
            assert torch.equal(g.render(kept), images), noise


def test_truncation_of_the_first_layers(g: Sampler) -> None:
    kept = g.latents(range(3), 0.5, truncation_layers=2)
    assert torch.equal(g.render(kept), g.generate(range(3), 0.5, 2))
    assert kept.images[1] == {
        "seed": 1,
        "rng": "torch",
        "truncation": 0.5,
        "truncation_layers": 2,
        "noise": 1,
    }


def test_truncation_of_generators_without_styles() -> None:
    """A traditional generator moves the normalised z towards its mean; what is kept is z, before that."""
    g = made("stylegan-b")
    z = g.draw([0])[0].expand(16, -1)  # a pass
    w = g.generator.mapping(z)
    moved = g.generator.w_avg + 0.5 * (w - g.generator.w_avg)
    expected = g.generator.synthesis(moved, noise="none")
    assert isinstance(expected, torch.Tensor)
    assert torch.allclose(g.generate([0], 0.5)[0], expected[0], atol=1e-5)
    for seeds in ([], [0]):
        with pytest.raises(UserError, match="kept as z, which is not truncated; valid here: 1"):
            g.latents(seeds, 0.5)
        assert len(g.latents(seeds, 0.5, truncation_layers=0)) == len(seeds)
        with pytest.raises(UserError, match=r"truncation: 0\.5 is not valid, ProGAN has no w"):
            made("progan").latents(seeds, 0.5)


def test_seeds_of_numpy(g: Sampler) -> None:
    """z is that of the authors' scripts, noise is that of our seed."""
    kept = g.latents([85, 85, 3], rng=["numpy", "torch", "numpy"])
    z = torch.from_numpy(np.random.RandomState(85).randn(1, g.generator.z_dim).astype(np.float32))
    expected = g.generator.mapping(z.expand(16, -1))[:1]
    assert torch.equal(kept.values[0], expected[0])
    assert not torch.allclose(kept.values[1], expected[0])
    ours = g.latents([85, 85, 3])
    assert torch.equal(kept.values[1], ours.values[1])
    assert kept.noise is not None
    assert ours.noise is not None
    assert all(torch.equal(a, b) for a, b in zip(kept.noise, ours.noise, strict=True))
    assert [record["rng"] for record in kept.images] == ["numpy", "torch", "numpy"]
    for wrong in ("mt19937", ["numpy"], ["numpy", "torch", "x"]):
        with pytest.raises(UserError, match="rng: "):
            g.latents([85, 85, 3], rng=wrong)  # type: ignore[arg-type]


def test_noise_that_all_share_is_kept_once(g: Sampler) -> None:
    kept = g.latents(range(3), noise="fixed")
    assert kept.noise is not None
    assert [t.shape[0] for t in kept.noise] == [1] * len(kept.noise)
    both = join([kept[:1], kept[1:]])
    assert both.noise is not None
    assert [t.shape[0] for t in both.noise] == [1] * len(kept.noise)
    mixed = join([kept[2], g.latents([7])])
    assert mixed.noise is not None
    assert [t.shape[0] for t in mixed.noise] == [2] * len(kept.noise)
    assert torch.equal(g.render(mixed), torch.cat([g.generate([2], noise="fixed"), g.generate([7])]))
    assert g.latents([0], noise="none").noise is None


def test_parts_and_wholes(g: Sampler) -> None:
    whole = g.latents(range(5))
    parts = join([whole[0], whole[1:3], whole[[3, -1]]])
    assert torch.equal(g.render(parts), g.render(whole))
    assert parts.document == whole.document
    assert len(whole[1:1]) == 0
    assert g.render(whole[1:1]).shape[0] == 0
    assert len(g.latents([])) == 0
    other = replace(whole[0], document={**whole[0].document, "how": "moved"})
    assert join([whole[0], other]).images[1]["how"] == "moved"
    assert join([other, other]).document["how"] == "moved"
    assert torch.equal(whole[np.int64(3)].values, whole[3].values)
    assert torch.equal(whole[np.array([3, -1])].values, whole[3:].values)
    for position in (5, -6, True, 1.0):
        with pytest.raises(UserError, match=f"position: {position} is not valid"):
            _ = whole[position]  # type: ignore[index]
    with pytest.raises(UserError, match="latents: none given"):
        join([])
    labelled = replace(whole[0], labels=torch.zeros(1, 2))
    elsewhere = replace(whole[0], document={"snapshot_sha256": "0" * 64})
    in_z = Latents("z", torch.zeros(1, 4), whole[0].noise)
    for wrong in (labelled, elsewhere, in_z, replace(whole[0], noise=None)):
        with pytest.raises(UserError, match="cannot be joined"):
            join([whole[0], wrong])


# ---- whose they are


def test_latents_belong_to_a_snapshot(g: Sampler, tmp_path: Path) -> None:
    """A file's hash tells snapshots apart; without one on either side, shapes do."""
    paths = [tmp_path / name for name in ("a.safetensors", "b.safetensors")]
    for i, path in enumerate(paths):
        write_snapshot(path, g.generator, g.experiment, images_seen=i)
    a, b = (load(path, "cpu", "fp32") for path in paths)
    kept = a.latents([1])
    assert kept.document["snapshot_sha256"] == a.snapshot_sha256
    assert a.snapshot_sha256 == hashlib.sha256(paths[0].read_bytes()).hexdigest()
    paths[0].write_bytes(paths[1].read_bytes())  # the hash is that of what was loaded
    assert torch.equal(load(paths[0], "cpu", "fp32").render(b.latents([1])), b.generate([1]))
    paths[0].unlink()
    assert a.latents([1]).document == kept.document
    save_latents(tmp_path / "x.latent.safetensors", kept)
    kept = load_latents(tmp_path / "x.latent.safetensors")
    images = a.generate([1])
    assert torch.equal(a.render(kept), images)
    with pytest.raises(UserError, match="latents: latents of another snapshot"):
        b.render(kept)
    assert g.snapshot_sha256 is None
    assert torch.equal(g.render(kept), images)
    assert torch.equal(b.render(g.latents([1])), images)


def test_latents_that_do_not_fit(g: Sampler) -> None:
    kept = g.latents([1])
    noise = kept.noise or ()
    wrong: dict[str, Latents] = {
        r"latents in z; valid: in w": Latents("z", torch.zeros(1, 512)),
        r"values: of shape \[1, 3, 128\]; valid: \[N, 6, 128\]": replace(kept, values=kept.values[:, :3]),
        r"noise maps of .*; valid: ": replace(kept, noise=noise[:-1]),
        r"noise maps of .*": replace(kept, noise=[t[..., 1:] for t in noise]),
        r"labels of 3 numbers; valid: 0": replace(kept, labels=torch.zeros(1, 3)),
    }
    for message, latents in wrong.items():
        with pytest.raises(UserError, match=message):
            g.render(latents)
        with pytest.raises(UserError, match=f"^file: .*{message}|^file: {message}"):
            check_fits(latents, g, "file")
    labelled = made("progan", "label_dim=3")
    with pytest.raises(UserError, match="labels of 0 numbers; valid: 3"):
        labelled.render(Latents("z", torch.zeros(1, 512)))


def test_records_of_images_with_their_labels() -> None:
    ws, images = torch.zeros(3, 2, 4), [{"seed": seed} for seed in range(3)]
    assert Latents("w", ws, document={"images": images}).labelled_images() == images
    labels = torch.tensor([[0, 0, 1], [0.5, 0.5, 0], [0, 2, 0]])
    assert Latents("w", ws, labels=labels, document={"images": images}).labelled_images() == [
        {"seed": 0, "class": 2},
        {"seed": 1, "label": [0.5, 0.5, 0]},
        {"seed": 2, "label": [0, 2, 0]},
    ]


def test_latents_are_checked_when_they_are_made() -> None:
    ws, maps = torch.zeros(2, 3, 4), (torch.zeros(2, 1, 4, 4),)
    wrong: dict[str, Callable[[], object]] = {
        "space: 's' is not valid": lambda: Latents("s", ws),  # type: ignore[arg-type]
        r"ws: of shape \[2, 3\]": lambda: Latents("w", ws[..., 0]),
        r"z: of shape \[2, 3, 4\]": lambda: Latents("z", ws),
        r"noise.0: of shape \[3, 1, 4, 4\]": lambda: Latents("w", ws, (torch.zeros(3, 1, 4, 4),)),
        r"noise.0: of shape \[2, 2, 4, 4\]": lambda: Latents("w", ws, (torch.zeros(2, 2, 4, 4),)),
        r"labels: of shape \[1, 3\]": lambda: Latents("w", ws, maps, torch.zeros(1, 3)),
        "ws: NaN": lambda: Latents("w", ws / 0),
        "ws: of type torch.float64; valid: torch.float32": lambda: Latents("w", ws.double()),
        "noise.0: of type torch.float16": lambda: Latents("w", ws, (maps[0].half(),)),
        "labels: of type torch.int64": lambda: Latents("w", ws, maps, torch.zeros(2, 3, dtype=torch.int64)),
        "snapshot_sha256: 'x' is not valid": lambda: Latents("w", ws, document={"snapshot_sha256": "x"}),
        "snapshot_sha256: 'gggg": lambda: Latents("w", ws, document={"snapshot_sha256": "g" * 64}),
        "document: 'format' is not valid": lambda: Latents("w", ws, document={"format": "mine"}),
        "document: 'version' is not valid": lambda: Latents("w", ws, document={"version": 3}),
        "document: 'space' is not valid": lambda: Latents("w", ws, document={"space": "w"}),
        "document: 'sha256' is not valid": lambda: Latents("w", ws, document={"sha256": "0"}),
        "images: 1 records given for 2 images": lambda: Latents("w", ws, document={"images": [{}]}),
        "images: 3 is not valid": lambda: Latents("w", ws, document={"images": 3}),
        "document: no JSON": lambda: Latents("w", ws, document={"how": {1, 2}}),
    }
    for message, make in wrong.items():
        with pytest.raises(UserError, match=message):
            make()


# ---- files


def test_names_of_files(g: Sampler, tmp_path: Path) -> None:
    for name in ("x.safetensors", "x", "x.latent"):
        with pytest.raises(UserError, match=r"valid: a name that ends with \.latent\.safetensors"):
            save_latents(tmp_path / name, g.latents([0]))
    with pytest.raises(UserError, match="no latents to save"):
        save_latents(tmp_path / "x.latent.safetensors", g.latents([]))
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match=r"x\.latent\.safetensors: there is no such file"):
        load_latents(tmp_path / "x.latent.safetensors")
    write_snapshot(tmp_path / "s.safetensors", g.generator, g.experiment)
    with pytest.raises(UserError, match=r"not a styleloom-latents \(found: 'styleloom-snapshot'\)"):
        load_latents(tmp_path / "s.safetensors")


def test_files_that_are_something_else(tmp_path: Path) -> None:
    ws = torch.zeros(2, 3, 4)
    path = tmp_path / "x.latent.safetensors"
    noise = torch.zeros(2, 1, 4, 4)
    files: dict[str, tuple[dict[str, Tensor], dict[str, Any]]] = {
        "space: None is not valid": ({"ws": ws}, {}),
        r"space: \['w'\] is not valid": ({"ws": ws}, {"space": ["w"]}),
        "z: missing": ({"ws": ws}, {"space": "z"}),
        "'more': unexpected": ({"ws": ws, "more": ws + 1}, {"space": "w"}),
        "noise.1: missing": ({"ws": ws, "noise.0": noise, "noise.2": noise + 1}, {"space": "w"}),
        "noise.0: missing": ({"ws": ws, "noise.x": noise}, {"space": "w"}),
        "ws: of type F64; valid: F32": ({"ws": ws.double()}, {"space": "w"}),
        r"ws: of shape \[2, 3\]": ({"ws": ws[..., 0]}, {"space": "w"}),
        r"noise.0: of shape \[\]": ({"ws": ws, "noise.0": torch.zeros(())}, {"space": "w"}),
        "ws: holds no latents": ({"ws": ws[:0]}, {"space": "w"}),
        "ws: NaN": ({"ws": ws / 0}, {"space": "w"}),
        "images: 1 records": ({"ws": ws}, {"space": "w", "images": [{}]}),
        r"images: \[1, 2\] is not valid": ({"ws": ws}, {"space": "w", "images": [1, 2]}),
        "snapshot_sha256: 5 is not valid": ({"ws": ws}, {"space": "w", "snapshot_sha256": 5}),
    }
    for message, (tensors, document) in files.items():
        write_tensors(path, tensors, {"format": FORMAT, **document})
        with pytest.raises(UserError, match=f"x.latent.safetensors: {message}"):
            load_latents(path)


def test_damaged_files(g: Sampler, tmp_path: Path) -> None:
    path = tmp_path / "x.latent.safetensors"
    save_latents(path, g.latents([0, 1], 0.5))
    whole = path.read_bytes()
    header = int.from_bytes(whole[:8], "little") + 8
    rng = random.Random(0)
    damaged = [b"", b"\x80\x02junk", whole[:100], whole[:-1], whole + b"x"]
    for _ in range(60):
        at = rng.choice([rng.randrange(header), rng.randrange(len(whole))])
        damaged.append(whole[:at] + bytes([whole[at] ^ (1 << rng.randrange(8))]) + whole[at + 1 :])
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"x\.latent\.safetensors"):
            load_latents(path)
    path.write_bytes(whole)
    assert len(load_latents(path)) == 2
    save_file(
        load_file(path), path, {"styleloom": json.dumps({"format": FORMAT, "version": 2, "space": "w"})}
    )
    with pytest.raises(UserError, match="its checksum is missing"):
        load_latents(path)
