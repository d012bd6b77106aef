"""Geometric transformations of images against their slow reference, and simple facts."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from ops.derivatives import assert_equal_derivatives, randn
from styleloom.augmentation import warp as module
from styleloom.augmentation.geometry import moved
from styleloom.augmentation.matrices import identity, rotation, scaling, translation
from styleloom.augmentation.warp import reflected, sampled, sampled_reference, warp, warp_reference


def number(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def transformations() -> Tensor:
    """Nothing, a turn, a shift, a stretch that reaches far outside, a mixture."""
    mixture = (
        rotation(number(2.0)) @ translation(number(1.3), number(-0.4)) @ scaling(number(0.7), number(1.2))
    )
    far = scaling(number(4.5), number(0.5))
    shift = translation(number(-2.25), number(1.0))
    return torch.cat([identity(1), rotation(number(0.6)), shift, far, mixture])


@pytest.mark.parametrize("by_matrices", [True, False])
def test_equals_reference(by_matrices: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both arrangements of the filters, values and derivatives, also of images that are not square."""
    monkeypatch.setattr(module, "MATRIX_PX", 128 if by_matrices else 1)
    back = transformations()
    for height, width in ((6, 9), (4, 4)):
        images = randn(len(back), 2, height, width)
        assert_equal_derivatives(lambda x: warp(x, back), lambda x: warp_reference(x, back), [images])


def test_sampling_equals_its_reference_to_any_order() -> None:
    images, grid = randn(2, 3, 5, 4), randn(2, 6, 7, 2, seed=1) * 0.9
    assert_equal_derivatives(lambda x: sampled(x, grid), lambda x: sampled_reference(x, grid), [images], 3)


def test_derivatives_are_those_of_differences() -> None:
    back = transformations()[[1, 4]]
    images = randn(2, 1, 5, 4).requires_grad_()
    assert gradcheck(lambda x: warp(x, back), [images])
    assert gradgradcheck(lambda x: warp(x, back), [images])


def test_shifts_by_whole_pixels_are_exact() -> None:
    """Right and down for positive shifts; what comes in is the reflection of what is there."""
    images = randn(1, 1, 12, 12)
    found = warp(images, translation(number(-3.0), number(2.0)))
    torch.testing.assert_close(found[..., :10, 3:], images[..., 2:, :9], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found[..., :10, :3], images[..., 2:, 1:4].flip(3), rtol=1e-9, atol=1e-9)


def test_a_smooth_image_turns_counter_clockwise() -> None:
    """A gradient from left to right becomes one from below to above, up to what the filters shift."""
    ramp = torch.linspace(-1, 1, 32, dtype=torch.float64).expand(1, 1, 32, 32)
    found = warp(ramp, rotation(number(math.pi / 2)))
    inner = (slice(None), slice(None), slice(8, 24), slice(8, 24))
    torch.testing.assert_close(found[inner], ramp.mT.flip(2)[inner], rtol=0, atol=0.01)


def test_reflection_does_not_repeat_borders() -> None:
    assert reflected(3, 2, 2).tolist() == [2, 1, 0, 1, 2, 1, 0]
    assert reflected(3, 4, 0).tolist() == [0, 1, 2, 1, 0, 1, 2]


def test_what_does_not_move_is_known() -> None:
    assert moved(transformations()).tolist() == [False, True, True, True, True]
