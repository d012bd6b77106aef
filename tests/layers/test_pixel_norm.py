from __future__ import annotations

import torch

from styleloom.layers.pixel_norm import EPSILON, pixel_norm


def test_formula_on_maps_and_vectors() -> None:
    """x / sqrt(mean over channels of x^2 + 1e-8) (ProGAN section 4.2)."""
    assert EPSILON == 1e-8
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    expected = torch.empty_like(x)
    for n in range(2):
        for i in range(3):
            for j in range(4):
                v = x[n, :, i, j]
                expected[n, :, i, j] = v / (v.square().sum() / 5 + 1e-8).sqrt()
    torch.testing.assert_close(pixel_norm(x), expected)
    torch.testing.assert_close(pixel_norm(x[:, :, 0, 0]), expected[:, :, 0, 0])


def test_epsilon_is_inside_the_root() -> None:
    x = torch.full((1, 4), 1e-4, dtype=torch.float64)
    torch.testing.assert_close(pixel_norm(x), torch.full_like(x, 0.5**0.5))
    assert pixel_norm(torch.zeros(1, 4)).abs().max() == 0
