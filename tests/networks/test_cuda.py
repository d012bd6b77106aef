"""Generator and discriminator on a CUDA device: forward, backward and double backward as on the CPU."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import product
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from styleloom.config.networks import Architecture
from styleloom.precision import set_precision
from styleloom.training.regularizers import path_lengths, zero_centred_penalty

from .tiny import discriminator, generator, tensor

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(autouse=True)
def _switches() -> Iterator[None]:
    """TF32 as it was."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def gradients(loss: Tensor, network: nn.Module) -> list[Tensor]:
    """With respect to every parameter."""
    return [
        g.cpu()
        for g in torch.autograd.grad(
            loss, list(network.parameters()), retain_graph=True, allow_unused=True, materialize_grads=True
        )
    ]


def generator_results(g: nn.Module, z: Tensor, y: Tensor) -> list[Tensor]:
    """Images, gradients of a loss, gradients of path lengths."""
    ws = g.mapping(z)  # type: ignore[operator]
    images = tensor(g.synthesis(ws, noise="fixed"))  # type: ignore[operator]
    lengths = path_lengths(images, ws, y)
    return [
        images.detach().cpu(),
        lengths.detach().cpu(),
        *gradients(images.square().mean(), g),
        *gradients(lengths.square().sum(), g),
    ]


def discriminator_results(d: nn.Module, x: Tensor) -> list[Tensor]:
    """Logits, gradients of a loss, gradients of R1."""
    logits, penalty = d(x), zero_centred_penalty(d, x, 1.0)
    return [
        logits.detach().cpu(),
        penalty.detach().cpu(),
        *gradients(torch.nn.functional.softplus(logits).mean(), d),
        *gradients(penalty.sum(), d),
    ]


def compare(here: list[Tensor], there: list[Tensor], limit: float) -> None:
    """Relative distance of each result."""
    for a, b in zip(here, there, strict=True):
        assert a.shape == b.shape
        assert (a - b).norm() <= limit * a.norm() + 1e-6


CASES = list(product(get_args(Architecture), (("fp32", 1e-3), ("tf32", 0.05), ("bf16", 0.2))))


@pytest.mark.parametrize(("architecture", "precision"), CASES)
def test_generator(architecture: Architecture, precision: tuple[str, float]) -> None:
    name, limit = precision
    cpu = generator(32, architecture=architecture, activation="swish")
    cuda = copy.deepcopy(cpu).cuda()
    set_precision(name, torch.device("cuda"), cuda)  # type: ignore[arg-type]
    z, y = torch.randn(4, 6), torch.randn(4, 3, 32, 32)
    compare(generator_results(cpu, z, y), generator_results(cuda, z.cuda(), y.cuda()), limit)


@pytest.mark.parametrize(("architecture", "precision"), CASES)
def test_discriminator(architecture: Architecture, precision: tuple[str, float]) -> None:
    name, limit = precision
    cpu = discriminator(32, architecture=architecture, activation="swish")
    cuda = copy.deepcopy(cpu).cuda()
    set_precision(name, torch.device("cuda"), cuda)  # type: ignore[arg-type]
    x = torch.randn(4, 3, 32, 32)
    compare(discriminator_results(cpu, x), discriminator_results(cuda, x.cuda()), limit)


def test_random_noise_and_truncation() -> None:
    g = generator(16).cuda()
    z = torch.randn(2, 6, device="cuda")
    first, second = (tensor(g(z, truncation=[0.5] * 6)) for _ in range(2))
    assert first.device.type == "cuda"
    assert not torch.equal(first, second)
