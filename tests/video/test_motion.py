"""Motions: even speed, closed loops, easing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from styleloom.errors import UserError
from styleloom.video.motion import Circle, KeyFrames, sweep, swing, turning_noise

COUNT = 240


def steps(values: list[Tensor]) -> Tensor:
    """The length of every step, back to the first: [C, F]."""
    flat = torch.stack([v.double().flatten(1) for v in values], 1)
    return (flat.roll(-1, 1) - flat).norm(dim=2)


def test_key_frames_are_passed_in_turn_at_an_even_speed() -> None:
    """Two cells with ways of other lengths: each has its own even speed, and passes its own key frames."""
    keys = torch.randn(2, 4, 3, 8, generator=torch.Generator().manual_seed(0))
    keys[0, 1] = keys[0, 0] + 0.1 * (keys[0, 1] - keys[0, 0])
    path = KeyFrames(keys, closed=True)
    values = [path(at / COUNT) for at in range(COUNT)]
    lengths = steps(values)
    median = lengths.median(1, keepdim=True).values
    even = (lengths - median).abs() < 1e-4 * median
    assert even.float().mean(1).min() > 0.97  # a step round a corner is shorter
    assert (lengths <= median * 1.001).all()
    for cell in range(2):
        for key in range(4):
            nearest = min(float((value[cell] - keys[cell, key]).norm()) for value in values)
            assert nearest <= float(lengths[cell].max()) / 2 + 1e-6
    assert torch.equal(path(0), keys[:, 0])
    assert torch.equal(path(1.0), keys[:, 0])


def test_open_paths_end_at_the_last_key_frame() -> None:
    keys = torch.randn(1, 3, 2, 4, generator=torch.Generator().manual_seed(0))
    path = KeyFrames(keys, closed=False)
    torch.testing.assert_close(path(0), keys[:, 0])
    torch.testing.assert_close(path(1), keys[:, 2])


def test_smooth_paths_rest_at_key_frames() -> None:
    keys = torch.randn(1, 3, 2, 4, generator=torch.Generator().manual_seed(0))
    lengths = steps([KeyFrames(keys, True, easing="smooth")(at / COUNT) for at in range(COUNT)])
    assert lengths[0, 0] < 0.1 * lengths.max()
    assert torch.equal(KeyFrames(keys, True, easing="smooth")(0), keys[:, 0])


def test_one_key_frame_and_equal_ones_stand_still() -> None:
    for keys in (torch.randn(2, 1, 3, 4), torch.ones(2, 3, 3, 4)):
        for closed in (True, False):
            path = KeyFrames(keys, closed)
            assert torch.equal(path(0.0), path(0.37))
            assert path(0.37).isfinite().all()


def test_z_keeps_its_length_on_the_way() -> None:
    keys = torch.randn(2, 3, 64, generator=torch.Generator().manual_seed(0))
    path = KeyFrames(keys, closed=True, spherical=True)
    lengths = torch.stack([path(at / 50) for at in range(50)]).norm(dim=2)
    assert lengths.min() >= keys.norm(dim=2).min() - 1e-4
    torch.testing.assert_close(path(0), keys[:, 0])
    assert torch.allclose(KeyFrames(keys[:, [0, 0]], True, spherical=True)(0.3), keys[:, 0])


def test_circles_close_and_have_an_even_speed_in_w() -> None:
    z = torch.randn(2, 2, 16, generator=torch.Generator().manual_seed(0))
    matrix = torch.randn(16, 8, generator=torch.Generator().manual_seed(1)) * torch.linspace(0.1, 3, 8)
    circle = Circle(z[0], z[1], lambda points: torch.relu(points @ matrix))
    torch.testing.assert_close(circle(0), torch.relu(z[0] @ matrix), atol=1e-4, rtol=1e-4)
    assert torch.equal(circle(1.0), circle(0.0))
    lengths = steps([circle(at / COUNT) for at in range(COUNT)])
    assert (lengths.std(1) / lengths.mean(1)).max() < 0.08
    with pytest.raises(UserError, match="two latents on one line"):
        Circle(torch.ones(1, 4), 2 * torch.ones(1, 4), lambda points: points)


def test_swing_and_sweep() -> None:
    assert [round(swing(t, -1, 3), 6) for t in (0, 0.5, 1)] == [-1, 3, -1]
    assert [sweep(t, -1, 3) for t in (0, 0.5, 1)] == [-1, 1, 3]


def test_noise_turns_without_losing_its_distribution() -> None:
    first, second = ([torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(s))] for s in (0, 1))
    for at in range(8):
        (noise,) = turning_noise(first, second, at / 8)
        assert float(noise.std()) == pytest.approx(1, abs=0.05)
    assert torch.equal(turning_noise(first, second, 1.0)[0], first[0])
    between = turning_noise(first, second, 0.125)[0]
    torch.testing.assert_close(between, (first[0] + second[0]) / math.sqrt(2))
