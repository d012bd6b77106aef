"""Images depend on the seed and on nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import styleloom
from styleloom.config import apply_overrides
from styleloom.config.seeds import MAX_IMAGE_SEED
from styleloom.errors import UserError
from styleloom.images import grid, save_png, to_pil
from styleloom.metrics.probes.mixing import mixed_images
from styleloom.networks.build import build_generator
from styleloom.precision import set_precision
from styleloom.presets import get
from styleloom.sampling import Sampler
from styleloom.snapshot import write_snapshot
from tiny import tiny


def sampler(*overrides: str) -> Sampler:
    """A generator whose noise and average matter."""
    experiment = tiny(*overrides)
    generator = build_generator(experiment.generator).eval().requires_grad_(False)
    for name, t in generator.state_dict().items():
        if name.endswith("strength"):
            t.fill_(0.3)
    generator.w_avg.normal_()
    return Sampler(generator, experiment)


@pytest.fixture
def g() -> Sampler:
    return sampler()


def test_from_python(tmp_path: Path) -> None:
    experiment = tiny()
    write_snapshot(tmp_path / "snapshot.safetensors", build_generator(experiment.generator), experiment)
    g = styleloom.load(tmp_path / "snapshot.safetensors", device="cpu", precision="fp32")
    images = g.generate(seeds=range(16), truncation=0.7)
    assert images.shape == (16, 3, 8, 8)
    assert images.dtype == torch.float32
    assert not images.requires_grad
    assert g.resolution == 8
    again = styleloom.load(str(tmp_path / "snapshot.safetensors"), "cpu", "fp32")
    assert torch.equal(again.generate(range(16), 0.7), images)


def test_loading_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no\.safetensors: there is no such file"):
        styleloom.load(tmp_path / "no.safetensors")
    write_snapshot(tmp_path / "x.safetensors", build_generator(tiny().generator), tiny())
    with pytest.raises(UserError, match="device: 'gpu' is not valid"):
        styleloom.load(tmp_path / "x.safetensors", "gpu")
    with pytest.raises(UserError, match="tf32 needs a CUDA device"):
        styleloom.load(tmp_path / "x.safetensors", "cpu", "tf32")


# ---- one random generator for each seed


EVERY_KIND = (
    ["demo"],
    ["demo", "label_dim=3"],
    ["demo", "generator.architecture=resnet", "generator.grid=3,4", "discriminator.grid=3,4"],
    ["progan", "generator.z_dim=16", "generator.features.max=16", "label_dim=3"],
    ["stylegan-f", "generator.features.max=16"],
    ["msg-progan", "generator.features.max=16"],
    ["msg-stylegan", "generator.features.max=16"],
    ["stylegan2-d", "generator.features.max=16"],
    ["stylegan2-f", "generator.features.max=256", "resolution=32"],  # where convolutions are Winograd's
)
"""Presets, with overrides: every family, and every way in which a convolution is computed."""


@pytest.mark.parametrize("preset", EVERY_KIND, ids=lambda words: " ".join(words))
def test_an_image_depends_on_its_seed_alone(preset: list[str]) -> None:
    """Bit for bit: other counts, orders, companions and batches, in both types."""
    name, *overrides = preset
    experiment = apply_overrides(get(name), ["resolution=16", *overrides])
    generator = build_generator(experiment.generator).eval().requires_grad_(False)
    for key, t in generator.state_dict().items():
        if key.endswith("strength"):
            t.fill_(0.3)
    g = Sampler(generator, experiment)
    dim = g.generator.label_dim
    for precision in ("fp32", "bf16"):
        set_precision(precision, torch.device("cpu"), generator)
        seeds = list(range(19))  # more than a pass
        whole = g.generate(seeds, classes=[seed % dim for seed in seeds] if dim else None)
        assert whole.isfinite().all()
        for own, batch in (
            ([0], None),
            ([18], 1),
            ([3, 0, 3], 2),
            (seeds[::-1], 3),
            ([*seeds[5:], *seeds[:5]], 100),
        ):
            images = g.generate(own, classes=[seed % dim for seed in own] if dim else None, batch=batch)
            assert torch.equal(images, whole[own]), (precision, own, batch)
        mixed = mixed_images(g, [4, 2], 1, g.labels(2, [4 % dim, 2 % dim]) if dim else None)
        assert torch.equal(mixed, whole[[4, 2]])


def test_what_is_drawn_does_not_depend_on_the_batch(g: Sampler) -> None:
    z, maps = g.draw([5, 6, 7])
    for row, seed in enumerate([5, 6, 7]):
        one, own = g.draw([seed])
        assert torch.equal(one[0], z[row])
        assert all(torch.equal(a[0], b[row]) for a, b in zip(own, maps, strict=True))
    assert [m.shape for m in maps] == [(3, 1, 4, 4), (3, 1, 8, 8), (3, 1, 8, 8)]
    assert len({t.sum().item() for m in maps for t in m}) == 9


def test_the_global_generator_is_neither_used_nor_moved(g: Sampler) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    images = g.generate(range(3))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(g.generate(range(3)), images)


def test_batches_are_generate_in_parts(g: Sampler) -> None:
    parts = list(g.batches(range(5), 0.7, batch=2))
    assert [len(part) for part in parts] == [2, 2, 1]
    assert torch.equal(torch.cat(parts), g.generate(range(5), 0.7))


def test_networks_can_be_trained_on_batches(g: Sampler) -> None:
    """They are no inference tensors."""
    images = next(g.batches(range(2)))
    weight = torch.zeros(1, 3, 1, 1, requires_grad=True)
    torch.nn.functional.conv2d(images, weight).square().sum().backward()
    assert torch.is_grad_enabled()


def test_no_seeds() -> None:
    assert sampler("channels=1").generate([]).shape == (0, 1, 8, 8)


@pytest.mark.parametrize("seed", [-1, MAX_IMAGE_SEED + 1, 2**80])
def test_seeds_out_of_range(seed: int, g: Sampler) -> None:
    with pytest.raises(UserError, match=f"seeds: {seed} is not valid; .* 0 to {MAX_IMAGE_SEED}"):
        g.generate([seed])


def test_the_largest_seed(g: Sampler) -> None:
    assert torch.isfinite(g.generate([MAX_IMAGE_SEED])).all()
    # torch takes larger seeds, but they repeat the images of smaller ones.
    rngs = [torch.Generator().manual_seed(seed) for seed in (0, MAX_IMAGE_SEED, MAX_IMAGE_SEED + 1)]
    latents = [torch.randn(8, generator=rng) for rng in rngs]
    assert torch.equal(latents[0], latents[2])
    assert not torch.equal(latents[0], latents[1])


@pytest.mark.parametrize("batch", [0, -1])
def test_batches_out_of_range(batch: int, g: Sampler) -> None:
    with pytest.raises(UserError, match=f"batch: {batch} is not valid"):
        g.generate([0], batch=batch)


# ---- truncation, noise, classes


def test_truncation(g: Sampler) -> None:
    full = g.generate(range(4), noise="none")
    average = g.generate(range(4), 0, noise="none")
    assert all(torch.allclose(image, average[0], atol=1e-5) for image in average)
    assert not torch.allclose(full[0], full[1])
    ws = g.generator.mapping(g.draw(range(4))[0])
    w = g.generator.w_avg + 0.5 * (ws - g.generator.w_avg)
    expected = g.generator.synthesis(w, noise="none")
    torch.testing.assert_close(g.generate(range(4), 0.5, noise="none"), expected)
    assert torch.equal(g.generate(range(4), 1.0, noise="none"), full)


def test_truncation_of_some_layers(g: Sampler) -> None:
    layers = g.generator.num_ws
    assert layers == 4
    per_layer = g.generate(range(2), [0.5, 0.5, 1, 1])
    torch.testing.assert_close(g.generate(range(2), 0.5, truncation_layers=2), per_layer)
    torch.testing.assert_close(g.generate(range(2), 0.5, truncation_layers=0), g.generate(range(2)))
    torch.testing.assert_close(g.generate(range(2), 0.5, truncation_layers=4), g.generate(range(2), 0.5))
    for wrong in ([0.5], [0.5] * 5):
        with pytest.raises(UserError, match=f"truncation: {len(wrong)} values given, .* 4 layers"):
            g.generate(range(2), wrong)
    for number in (-1, 5):
        with pytest.raises(
            UserError, match=f"truncation layers: {number} is not valid; a whole number, 0 to 4"
        ):
            g.generate(range(2), 0.5, number)


def test_noise_modes(g: Sampler) -> None:
    images = {mode: g.generate(range(2), noise=mode) for mode in ("random", "fixed", "none")}
    assert not torch.allclose(images["random"], images["none"])
    assert not torch.allclose(images["fixed"], images["none"])
    assert not torch.allclose(images["random"], images["fixed"])
    fixed = [block.conv.noise.fixed for block in g.generator.synthesis_network.blocks]
    for t in fixed:
        t.zero_()
    g.generator.synthesis_network.blocks[1].conv_up.noise.fixed.zero_()
    torch.testing.assert_close(g.generate(range(2), noise="fixed"), images["none"])


def test_classes() -> None:
    g = sampler("label_dim=3")
    one, many = g.generate(range(3), classes=2), g.generate(range(3), classes=[0, 1, 2])
    assert torch.equal(one[2], many[2])
    assert not torch.allclose(one[0], many[0])
    with pytest.raises(UserError, match="class: this generator needs one, 0 to 2"):
        g.generate(range(3))
    for wrong in (3, -1, [0, 1, 5], 1.0, True, "1", [None] * 3):
        with pytest.raises(UserError, match=r"class: .* is not valid; a whole number, 0 to 2|class: '1'"):
            g.generate(range(3), classes=wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"class: \[0, 1\] is not valid; one, or one for each of 3 images"):
        g.generate(range(3), classes=[0, 1])
    with pytest.raises(UserError, match="class: this generator was trained without labels"):
        sampler().generate(range(3), classes=0)


def test_label_vectors() -> None:
    g = sampler("label_dim=3")
    eye = torch.eye(3)
    assert torch.equal(g.generate(range(3), label=eye), g.generate(range(3), classes=[0, 1, 2]))
    assert torch.equal(g.generate(range(3), label=[0.0, 0, 1]), g.generate(range(3), classes=2))
    soft = g.generate([0], label=np.array([[0.5, 0.5, 0]]))
    assert not torch.allclose(soft, g.generate([0], classes=0))
    for wrong in ([0.0, 1], eye[:2], eye[None], "010", [[1, 2], [3]], [0, float("nan"), 1], 3):
        with pytest.raises(UserError, match="label: "):
            g.generate(range(3), label=wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="not valid together with a label"):
        g.generate(range(3), classes=0, label=eye)
    with pytest.raises(UserError, match="label: this generator was trained without labels"):
        sampler().generate(range(3), label=eye)


def test_noise_of_another_seed(g: Sampler) -> None:
    images = g.generate([5, 5, 5], noise=[5, 6, 7])
    assert torch.equal(images[0], g.generate([5])[0])
    assert not torch.allclose(images[0], images[1])
    assert torch.equal(g.generate([4, 5], noise=6)[1], images[1])
    with pytest.raises(UserError, match=r"noise: \[1, 2\] is not valid; one, or one for each"):
        g.generate([5, 5, 5], noise=[1, 2])


def test_arguments_are_checked_at_the_door(g: Sampler, tmp_path: Path) -> None:
    z, maps = g.draw([1, 2])
    ws, image = g.generator.mapping(z), torch.zeros(3, 4, 4, dtype=torch.uint8)
    calls: dict[str, list[Callable[[Any], object]]] = {
        "noise": [lambda v: g.generate([0], noise=v), lambda v: g.generator.synthesis(ws, noise=v)],
        "truncation": [lambda v: g.generate([0], v), lambda v: g.generator.truncate(ws, v)],
        "seeds": [lambda v: g.generate(v), lambda v: g.generate([0, v])],
        "seed": [lambda v: g.draw([v])],
        "batch": [lambda v: g.generate([0], batch=v)],
        "z": [lambda v: g.generator.mapping(v)],
        "ws": [lambda v: g.generator.synthesis(v)],
        "label": [lambda v: g.generator.mapping(z, v)],
    }
    wrong: dict[str, list[Any]] = {
        "noise": ["const", "", None, 1.5, True, maps[:2], [m[:, :, :1] for m in maps], [*maps[:2], z]],
        "truncation": [
            float("nan"),
            float("inf"),
            "1",
            None,
            True,
            [1, "x", 1, 1],
            torch.tensor(float("nan")),
        ],
        "seeds": [1.9, -1, True, "7", None, 2**32, [0.0], 10**30],
        "seed": [1.9, -1, True, "7", None, 2**32],
        "batch": [0, -1, 1.5, True, "2", float("nan")],
        "z": [z[0], z[:, :3], z[None], None, [1.0]],
        "ws": [ws[:, :2], ws[0], ws[:, :, :3], z],
        "label": [torch.zeros(2, 3), torch.zeros(2)],
    }
    for name, functions in calls.items():
        for call in functions:
            for value in wrong[name]:
                with pytest.raises(UserError, match=f"^{name}"):
                    call(value)
    labelled = sampler("label_dim=3").generator
    for label in (None, torch.zeros(2, 4), torch.zeros(3, 3), torch.zeros(3)):
        with pytest.raises(UserError, match=r"^label"):
            labelled.mapping(z, label)
    for name in ("q.jpg", "q", "q.png.txt"):
        with pytest.raises(UserError, match="images are written as PNG"):
            save_png(tmp_path / name, image)
    for array in (image.float(), image[0], image[None], torch.zeros(2, 4, 4, dtype=torch.uint8)):
        with pytest.raises(UserError, match="image"):
            save_png(tmp_path / "q.png", array)
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="has no room for 3 images"):
        grid(torch.zeros(3, 1, 4, 4), 2, 1)
    assert g.generate([np.int64(3)], np.float32(1), batch=np.int32(1)).shape == (1, 3, 8, 8)
    assert torch.equal(g.generate(torch.tensor([3])), g.generate([3]))


# ---- pictures


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_channels(channels: int, mode: str, tmp_path: Path) -> None:
    images = sampler(f"channels={channels}").generate(range(5))
    assert images.shape == (5, channels, 8, 8)
    sheet = grid(images, 3)
    assert sheet.shape == (channels, 16, 24)
    save_png(tmp_path / "x.png", sheet)
    with Image.open(tmp_path / "x.png") as image:
        assert (image.mode, image.size) == (mode, (24, 16))
        pixels = np.asarray(image).reshape(16, 24, channels)
    assert (pixels[8:, 8:16] == styleloom.to_uint8(images[4]).permute(1, 2, 0).numpy()).all()
    assert (pixels[8:, 16:] == 255).all()  # no image there


def test_other_channels_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="images of 2 channels cannot be saved as PNG; valid: 1, 3, 4"):
        save_png(tmp_path / "x.png", torch.zeros(2, 8, 8, dtype=torch.uint8))
    assert list(tmp_path.iterdir()) == []


def test_grid_takes_either_type() -> None:
    images = torch.rand(3, 3, 4, 4) * 2 - 1
    assert torch.equal(grid(images, 2), grid(styleloom.to_uint8(images), 2))
    assert to_pil(np.zeros((3, 2, 5), np.uint8)).size == (5, 2)
