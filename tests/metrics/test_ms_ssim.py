"""MS-SSIM against SciPy, the form by channels against pytorch_msssim too, and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import pytorch_msssim
import torch
import torch.nn.functional as F
from scipy import signal
from scipy.signal import windows
from torch import Tensor

from every import every
from styleloom.errors import UserError
from styleloom.metrics.ms_ssim import WEIGHTS, ms_ssim, ms_ssim_per_channel


def images(num: int, height: int, width: int | None = None, channels: int = 3, seed: int = 0) -> Tensor:
    """uint8 [num, channels, height, width], smooth with some grain."""
    generator = torch.Generator().manual_seed(seed)
    size = (height, width or height)
    coarse = F.interpolate(
        torch.randn(num, channels, 6, 6, generator=generator), size, mode="bilinear", align_corners=False
    )
    grain = torch.randn(num, channels, *size, generator=generator)
    return (128 + 60 * coarse + 15 * grain).clamp(0, 255).to(torch.uint8)


def noisy(images_u8: Tensor, deviation: float, seed: int = 9) -> Tensor:
    grain = torch.randn(images_u8.shape, generator=torch.Generator().manual_seed(seed))
    return (images_u8 + deviation * grain).clamp(0, 255).to(torch.uint8)


@pytest.mark.parametrize(("height", "width", "channels"), [(176, 176, 3), (192, 256, 1), (256, 176, 3)])
@pytest.mark.parametrize("deviation", [3.0, 60.0])
def test_equal_to_pytorch_msssim(height: int, width: int, channels: int, deviation: float) -> None:
    a = images(2, height, width, channels)
    b = noisy(a, deviation)
    expected = pytorch_msssim.ms_ssim(
        a.double(), b.double(), data_range=255, size_average=False, weights=list(WEIGHTS)
    )
    torch.testing.assert_close(ms_ssim_per_channel(a, b).double(), expected, rtol=0, atol=1e-5)
    if channels == 1:
        torch.testing.assert_close(ms_ssim(a, b).double(), expected, rtol=0, atol=1e-5)


def ms_ssim_reference(a: np.ndarray, b: np.ndarray) -> float:
    """Images [C, H, W] in float64, each step as the papers write it, at each scale the mean over all axes."""
    result = 1.0
    for weight, maps in zip((0.0448, 0.2856, 0.3001, 0.2363, 0.1333), similarity_maps(a, b), strict=True):
        result *= max(np.mean(maps), 0.0) ** weight
    return float(result)


def similarity_maps(a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    """[C, h, w] of each scale."""
    channels = [channel_maps(*pair) for pair in zip(a, b, strict=True)]
    return [np.stack(maps) for maps in zip(*channels, strict=True)]


def channel_maps(a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    """Of one channel [H, W]."""
    result = []
    for scale in range(5):
        if scale:
            a, b = (x[::2, ::2] / 4 + x[1::2, ::2] / 4 + x[::2, 1::2] / 4 + x[1::2, 1::2] / 4 for x in (a, b))
        size = min(11, *a.shape)
        line = windows.gaussian(size, 1.5 * size / 11)
        window = np.outer(line, line) / line.sum() ** 2

        def mean(x: np.ndarray, window: np.ndarray = window) -> np.ndarray:
            return signal.convolve2d(x, window, mode="valid")

        mu_a, mu_b = mean(a), mean(b)
        var_a, var_b, cov = mean(a * a) - mu_a**2, mean(b * b) - mu_b**2, mean(a * b) - mu_a * mu_b
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        term = (2 * cov + c2) / (var_a + var_b + c2)
        if scale == 4:
            term = term * (2 * mu_a * mu_b + c1) / (mu_a**2 + mu_b**2 + c1)
        result.append(term)
    return result


@pytest.mark.parametrize(("height", "width"), [(16, 16), (32, 32), (64, 64), (128, 128), (48, 64), (16, 128)])
@pytest.mark.parametrize("deviation", [2.0, 40.0])
def test_equal_to_scipy_at_sizes_with_smaller_windows(height: int, width: int, deviation: float) -> None:
    a = images(3, height, width)
    b = noisy(a, deviation)
    pairs = list(zip(a.double().numpy(), b.double().numpy(), strict=True))
    np.testing.assert_allclose(ms_ssim(a, b), [ms_ssim_reference(*pair) for pair in pairs], atol=2e-5)
    alone = [
        np.mean([ms_ssim_reference(x[None], y[None]) for x, y in zip(*pair, strict=True)]) for pair in pairs
    ]
    np.testing.assert_allclose(ms_ssim_per_channel(a, b), alone, atol=2e-5)


def test_channels_are_averaged_before_the_product_over_scales() -> None:
    """Flat images: only luminance at the last scale differs, by channel, and its mean is raised to the power.
    By channels each is raised to the power first. Equal where there is one channel, or all are alike."""
    low, high = torch.tensor([10, 100, 250]), torch.tensor([240, 101, 20])
    a, b = (v.to(torch.uint8)[None, :, None, None].expand(1, 3, 32, 32).contiguous() for v in (low, high))
    c1 = (0.01 * 255) ** 2
    luminance = ((2 * low * high + c1) / (low**2 + high**2 + c1)).double()
    assert ms_ssim(a, b).item() == pytest.approx(luminance.mean().item() ** WEIGHTS[-1], rel=1e-4)
    powers = luminance.pow(WEIGHTS[-1])
    assert ms_ssim_per_channel(a, b).item() == pytest.approx(powers.mean().item(), rel=1e-4)
    assert ms_ssim(a, b) > ms_ssim_per_channel(a, b) + 0.01
    grey, other = images(2, 64, channels=1), images(2, 64, channels=1, seed=1)
    torch.testing.assert_close(ms_ssim(grey, other), ms_ssim_per_channel(grey, other))
    three = [x.expand(-1, 3, -1, -1) for x in (grey, other)]
    torch.testing.assert_close(ms_ssim(*three), ms_ssim(grey, other), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("side", [16, 32, 128, 256])
def test_equal_images_score_one_exactly(side: int) -> None:
    a = torch.cat((images(2, side), torch.zeros(1, 3, side, side, dtype=torch.uint8)))
    assert torch.equal(ms_ssim(a, a.clone()), torch.ones(3))


@pytest.mark.parametrize("side", [16, 64, 176])
@pytest.mark.parametrize(("low", "high"), [(0, 255), (100, 110), (20, 200)])
def test_flat_images_differ_by_luminance_at_the_last_scale(side: int, low: int, high: int) -> None:
    a, b = (torch.full((1, 3, side, side), value, dtype=torch.uint8) for value in (low, high))
    c1 = (0.01 * 255) ** 2
    expected = ((2 * low * high + c1) / (low**2 + high**2 + c1)) ** WEIGHTS[-1]
    assert ms_ssim(a, b).item() == pytest.approx(expected, rel=1e-4)


def test_symmetric_and_in_range() -> None:
    a, b = images(4, 64), images(4, 64, seed=1)
    torch.testing.assert_close(ms_ssim(a, b), ms_ssim(b, a), rtol=1e-6, atol=1e-7)
    assert (ms_ssim(a, b) >= 0).all()
    assert (ms_ssim(a, b) < 0.5).all()


def test_opposite_contrast_scores_zero_not_nan() -> None:
    a = images(2, 64)
    assert torch.equal(ms_ssim(a, 255 - a), torch.zeros(2))


def test_falls_with_noise() -> None:
    a = images(1, 64)
    values = [ms_ssim(a, noisy(a, deviation)).item() for deviation in (0, 5, 20, 80)]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[-1] + 0.2


def test_pairs_do_not_depend_on_each_other() -> None:
    a, b = images(5, 32), images(5, 32, seed=1)
    alone = torch.cat([ms_ssim(a[i : i + 1], b[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(ms_ssim(a, b), alone, rtol=1e-6, atol=1e-7)


@every(
    ("a", "b", "message"),
    [
        (torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32), "a_u8: torch.float32 .*valid: torch.uint8"),
        (images(1, 32), torch.zeros(1, 3, 32, 32), "b_u8: torch.float32"),
        (images(1, 32)[0], images(1, 32)[0], r"valid: torch.uint8 \[N, C, H, W\]"),
        (images(1, 32), images(1, 64), "b_u8 .*valid: the same"),
        (images(1, 8), images(1, 8), r"images are \[8, 8\] px; valid: 16 px or more"),
        (images(1, 32, 15), images(1, 32, 15), r"images are \[32, 15\] px; valid: 16"),
    ],
)
def test_refuses(a: Tensor, b: Tensor, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ms_ssim(a, b)
