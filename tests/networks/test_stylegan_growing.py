"""StyleGAN's networks while they grow, its discriminator, shapes and precision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from styleloom.config.networks import MinibatchStd, StyleGANDiscriminator, StyleGANGenerator
from styleloom.errors import UserError
from styleloom.layers import equalized
from styleloom.networks import stylegan
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.ops import upfirdn
from styleloom.ops.conv_layer import conv_layer_reference
from styleloom.ops.instance_norm import instance_norm_reference
from styleloom.ops.upfirdn import upfirdn2d_reference
from styleloom.precision import set_precision
from styleloom.training.regularizers import path_lengths, zero_centred_penalty
from styleloom.types import Discriminator, Generator, GrowthState

from .tiny import tensor
from .tiny_stylegan import (
    CONFIGURATIONS,
    conv,
    discriminator,
    filtered,
    generator,
    pooled,
    repeated,
    synthesis_of,
)

RESOLUTION, LEVELS = 32, 4
STATES = [GrowthState(0, 1.0), *(GrowthState(k, a) for k in range(1, LEVELS) for a in (0.0, 0.3, 1.0))]
FADING = [state for state in STATES if state.alpha < 1]
FADED = [state for state in STATES if state.alpha == 1]

CONFIGURATION = pytest.mark.parametrize("row", CONFIGURATIONS)


def name(state: object) -> str | None:
    """Of a test's parameter: level and alpha."""
    return f"{state.level}-{state.alpha}" if isinstance(state, GrowthState) else None


def image_of(g: Any, ws: Tensor, state: GrowthState | None) -> Tensor:
    return tensor(g.synthesis(ws, state, "fixed"))


def ending_at(network: nn.Module, small: nn.Module) -> None:
    """Give the network that ends at a lower level the weights of a higher one."""
    state = network.state_dict()
    small.load_state_dict({key: state[key] for key in small.state_dict()})


# ---- growing


@pytest.mark.parametrize("state", FADED, ids=name)
@CONFIGURATION
def test_a_level_is_the_network_that_ends_there(row: str, state: GrowthState) -> None:
    """In its own resolution; images and logits."""
    side = 4 << state.level
    g, d = generator(RESOLUTION, **CONFIGURATIONS[row]), discriminator(RESOLUTION)
    ws, images = torch.randn(2, g.num_ws, 8), torch.randn(2, 3, side, side)
    ours, logits = image_of(g, ws, state), d(images, None, state)
    assert ours.shape == (2, 3, side, side)
    if side == 4:  # no network is as small
        features = synthesis_of(g).features(ws, "fixed", 0)[0]
        rgb: Any = synthesis_of(g).to_rgb["4"]
        expected = torch.einsum("nchw,oc->nohw", features, rgb.weight[:, :, 0, 0]) / 12**0.5
        torch.testing.assert_close(ours, expected + rgb.bias[:, None, None], rtol=1e-4, atol=1e-5)
        x = nn.functional.leaky_relu(conv(images, d.from_rgb["4"]), 0.2)
        torch.testing.assert_close(logits, d.tail(x)[:, 0], rtol=1e-4, atol=1e-5)
        return
    small_g, small_d = generator(side, **CONFIGURATIONS[row]), discriminator(side)
    ending_at(g, small_g)
    ending_at(d, small_d)
    slots = [*range(small_g.num_ws - (row == "c-paper")), *([-1] if row == "c-paper" else [])]
    assert torch.equal(ours, image_of(small_g, ws[:, slots], None))
    assert torch.equal(logits, small_d(images))


@pytest.mark.parametrize("state", FADING, ids=name)
def test_fading(state: GrowthState) -> None:
    """The lower image, each pixel 2 x 2, and the new one in parts 1 - alpha and alpha; means of 2 x 2 pixels
    reach the lower fromRGB."""
    g, d = generator(RESOLUTION), discriminator(RESOLUTION)
    ws = torch.randn(2, g.num_ws, 8)
    below, here = (image_of(g, ws, GrowthState(state.level - i, 1.0)) for i in (1, 0))
    expected = (1 - state.alpha) * repeated(below) + state.alpha * here
    torch.testing.assert_close(image_of(g, ws, state), expected, rtol=1e-4, atol=1e-5)
    images = torch.randn(2, 3, *here.shape[2:])
    if state.alpha == 0:
        lower = GrowthState(state.level - 1, 1.0)
        torch.testing.assert_close(d(images, None, state), d(pooled(images), None, lower))
    sides = (4 << state.level, 2 << state.level)
    new, old = (
        nn.functional.leaky_relu(conv(x, d.from_rgb[str(side)]), 0.2)
        for side, x in zip(sides, (images, pooled(images)), strict=True)
    )
    x = state.alpha * d.blocks[state.level - 1](new) + (1 - state.alpha) * old
    for block in reversed(d.blocks[: state.level - 1]):
        x = block(x)
    torch.testing.assert_close(d(images, None, state), d.tail(x)[:, 0], rtol=1e-4, atol=1e-5)


def test_without_growth_all_levels_are_there() -> None:
    g, d = generator(RESOLUTION), discriminator(RESOLUTION)
    assert isinstance(g, Generator)
    assert isinstance(d, Discriminator)
    ws, top = torch.randn(2, g.num_ws, 8), GrowthState(LEVELS - 1, 1.0)
    images = image_of(g, ws, None)
    assert torch.equal(images, image_of(g, ws, top))
    assert torch.equal(d(images), d(images, None, top))


def active_names(state: GrowthState) -> Iterator[str]:
    """Prefixes of the parameters that a state uses: layers up to the active level, RGB of what is shown."""
    yield from ("g.input", "d.tail")
    for k in range(state.level + 1):
        yield f"g.blocks.{k}."
        if k:
            yield f"d.blocks.{k - 1}."
    for k in {state.level, state.level - (state.alpha < 1)}:
        yield from (f"g.to_rgb.{4 << k}.", f"d.from_rgb.{4 << k}.")


@pytest.mark.parametrize("state", [s for s in STATES if s.alpha > 0], ids=name)
@CONFIGURATION
def test_only_active_parameters_get_gradients(row: str, state: GrowthState) -> None:
    """And only active layers run, also where every layer's noise is given."""
    g, d = generator(RESOLUTION, **CONFIGURATIONS[row]), discriminator(RESOLUTION)
    networks = nn.ModuleDict({"g": g.synthesis_network, "d": d})
    ran: set[str] = set()
    for key, module in networks.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda m, i, o, key=key: ran.add(key))
    maps = [torch.randn(1, 1, *size) for size in synthesis_of(g).noise_sizes]
    images = tensor(g.synthesis(torch.randn(2, g.num_ws, 8), state, maps))
    d(images, None, state).square().sum().backward()
    prefixes = tuple(active_names(state))
    for key, parameter in networks.named_parameters():
        assert (parameter.grad is not None) == key.startswith(prefixes), key
        assert parameter.grad is None or parameter.grad.abs().max() > 0, key
    assert all(f"{key}.".startswith(prefixes) for key in ran)


@pytest.mark.parametrize(
    "state", [GrowthState(4, 1.0), GrowthState(-1, 1.0), GrowthState(1, 1.5), GrowthState(0, 0.5)], ids=name
)
def test_states_that_are_not_there(state: GrowthState) -> None:
    with pytest.raises(UserError, match=r"growth: .* level 0 to 3, alpha 0 to 1"):
        generator(RESOLUTION)(torch.randn(2, 6), growth=state)
    with pytest.raises(UserError, match=r"growth: .* level 0 to 3, alpha 0 to 1"):
        discriminator(RESOLUTION)(torch.randn(2, 3, 32, 32), None, state)


# ---- discriminator


def test_discriminator() -> None:
    """Convolution, filter, convolution, means of 2 x 2, and only then bias and activation; strided groups."""
    d = discriminator(32)
    images = torch.randn(4, 3, 32, 32)
    x = nn.functional.leaky_relu(conv(images, d.from_rgb["32"]), 0.2)
    for block in reversed(d.blocks):
        block: Any
        x = filtered(nn.functional.leaky_relu(conv(x, block.conv), 0.2))
        down = block.conv_down.conv
        x = pooled(conv(x, down, bias=False)) + down.bias[:, None, None]
        x = nn.functional.leaky_relu(x, 0.2)
    groups = x.reshape(2, 2, *x.shape[1:])
    std = (groups.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
    x = torch.cat([x, std.repeat(2)[:, None, None, None].expand(4, 1, 4, 4)], 1)
    x = nn.functional.leaky_relu(conv(x, d.tail.conv), 0.2).flatten(1)
    dense, out = d.tail.dense, d.tail.out
    assert dense.bias is not None
    assert out.bias is not None
    x = nn.functional.leaky_relu(x @ dense.weight.t() * (2 / x.shape[1]) ** 0.5 + dense.bias, 0.2)
    logits = (x @ out.weight.t() / x.shape[1] ** 0.5 + out.bias)[:, 0]
    torch.testing.assert_close(d(images), logits, rtol=1e-3, atol=1e-4)


def test_labels() -> None:
    """They reach images and logits, at every level; the selected output is that of the label."""
    g, d = generator(label_dim=3), discriminator(label_dim=3, minibatch_std=MinibatchStd(3))
    label = torch.eye(3)
    for state in (GrowthState(0, 1.0), GrowthState(2, 0.5), None):
        images = tensor(g(torch.randn(1, 6).expand(3, -1), label, noise="none", growth=state)).detach()
        assert (images[0] - images[1]).abs().max() > 1e-4
        outputs = torch.stack([d(images, label[k].expand(3, -1), state) for k in range(3)])
        assert (outputs[0] - outputs[1]).abs().max() > 1e-4
        torch.testing.assert_close(d(images, label, state), outputs.diagonal())
    for wrong in (None, torch.eye(4)[:3]):
        with pytest.raises(UserError, match="labels of 3 classes"):
            g(torch.randn(3, 6), wrong)
        with pytest.raises(UserError, match="labels of 3 classes"):
            d(torch.zeros(3, 3, 16, 16), wrong)


def test_images_that_do_not_fit() -> None:
    d, x = discriminator(), torch.zeros(2, 3, 16, 16)
    with pytest.raises(UserError, match="not a pyramid"):
        d((x[:, :, ::2, ::2], x))
    for shape in ((3, 8, 8), (3, 16, 8), (1, 16, 16)):
        given = ", ".join(map(str, shape))
        with pytest.raises(UserError, match=rf"images: \[{given}\] given .* takes \[3, 16, 16\] at level 2"):
            d(torch.zeros(2, *shape))
    with pytest.raises(UserError, match=r"\[3, 16, 16\] given .* takes \[3, 8, 8\] at level 1"):
        d(x, None, GrowthState(1, 0.5))


def test_without_minibatch_std_images_do_not_see_each_other() -> None:
    x = torch.randn(4, 3, 16, 16) * torch.tensor([1.0, 1, 1, 30])[:, None, None, None]
    alone, grouped = (
        discriminator(minibatch_std=MinibatchStd(0)),
        discriminator(minibatch_std=MinibatchStd(4)),
    )
    torch.testing.assert_close(alone(x)[:2], alone(x[:2]), rtol=1e-4, atol=1e-5)
    assert (grouped(x)[:2] - grouped(x[:2])).abs().min() > 0.01


# ---- other shapes, precision, derivatives


@pytest.mark.parametrize(("channels", "grid"), [(1, (4, 4)), (4, (4, 4)), (3, (3, 4)), (3, (6, 2))])
@CONFIGURATION
def test_channels_and_grids(row: str, channels: int, grid: tuple[int, int]) -> None:
    shape: dict[str, Any] = {"channels": channels, "grid": grid}
    g, d = generator(**CONFIGURATIONS[row], **shape), discriminator(**shape)
    for state, factor in ((None, 4), (GrowthState(1, 0.5), 2), (GrowthState(0, 1.0), 1)):
        images = tensor(g(torch.randn(2, g.z_dim), growth=state))
        assert images.shape == (2, channels, grid[0] * factor, grid[1] * factor)
        (gradient,) = torch.autograd.grad(d(images, None, state).square().sum(), images)
        assert (gradient.abs().amax((0, 2, 3)) > 0).all()


def gradients(loss: Tensor, network: nn.Module, inputs: Tensor) -> list[Tensor]:
    """d loss, and d |d loss / d inputs|^2, with respect to every parameter."""
    parameters = list(network.parameters())
    first = torch.autograd.grad(
        loss, parameters, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    (by_input,) = torch.autograd.grad(loss, inputs, create_graph=True)
    square = by_input.square().sum()
    second = torch.autograd.grad(square, parameters, allow_unused=True, materialize_grads=True)
    return [loss.detach(), by_input.detach(), *first, *second]


@pytest.mark.parametrize("order", ["code", "paper"])
@CONFIGURATION
def test_fast_paths_equal_slow_ones(row: str, order: Any) -> None:
    """Loss, input gradient (R1, path length) and its derivative, of both networks in every parameter."""
    g = generator(blur_order=order, activation="swish", **CONFIGURATIONS[row])
    d = discriminator(blur_order=order, activation="swish")
    for network in (g, d):
        network.double()
        for module in network.modules():
            if hasattr(module, "trunk_dtype"):
                module.trunk_dtype = torch.float64  # type: ignore[assignment]
    ws = torch.randn(2, g.num_ws, 8, dtype=torch.float64).requires_grad_()
    x = torch.randn(4, 3, 16, 16, dtype=torch.float64).requires_grad_()

    def results() -> list[Tensor]:
        of_g = gradients(tensor(g.synthesis(ws, noise="fixed")).square().mean(), g.synthesis_network, ws)
        return [*of_g, *gradients(d(x).sum(), d, x)]

    fast = results()
    with (
        mock.patch.dict(stylegan.NORMALIZATIONS, {"instance": instance_norm_reference}),
        mock.patch.object(equalized, "conv_layer", conv_layer_reference),
        mock.patch.object(upfirdn, "upfirdn2d", upfirdn2d_reference),
    ):
        slow = results()
    for a, b in zip(fast, slow, strict=True):
        # Images, logits and the statistics of a batch are float32.
        assert (a - b).norm() <= 3e-5 * b.norm() + 1e-9


@CONFIGURATION
def test_bfloat16_trunk(row: str) -> None:
    """Near to float32 in images, logits and R1, which stay float32, and in path lengths."""
    results = []
    for precision in ("fp32", "bf16"):
        torch.manual_seed(3)
        g = generator(activation="swish", **CONFIGURATIONS[row])
        d = discriminator(activation="swish")
        set_precision(precision, torch.device("cpu"), g, d)
        seen: set[torch.dtype] = set()
        for block in (*synthesis_of(g).blocks, *d.blocks):

            def record(module: Any, args: Any, y: Tensor, seen: set[torch.dtype] = seen) -> None:
                seen.add(y.dtype)

            block.register_forward_hook(record)
        ws = torch.randn(4, g.num_ws, 8).requires_grad_()
        images = tensor(g.synthesis(ws, noise="fixed"))
        lengths = path_lengths(images, ws, torch.randn(4, 3, 16, 16))
        out = [images, d(images), zero_centred_penalty(d, images, 1.0), lengths]
        assert {x.dtype for x in out} == {torch.float32}
        assert seen == {torch.float32 if precision == "fp32" else torch.bfloat16}
        results.append(out)
    for exact, narrow, limit in zip(*results, (0.06, 0.06, 0.1, 0.1), strict=True):
        assert 0 < (exact - narrow).norm() / exact.norm() < limit


def test_bfloat16_keeps_a_constant_that_has_hardly_left_1() -> None:
    """It begins as 1, and instance normalization brings the smallest deviations from 1 to full size."""
    images = []
    for precision in ("fp32", "bf16"):
        torch.manual_seed(3)
        g = generator(activation="lrelu")
        with torch.no_grad():
            constant = synthesis_of(g).input.const
            assert constant is not None
            constant.copy_(1 + 0.001 * torch.randn_like(constant))
        set_precision(precision, torch.device("cpu"), g)
        images.append(tensor(g.synthesis(torch.randn(4, g.num_ws, 8), noise="none")))
    exact, narrow = images
    assert 0 < (exact - narrow).norm() / exact.norm() < 0.06


def test_weights_are_channels_last() -> None:
    for network in (generator().synthesis_network, discriminator()):
        for parameter in network.parameters():
            if parameter.ndim == 4:
                assert parameter.is_contiguous(memory_format=torch.channels_last)


def test_shapes_at_1024() -> None:
    with torch.device("meta"):
        g = build_generator(StyleGANGenerator(resolution=1024))
        d = build_discriminator(StyleGANDiscriminator(resolution=1024))
        images = tensor(g(torch.randn(4, 512)))
    assert images.shape == (4, 3, 1024, 1024)
    assert d(images).shape == (4,)
