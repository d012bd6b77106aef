from __future__ import annotations

import copy

import pytest
import torch

from styleloom.config.networks import FeatureMaps, Mapping, StyleGAN2Generator
from styleloom.networks.assembly import StyleGenerator
from styleloom.networks.build import build_generator
from styleloom.training.ema import ema_beta, update_ema


@pytest.fixture
def pair() -> tuple[StyleGenerator, StyleGenerator]:
    """The averaged generator and its source, which differ in everything."""
    cfg = StyleGAN2Generator(8, z_dim=4, w_dim=4, features=FeatureMaps(16, 4), mapping=Mapping(1, 4))
    source, average = build_generator(cfg), build_generator(cfg)
    with torch.no_grad():
        for tensor in (*source.parameters(), *source.buffers()):
            tensor.copy_(torch.randn(tensor.shape))
    return average.requires_grad_(False), source


def test_beta_is_a_half_life() -> None:
    """0.5^(batch / half-life): after as many images as the half-life, half is left."""
    assert ema_beta(32, 10) == pytest.approx(0.997784, abs=5e-7)
    assert ema_beta(10_000, 10) == pytest.approx(0.5)
    assert ema_beta(32, 10) ** (10_000 / 32) == pytest.approx(0.5)
    assert ema_beta(32, 20) ** 2 == pytest.approx(ema_beta(32, 10))


def test_no_half_life_copies(pair: tuple[StyleGenerator, StyleGenerator]) -> None:
    average, source = pair
    assert ema_beta(32, 0) == 0
    update_ema(average, source, 0.0)
    for ours, theirs in zip(average.parameters(), source.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_parameters_are_averaged_and_buffers_copied(pair: tuple[StyleGenerator, StyleGenerator]) -> None:
    """w_avg and the noise maps are those of the current generator."""
    average, source = pair
    before, theirs = copy.deepcopy(average), copy.deepcopy(source)
    for _ in range(2):
        update_ema(average, source, 0.75)
    names = [name for name, _ in average.named_parameters()]
    assert len(names) > 10
    for name in names:
        old, new = before.get_parameter(name), source.get_parameter(name)
        torch.testing.assert_close(average.get_parameter(name), new + 0.75**2 * (old - new))
    buffers = dict(average.named_buffers())
    assert {name.rpartition(".")[2] for name in buffers} == {"w_avg", "fixed"}
    for name, buffer in buffers.items():
        assert torch.equal(buffer, source.get_buffer(name))
    for name, tensor in source.state_dict().items():
        assert torch.equal(tensor, theirs.state_dict()[name])


def test_no_graph_is_kept(pair: tuple[StyleGenerator, StyleGenerator]) -> None:
    average, source = pair
    update_ema(average, source, 0.9)
    for p in average.parameters():
        assert not p.requires_grad
        assert p.grad_fn is None
    assert all(p.requires_grad for p in source.parameters())
