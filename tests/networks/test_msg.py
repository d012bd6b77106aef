"""MSG-GAN's networks: pyramids, connections, types and layouts; the generators level by level."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from styleloom.config.networks import MinibatchStd
from styleloom.errors import UserError
from styleloom.layers.equalized import EqualizedConv
from styleloom.networks.build import build_generator
from styleloom.networks.msg import COMBINE
from styleloom.precision import set_precision
from styleloom.training.regularizers import zero_centred_penalty
from styleloom.types import GrowthState

from .tiny_msg import BASES, PLAIN, SIZES, Base, discriminator, generator

# ---- both networks together


@pytest.mark.parametrize("combine", COMBINE)
@pytest.mark.parametrize("base", BASES)
def test_every_parameter_counts(base: Base, combine: str) -> None:
    """Images low to high, logits [N], and a gradient for every parameter of both networks."""
    g, d = generator(base, 32), discriminator(base, 32, combine=combine)
    images = g(torch.randn(4, 6))
    assert [tuple(x.shape) for x in images] == [(4, 3, side, side) for side in (4, 8, 16, 32)]
    assert all(x.dtype == torch.float32 for x in images)
    logits = d(images)
    assert logits.shape == (4,)
    logits.square().sum().backward()
    for network in (g, d):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("connections", ["none", "coarse", "middle", "fine", "all"])
@pytest.mark.parametrize("base", BASES)
def test_gradients_reach_every_connected_level(base: Base, connections: str) -> None:
    """Each image has its own way into the logits, and each head of the generator learns through it."""
    g = generator(base, 64, connections=connections)
    d = discriminator(base, 64, connections=connections)
    images = g(torch.randn(2, 6))
    assert [x.shape[2] for x in images] == list(d.cfg.pyramid_sides)
    for x in images:
        x.retain_grad()
    d(images).sum().backward()
    for x in images:
        assert x.grad.abs().flatten(1).amax(1).min() > 0
    assert {int(side) for side in g.synthesis_network.to_rgb} == set(d.cfg.pyramid_sides)
    for side, head in g.synthesis_network.to_rgb.items():
        assert head.weight.grad.abs().max() > 0, side


@pytest.mark.parametrize("base", BASES)
def test_low_levels_learn_without_the_high_ones(base: Base) -> None:
    """The point of multi-scale gradients: cut above 8 px, the levels below still learn."""
    for connections, expected in (("all", True), ("coarse", True), ("middle", False), ("none", False)):
        g = generator(base, 32, connections=connections)
        d = discriminator(base, 32, connections=connections)
        network = g.synthesis_network
        features = network.features
        network.features = lambda *args, f=features: [
            x if level < 2 else x.detach() for level, x in enumerate(f(*args))
        ]
        d(g(torch.randn(2, 6))).sum().backward()
        grads = [p.grad for p in network.blocks[1].parameters() if p.grad is not None]
        assert any(x.abs().max() > 0 for x in grads) == expected, connections


@pytest.mark.parametrize("grid", [(3, 4), (4, 3), (2, 5)])
@pytest.mark.parametrize("base", BASES)
def test_images_that_are_not_square(base: Base, grid: tuple[int, int]) -> None:
    g, d = generator(base, grid=grid), discriminator(base, grid=grid)
    images = g(torch.randn(2, 6))
    height, width = grid
    assert [tuple(x.shape[2:]) for x in images] == [(height * f, width * f) for f in (1, 2, 4)]
    zero_centred_penalty(d, images, 1.0).sum().backward()
    assert d.tail.dense.weight.grad.abs().max() > 0
    with pytest.raises(UserError, match=rf"takes a pyramid .* of \[N, 3, {height}, {width}\]"):
        d(tuple(x.transpose(2, 3) for x in images))


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("combine", COMBINE)
@pytest.mark.parametrize("base", BASES)
def test_channels(base: Base, combine: str, channels: int) -> None:
    g, d = generator(base, channels=channels), discriminator(base, channels=channels, combine=combine)
    images = g(torch.randn(2, 6))
    assert {x.shape[1] for x in images} == {channels}
    assert d(images).shape == (2,)
    if combine == "simple":
        assert d.tail.start.num_out == 12 + channels + 1


@pytest.mark.parametrize("base", BASES)
def test_labels(base: Base) -> None:
    """The generator joins them to z; the discriminator has an output for each and takes the label's."""
    g, d = generator(base, label_dim=3), discriminator(base, label_dim=3, minibatch_std=MinibatchStd(3))
    z, labels = torch.randn(1, 6).expand(3, 6), torch.eye(3)
    images = g(z, labels, noise="fixed")
    assert all((x[0] - x[1]).abs().max() > 1e-3 for x in images)
    logits = torch.stack([d(images, labels[i].expand(3, 3)) for i in range(3)])
    assert (logits[0] - logits[1]).abs().min() > 1e-4
    torch.testing.assert_close(d(images, labels), logits.diagonal())
    for label in (None, torch.eye(2)[:1].expand(3, 2)):
        with pytest.raises(UserError, match="label: this discriminator needs labels of 3 classes"):
            d(images, label)
    with pytest.raises(UserError, match="label: this generator needs labels of 3 classes"):
        g(z)


@pytest.mark.parametrize("combine", COMBINE)
@pytest.mark.parametrize("base", BASES)
def test_bfloat16_trunk(base: Base, combine: str) -> None:
    """Near to float32 in images, logits, R1 and gradients; convolutions in bfloat16, RGB and the end not."""
    results = []
    for precision in ("fp32", "bf16"):
        torch.manual_seed(1)
        g, d = generator(base, activation="swish"), discriminator(base, combine=combine, activation="swish")
        set_precision(precision, torch.device("cpu"), g, d)  # type: ignore[arg-type]
        types: dict[str, torch.dtype] = {}
        for name, module in (*d.named_modules(), *g.named_modules()):

            def record(_m: nn.Module, args: Any, name: str = name, types: Any = types) -> None:
                types[name] = args[0].dtype

            if isinstance(module, EqualizedConv) or name in ("tail.dense", "tail.out"):
                module.register_forward_pre_hook(record)
        images = g(torch.randn(4, 6), noise="fixed")
        logits, penalty = d(images), zero_centred_penalty(d, images, 1.0)
        (logits.sum() + penalty.sum()).backward()
        parameters = [*g.parameters(), *d.parameters()]
        results.append([*images, logits, penalty, torch.cat([p.grad.flatten() for p in parameters])])
        full = {"tail.dense", "tail.out"} if precision == "bf16" else set(types)
        assert {name for name, dtype in types.items() if dtype == torch.float32} == full
        assert len(types) > 14
    assert {t.dtype for t in results[1]} == {torch.float32}
    for exact, narrow in zip(*results, strict=True):
        assert 0 < (exact - narrow).norm() / exact.norm() < 0.05


def test_weights_are_channels_last() -> None:
    for base in BASES:
        for network in (generator(base).synthesis_network, discriminator(base)):
            assert all(
                p.is_contiguous(memory_format=torch.channels_last)
                for p in network.parameters()
                if p.ndim == 4
            )


# ---- generators


@pytest.mark.parametrize("base", BASES)
def test_every_image_is_that_of_the_plain_generator_at_its_level(base: Base) -> None:
    """MSG-GAN changes no layer: only all levels have their image at once."""
    norm = {"pixel_norm": "3x3"} if base == "ProGAN" else {}
    plain = build_generator(PLAIN[base](resolution=32, **SIZES[base] | norm))
    g = generator(base, 32)
    plain.load_state_dict(g.state_dict())
    z = torch.randn(3, 6)
    images = g(z, noise="fixed")
    assert len(images) == 4
    for level, x in enumerate(images):
        torch.testing.assert_close(x, plain(z, noise="fixed", growth=GrowthState(level, 1.0)))


@pytest.mark.parametrize("connections", ["none", "coarse", "middle"])
@pytest.mark.parametrize("base", BASES)
def test_connections_leave_the_images_as_they_are(base: Base, connections: str) -> None:
    """Fewer heads, the same images; without any but the last a pyramid of one."""
    g, fewer = generator(base, 32), generator(base, 32, connections=connections)
    fewer.load_state_dict({name: g.state_dict()[name] for name in fewer.state_dict()})
    z = torch.randn(2, 6)
    whole = {x.shape[2]: x for x in g(z, noise="fixed")}
    images = fewer(z, noise="fixed")
    assert isinstance(images, tuple)
    assert [x.shape[2] for x in images] == {"none": [32], "coarse": [4, 8, 32], "middle": [16, 32]}[
        connections
    ]
    for x in images:
        torch.testing.assert_close(x, whole[x.shape[2]])


def test_pixel_norm_after_3x3_convolutions_alone() -> None:
    """Appendix 6.1: "after every 3x3 convolution"; "every" also normalises the input layer (ProGAN)."""
    z = torch.randn(3, 6)
    entered: list[Tensor] = []
    for pixel_norm in ("3x3", "every", "none"):
        g = generator("ProGAN", pixel_norm=pixel_norm)
        network = g.synthesis_network
        network.blocks[0].conv.register_forward_pre_hook(lambda _m, args: entered.append(args[0]))
        for x in network.features(g.mapping(z), "none", 2):
            unit = torch.allclose(x.square().mean(1), torch.ones(()), atol=1e-3)
            assert unit == (pixel_norm != "none")
    first = [torch.allclose(x.square().mean(1), torch.ones(()), atol=1e-3) for x in entered]
    assert first == [False, True, False]


@pytest.mark.parametrize("base", BASES)
def test_growth_is_refused(base: Base) -> None:
    g, d = generator(base), discriminator(base)
    state, ws = GrowthState(1, 0.5), g.mapping(torch.randn(2, 6))
    with pytest.raises(UserError, match=r"growth: GrowthState.* given, the networks of MSG-GAN do not grow"):
        g.synthesis(ws, state)
    with pytest.raises(UserError, match="growth"):
        d(g.synthesis(ws), None, state)
