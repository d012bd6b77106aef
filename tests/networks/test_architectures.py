"""The nine pairs of Fig. 7: shapes, the explicit equations of each, and fast paths against slow ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from styleloom.config.networks import (
    TABLE_2_ARCHITECTURES,
    Architecture,
    FeatureMaps,
    Mapping,
    MinibatchStd,
)
from styleloom.errors import UserError
from styleloom.layers import equalized
from styleloom.networks import stylegan2
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.ops import upfirdn
from styleloom.ops.conv_layer import conv_layer_reference
from styleloom.ops.modulated_conv import modulated_layer_reference
from styleloom.ops.upfirdn import downsample2d, upfirdn2d_reference, upsample2d
from styleloom.types import Discriminator, Generator

from .tiny import discriminator, generator, synthesis_of, tensor

TAPS = (1, 3, 3, 1)


@pytest.mark.parametrize(
    ("g_arch", "d_arch", "resolution"),
    list(product(TABLE_2_ARCHITECTURES, TABLE_2_ARCHITECTURES, (8, 16, 32, 64))),
)
def test_every_pair_at_every_resolution(g_arch: Architecture, d_arch: Architecture, resolution: int) -> None:
    """Images of the resolution and logits [N]; every parameter of both networks gets a gradient."""
    g, d = generator(resolution, architecture=g_arch), discriminator(resolution, architecture=d_arch)
    assert isinstance(g, Generator)
    assert isinstance(d, Discriminator)
    images = tensor(g(torch.randn(2, 6)))
    assert images.shape == (2, 3, resolution, resolution)
    assert images.dtype == torch.float32
    logits = d(images)
    assert logits.shape == (2,)
    logits.square().sum().backward()
    for network in (g, d):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_channels(channels: int, architecture: Architecture) -> None:
    g = generator(architecture=architecture, channels=channels)
    d = discriminator(architecture=architecture, channels=channels)
    images = tensor(g(torch.randn(2, 6)))
    assert images.shape == (2, channels, 16, 16)
    (gradient,) = torch.autograd.grad(d(images).square().sum(), images)
    assert (gradient.abs().amax((0, 2, 3)) > 0).all()


@pytest.mark.parametrize(("g_labels", "d_labels"), list(product(("concat", "embed"), ("select", "project"))))
def test_labels(g_labels: Any, d_labels: Any) -> None:
    """They reach images and logits, and are needed."""
    g = generator(label_dim=3, mapping=Mapping(2, 8, labels=g_labels))
    projection = Mapping(2, 8, labels="embed")
    d = discriminator(label_dim=3, labels=d_labels, projection=projection, minibatch_std=MinibatchStd(0))
    z, label = torch.randn(1, 6).expand(3, -1), torch.eye(3)
    images = tensor(g(z, label, noise="none"))
    assert (images[0] - images[1]).abs().max() > 1e-4
    same = images[:1].detach().expand(3, -1, -1, -1)
    logits = d(same, label)
    assert logits.shape == (3,)
    assert (logits[0] - logits[1]).abs() > 1e-4
    for wrong in (None, torch.eye(4)[:3]):
        with pytest.raises(UserError, match="labels of 3 classes"):
            g(z, wrong)
        with pytest.raises(UserError, match="labels of 3 classes"):
            d(same, wrong)


def test_a_selected_logit_is_that_of_the_label() -> None:
    d = discriminator(label_dim=3, minibatch_std=MinibatchStd(0))
    x = torch.randn(1, 3, 16, 16)
    logits = torch.stack([d(x, torch.eye(3)[k : k + 1])[0] for k in range(3)])
    soft = torch.tensor([[0.2, 0.3, 0.5]])
    torch.testing.assert_close(d(x, soft)[0], (logits * soft[0]).sum())


def test_a_projected_logit_is_divided_by_the_root_of_the_width() -> None:
    d = discriminator(label_dim=3, labels="project", projection=Mapping(2, 8, labels="embed"))
    assert d.projection is not None
    x, label = torch.randn(2, 3, 16, 16), torch.eye(3)[:2]
    seen: list[Tensor] = []
    hook = d.tail.register_forward_hook(lambda *args: seen.append(args[2]))
    logits = d(x, label)
    hook.remove()
    torch.testing.assert_close(logits, (seen[0] * d.projection(None, label)).sum(1) / math.sqrt(8))


def test_a_pyramid_is_refused() -> None:
    x = torch.zeros(2, 3, 16, 16)
    with pytest.raises(UserError, match="not a pyramid"):
        discriminator()((x[:, :, ::2, ::2], x))


# ---- the equations of Fig. 7


def blocks(network: nn.Module) -> list[Any]:
    """Blocks, to call their layers one by one."""
    return list(network.blocks)  # type: ignore[arg-type]


def drop_residual_gains(network: nn.Module) -> None:
    """Give each activation its own gain alone, without the sqrt(1/2) of residual blocks."""
    for module in network.modules():
        if isinstance(module, stylegan2.StyledConv | equalized.EqualizedConv):
            module.settings = replace(module.settings, gain=None)


@pytest.mark.parametrize("architecture", TABLE_2_ARCHITECTURES)
def test_generator_of_fig_7(architecture: Architecture) -> None:
    g = generator(32, architecture=architecture)
    network = synthesis_of(g)
    ws = torch.randn(2, g.num_ws, 8)
    maps = [torch.randn(2, 1, *size) for size in network.noise_sizes]
    ours = g.synthesis(ws, noise=maps)
    drop_residual_gains(network)
    x = blocks(network)[0].conv(network.const.expand(2, -1, -1, -1), ws[:, 0], maps[0])
    y = blocks(network)[0].to_rgb(x, ws[:, 1]) if architecture == "skip" else None
    for r, block in zip(range(3, 6), blocks(network)[1:], strict=True):
        up = block.conv(
            block.conv_up(x, ws[:, 2 * r - 5], maps[2 * r - 5]), ws[:, 2 * r - 4], maps[2 * r - 4]
        )
        if architecture == "resnet":
            x = (up + block.skip(x)) / math.sqrt(2)
            assert block.skip.bias is None
            assert block.skip.weight.shape[2:] == (1, 1)
        else:
            x = up
            assert block.skip is None
        if y is not None:
            y = upsample2d(y, TAPS) + block.to_rgb(x, ws[:, 2 * r - 3])
        else:
            assert (block.to_rgb is None) == (r < 5)
    y = blocks(network)[-1].to_rgb(x, ws[:, 7]) if y is None else y
    torch.testing.assert_close(ours, y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", TABLE_2_ARCHITECTURES)
def test_discriminator_of_fig_7(architecture: Architecture) -> None:
    d = discriminator(32, architecture=architecture)
    images = y = torch.randn(4, 3, 32, 32)
    ours = d(images)
    drop_residual_gains(d)
    x: Any = 0.0
    for i, block in enumerate(blocks(d)):
        assert (block.from_rgb is not None) == (i == 0 or architecture == "skip")
        x = x if block.from_rgb is None else x + block.from_rgb(y)
        down = block.conv_down(block.conv(x))
        assert (block.skip is not None) == (architecture == "resnet")
        if block.skip is not None:
            assert block.skip.bias is None
            down = (down + block.skip(x)) / math.sqrt(2)
        x, y = down, downsample2d(y, TAPS)
    tail = d.tail
    assert (tail.from_rgb is not None) == (architecture == "skip")
    x = x if tail.from_rgb is None else x + tail.from_rgb(y)
    assert y.shape[2] == 4
    groups = x.reshape(2, 2, *x.shape[1:])  # groups of 2, strided
    std = (groups.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
    x = torch.cat([x, std.repeat(2)[:, None, None, None].expand(4, 1, 4, 4)], 1)
    logits = tail.out(tail.dense(tail.conv(x).flatten(1)))[:, 0]
    torch.testing.assert_close(ours, logits, rtol=1e-4, atol=1e-5)


def test_without_minibatch_std_images_do_not_see_each_other() -> None:
    x = torch.randn(4, 3, 16, 16) * torch.tensor([1.0, 1, 1, 30])[:, None, None, None]
    alone = discriminator(minibatch_std=MinibatchStd(0))
    torch.testing.assert_close(alone(x)[:2], alone(x[:2]), rtol=1e-4, atol=1e-5)
    grouped = discriminator(minibatch_std=MinibatchStd(4))
    assert (grouped(x)[:2] - grouped(x[:2])).abs().min() > 0.01
    widths = [d.tail.conv.weight.shape[1] for d in (alone, grouped)]
    assert widths == [12, 13]


def test_sum_of_rgb_is_not_scaled() -> None:
    """With toRGB weights of zero, a skip generator's image is the sum of its toRGB biases."""
    g = generator(32, architecture="skip")
    to_rgbs = [block.to_rgb for block in blocks(synthesis_of(g))]
    with torch.no_grad():
        for layer in to_rgbs:
            layer.weight.zero_()
    total = torch.stack([layer.bias for layer in to_rgbs]).sum(0)
    interior = tensor(g(torch.randn(1, 6)))[0, :, 16:-15, 16:-15]
    torch.testing.assert_close(interior, total[:, None, None].expand_as(interior), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_clamp_bounds_every_layer(architecture: Architecture) -> None:
    g = generator(architecture=architecture, clamp=0.05)
    d = discriminator(architecture=architecture, clamp=0.05)
    bounds: list[float] = []
    for network in (g.synthesis_network, d):
        for module in network.modules():
            if isinstance(module, stylegan2.StyledConv | equalized.EqualizedConv) and module.settings.clamp:
                module.register_forward_hook(lambda m, i, o: bounds.append(o.abs().max().item()))
    d(g(torch.randn(2, 6)))
    assert len(bounds) >= 12
    assert max(bounds) <= 0.05 + 1e-6
    assert sum(bound > 0.035 for bound in bounds) > 6


def test_activation_of_the_configuration() -> None:
    for network in (generator(activation="swish"), discriminator(activation="swish")):
        layers = [
            m for m in network.modules() if isinstance(m, stylegan2.StyledConv | equalized.EqualizedConv)
        ]
        assert {layer.settings.act for layer in layers} == {"swish", "linear"}


def test_filter_of_the_configuration() -> None:
    for build, x in ((generator, torch.randn(2, 6)), (discriminator, torch.randn(2, 3, 16, 16))):
        for architecture in get_args(Architecture):
            results = []
            for taps in ((1, 3, 3, 1), (1, 1)):
                torch.manual_seed(0)
                network = build(architecture=architecture, resample_filter=taps)
                kwargs = {"noise": "none"} if build is generator else {}
                results.append(network(x, **kwargs))
            assert not torch.allclose(results[0], results[1], rtol=1e-2, atol=1e-3)


# ---- fast against slow, whole networks


def gradients(loss: Tensor, network: nn.Module, inputs: Tensor) -> list[Tensor]:
    """d loss, and d |d loss / d inputs|^2, with respect to every parameter."""
    parameters = list(network.parameters())
    first = torch.autograd.grad(loss, parameters, retain_graph=True)
    (inner,) = torch.autograd.grad(loss, inputs, create_graph=True)
    second = torch.autograd.grad(inner.square().sum(), parameters, allow_unused=True, materialize_grads=True)
    return [loss.detach(), inner.detach(), *first, *second]


@pytest.mark.parametrize("architecture", TABLE_2_ARCHITECTURES)
@pytest.mark.parametrize("activation", ["lrelu", "tanh"])
def test_fast_paths_equal_slow_ones(
    architecture: Architecture, activation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loss, input gradient (R1, path length) and its derivative, of both networks in every parameter."""
    g = generator(architecture=architecture, activation=activation)
    d = discriminator(architecture=architecture, activation=activation)
    for network in (g, d):
        network.double()
        for module in network.modules():
            if hasattr(module, "trunk_dtype"):
                module.trunk_dtype = torch.float64  # type: ignore[assignment]
    ws = torch.randn(2, g.num_ws, 8, dtype=torch.float64).requires_grad_()
    x = torch.randn(4, 3, 16, 16, dtype=torch.float64).requires_grad_()
    cases: tuple[Callable[[], list[Tensor]], ...] = (
        lambda: gradients(tensor(g.synthesis(ws, noise="fixed")).square().mean(), g.synthesis_network, ws),
        lambda: gradients(d(x).sum(), d, x),
    )
    fast = [case() for case in cases]
    monkeypatch.setattr(stylegan2, "modulated_layer", modulated_layer_reference)
    monkeypatch.setattr(equalized, "conv_layer", conv_layer_reference)
    monkeypatch.setattr(upfirdn, "upfirdn2d", upfirdn2d_reference)
    for ours, theirs in zip(fast, [case() for case in cases], strict=True):
        for a, b in zip(ours, theirs, strict=True):
            # Images, logits and the statistics of a batch are float32.
            assert (a - b).norm() <= 2e-5 * b.norm() + 1e-9


# ---- large networks, without memory


@pytest.mark.parametrize("resolution", [1024, 2048])
@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_shapes_at_1024_and_beyond(resolution: int, architecture: Architecture) -> None:
    config = {"resolution": resolution, "architecture": architecture, "features": FeatureMaps(16384)}
    with torch.device("meta"):
        g = build_generator(stylegan2.config.StyleGAN2Generator(**config))
        d = build_discriminator(stylegan2.config.StyleGAN2Discriminator(**config))
        z = torch.randn(4, 512)
    images = tensor(g(z))
    assert images.shape == (4, 3, resolution, resolution)
    assert d(images).shape == (4,)
    assert g.num_ws == 2 * (resolution.bit_length() - 1) - 2
