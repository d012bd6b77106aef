"""Images depend on the seed and on nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import styleloom
from styleloom.errors import UserError
from styleloom.networks.build import build_generator
from styleloom.sampling import MAX_SEED, Sampler, grid, save_png, to_pil
from styleloom.snapshot import save
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
    save(tmp_path / "snapshot.safetensors", build_generator(experiment.generator), experiment)
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
    save(tmp_path / "x.safetensors", build_generator(tiny().generator), tiny())
    with pytest.raises(UserError, match="device: 'gpu' is not valid"):
        styleloom.load(tmp_path / "x.safetensors", "gpu")
    with pytest.raises(UserError, match="tf32 needs a CUDA device"):
        styleloom.load(tmp_path / "x.safetensors", "cpu", "tf32")


# ---- one random generator for each seed


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 7, 100, None])
def test_the_batch_size_changes_no_image(batch: int | None, g: Sampler) -> None:
    whole = g.generate(range(7), 0.8, batch=7)
    torch.testing.assert_close(g.generate(range(7), 0.8, batch=batch), whole, rtol=1e-5, atol=1e-5)


def test_what_is_drawn_does_not_depend_on_the_batch(g: Sampler) -> None:
    z, maps = g.draw([5, 6, 7])
    for row, seed in enumerate([5, 6, 7]):
        one, own = g.draw([seed])
        assert torch.equal(one[0], z[row])
        assert all(torch.equal(a[0], b[row]) for a, b in zip(own, maps, strict=True))
    assert [m.shape for m in maps] == [(3, 1, 4, 4), (3, 1, 8, 8), (3, 1, 8, 8)]
    assert len({t.sum().item() for m in maps for t in m}) == 9


def test_order_and_company_change_no_image(g: Sampler) -> None:
    images = g.generate([3, 1, 2])
    torch.testing.assert_close(g.generate([1, 3])[0], images[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(g.generate([3, 3])[1], images[0], rtol=1e-5, atol=1e-5)


def test_the_global_generator_is_neither_used_nor_moved(g: Sampler) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    images = g.generate(range(3))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(g.generate(range(3)), images)


def test_bf16_keeps_the_promise(g: Sampler) -> None:
    from styleloom.precision import set_precision

    set_precision("bf16", torch.device("cpu"), g.generator)
    torch.testing.assert_close(
        g.generate(range(4), batch=1), g.generate(range(4), batch=4), rtol=0.05, atol=0.05
    )


def test_batches_are_generate_in_parts(g: Sampler) -> None:
    parts = list(g.batches(range(5), 0.7, batch=2))
    assert [len(part) for part in parts] == [2, 2, 1]
    torch.testing.assert_close(torch.cat(parts), g.generate(range(5), 0.7))


def test_no_seeds() -> None:
    assert sampler("channels=1").generate([]).shape == (0, 1, 8, 8)


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1, 2**80])
def test_seeds_out_of_range(seed: int, g: Sampler) -> None:
    with pytest.raises(UserError, match=f"seed: {seed} is not valid, 0 to {MAX_SEED}"):
        g.generate([seed])


def test_the_largest_seed(g: Sampler) -> None:
    assert torch.isfinite(g.generate([MAX_SEED])).all()
    # torch takes larger seeds, but they repeat the images of smaller ones.
    rngs = [torch.Generator().manual_seed(seed) for seed in (0, MAX_SEED, MAX_SEED + 1)]
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
        with pytest.raises(UserError, match=rf"truncation layers: {number} is not within 0\.\.4"):
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
    torch.testing.assert_close(one[2], many[2], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(one[0], many[0])
    torch.testing.assert_close(g.generate(range(3), classes=[0, 1, 2], batch=1), many, rtol=1e-5, atol=1e-5)
    with pytest.raises(UserError, match="class: this generator needs one, 0 to 2"):
        g.generate(range(3))
    for wrong in (3, -1, [0, 1], [0, 1, 5]):
        with pytest.raises(UserError, match=r"class: .* is not valid; one for each of 3 images, 0 to 2"):
            g.generate(range(3), classes=wrong)
    with pytest.raises(UserError, match="class: this generator was trained without labels"):
        sampler().generate(range(3), classes=0)


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
