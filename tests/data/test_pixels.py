"""Means over square blocks of pixels, of arrays and of tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from styleloom.data.pixels import box_mean, box_mean_u8

from .images import means


@given(
    factor=st.sampled_from([1, 2, 4, 8, 16]),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 5)),
    extreme=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=40)
def test_box_mean_u8_is_the_rounded_mean(factor: int, shape: tuple, extreme: bool, seed: int) -> None:
    N, C, rows, columns = shape
    low = 254 if extreme else 0
    pixels = np.random.RandomState(seed).randint(low, 256, (N, C, rows * factor, columns * factor), np.uint8)
    reduced = box_mean_u8(pixels, factor)
    assert reduced.dtype == np.uint8
    np.testing.assert_array_equal(reduced, means(pixels, factor))
    np.testing.assert_array_equal(box_mean_u8(pixels[0], factor), reduced[0])


def test_box_mean_u8_is_exact_beyond_the_whole_numbers_of_float32() -> None:
    pixels = np.full((1, 1024, 1024), 255, np.uint8)
    pixels[0, 0, 0] = 0
    assert box_mean_u8(pixels, 1024).tolist() == [[[255]]]
    pixels[0, :512] = 254  # 254.5, so to even
    pixels[0, 0, 0] = 254
    assert box_mean_u8(pixels, 1024).tolist() == [[[254]]]


def test_levels_are_rounded_once_and_not_from_the_level_above() -> None:
    quarters = np.array([[0, 1, 0, 1], [0, 1, 0, 1], [0, 1, 1, 1], [0, 1, 1, 1]], np.uint8)[None]
    assert box_mean_u8(quarters, 2).tolist() == [[[0, 0], [0, 1]]]  # 0.5, 0.5 and 0.5 to even
    assert box_mean_u8(quarters, 4).tolist() == [[[1]]]  # 0.625; from the level above it were 0.25


@given(factor=st.sampled_from([1, 2, 4, 8]), shape=st.tuples(st.integers(1, 3), st.integers(1, 4)))
def test_box_mean_of_floats_is_not_rounded(factor: int, shape: tuple) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(*shape, 16, 24, dtype=torch.float64, generator=generator)
    blocks = images.numpy().reshape(*shape, 16 // factor, factor, 24 // factor, factor)
    np.testing.assert_allclose(box_mean(images, factor), blocks.mean((3, 5)))
    assert (box_mean(images, factor) is images) == (factor == 1)


def test_box_mean_refuses_what_does_not_divide() -> None:
    for factor in (0, 3, 32):
        with pytest.raises(ValueError, match="does not divide"):
            box_mean(torch.zeros(1, 1, 16, 16), factor)
