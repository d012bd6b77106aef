"""PSNR and SSIM of pairs of images."""

from __future__ import annotations

import math

import pytest
import torch

from styleloom.errors import UserError
from styleloom.metrics.reconstruction import psnr, ssim


def test_psnr_is_its_formula() -> None:
    a = torch.zeros(3, 3, 12, 14, dtype=torch.uint8)
    b = a.clone()
    b[1] = 255
    b[2, 0, 0, 0] = 10
    found = psnr(a, b)
    assert found[0] == math.inf
    assert found[1] == 0
    assert found[2].item() == pytest.approx(10 * math.log10(255**2 / (100 / (3 * 12 * 14))))


def test_ssim_is_its_formula() -> None:
    """In a window as large as the image, weights of the Gaussian, moments by hand."""
    rng = torch.Generator().manual_seed(0)
    a, b = (torch.randint(0, 256, (1, 1, 11, 11), generator=rng, dtype=torch.uint8) for _ in range(2))
    line = torch.exp(-0.5 * ((torch.arange(11.0) - 5) / 1.5) ** 2)
    weights = torch.outer(line, line) / torch.outer(line, line).sum()
    x, y = a[0, 0].double(), b[0, 0].double()
    mx, my = (weights * x).sum(), (weights * y).sum()
    vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
    cov = (weights * (x - mx) * (y - my)).sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    expected = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert ssim(a, b).item() == pytest.approx(expected.item(), abs=1e-5)
    assert ssim(a, a).item() == pytest.approx(1)


def test_pairs_must_be_alike() -> None:
    a = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    for function in (psnr, ssim):
        with pytest.raises(UserError, match=r"a_u8: torch\.float32"):
            function(a.float(), a)
        with pytest.raises(UserError, match="valid: the same"):
            function(a, a[..., :8])
