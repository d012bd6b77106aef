"""Sliced Wasserstein distance, held against SciPy, closed forms and images whose difference is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from itertools import pairwise
from typing import Any

import numpy as np
import ot
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage, stats
from sklearn.datasets import load_digits
from torch import Tensor

from every import every
from styleloom.errors import UserError
from styleloom.metrics import descriptors as cutting
from styleloom.metrics import pyramid, swd
from styleloom.metrics.descriptors import Patches
from styleloom.metrics.swd import SWD, sliced_wasserstein

from .scenes import scenes, wide


def digits() -> Tensor:
    """uint8 [1797, 1, 8, 8]: scikit-learn's handwritten digits."""
    return torch.from_numpy(np.round(load_digits(return_X_y=True)[0].reshape(-1, 8, 8) * 255 / 16)).to(
        torch.uint8
    )[:, None]


def quick(reals: Tensor, fakes: Tensor, seed: int = 0, lowest: int = 16) -> SWD:
    return sliced_wasserstein(
        reals, fakes, Patches(patches_per_image=32, seed=seed, lowest=lowest), directions=32
    )


# --- Distance of two clouds ---------------------------------------------------------------------------------


def test_projection_group_size_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = torch.randn(2, 50, 9, generator=torch.Generator().manual_seed(0))
    whole = swd.sliced_distance(x, y, directions=20)
    monkeypatch.setattr(swd, "PROJECTION_ELEMENTS", 50 * 7)  # groups of 7, 7 and 6
    assert swd.sliced_distance(x, y, directions=20) == pytest.approx(whole, rel=1e-6)


def test_one_dimension_equals_scipy() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(400, 12, generator=generator), torch.rand(400, 12, generator=generator) * 3
    expected = []
    for repeat in range(3):
        for direction in swd.unit_directions(10, 12, seed=5, repeat=repeat):
            expected.append(stats.wasserstein_distance((x @ direction).numpy(), (y @ direction).numpy()))
    result = swd.sliced_distance(x, y, repeats=3, directions=10, seed=5)
    assert result == pytest.approx(np.mean(expected), rel=1e-5)


def test_distance_of_clouds_equals_optimal_transport() -> None:
    """The POT library, along the same directions."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(500, 20, generator=generator), 2 * torch.rand(500, 20, generator=generator)
    directions = [swd.unit_directions(16, 20, seed=3, repeat=repeat).numpy() for repeat in range(2)]
    expected: Any = ot.sliced_wasserstein_distance(
        x.double().numpy(), y.double().numpy(), projections=np.concatenate(directions).T, p=1
    )
    result = swd.sliced_distance(x, y, repeats=2, directions=16, seed=3)
    assert result == pytest.approx(float(expected), rel=1e-5)


def test_whole_metric_equals_a_reference_of_scipy_and_numpy() -> None:
    """One level, every step after the positions redone with other libraries, in float64."""
    reals, fakes = scenes(20, 16, seed=1), scenes(20, 16, seed=2)
    clouds = []
    for images in (reals, fakes):
        cloud = (
            cutting.descriptors(images, 16, Patches(patches_per_image=8)).double().numpy().reshape(160, 3, 49)
        )
        cloud -= cloud.mean(axis=(0, 2), keepdims=True)
        clouds.append((cloud / cloud.std(axis=(0, 2), keepdims=True)).reshape(160, 147))
    directions = swd.unit_directions(16, 147, repeat=0).double().numpy()
    expected = np.mean([stats.wasserstein_distance(clouds[0] @ d, clouds[1] @ d) for d in directions])
    result = sliced_wasserstein(reals, fakes, Patches(patches_per_image=8), repeats=1, directions=16)
    assert result.levels[16] == pytest.approx(1e3 * expected, rel=1e-5)


def test_a_translated_cloud_is_as_far_as_the_projected_translation() -> None:
    x = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
    offset = torch.linspace(-1, 2, 8)
    expected = (swd.unit_directions(64, 8) @ offset).abs().mean().item()
    assert swd.sliced_distance(x, x + offset, repeats=1, directions=64) == pytest.approx(expected, rel=1e-5)


def test_gaussians_of_two_widths_match_the_closed_form() -> None:
    """W1 of N(0, a²) and N(0, b²) is |a - b| sqrt(2 / pi)."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 50_000, 4, generator=generator)
    result = swd.sliced_distance(x, 3 * y, repeats=1, directions=16)
    assert result == pytest.approx(2 * math.sqrt(2 / math.pi), rel=0.01)


def test_directions_are_isotropic_unit_vectors_and_differ_between_repeats() -> None:
    chosen = swd.unit_directions(4000, 6)
    torch.testing.assert_close(chosen.norm(dim=1), torch.ones(4000))
    torch.testing.assert_close(chosen.T @ chosen / 4000, torch.eye(6) / 6, rtol=0, atol=0.02)
    assert not torch.equal(chosen, swd.unit_directions(4000, 6, repeat=1))


# --- The metric ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("side", [8, 16, 64])
def test_levels_and_identical_sets(channels: int, side: int) -> None:
    images = scenes(12, side, channels).to(torch.uint8)
    result = quick(images, images.clone())
    assert result.levels == dict.fromkeys([s for s in (64, 32, 16) if s <= side] or [8], 0.0)
    assert result.average == 0
    assert result.num_images == 12


def test_average_is_the_mean_over_levels_and_the_result_is_frozen() -> None:
    result = quick(scenes(16, seed=0), scenes(16, seed=1), lowest=8)
    assert list(result.levels) == [32, 16, 8]
    assert result.average == pytest.approx(np.mean(list(result.levels.values())))
    with pytest.raises(FrozenInstanceError):
        result.num_images = 3  # type: ignore[misc]


def test_uint8_and_float_agree() -> None:
    reals, fakes = (scenes(16, seed=seed).to(torch.uint8) for seed in (0, 1))
    assert quick(reals, fakes) == quick(reals.float(), fakes.double())


def test_inputs_are_left_alone() -> None:
    reals, fakes = scenes(8, 16, seed=0), scenes(8, 16, seed=1).requires_grad_()
    before = reals.clone(), fakes.detach().clone()
    quick(reals, fakes)
    assert torch.equal(reals, before[0])
    assert torch.equal(fakes, before[1])


def test_symmetric() -> None:
    reals, fakes = scenes(32, seed=0), scenes(32, seed=1) ** 2 / 255
    there, back = quick(reals, fakes), quick(fakes, reals)
    assert there.levels == pytest.approx(back.levels, rel=1e-6)


def test_a_seed_fixes_the_result_and_seeds_agree_roughly() -> None:
    reals, fakes = scenes(64, seed=0), noise(scenes(64, seed=0), 0.3)
    assert quick(reals, fakes, seed=7) == quick(reals, fakes, seed=7)
    values = [quick(reals, fakes, seed=seed).average for seed in range(5)]
    assert len(set(values)) == 5
    assert np.std(values) < 0.1 * np.mean(values)


def blur(images: Tensor, strength: float) -> Tensor:
    width = 2 * strength
    return torch.from_numpy(ndimage.gaussian_filter(images.numpy(), (0, 0, width, width), mode="mirror"))


def noise(images: Tensor, strength: float) -> Tensor:
    grain = torch.randn(images.shape, generator=torch.Generator().manual_seed(99))
    return (images + 60 * strength * grain).clamp(0, 255)


def shift(images: Tensor, strength: float) -> Tensor:
    pixels = round(16 * strength)
    return F.pad(images, (pixels, 0, 0, 0))[..., : images.shape[-1]]


def overexpose(images: Tensor, strength: float) -> Tensor:
    return (images + 320 * strength).clamp(0, 255)


def recolour_each(images: Tensor, strength: float) -> Tensor:
    casts = torch.rand(len(images), 3, 1, 1, generator=torch.Generator().manual_seed(99)) - 0.5
    return (images + 240 * strength * casts).clamp(0, 255)


@pytest.mark.parametrize("damage", [blur, noise, shift, overexpose, recolour_each])
def test_grows_with_the_strength_of_damage(damage: Callable[[Tensor, float], Tensor]) -> None:
    """Damaged images of the other half of a set, so that no pair is alike: the floor counts as strength 0.

    Strengths are such that even the least is above the floor of 256 images.
    """
    reals, others = scenes(512).chunk(2)
    values = [quick(reals, damage(others, strength)).average for strength in (0, 0.25, 0.5, 1)]
    assert all(low < 0.95 * high for low, high in pairwise(values)), values


def test_blur_shows_at_the_finest_level_first() -> None:
    reals, others = scenes(512).chunk(2)
    floor, blurred = quick(reals, others), quick(reals, blur(others, 0.5))
    assert blurred.levels[32] / floor.levels[32] > 2 * blurred.levels[16] / floor.levels[16]


def test_a_cast_common_to_all_images_is_invisible() -> None:
    """A limit of the definition: each set is normalised by its own colour statistics."""
    images = scenes(32)
    gain, offset = (
        torch.tensor([0.9, 0.5, 1.1])[:, None, None],
        torch.tensor([20.0, 60.0, 0.0])[:, None, None],
    )
    assert quick(images, images * gain + offset).average < 0.01  # a thousandth of what other images score
    assert quick(images, scenes(32, seed=1)).average > 10


def test_detail_at_half_its_amplitude_is_nearly_invisible() -> None:
    """A limit of the definition, as the one above: less than other images of the same kind score."""
    images, others = scenes(512).chunk(2)
    bands = pyramid.laplacian_pyramid(images, 16)
    weakened = pyramid.collapse({32: 0.5 * bands[32], 16: bands[16]})
    assert quick(images, weakened).average < quick(images, others).average


def test_the_floor_falls_as_images_are_added() -> None:
    images = scenes(2048, 16)
    few = np.mean([quick(images[k : k + 64], images[k + 64 : k + 128]).average for k in range(0, 1024, 128)])
    many = quick(images[:1024], images[1024:]).average
    assert few / many == pytest.approx(math.sqrt(1024 / 64), rel=0.35)


def test_collapsed_and_flat_fakes_are_far_and_finite() -> None:
    reals = digits()
    floor = quick(reals[:800], reals[800:1600])
    one_image = quick(reals[:800], reals[:1].expand(800, -1, -1, -1))
    flat = quick(reals[:800], torch.full((800, 1, 8, 8), 33.3))
    assert list(floor.levels) == [8]
    assert floor.average < 100
    assert one_image.average > 2 * floor.average
    assert flat.average > 5 * floor.average
    assert quick(torch.full((4, 3, 32, 32), 0.1), torch.full((4, 3, 32, 32), 0.7)).average < 1e-2


def test_digits_of_other_classes_are_farther_than_the_same() -> None:
    images, labels = digits(), torch.from_numpy(load_digits(return_X_y=True)[1])
    zeros, ones = images[labels == 0], images[labels == 1]
    assert quick(zeros[:80], ones[:80]).average > 2 * quick(zeros[:80], zeros[80:160]).average


@pytest.mark.parametrize("swap", [False, True])
def test_the_larger_set_is_subsampled_by_the_seed(swap: bool) -> None:
    small, large = scenes(20, 16, seed=0), scenes(50, 16, seed=1)
    sets = (large, small) if swap else (small, large)
    result = quick(*sets)
    assert result.num_images == 20
    assert result == quick(*sets)
    assert result != quick(*sets, seed=1)
    assert result != quick(small, large[:20])  # not merely the first ones


@every(
    ("reals", "fakes", "message"),
    [
        (torch.zeros(4, 3, 32, 32), torch.zeros(4, 3, 16, 16), r"reals .*32, 32\], fakes .*16, 16\]"),
        (torch.zeros(4, 3, 32, 32), torch.zeros(4, 1, 32, 32), "valid: the same"),
        (torch.zeros(4, 3, 32, 32), torch.zeros(1, 3, 32, 32), "fakes are 1 images; valid: 2 or more"),
        (torch.zeros(0, 3, 32, 32), torch.zeros(4, 3, 32, 32), "reals are 0 images"),
        (torch.zeros(4, 3, 0, 0), torch.zeros(4, 3, 0, 0), "reals are .*valid"),
        (torch.zeros(4, 2, 32, 32), torch.zeros(4, 2, 32, 32), "C = 1, 3 or 4"),
        (torch.zeros(4, 3, 32, 16), torch.zeros(4, 3, 32, 16), r"\[N, C, R, R\]"),
        (torch.zeros(3, 32, 32), torch.zeros(3, 32, 32), r"\[N, C, R, R\]"),
        (torch.zeros(4, 3, 48, 48), torch.zeros(4, 3, 48, 48), "resolution is 48 px; valid: a power"),
        (torch.zeros(4, 3, 4, 4), torch.zeros(4, 3, 4, 4), "patch is 7 px at a level of 4 px; valid: 1 to 4"),
        (
            torch.zeros(4, 3, 32, 32),
            torch.full((4, 3, 32, 32), -1.0),
            r"fakes lie in \[-1, -1\]; valid: \[0, 255",
        ),
        (torch.zeros(4, 3, 32, 32), torch.full((4, 3, 32, 32), 256.0), "fakes lie in"),
        (torch.full((4, 3, 32, 32), math.nan), torch.zeros(4, 3, 32, 32), "reals lie in"),
        (
            torch.zeros(4, 3, 32, 32),
            torch.zeros(4, 3, 32, 32, dtype=torch.int64),
            "int64; valid: torch.uint8",
        ),
    ],
)
def test_refuses_images(reals: Tensor, fakes: Tensor, message: str) -> None:
    with pytest.raises(UserError, match=message):
        sliced_wasserstein(reals, fakes)


def test_refuses_counts_below_one() -> None:
    images = scenes(4, 16)
    with pytest.raises(UserError, match="patches_per_image is 0"):
        Patches(patches_per_image=0)
    with pytest.raises(UserError, match="patch is 0"):
        sliced_wasserstein(images, images, Patches(patch=0))
    for option in ("repeats", "directions"):
        with pytest.raises(UserError, match=f"{option} is 0"):
            sliced_wasserstein(images, images, **{option: 0})


def test_refuses_other_options() -> None:
    images = scenes(4)
    with pytest.raises(UserError, match="seed is -1; valid: 0 or more"):
        sliced_wasserstein(images, images, Patches(seed=-1))
    with pytest.raises(UserError, match="lowest is 20 px"):
        sliced_wasserstein(images, images, Patches(lowest=20))
    with pytest.raises(UserError, match="patch is 17 px at a level of 16 px"):
        sliced_wasserstein(images, images, Patches(patch=17))


# --- Rectangular images -------------------------------------------------------------------------------------


@every(
    ("size", "grid", "lowest", "expected"),
    [
        ((96, 128), (3, 4), 16, {128: (96, 128), 64: (48, 64), 32: (24, 32)}),
        ((128, 96), (4, 3), 16, {128: (128, 96), 64: (64, 48), 32: (32, 24)}),
        ((20, 16), (5, 4), 16, {16: (20, 16)}),
        ((20, 16), (5, 4), 2, {16: (20, 16), 8: (10, 8), 4: (5, 4)}),  # five rows have no half
        ((64, 64), (8, 8), 16, {32: (64, 64), 16: (32, 32), 8: (16, 16)}),
        ((32, 256), (2, 16), 8, {64: (32, 256), 32: (16, 128), 16: (8, 64)}),
        ((6, 8), (3, 4), 16, {8: (6, 8)}),
        ((16, 16), (16, 16), 2, {4: (16, 16), 2: (8, 8), 1: (4, 4)}),
    ],
)
def test_levels_of_rectangles_end_with_the_shorter_side(
    size: tuple[int, int], grid: tuple[int, int], lowest: int, expected: dict[int, tuple[int, int]]
) -> None:
    image_u8 = wide(3, *size).to(torch.uint8)
    bands = pyramid.laplacian_pyramid(image_u8.float(), lowest, grid)
    assert {side: tuple(band.shape[2:]) for side, band in bands.items()} == expected
    assert torch.equal(pyramid.collapse(bands).round().to(torch.uint8), image_u8)
    patches = Patches(patch=3, lowest=lowest, grid=grid)
    result = sliced_wasserstein(
        image_u8, wide(3, *size, seed=1), replace(patches, patches_per_image=4), directions=8
    )
    assert list(result.levels) == list(expected)
    assert all(value > 0 for value in result.levels.values())
    same = sliced_wasserstein(image_u8, image_u8.clone(), patches, directions=8)
    assert set(same.levels.values()) == {0.0}


@every(
    ("size", "grid", "message"),
    [
        ((24, 32), (4, 4), r"valid: \[N, C, R, R\]"),
        ((32, 32), (3, 4), r"valid: \[N, C, 3 R / 4, R\]"),
        ((32, 24), (3, 4), r"valid: \[N, C, 3 R / 4, R\]"),
        ((36, 48), (3, 4), "resolution is 48 px; valid: a power of two"),
        ((4, 4), (8, 8), "patch is 7 px at a level of 4 px"),
        ((6, 8), (3, 4), "patch is 7 px at a level of 6 px"),
        ((8, 8), (3, 3), r"valid: \[N, C, 3 R / 4, 3 R / 4\]"),
    ],
)
def test_refuses_images_of_another_grid(size: tuple[int, int], grid: tuple[int, int], message: str) -> None:
    images = torch.zeros(2, 3, *size)
    with pytest.raises(UserError, match=message):
        sliced_wasserstein(images, images, Patches(grid=grid))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_cpu() -> None:
    reals, fakes = scenes(64, seed=0), scenes(64, seed=1)
    assert quick(reals.cuda(), fakes.cuda()).levels == pytest.approx(quick(reals, fakes).levels, rel=1e-3)
