from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from every import every
from styleloom.data import reals
from styleloom.data.pixels import box_mean

BYTES = torch.arange(256, dtype=torch.uint8)


def random_u8(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_to_signed_maps_0_255_onto_minus_one_one() -> None:
    signed = reals.to_signed(BYTES)
    assert signed.dtype == torch.float32
    assert signed[0] == -1
    assert signed[255] == 1
    np.testing.assert_allclose(signed, np.arange(256) / 127.5 - 1, atol=1e-7)
    with pytest.raises(TypeError, match="uint8"):
        reals.to_signed(BYTES.float())


def test_to_uint8_truncates_and_clamps() -> None:
    values = torch.tensor([-9.0, -1.0, -1 / 255, 0.0, 0.5, 1.0, 9.0])
    expected = [0, 0, 127, 128, 191, 255, 255]  # trunc(127.5 x + 128)
    assert reals.to_uint8(values).tolist() == expected
    assert torch.equal(reals.to_uint8(reals.to_signed(BYTES)), BYTES)
    assert torch.equal(reals.to_uint8(values.double()), reals.to_uint8(values))
    with pytest.raises(TypeError, match="floating"):
        reals.to_uint8(BYTES)


def test_mirror_flips_exactly_the_chosen() -> None:
    images = random_u8(4, 3, 5, 6)
    flipped = reals.mirror(images, torch.tensor([True, False, True, False]))
    assert flipped.dtype == torch.uint8
    for i, chosen in enumerate([True, False, True, False]):
        np.testing.assert_array_equal(flipped[i], images[i].numpy()[:, :, ::-1] if chosen else images[i])


@given(
    st.sets(st.sampled_from([4, 8, 16, 32, 64])).map(lambda chosen: sorted(chosen | {64})),
    st.sampled_from([(4, 4), (3, 4), (5, 2)]),
)
@settings(deadline=None, max_examples=30)
def test_pyramid_is_low_to_high_repeated_means_of_the_sides_asked_for(
    sides: list[int], grid: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, grid[0] * 16, grid[1] * 16, dtype=torch.float64, generator=generator)
    levels = reals.pyramid(images, sides)
    assert levels[-1] is images
    for level, side in zip(levels, sides, strict=True):
        rows, columns = grid[0] * side // 4, grid[1] * side // 4
        expected = images.reshape(2, 3, rows, 64 // side, columns, 64 // side).mean((3, 5))
        torch.testing.assert_close(level, expected)


def test_pyramid_in_float32_repeats_the_mean_of_two_by_two() -> None:
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    low = box_mean(box_mean(box_mean(images)))
    assert torch.equal(reals.pyramid(images, (4, 32))[0], low)


@every("sides", [(), (32, 16), (16, 16), (12, 32), (0, 32), (-4, 32), (8, 12, 32), (8, 40)])
def test_pyramid_refuses_sides_that_halving_does_not_reach(sides: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"sides \("):
        reals.pyramid(torch.zeros(1, 1, 32, 32), sides)


def test_pyramid_refuses_other_images() -> None:
    with pytest.raises(ValueError, match="does not divide"):
        reals.pyramid(torch.zeros(1, 1, 6, 8), (4, 8, 16))
    with pytest.raises(TypeError, match="uint8, expected floating"):
        reals.pyramid(random_u8(1, 1, 8, 8), (4, 8))


@given(st.floats(0, 1))
def test_fade_blends_with_the_next_lower_level(alpha: float) -> None:
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    low = images.numpy().reshape(2, 3, 4, 2, 4, 2).mean((3, 5)).repeat(2, 2).repeat(2, 3)
    lod_fraction = 1 - alpha  # the papers' a
    expected = (1 - lod_fraction) * images.numpy() + lod_fraction * low
    np.testing.assert_allclose(reals.fade(images, alpha), expected, atol=1e-12)


def test_fade_ends() -> None:
    images = torch.rand(1, 3, 8, 8)
    assert reals.fade(images, 1.0) is images
    low = reals.fade(images, 0.0)
    assert torch.equal(low[:, :, ::2, ::2], low[:, :, 1::2, 1::2])  # blocks are flat
    for alpha in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="alpha"):
            reals.fade(images, alpha)
