from __future__ import annotations

import pytest
import torch

from styleloom.layers.noise import NoiseInput


def test_strength_starts_at_zero() -> None:
    scalar, vector = NoiseInput((4, 4)), NoiseInput((4, 4), strengths=3)
    assert scalar.strength.shape == ()
    assert vector.strength.shape == (3,)
    for layer in (scalar, vector):
        assert layer.strength.requires_grad
        assert layer.strength.abs().max() == 0
        y = layer(2, "random")
        assert y is not None
        assert y.abs().max() == 0


def test_stored_map_is_a_buffer() -> None:
    layer = NoiseInput((16, 16))
    assert dict(layer.named_buffers()).keys() == {"fixed"}
    assert layer.fixed.shape == (1, 1, 16, 16)
    assert layer.fixed.std().item() == pytest.approx(1, rel=0.2)


@pytest.mark.parametrize(("strengths", "values"), [(1, 0.5), (3, [0.5, -1.0, 2.0])])
def test_modes(strengths: int, values: float | list[float]) -> None:
    layer = NoiseInput((8, 8), strengths)
    with torch.no_grad():
        layer.strength.copy_(torch.tensor(values))
    factor = layer.strength.reshape(1, -1, 1, 1)
    assert layer(2, "none") is None
    fixed = layer(2, "fixed")
    torch.testing.assert_close(fixed, layer.fixed * factor)
    first, second = layer(2, "random"), layer(2, "random")
    assert first.shape == second.shape == (2, strengths, 8, 8)
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])  # a map of its own for each sample
    if strengths > 1:  # one map for all channels
        torch.testing.assert_close(first / factor, (first / factor)[:, :1].expand_as(first))
    given = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(layer(2, given), given * factor)


def test_random_maps_are_normal() -> None:
    layer = NoiseInput((64, 64))
    torch.nn.init.ones_(layer.strength)
    maps = layer(8, "random")
    assert abs(maps.mean().item()) < 0.02
    assert maps.std().item() == pytest.approx(1, rel=0.02)
    assert maps.dtype == torch.float32
