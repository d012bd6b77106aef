"""Numbers printed in the papers, or that follow from what is printed. Names of sections are the papers'."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from every import every
from styleloom import presets
from styleloom.config import Adam
from styleloom.config.networks import FeatureMaps, StyleGAN2Discriminator, StyleGAN2Generator
from styleloom.networks.build import build_generator
from styleloom.ops.upfirdn import fir_kernel
from styleloom.training.ema import ema_beta
from styleloom.training.optim import build_optimizer, lazy_factor
from styleloom.training.regularizers import path_length_penalty, path_lengths

SIDES = tuple(2**r for r in range(2, 11))


# ---- architecture


@every(
    ("base", "maps"),
    [
        (8192, (512, 512, 512, 512, 256, 128, 64, 32, 16)),  # ProGAN Table 2; StyleGAN2 A-E
        (16384, (512, 512, 512, 512, 512, 256, 128, 64, 32)),  # StyleGAN2 F: "large networks", appendix B
    ],
)
def test_feature_maps(base: int, maps: tuple[int, ...]) -> None:
    features = FeatureMaps(base=base)
    assert tuple(features.at_side(side) for side in SIDES) == maps
    assert features.at(0) == 512
    for r, side in enumerate(SIDES, start=2):
        assert features.at_side(side) == features.at(r - 1)


def test_bounds_of_feature_maps() -> None:
    assert FeatureMaps(base=8192, max=100).at_side(4) == 100
    assert FeatureMaps(base=8192, min=32).at_side(1024) == 32
    assert FeatureMaps(base=8192, decay=0.5).at_side(1024) == int(8192 / 2**4.5)
    assert FeatureMaps(base=8192, decay=0).at_side(1024) == 512


def test_styles_and_noises_at_1024() -> None:
    """18 style inputs (17 convolutions and the last toRGB) and 17 noise inputs; StyleGAN has 18 noises."""
    with torch.device("meta"):
        g = build_generator(StyleGAN2Generator(resolution=1024))
    assert g.num_ws == StyleGAN2Generator(resolution=1024).num_ws == 18
    assert g.synthesis_network.num_noises == 17


@every("resolution", [2**r for r in range(3, 12)])
def test_number_of_styles(resolution: int) -> None:
    """2 log2 R - 2 (StyleGAN section 2)."""
    cfg = StyleGAN2Generator(resolution=resolution)
    assert cfg.num_ws == 2 * math.log2(resolution) - 2
    assert cfg.sides == SIDES[: len(cfg.sides)] if resolution <= 1024 else cfg.sides[-1] == 2048
    assert StyleGAN2Discriminator(resolution=resolution).sides == cfg.sides


def test_resampling_filter() -> None:
    """[1, 3, 3, 1], sum 1; 4 where zeros were inserted (StyleGAN2 section 4.1)."""
    taps = StyleGAN2Generator().resample_filter
    assert taps == StyleGAN2Discriminator().resample_filter == (1, 3, 3, 1)
    kernel = fir_kernel(taps)
    assert kernel.shape == (4, 4)
    assert kernel.sum().item() == pytest.approx(1)
    assert kernel[0, 0].item() == pytest.approx(1 / 64)
    assert kernel[1, 2].item() == pytest.approx(9 / 64)
    assert fir_kernel(taps, 4.0).sum().item() == pytest.approx(4)


# ---- lazy regularization (StyleGAN2 section 3.1, appendix B)


@every(
    ("every", "rate", "beta2"),
    [(16, 0.0018824, 0.990585), (8, 0.0017778, 0.991106), (4, 0.0016, 0.991992), (1, 0.002, 0.99)],
)
def test_adam_under_lazy_regularization(every: int, rate: float, beta2: float) -> None:
    """lr c, beta^c with c = k / (k + 1); not lazy, nothing changes."""
    (group,) = build_optimizer("adam", [nn.Parameter(torch.zeros(1))], 0.002, Adam(), every).param_groups
    assert group["lr"] == pytest.approx(rate, abs=5e-8)
    assert group["betas"][0] == 0
    assert group["betas"][1] == pytest.approx(beta2, abs=5e-7)
    assert group["eps"] == 1e-8
    assert lazy_factor(every) == (every / (every + 1) if every > 1 else 1)


def test_beta1_is_corrected_too() -> None:
    (group,) = build_optimizer(
        "adam", [nn.Parameter(torch.zeros(1))], 0.002, Adam(0.5, 0.9, 1e-5), 4
    ).param_groups
    assert group["betas"] == pytest.approx((0.5**0.8, 0.9**0.8))
    assert group["eps"] == 1e-5


# ---- averaged generator (ProGAN section 6.1, StyleGAN appendix C)


@every(("batch", "beta"), [(4, 0.999723), (32, 0.997784), (256, 0.982412), (512, 0.965133)])
def test_decay_of_the_average(batch: int, beta: float) -> None:
    """Half-life of 10,000 images."""
    assert ema_beta(batch, 10) == pytest.approx(beta, abs=5e-7)


# ---- path length regularization (StyleGAN2 section 3.2, appendix B)


@every(("resolution", "weight"), [(1024, 1.0596e-7), (512, 4.7684e-7), (256, 2.1798e-6)])
def test_path_length_weight(resolution: int, weight: float) -> None:
    """gamma_pl = ln 2 / (r^2 (ln r - ln 2)) of appendix B is 2 / (r^2 L) with L style inputs."""
    gamma = math.log(2) / (resolution**2 * (math.log(resolution) - math.log(2)))
    assert gamma == pytest.approx(weight, rel=1e-4)
    layers = StyleGAN2Generator(resolution=resolution).num_ws
    cfg = presets.get("stylegan2-f").g_regularizer
    assert cfg.weight / (resolution**2 * layers) == pytest.approx(gamma)


def test_path_length_weight_in_code() -> None:
    """Our lengths with weight 2 are the paper's with gamma_pl: norms over all styles, y ~ N(0, 1)."""
    r, layers, width = 8, 4, 5
    A = torch.randn(3 * r * r, layers * width, dtype=torch.float64)
    ws = torch.randn(2, layers, width, dtype=torch.float64).requires_grad_()
    x = (ws.flatten(1) @ A.t()).reshape(2, 3, r, r)
    y = torch.randn(2, 3, r, r, dtype=torch.float64)
    lengths = path_lengths(x, ws, y)
    ours, _ = path_length_penalty(lengths, torch.zeros((), dtype=torch.float64), 0.0, 2.0)
    papers = (y.flatten(1) @ A).norm(dim=1)  # |J^T y|
    gamma = math.log(2) / (r**2 * (math.log(r) - math.log(2)))
    torch.testing.assert_close(ours, gamma * papers**2)


def test_lengths_are_equal_for_orthogonal_maps() -> None:
    """Section 3.2: the prior is best when J is orthogonal up to a scale; then |J^T y| hardly varies."""
    q, _ = torch.linalg.qr(torch.randn(3 * 32 * 32, 512, dtype=torch.float64))
    scales = torch.linspace(0, 2, 512, dtype=torch.float64)
    spread = []
    for A in (q, q * scales**3):
        ws = torch.randn(64, 1, 512, dtype=torch.float64).requires_grad_()
        x = (ws[:, 0] @ A.t()).reshape(64, 3, 32, 32)
        lengths = path_lengths(x, ws, torch.randn_like(x)).detach()
        spread.append((lengths.std() / lengths.mean()).item())
    assert spread[0] < 0.045
    assert spread[1] > 1.3 * spread[0]
