"""MSG-GAN's networks: pyramids, connections, combine functions, statistics at every block, penalties."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleloom.config.networks import (
    FeatureMaps,
    Mapping,
    MinibatchStd,
    MSGProGANDiscriminator,
    MSGProGANGenerator,
    MSGStyleGANDiscriminator,
    MSGStyleGANGenerator,
    ProGANGenerator,
    StyleGANGenerator,
)
from styleloom.errors import UserError
from styleloom.layers.equalized import EqualizedConv
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.networks.msg import COMBINE
from styleloom.precision import set_precision
from styleloom.training.regularizers import gradient_penalty, zero_centred_penalty
from styleloom.types import GrowthState, Images, Pyramid

from .tiny import shake

Base: TypeAlias = Literal["ProGAN", "StyleGAN"]
BASES: tuple[Base, ...] = ("ProGAN", "StyleGAN")

FEATURES = FeatureMaps(base=64, max=12)
"""12 maps at 4 and 8 px, 8 at 16, 4 at 32, 2 at 64."""

GENERATORS: dict[Base, Any] = {"ProGAN": MSGProGANGenerator, "StyleGAN": MSGStyleGANGenerator}
DISCRIMINATORS: dict[Base, Any] = {"ProGAN": MSGProGANDiscriminator, "StyleGAN": MSGStyleGANDiscriminator}
PLAIN: dict[Base, Any] = {"ProGAN": ProGANGenerator, "StyleGAN": StyleGANGenerator}

SIZES: dict[Base, dict[str, Any]] = {
    "ProGAN": {"z_dim": 6, "features": FEATURES},
    "StyleGAN": {"z_dim": 6, "w_dim": 8, "features": FEATURES, "mapping": Mapping(2, 8)},
}


def generator(base: Base, resolution: int = 16, **fields: Any) -> Any:
    """A narrow generator with non-trivial noise strengths and biases."""
    return shake(build_generator(GENERATORS[base](resolution=resolution, **SIZES[base] | fields)))


def discriminator(base: Base, resolution: int = 16, **fields: Any) -> Any:
    """A narrow discriminator with non-trivial biases."""
    given = {"features": FEATURES, "minibatch_std": MinibatchStd(2)} | fields
    return shake(build_discriminator(DISCRIMINATORS[base](resolution=resolution, **given)))


def images_for(d: Any, n: int = 4) -> Pyramid:
    """Noise of the sizes that `d` takes."""
    cfg = d.cfg
    return tuple(torch.randn(n, cfg.channels, *cfg.size_at(side)) for side in cfg.pyramid_sides)


def changed(images: Pyramid, sample: int, scale: int | None = None) -> Pyramid:
    """Another image in one place, at one scale or at all."""
    copies = tuple(x.clone() for x in images)
    for i, x in enumerate(copies):
        if scale is None or scale == i:
            x[sample] += torch.randn_like(x[sample])
    return copies


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


# ---- the discriminator's input


@pytest.mark.parametrize("base", BASES)
def test_what_is_no_pyramid_of_these_sizes(base: Base) -> None:
    d = discriminator(base, connections="coarse")
    low, middle, high = images_for(d)
    valid = r"takes a pyramid \(a tuple\) of \[N, 3, 4, 4\], \[N, 3, 8, 8\], \[N, 3, 16, 16\]$"
    wrong: list[tuple[Images, str]] = [
        (high, r"one tensor of \[4, 3, 16, 16\] given"),
        ((high,), r"a pyramid of \[4, 3, 16, 16\] given"),
        ((high, middle, low), r"of \[4, 3, 16, 16\], \[4, 3, 8, 8\], \[4, 3, 4, 4\] given"),
        ((low, middle, high[:, :1]), r"\[4, 1, 16, 16\] given"),
        ((low, middle, high[:2]), r"\[2, 3, 16, 16\] given"),
        ((low, middle, high, high), "given"),
    ]
    for images, message in wrong:
        with pytest.raises(UserError, match=rf"^images: .*{message}; this discriminator {valid}"):
            d(images)
    with pytest.raises(UserError, match="one tensor"):
        discriminator(base, connections="none")(high)


# ---- the discriminator's layers


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("combine", COMBINE)
def test_every_level_goes_on_from_its_image_and_the_level_above(base: Base, combine: str) -> None:
    """Equations 8 and 9, level by level; a level that is not connected has no combine and no RGB."""
    for connections in ("all", "coarse", "middle"):
        d = discriminator(base, 32, combine=combine, connections=connections)
        images = images_for(d)
        rgb = dict(zip(d.cfg.pyramid_sides, images, strict=True))
        x = d.from_rgb(rgb[32])
        for side in (32, 16, 8, 4):
            level = d.tail if side == 4 else d.blocks[side.bit_length() - 4]
            assert (level.start.combine is not None) == (side in rgb and side < 32)
            if side in rgb and side < 32:
                x = level.start.combine(x, rgb[side])
            pairs = x.unflatten(0, (2, 2))  # groups of two: samples i and i + 2
            std = (pairs.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3)).repeat(2)
            x = torch.cat([x, std[:, None, None, None].expand(-1, 1, *x.shape[2:])], 1)
            x = level.conv(x)
            if side > 4:
                x = level.conv_down(x)
                x = F.avg_pool2d(x, 2) if base == "ProGAN" else x
        torch.testing.assert_close(d(images), d.tail.out(d.tail.dense(x.flatten(1)))[:, 0])


def test_pooling_before_and_after() -> None:
    """Table 7 pools what is activated, ProGAN's code before bias and activation."""
    after, before = discriminator("ProGAN"), discriminator("ProGAN", pooling="before")
    before.load_state_dict(after.state_dict())
    block, other = after.blocks[0], before.blocks[0]
    x, rgb = torch.randn(4, 12, 8, 8), torch.randn(4, 3, 8, 8)
    hidden = block.conv(block.start(x, rgb))
    layer = block.conv_down
    plain = F.conv2d(hidden, layer.weight * layer.scale, padding=1)
    bias = layer.bias[:, None, None]
    torch.testing.assert_close(block(x, rgb), F.avg_pool2d(F.leaky_relu(plain + bias, 0.2), 2))
    torch.testing.assert_close(other(x, rgb), F.leaky_relu(F.avg_pool2d(plain, 2) + bias, 0.2))
    assert (block(x, rgb) - other(x, rgb)).abs().max() > 1e-2


def test_stylegan_blocks_without_blur_are_progans() -> None:
    """What is left of the difference when both pool first: the activation of fromRGB, and the filter."""
    fields: dict[str, Any] = {"combine": "cat_lin", "pooling": "before", "from_rgb_activation": "lrelu"}
    ours = discriminator("ProGAN", **fields)
    state = {name.replace("conv_down", "conv_down.conv"): x for name, x in ours.state_dict().items()}
    images = images_for(ours)
    results = []
    for blur in ((1,), (1, 2, 1)):
        other = discriminator("StyleGAN", blur=blur)
        other.load_state_dict(state)
        results.append(other(images))
    torch.testing.assert_close(results[0], ours(images))
    assert (results[1] - results[0]).abs().min() > 1e-4


def test_the_order_of_blur() -> None:
    code, paper = discriminator("StyleGAN"), discriminator("StyleGAN", blur_order="paper")
    paper.load_state_dict(code.state_dict())
    images = images_for(code)
    assert 1e-5 < (code(images) - paper(images)).abs().max() < 1


@pytest.mark.parametrize("grid", [(4, 4), (3, 4)])
def test_the_first_dense_layer_is_a_convolution_of_the_whole_grid(grid: tuple[int, int]) -> None:
    """Table 7: Conv 4x4 to 1x1 px."""
    tail = discriminator("ProGAN", grid=grid).tail
    x = torch.randn(4, 12, *grid)
    weight = tail.dense.weight.unflatten(1, (12, *grid)) * tail.dense.scale
    expected = F.leaky_relu(F.conv2d(x, weight, tail.dense.bias), 0.2)
    assert expected.shape[2:] == (1, 1)
    torch.testing.assert_close(tail.dense(x.flatten(1)), expected[:, :, 0, 0])


def test_gains() -> None:
    """sqrt(2), but 1 in the last layer and a linear fromRGB; "sqrt2" has it everywhere."""
    root2 = pytest.approx(2**0.5)
    layer, everywhere = discriminator("ProGAN"), discriminator("ProGAN", gain="sqrt2")
    activated = discriminator("ProGAN", from_rgb_activation="lrelu")
    everywhere.load_state_dict(layer.state_dict())
    activated.load_state_dict(layer.state_dict())
    images = images_for(layer)[-1]
    plain, bias = layer.from_rgb(images), layer.from_rgb.bias[:, None, None]
    root = 2**0.5
    torch.testing.assert_close(everywhere.from_rgb(images), (plain - bias) * root + bias)
    torch.testing.assert_close(activated.from_rgb(images), F.leaky_relu((plain - bias) * root + bias, 0.2))
    scales = {name: m.scale for name, m in layer.named_modules() if hasattr(m, "scale")}
    ratios = {name: everywhere.get_submodule(name).scale / scale for name, scale in scales.items()}
    assert ratios == {name: root2 if name in ("from_rgb", "tail.out") else 1 for name in scales}
    assert discriminator("StyleGAN").from_rgb.settings.act == "lrelu"
    assert layer.from_rgb.settings.act == "linear"


# ---- minibatch standard deviation


def levels(d: Any) -> list[Any]:
    """Blocks and tail."""
    return [*d.blocks, d.tail]


@torch.no_grad()
def sees_others(d: Any) -> bool:
    """Whether another image in a group changes an image's logit."""
    images = images_for(d)
    difference = (d(changed(images, 2)) - d(images)).abs()
    # Groups of two: samples 0 and 2, 1 and 3.
    assert difference[2] > 1e-5
    assert difference[1] == difference[3] == 0
    return bool(difference[0] > 0)


@torch.no_grad()
def without_statistics(d: Any, but: int | None) -> Any:
    """The standard deviation is the last channel: no weight for it, but at one level."""
    for i, level in enumerate(levels(d)):
        if level.start.std is not None and i != but:
            level.conv.weight[:, -level.start.std.features :] = 0
    return d


@pytest.mark.parametrize("features", [1, 2])
@pytest.mark.parametrize("base", BASES)
def test_statistics_at_every_block(base: Base, features: int) -> None:
    """Each block alone lets an image see the others of its group, and nothing else does (section 3.1)."""

    def fresh() -> Any:
        return discriminator(base, 32, combine="cat_lin", minibatch_std=MinibatchStd(2, features))

    assert sees_others(fresh())
    assert not sees_others(without_statistics(fresh(), None))
    for i in range(4):
        assert sees_others(without_statistics(fresh(), i)), i


@pytest.mark.parametrize("base", BASES)
def test_statistics_at_the_lowest_block_alone(base: Base) -> None:
    d = discriminator(base, 32, minibatch_std_at="lowest")
    assert [level.start.std is not None for level in levels(d)] == [False, False, False, True]
    assert sees_others(d)
    assert not sees_others(without_statistics(d, None))


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("at", ["every", "lowest"])
def test_no_statistics(base: Base, at: str) -> None:
    d = discriminator(base, 32, combine="cat_lin", minibatch_std=MinibatchStd(0), minibatch_std_at=at)
    assert [level.conv.weight.shape[1] for level in levels(d)] == [12, 8, 4, 12]
    assert not sees_others(d)


# ---- penalties over scales


@pytest.mark.parametrize("base", BASES)
def test_r1_is_the_mean_over_scales(base: Base) -> None:
    d = discriminator(base)
    images = tuple(x.requires_grad_() for x in images_for(d))
    gradients = torch.autograd.grad(d(images).sum(), images)
    norms = torch.stack([g.square().sum((1, 2, 3)) for g in gradients])
    assert norms.min() > 0
    torch.testing.assert_close(zero_centred_penalty(d, images, 10.0), 5 * norms.mean(0))


def test_penalties_of_a_linear_discriminator() -> None:
    """D = sum over scales of <a_k, x_k>: the gradient at scale k is a_k, whatever the images."""
    d = discriminator("ProGAN")
    slopes, reals, fakes = ([x[:1] for x in images_for(d)], images_for(d), images_for(d))

    def linear(images: Images, label: Tensor | None) -> Tensor:
        return torch.stack([(a * x).sum((1, 2, 3)) for a, x in zip(slopes, images, strict=True)]).sum(0)

    norms = torch.stack([a.norm() for a in slopes])
    r1 = zero_centred_penalty(linear, reals, 10.0)
    torch.testing.assert_close(r1, (5 * norms.square().mean()).expand(4))
    penalty = gradient_penalty(linear, reals, fakes, torch.rand(4))
    torch.testing.assert_close(penalty, (10 * (norms - 1).square().mean()).expand(4))


def test_one_interpolation_factor_for_all_scales() -> None:
    """WGAN-GP looks at one mixture of real and fake, seen at every scale."""
    d = discriminator("ProGAN")
    reals, fakes, u = images_for(d), images_for(d), torch.tensor([0.0, 0.25, 0.5, 1.0])
    seen: list[Pyramid] = []

    def watched(images: Images, label: Tensor | None) -> Tensor:
        assert isinstance(images, tuple)
        seen.append(images)
        return d(images, label)

    gradient_penalty(watched, reals, fakes, u)
    factor = u[:, None, None, None]
    for mixed, real, fake in zip(seen[0], reals, fakes, strict=True):
        torch.testing.assert_close(mixed, real + factor * (fake - real))


@pytest.mark.parametrize("combine", COMBINE)
@pytest.mark.parametrize("connections", ["all", "none"])
def test_wgan_gp_moves_the_weights_of_msg_progan(connections: str, combine: str) -> None:
    """One step down the penalty alone changes every weight and lowers it, connected or not."""
    d = discriminator("ProGAN", combine=combine, connections=connections)
    reals, fakes, u = images_for(d), images_for(d), torch.rand(4)
    before = {name: p.detach().clone() for name, p in d.named_parameters()}
    penalty = gradient_penalty(d, reals, fakes, u)
    assert penalty.shape == (4,)
    assert penalty.min() > 0
    penalty.mean().backward()
    with torch.no_grad():
        for p in d.parameters():
            p -= 0 if p.grad is None else 1e-4 * p.grad
    weights = [name for name in before if name.endswith("weight")]
    assert len(weights) == 8 + (2 if connections == "all" and combine != "simple" else 0)
    for name in weights:
        assert not torch.equal(d.get_parameter(name), before[name]), name
    assert gradient_penalty(d, reals, fakes, u).mean() < penalty.mean()
