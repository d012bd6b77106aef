"""Shares of toRGB outputs, against outputs of known deviation and numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from metrics.probed import labels, real
from styleloom.errors import UserError
from styleloom.metrics.probes.resolution_usage import resolution_usage, rgb_moments
from styleloom.sampling import Sampler

SIDES = (4, 8, 16)


def blocks(sampler: Sampler) -> list[Any]:
    """Of the synthesis network, low to high."""
    found = sampler.generator.synthesis_network.blocks
    assert isinstance(found, nn.ModuleList)
    return list(found)


class Given(nn.Module):
    """A toRGB layer that puts out what it is given."""

    def __init__(self, output: Callable[[int], Tensor]) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """The output for a batch of this size."""
        return self.output(len(x))


def given(*outputs: Callable[[int], Tensor]) -> Sampler:
    """A skip generator at 16 px with these toRGB layers."""
    sampler = real("stylegan2-f")
    for block, output in zip(blocks(sampler), outputs, strict=True):
        block.to_rgb = Given(output)
    return sampler


def checkers(side: int, amplitude: float, mean: float = 0.0) -> Callable[[int], Tensor]:
    """Half of the pixels of every channel at mean + amplitude, half at mean - amplitude."""
    signs = torch.ones(side, side)
    signs[:, ::2] = -1
    return lambda n: (mean + amplitude * signs).expand(n, 3, side, side)


def test_shares_of_known_deviations() -> None:
    sampler = given(checkers(4, 3.0), checkers(8, 1.5), checkers(16, 0.5))
    usage = resolution_usage(rgb_moments(sampler, range(3)), SIDES)
    assert usage == {4: pytest.approx(60), 8: pytest.approx(30), 16: pytest.approx(10)}
    assert sum(usage.values()) == pytest.approx(100)


def test_constant_colour_is_no_detail() -> None:
    colour = torch.tensor([5.0, -3.0, 1.0])[:, None, None]

    def tinted(n: int) -> Tensor:
        return checkers(8, 1.0)(n) + colour

    sampler = given(checkers(4, 1.0, mean=7.0), tinted, checkers(16, 2.0))
    usage = resolution_usage(rgb_moments(sampler, range(2)), SIDES)
    assert usage == {4: pytest.approx(25), 8: pytest.approx(25), 16: pytest.approx(50)}


def test_differences_between_images_count() -> None:
    """Each image is of one colour, and they differ: that is variation of this level."""

    def flat(n: int) -> Tensor:
        return torch.tensor([1.0, -1.0])[:, None, None, None].expand(n, 3, 4, 4)

    sampler = given(flat, checkers(8, 1.0), lambda n: torch.zeros(n, 3, 16, 16))
    usage = resolution_usage(rgb_moments(sampler, range(2)), SIDES)
    assert usage == {4: pytest.approx(50), 8: pytest.approx(50), 16: 0}


def test_a_real_generator_against_numpy() -> None:
    sampler = real("stylegan2-e-g-skip-d-resnet")
    layers = [block.to_rgb for block in blocks(sampler)]
    outputs: dict[int, Tensor] = {}
    hooks = [
        layer.register_forward_hook(lambda _, __, y, side=side: outputs.__setitem__(side, y))
        for side, layer in zip(SIDES, layers, strict=True)
    ]
    sampler.generate(range(6), batch=6)
    for hook in hooks:
        hook.remove()
    usage = resolution_usage(rgb_moments(sampler, range(6)), SIDES)
    assert not any(layer._forward_hooks for layer in layers)
    expected = {}
    for side, y in outputs.items():
        array = y[:6].double().numpy()  # a pass is filled up
        expected[side] = np.sqrt(np.mean((array - array.mean((0, 2, 3), keepdims=True)) ** 2))
    total = sum(expected.values())
    assert usage == pytest.approx({side: 100 * value / total for side, value in expected.items()}, rel=1e-5)
    assert sum(usage.values()) == pytest.approx(100)


def test_outputs_are_those_before_addition() -> None:
    """What the levels below add to the image is not counted again."""
    sampler = given(checkers(4, 1000.0), checkers(8, 1.0), lambda n: torch.zeros(n, 3, 16, 16))
    usage = resolution_usage(rgb_moments(sampler, [0]), SIDES)
    assert usage[16] == 0
    assert usage[8] == pytest.approx(100 / 1001)


def test_moments_of_blocks_add_up() -> None:
    sampler = real("stylegan2-f", "label_dim=3")
    classes = labels(0, 1, 2, 0, 1)
    whole = rgb_moments(sampler, range(5), classes)
    parts = rgb_moments(sampler, range(2), classes[:2]) + rgb_moments(sampler, range(2, 5), classes[2:])
    assert whole.shape == (3, 3, 3)
    assert whole[:, :, 0].tolist() == [[5 * side**2] * 3 for side in SIDES]
    torch.testing.assert_close(whole, parts, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("preset", "family"),
    [
        ("stylegan2-b", "stylegan2"),
        ("stylegan2-e-g-orig-d-orig", "stylegan2"),
        ("stylegan2-e-g-resnet-d-orig", "stylegan2"),
        ("stylegan-f", "stylegan"),
        ("progan", "progan"),
        ("msg-progan", "msg-progan"),
    ],
)
def test_refuses_other_architectures(preset: str, family: str) -> None:
    with pytest.raises(UserError, match=f"images of this {family} generator .*; valid: .* skip architecture"):
        rgb_moments(real(preset), [0])


def test_refuses_outputs_without_variation() -> None:
    sampler = given(*(lambda n, side=side: torch.ones(n, 3, side, side) for side in SIDES))
    with pytest.raises(UserError, match="toRGB: the outputs of all levels are constant"):
        resolution_usage(rgb_moments(sampler, [0, 1]), SIDES)
