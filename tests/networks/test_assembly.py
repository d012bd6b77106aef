"""Truncation, the running average of w, and the trunk's arithmetic."""

from __future__ import annotations

from collections import Counter
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from styleloom.config.networks import TABLE_2_ARCHITECTURES, Architecture
from styleloom.errors import UserError
from styleloom.networks.assembly import StyleGenerator
from styleloom.precision import set_precision
from styleloom.training.regularizers import zero_centred_penalty

from .tiny import discriminator, generator, tensor

CPU = torch.device("cpu")


@pytest.fixture
def g() -> StyleGenerator:
    """16 px: six styles; w_avg is not zero."""
    network = generator()
    network.w_avg.copy_(torch.randn(8))
    return network


def test_mapping_gives_one_w_to_all_layers(g: StyleGenerator) -> None:
    z = torch.randn(3, 6)
    ws = g.mapping(z)
    assert ws.shape == (3, 6, 8)
    for i in range(6):
        assert torch.equal(ws[:, i], g.mapping_network(z))


def test_one_psi_for_all_layers(g: StyleGenerator) -> None:
    """w' = w_avg + psi (w - w_avg) (StyleGAN appendix B)."""
    ws = torch.randn(3, 6, 8)
    for psi in (0.0, 0.5, -1.0, 1.5):
        expected = g.w_avg * (1 - psi) + ws * psi
        torch.testing.assert_close(g.truncate(ws, psi), expected)
    torch.testing.assert_close(g.truncate(ws, 0.0), g.w_avg.expand(3, 6, 8))
    assert g.truncate(ws, 1.0) is ws


def test_first_layers_only(g: StyleGenerator) -> None:
    ws = torch.randn(3, 6, 8)
    for layers in range(7):
        out = g.truncate(ws, 0.3, layers)
        torch.testing.assert_close(out[:, :layers], g.truncate(ws, 0.3)[:, :layers])
        torch.testing.assert_close(out[:, layers:], ws[:, layers:])
    torch.testing.assert_close(g.truncate(ws, 0.3, None), g.truncate(ws, 0.3, 6))


def test_one_psi_per_layer(g: StyleGenerator) -> None:
    ws = torch.randn(3, 6, 8)
    psis = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    out = g.truncate(ws, psis)
    for i, psi in enumerate(psis):
        torch.testing.assert_close(out[:, i], g.w_avg + psi * (ws[:, i] - g.w_avg))
    torch.testing.assert_close(g.truncate(ws, psis, 2)[:, 2:], ws[:, 2:])


def test_truncation_errors(g: StyleGenerator) -> None:
    ws = torch.randn(3, 6, 8)
    with pytest.raises(UserError, match="truncation: 5 values given, this generator has 6 layers"):
        g.truncate(ws, [0.5] * 5)
    for layers in (-1, 7):
        with pytest.raises(UserError, match=f"truncation layers: {layers} is not valid; .* 0 to 6"):
            g.truncate(ws, 0.5, layers)


def test_forward_truncates_between_mapping_and_synthesis(g: StyleGenerator) -> None:
    z = torch.randn(2, 6)
    expected = g.synthesis(g.truncate(g.mapping(z), 0.4, 3), noise="fixed")
    torch.testing.assert_close(g(z, None, 0.4, 3, "fixed"), expected)
    plain = tensor(g(z, noise="fixed"))
    torch.testing.assert_close(plain, g.synthesis(g.mapping(z), noise="fixed"))
    assert not torch.allclose(plain, g(z, truncation=0.4, noise="fixed"))


def test_running_average_of_w() -> None:
    """w_avg <- 0.995 w_avg + 0.005 mean, from zero; nothing else changes it."""
    g = generator()
    assert g.w_avg.abs().max() == 0
    assert g.w_avg_beta == 0.995
    expected = torch.zeros(8)
    for _ in range(3):
        mean = torch.randn(8, requires_grad=True)
        g.update_w_avg(mean)
        expected = 0.995 * expected + 0.005 * mean.detach()
        torch.testing.assert_close(g.w_avg, expected)
    assert not g.w_avg.requires_grad
    g.train()(torch.randn(2, 6))
    torch.testing.assert_close(g.w_avg, expected)
    other = generator(w_avg_beta=0.5)
    other.update_w_avg(torch.ones(8))
    torch.testing.assert_close(other.w_avg, torch.full((8,), 0.5))


# ---- arithmetic


class Types(TorchDispatchMode):
    """Counts the floating types of all results."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[torch.dtype] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for t in result if isinstance(result, tuple | list) else [result]:
            if isinstance(t, Tensor) and t.is_floating_point():
                self.seen[t.dtype] += 1
        return result


def step(g: StyleGenerator, d: Any, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Images, logits and R1; both losses are propagated back."""
    images = tensor(g(z, noise="fixed"))
    logits = d(images)
    penalty = zero_centred_penalty(d, images, 1.0)
    (torch.nn.functional.softplus(-logits).mean() + penalty.mean()).backward()
    return images.detach(), logits.detach(), penalty.detach()


@pytest.mark.parametrize("architecture", TABLE_2_ARCHITECTURES)
def test_bfloat16_trunk(architecture: Architecture) -> None:
    """Near to float32 in images, logits, R1 and gradients, which stay float32; float16 nowhere."""
    networks = generator(architecture=architecture), discriminator(architecture=architecture)
    step(*networks, torch.randn(4, 6))  # kernels of filters are made once in a process, from float64
    results = []
    for precision in ("fp32", "bf16"):
        torch.manual_seed(3)
        g = generator(architecture=architecture, activation="swish")
        d = discriminator(architecture=architecture, activation="swish")
        z = torch.randn(4, 6)
        set_precision(precision, CPU, g, d)
        with Types() as types:
            out = step(g, d, z)
        allowed = {torch.float32} if precision == "fp32" else {torch.float32, torch.bfloat16}
        assert set(types.seen) == allowed
        assert {t.dtype for t in out} == {torch.float32}
        parameters = [*g.parameters(), *d.parameters()]
        assert {p.dtype for p in parameters} == {torch.float32}
        gradients = [p.grad for p in parameters if p.grad is not None]
        assert len(gradients) == len(parameters)
        assert {p.dtype for p in gradients} == {torch.float32}
        results.append([*out, torch.cat([p.flatten() for p in gradients])])
    for exact, narrow, limit in zip(*results, (0.02, 0.03, 0.05, 0.05), strict=True):
        assert 0 < (exact - narrow).norm() / exact.norm() < limit


@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_what_stays_float32_in_a_bfloat16_trunk(architecture: Architecture) -> None:
    """Styles, demodulation, RGB sums, the last dense layers; convolutions do not."""
    g, d = generator(architecture=architecture), discriminator(architecture=architecture)
    set_precision("bf16", CPU, g, d)
    inputs: dict[str, torch.dtype] = {}
    for prefix, network in (("g.", g), ("d.", d)):
        for name, module in network.named_modules():

            def record(m: Any, args: tuple[Any, ...], key: str = prefix + name) -> None:
                inputs[key] = args[0].dtype if isinstance(args[0], Tensor) else torch.float32

            if (name and not list(module.children())) or name.endswith(("conv", "conv_up", "to_rgb")):
                module.register_forward_pre_hook(record)
    d(g(torch.randn(4, 6)))
    inputs = {k: v for k, v in inputs.items() if not k.endswith("noise")}
    full = {k for k, v in inputs.items() if v == torch.float32}
    expected = {k for k in inputs if "mapping" in k or "affine" in k or k in ("d.tail.dense", "d.tail.out")}
    assert full == expected
    assert sum(v == torch.bfloat16 for v in inputs.values()) >= 12


def test_weights_are_channels_last() -> None:
    for network in (generator().synthesis_network, discriminator()):
        for parameter in network.parameters():
            if parameter.ndim == 4:
                assert parameter.is_contiguous(memory_format=torch.channels_last)
