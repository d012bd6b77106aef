"""Images that are not square: `grid` 3 x 4 gives 4:3 in every level, in every architecture."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from styleloom.config.networks import Architecture, FeatureMaps, ImageShape
from styleloom.layers import equalized
from styleloom.layers.minibatch_std import minibatch_std
from styleloom.networks import stylegan2
from styleloom.ops import upfirdn, winograd
from styleloom.ops.conv_layer import conv_layer_reference
from styleloom.ops.modulated_conv import modulated_layer_reference
from styleloom.ops.upfirdn import upfirdn2d_reference
from styleloom.training.regularizers import path_lengths, zero_centred_penalty
from styleloom.types import GrowthState

from .tiny import discriminator, generator, noise_inputs, synthesis_of, tensor

GRIDS = [(3, 4), (4, 3), (2, 7)]
FADE = GrowthState(1, 0.3)

STATES: list[tuple[Architecture, GrowthState | None]] = [
    *((architecture, None) for architecture in get_args(Architecture)),
    ("growing", FADE),
]


def size_of(cfg: ImageShape, state: GrowthState | None) -> tuple[int, int]:
    """Height and width of the images of a state, px."""
    return cfg.size if state is None else cfg.size_at(4 << state.level)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(("architecture", "state"), STATES)
def test_sizes(grid: tuple[int, int], architecture: Architecture, state: GrowthState | None) -> None:
    """Constant, noise maps, images and logits; R1 and path lengths can be differentiated."""
    height, width = grid
    g = generator(16, architecture=architecture, grid=grid)
    d = discriminator(16, architecture=architecture, grid=grid)
    network = synthesis_of(g)
    assert network.const.shape == (1, 12, height, width)
    factors = (1, 2, 2, 4, 4)
    assert network.noise_sizes == tuple((height * f, width * f) for f in factors)
    assert [m.fixed.shape[2:] for m in noise_inputs(g)] == [torch.Size(size) for size in network.noise_sizes]
    assert d.tail.dense.weight.shape[1] == d.tail.conv.weight.shape[0] * height * width

    ws = torch.randn(2, g.num_ws, 8).requires_grad_()
    images = tensor(g.synthesis(ws, state))
    factor = 4 if state is None else 2**state.level
    assert images.shape == (2, 3, height * factor, width * factor)
    assert size_of(network.cfg, state) == images.shape[2:]
    assert d(images, None, state).shape == (2,)
    penalty = zero_centred_penalty(lambda x, label: d(x, label, state), images, 1.0).sum()
    lengths = path_lengths(images, ws, torch.randn_like(images))
    (penalty + lengths.square().sum()).backward()
    for key, parameter in (*g.synthesis_network.named_parameters(), *d.named_parameters()):
        if key.endswith("conv.weight") and not (state and key.startswith(("blocks.2", "blocks.0"))):
            assert parameter.grad is not None, key
            assert parameter.grad.abs().max() > 0, key


# ---- turning the images turns everything


def turn(network: nn.Module, source: nn.Module, grid: tuple[int, int]) -> None:
    """Parameters of `source`, of grid `grid`, with rows and columns exchanged."""
    state = {}
    for key, value in source.state_dict().items():
        if key == "tail.dense.weight":
            value = value.unflatten(1, (-1, *grid)).transpose(2, 3).flatten(1)
        elif value.ndim == 4:
            value = value.transpose(2, 3)
        state[key] = value
    network.load_state_dict(state)


def turned(x: Tensor) -> Tensor:
    return x.transpose(2, 3)


@pytest.mark.parametrize(("architecture", "state"), STATES)
def test_rows_and_columns_are_alike(architecture: Architecture, state: GrowthState | None) -> None:
    """Networks whose kernels, constants and noise maps are transposed give transposed images, the same
    logits and transposed gradients of R1."""
    grid = (3, 5)
    fields: dict[str, Any] = {"architecture": architecture, "resample_filter": (1, 3, 3, 1)}
    g, d = generator(16, grid=grid, **fields), discriminator(16, grid=grid, **fields)
    other_g, other_d = generator(16, grid=grid[::-1], **fields), discriminator(16, grid=grid[::-1], **fields)
    turn(other_g, g, grid)
    turn(other_d, d, grid)
    ws = torch.randn(2, g.num_ws, 8)
    images = tensor(g.synthesis(ws, state, "fixed")).detach()
    torch.testing.assert_close(
        turned(tensor(other_g.synthesis(ws, state, "fixed"))), images, rtol=1e-4, atol=1e-5
    )
    x = torch.randn_like(images)
    results = []
    for network, inputs in ((d, x), (other_d, turned(x).contiguous())):
        inputs = inputs.requires_grad_()
        logits = network(inputs, None, state)
        (gradient,) = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
        weight = network.blocks[-1].conv.weight  # type: ignore[union-attr]
        (second,) = torch.autograd.grad(gradient.square().sum(), weight)  # type: ignore[arg-type]
        results.append((logits, gradient, second))
    (logits, gradient, second), (other_logits, other_gradient, other_second) = results
    torch.testing.assert_close(other_logits, logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(turned(other_gradient), gradient, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(turned(other_second), second, rtol=1e-3, atol=1e-4)


# ---- fast against slow


def derivatives(loss: Tensor, inputs: Tensor, network: nn.Module) -> list[Tensor]:
    """d loss, and d |d loss / d inputs|^2, with respect to every parameter, as far as it counts."""
    parameters = list(network.parameters())
    options: dict[str, Any] = {"allow_unused": True, "materialize_grads": True}
    first = torch.autograd.grad(loss, parameters, retain_graph=True, **options)
    (inner,) = torch.autograd.grad(loss, inputs, create_graph=True)
    second = torch.autograd.grad(inner.square().sum(), parameters, **options)
    return [loss.detach(), inner.detach(), *first, *second]


@pytest.mark.parametrize(
    ("grid", "architecture", "state"),
    [((4, 4), "growing", FADE), *(((3, 4), *item) for item in STATES)],
)
def test_fast_paths_equal_slow_ones(
    grid: tuple[int, int],
    architecture: Architecture,
    state: GrowthState | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both networks, to the second derivative in every parameter, on other grids and while growing."""
    fields: dict[str, Any] = {"architecture": architecture, "grid": grid, "activation": "swish"}
    g, d = generator(16, **fields), discriminator(16, **fields)
    for network in (g, d):
        network.double()
        for module in network.modules():
            if hasattr(module, "trunk_dtype"):
                module.trunk_dtype = torch.float64  # type: ignore[assignment]
    ws = torch.randn(2, g.num_ws, 8, dtype=torch.float64).requires_grad_()
    x = torch.randn(4, 3, *size_of(d.cfg, state), dtype=torch.float64).requires_grad_()

    def results() -> list[Tensor]:
        images = tensor(g.synthesis(ws, state, "fixed"))
        return [
            *derivatives(images.square().mean(), ws, g.synthesis_network),
            *derivatives(d(x, None, state).sum(), x, d),
        ]

    fast = results()
    monkeypatch.setattr(stylegan2, "modulated_layer", modulated_layer_reference)
    monkeypatch.setattr(equalized, "conv_layer", conv_layer_reference)
    monkeypatch.setattr(upfirdn, "upfirdn2d", upfirdn2d_reference)
    for ours, theirs in zip(fast, results(), strict=True):
        # Images, logits and the statistics of a batch are float32.
        assert (ours - theirs).norm() <= 2e-5 * theirs.norm() + 1e-9


def test_winograd_tiles_of_other_grids(monkeypatch: pytest.MonkeyPatch) -> None:
    """12 x 16 px divides into tiles, 6 x 8 px does not: a wide discriminator takes both ways."""
    sizes: list[tuple[int, ...]] = []
    convolve = winograd.convolve
    monkeypatch.setattr(winograd, "MIN_CHANNELS", 16)
    monkeypatch.setattr(winograd, "MIN_TILES", 1)
    monkeypatch.setattr(winograd, "convolve", lambda x, w: sizes.append(x.shape[2:]) or convolve(x, w))
    d = discriminator(16, grid=(3, 4), architecture="growing", features=FeatureMaps(16, 16, 16))
    x = torch.randn(4, 3, 12, 16).requires_grad_()

    def results() -> list[Tensor]:
        return derivatives(d(x).sum(), x, d)

    fast = results()
    assert (12, 16) in sizes
    assert (6, 8) not in sizes
    monkeypatch.setattr(winograd, "suits", lambda *args: False)
    slow = results()
    count = len(list(d.parameters()))
    for part in (slice(2), slice(2, 2 + count), slice(2 + count, None)):  # values, first, second derivatives
        ours, theirs = (torch.cat([x.flatten() for x in side[part]]) for side in (fast, slow))
        assert (ours - theirs).norm() <= 1e-3 * theirs.norm()  # float32


# ---- what depends on the number of pixels


def test_minibatch_std_is_a_mean_over_all_pixels() -> None:
    x = torch.randn(4, 6, 3, 5)
    groups = x.reshape(2, 2, 6, 3, 5)
    expected = (groups.var(0, unbiased=False) + 1e-8).sqrt().flatten(1).mean(1)
    out = minibatch_std(x, 2)
    assert out.shape == (4, 1, 3, 5)
    torch.testing.assert_close(out, expected.repeat(2)[:, None, None, None].expand(4, 1, 3, 5))


def test_path_lengths_divide_by_height_times_width() -> None:
    """Equation 4 with y ~ N(0, 1) / sqrt(H W)."""
    g = generator(8, grid=(3, 4))
    ws = torch.randn(2, g.num_ws, 8).requires_grad_()
    images = tensor(g.synthesis(ws, noise="fixed"))
    y = torch.randn_like(images)
    total = (images * y).sum() / math.sqrt(6 * 8)
    (gradient,) = torch.autograd.grad(total, ws, retain_graph=True)
    expected = gradient.square().sum((1, 2)).div(g.num_ws).sqrt()
    torch.testing.assert_close(path_lengths(images, ws, y), expected)


@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_4_by_3_at_512(architecture: Architecture) -> None:
    """384 x 512 px, as LSUN Car has it without its bars."""
    with torch.device("meta"):
        fields: dict[str, Any] = {"resolution": 512, "grid": (3, 4), "architecture": architecture}
        g = stylegan2.build_generator(stylegan2.config.StyleGAN2Generator(**fields))
        d = stylegan2.Discriminator(stylegan2.config.StyleGAN2Discriminator(**fields))
        images = tensor(g(torch.randn(4, 512)))
    assert images.shape == (4, 3, 384, 512)
    assert d(images).shape == (4,)
