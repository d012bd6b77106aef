"""ProGAN's networks against Table 2, written out, and against themselves at other levels."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ops.derivatives import assert_equal_derivatives, randn
from styleloom.config.networks import MinibatchStd, ProGANDiscriminator, ProGANGenerator
from styleloom.errors import UserError
from styleloom.layers.equalized import EqualizedConv, EqualizedDense
from styleloom.layers.minibatch_std import minibatch_std
from styleloom.layers.pixel_norm import pixel_norm
from styleloom.networks.assembly import StyleGenerator
from styleloom.networks.build import build_discriminator, build_generator, count_parameters
from styleloom.networks.progan import BOX, Discriminator, SynthesisNetwork, hidden_conv, normalized
from styleloom.ops.resample_conv import downsample_conv2d, upsample_conv2d
from styleloom.precision import set_precision
from styleloom.training.regularizers import between, wgan_gradient_penalty, zero_centred_penalty
from styleloom.types import GrowthState

from .tiny import FEATURES, shake, tensor

G_TOTAL = {1024: 23_079_115, 512: 23_072_120, 256: 23_044_309}
D_TOTAL = {1024: 23_087_249, 512: 23_080_225, 256: 23_052_353}

# 4 px to 1024 px
G_BLOCKS = (6_554_624, 4_719_616, 4_719_616, 4_719_616, 1_769_984, 442_624, 110_720, 27_712, 6_944)
TO_RGB = (1_539, 1_539, 1_539, 1_539, 771, 387, 195, 99, 51)
D_BLOCKS = (6_559_745, 4_719_616, 4_719_616, 4_719_616, 1_770_240, 442_752, 110_784, 27_744, 6_960)
FROM_RGB = (2_048, 2_048, 2_048, 2_048, 1_024, 512, 256, 128, 64)


def generator(resolution: int = 16, **fields: Any) -> StyleGenerator:
    """A narrow generator with biases that count."""
    given = {"z_dim": 6, "features": FEATURES} | fields
    return shake(build_generator(ProGANGenerator(resolution=resolution, **given)))


def discriminator(resolution: int = 16, **fields: Any) -> Discriminator:
    """A narrow discriminator with biases that count."""
    given = {"features": FEATURES, "minibatch_std": MinibatchStd(2)} | fields
    d = build_discriminator(ProGANDiscriminator(resolution=resolution, **given))
    assert isinstance(d, Discriminator)
    return shake(d)


def synthesis(g: StyleGenerator) -> SynthesisNetwork:
    """The synthesis network, with its type."""
    assert isinstance(g.synthesis_network, SynthesisNetwork)
    return g.synthesis_network


def at(level: int, alpha: float = 1.0) -> GrowthState:
    """Where a network stands."""
    return GrowthState(level, alpha)


def up2(x: Tensor) -> Tensor:
    """Repeated pixels."""
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def mean2(x: Tensor) -> Tensor:
    """Means of 2 x 2 pixels."""
    return x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean((3, 5))


def fits_part_of(small: nn.Module, large: nn.Module) -> None:
    """Give `small` the weights of the same names in `large`."""
    state = large.state_dict()
    small.load_state_dict({name: state[name] for name in small.state_dict()})


# ---- parameters (counted from Table 2; the sums are printed as 23.1M in StyleGAN's table)


@cache
def full_size(resolution: int) -> tuple[StyleGenerator, Discriminator]:
    """On the meta device: no memory, no time."""
    with torch.device("meta"):
        d = build_discriminator(ProGANDiscriminator(resolution=resolution))
        assert isinstance(d, Discriminator)
        return build_generator(ProGANGenerator(resolution=resolution)), d


@pytest.mark.parametrize("resolution", G_TOTAL)
def test_parameters(resolution: int) -> None:
    g, d = full_size(resolution)
    assert (count_parameters(g), count_parameters(d)) == (G_TOTAL[resolution], D_TOTAL[resolution])


def test_parameters_level_by_level() -> None:
    g, d = full_size(1024)
    network = synthesis(g)
    sides = [str(2**r) for r in range(2, 11)]
    assert list(network.to_rgb) == list(d.from_rgb) == sides
    assert tuple(map(count_parameters, network.blocks)) == G_BLOCKS
    assert tuple(map(count_parameters, network.to_rgb.values())) == TO_RGB
    assert tuple(map(count_parameters, [d.tail, *d.blocks])) == D_BLOCKS
    assert tuple(map(count_parameters, d.from_rgb.values())) == FROM_RGB


# ---- layers


@pytest.mark.parametrize("size", [(4, 4), (6, 2)])
def test_fused_and_unfused_are_identical(size: tuple[int, int]) -> None:
    """Values, first and second derivatives, borders included."""
    inputs = [randn(2, 3, *size), randn(2, 3, 3, 3, seed=1)]
    assert_equal_derivatives(
        lambda x, w: upsample_conv2d(x, w, BOX), lambda x, w: F.conv2d(up2(x), w, padding=1), inputs
    )
    assert_equal_derivatives(
        lambda x, w: downsample_conv2d(x, w, BOX), lambda x, w: mean2(F.conv2d(x, w, padding=1)), inputs
    )


@pytest.mark.parametrize("resample", ["up", "down"])
def test_hidden_convolution(resample: Any) -> None:
    """He's gain within the weights, bias and leaky ReLU after resampling, no gain of the activation."""
    layer = shake(hidden_conv(5, 4, "lrelu", resample))
    x = torch.randn(2, 5, 6, 4)
    y = F.conv2d(up2(x) if resample == "up" else x, layer.weight * math.sqrt(2 / 45), padding=1)
    y = mean2(y) if resample == "down" else y
    assert layer.bias is not None
    torch.testing.assert_close(layer(x), F.leaky_relu(y + layer.bias[:, None, None], 0.2))


def test_statistics_of_pixel_norm_are_float32() -> None:
    """One rounding to bfloat16, that of the result."""
    x = torch.randn(2, 300, 4, 4).bfloat16()
    exact = pixel_norm(x.double())
    assert normalized(x).dtype == torch.bfloat16
    torch.testing.assert_close(normalized(x).double(), exact, rtol=2**-7.99, atol=0)


# ---- Table 2, written out


def conv(x: Tensor, p: dict[str, Tensor], name: str, gain: float = math.sqrt(2)) -> Tensor:
    """Equalized convolution and bias."""
    w = p[f"{name}.weight"]
    return F.conv2d(x, w * (gain / math.sqrt(w[0].numel())), p[f"{name}.bias"], padding=w.shape[2] // 2)


def dense(x: Tensor, p: dict[str, Tensor], name: str, gain: float) -> Tensor:
    """Equalized dense layer without bias."""
    w = p[f"{name}.weight"]
    return F.linear(x, w * (gain / math.sqrt(w.shape[1])))


@pytest.mark.parametrize("gain", ["layer", "sqrt2"])
@pytest.mark.parametrize("norm", ["every", "3x3", "none"])
def test_generator_is_that_of_table_2(norm: Any, gain: Any) -> None:
    g = generator(pixel_norm=norm, gain=gain, grid=(3, 2))
    p = synthesis(g).state_dict()
    root2, layered = math.sqrt(2), gain == "layer"

    def end(x: Tensor, kind: str = "3x3") -> Tensor:
        x = F.leaky_relu(x, 0.2)
        return pixel_norm(x) if norm in ("every", kind) else x

    z = torch.randn(3, 6)
    x = dense(pixel_norm(z), p, "blocks.0.input.dense", root2 / 4 if layered else root2)
    x = end(x.reshape(3, -1, 3, 2) + p["blocks.0.input.bias"][:, None, None], "input")
    x = end(conv(x, p, "blocks.0.conv"))
    for block in ("blocks.1", "blocks.2"):
        x = end(conv(end(conv(up2(x), p, f"{block}.conv_up")), p, f"{block}.conv"))
    expected = conv(x, p, "to_rgb.16", 1 if layered else root2)
    torch.testing.assert_close(g(z), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pooling", ["before", "after"])
def test_discriminator_is_that_of_table_2(pooling: Any) -> None:
    d = discriminator(pooling=pooling, grid=(3, 2))
    p = d.state_dict()

    def lrelu(x: Tensor) -> Tensor:
        return F.leaky_relu(x, 0.2)

    images = torch.randn(4, 3, 12, 8)
    x = lrelu(conv(images, p, "from_rgb.16"))
    for block in ("blocks.1", "blocks.0"):
        x = conv(lrelu(conv(x, p, f"{block}.conv")), p, f"{block}.conv_down")
        x = mean2(lrelu(x)) if pooling == "after" else lrelu(mean2(x))
    x = lrelu(conv(torch.cat([x, minibatch_std(x, 2)], 1), p, "tail.conv"))
    x = lrelu(dense(x.flatten(1), p, "tail.dense", math.sqrt(2)) + p["tail.dense.bias"])
    expected = dense(x, p, "tail.out", 1)[:, 0] + p["tail.out.bias"]
    torch.testing.assert_close(d(images), expected, rtol=1e-4, atol=1e-4)


# ---- growth


@pytest.mark.parametrize("level", [1, 2])
def test_a_level_that_has_faded_in_is_the_smaller_generator(level: int) -> None:
    g, small = generator(32), generator(4 * 2**level)
    fits_part_of(small, g)
    z = torch.randn(2, 6)
    torch.testing.assert_close(g(z, growth=at(level)), small(z))


@pytest.mark.parametrize("level", [1, 2])
def test_a_level_that_has_faded_in_is_the_smaller_discriminator(level: int) -> None:
    d, small = discriminator(32), discriminator(4 * 2**level)
    fits_part_of(small, d)
    images = torch.randn(4, 3, 4 * 2**level, 4 * 2**level)
    torch.testing.assert_close(d(images, growth=at(level)), small(images))


@pytest.mark.parametrize("level", [1, 2])
def test_fading_of_the_generator(level: int) -> None:
    """From the repeated pixels of the level below, on a straight line."""
    g, z = generator(), torch.randn(2, 6)
    below, above = tensor(g(z, growth=at(level - 1))), tensor(g(z, growth=at(level)))
    for alpha in (0.0, 0.35, 0.8):
        expected = (1 - alpha) * up2(below) + alpha * above
        torch.testing.assert_close(g(z, growth=at(level, alpha)), expected)


@pytest.mark.parametrize("level", [1, 2])
def test_fading_of_the_discriminator(level: int) -> None:
    """At 0 it sees the means of 2 x 2; in between neither end."""
    d = discriminator()
    images = torch.randn(4, 3, 4 * 2**level, 4 * 2**level)
    below, above = d(mean2(images), growth=at(level - 1)), d(images, growth=at(level))
    torch.testing.assert_close(d(images, growth=at(level, 0.0)), below)
    between = d(images, growth=at(level, 0.5))
    assert (between - below).abs().min() > 1e-4
    assert (between - above).abs().min() > 1e-4


def test_no_growth_is_the_last_level() -> None:
    g, d, z = generator(), discriminator(), torch.randn(4, 6)
    images = tensor(g(z))
    assert torch.equal(images, tensor(g(z, growth=at(2))))
    assert torch.equal(d(images), d(images, growth=at(2)))


@pytest.mark.parametrize("growth", [at(0), at(1), at(1, 0.3), at(2, 0.7), at(3)])
def test_active_parameters_alone_get_gradients(growth: GrowthState) -> None:
    g, d = generator(32), discriminator(32)
    images = tensor(g(torch.randn(4, 6), growth=growth))
    assert images.shape == (4, 3, 4 * 2**growth.level, 4 * 2**growth.level)
    d(images, growth=growth).square().sum().backward()
    levels = range(growth.level + 1)
    shown = levels if growth.alpha < 1 else [growth.level]
    rgb = [str(4 * 2**level) for level in shown[-2:]]
    expected_g = [f"blocks.{level}." for level in levels] + [f"to_rgb.{side}." for side in rgb]
    expected_d = [f"blocks.{level}." for level in levels[:-1]] + [f"from_rgb.{side}." for side in rgb]
    for network, prefixes in ((synthesis(g), expected_g), (d, [*expected_d, "tail."])):
        for name, parameter in network.named_parameters():
            active = parameter.grad is not None and bool(parameter.grad.any())
            assert active == name.startswith(tuple(prefixes)), name


@pytest.mark.parametrize("growth", [at(1), at(2, 0.4), at(3, 0.5)])
def test_penalties_are_those_of_full_resolution(growth: GrowthState) -> None:
    """The authors differentiate by full-resolution pixels: 1/2^k of our gradient's norm."""
    d, factor = discriminator(32), 2 ** (3 - growth.level)
    reals, fakes = torch.randn(2, 4, 3, 32, 32).unbind()
    u = torch.rand(4)

    def full(x: Any, label: Tensor | None) -> Tensor:
        return d(F.avg_pool2d(x, factor), growth=growth)

    def native(x: Any, label: Tensor | None) -> Tensor:
        return d(x, growth=growth)

    low = [F.avg_pool2d(x, factor) for x in (reals, fakes)]
    torch.testing.assert_close(
        wgan_gradient_penalty(native, between(low[0], low[1], u), gradient_scale=1 / factor),
        wgan_gradient_penalty(full, between(reals, fakes, u)),
    )
    torch.testing.assert_close(
        zero_centred_penalty(native, low[0], 1.0, gradient_scale=1 / factor),
        zero_centred_penalty(full, reals, 1.0),
    )


@pytest.mark.parametrize("growth", [at(3), at(-1), at(1, 1.5), at(0, 0.5)])
def test_levels_that_are_not_there(growth: GrowthState) -> None:
    for call in (
        lambda: generator()(torch.randn(1, 6), growth=growth),
        lambda: discriminator()(torch.randn(1, 3, 4, 4), growth=growth),
    ):
        with pytest.raises(UserError, match=r"growth: .* is not valid, level 0 to 2"):
            call()


@pytest.mark.parametrize("shape", [(2, 3, 16, 16), (2, 1, 8, 8), (3, 8, 8)])
def test_images_of_the_wrong_size(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError) as caught:
        discriminator()(torch.randn(shape), growth=at(1))
    assert str(list(shape[1:])) in str(caught.value)
    assert "takes [3, 8, 8] at level 1" in str(caught.value)


def test_pyramids_are_refused() -> None:
    with pytest.raises(UserError, match="not a pyramid"):
        discriminator()((torch.randn(2, 3, 8, 8), torch.randn(2, 3, 16, 16)))


# ---- inputs and outputs


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("grid", [(4, 4), (3, 4), (5, 2)])
def test_grids_and_channels(grid: tuple[int, int], channels: int) -> None:
    g, d = generator(grid=grid, channels=channels), discriminator(grid=grid, channels=channels)
    for growth in (at(0), at(1, 0.5), at(2)):
        images = tensor(g(torch.randn(2, 6), growth=growth))
        assert images.shape == (2, channels, grid[0] * 2**growth.level, grid[1] * 2**growth.level)
        assert d(images, growth=growth).shape == (2,)


def test_labels_join_the_latent_before_both_are_normalised() -> None:
    g = generator(label_dim=3)
    z, label = torch.randn(3, 6), torch.eye(3)
    joined = torch.cat([z, label], 1)
    expected = joined / (joined.square().mean(1, keepdim=True) + 1e-8).sqrt()
    torch.testing.assert_close(g.mapping(z, label), expected[:, None])
    raw = generator(label_dim=3, normalize_z=False)
    torch.testing.assert_close(raw.mapping(z, label), joined[:, None])
    same = tensor(g(z[:1].expand(3, -1), label))
    assert (same[0] - same[1]).abs().max() > 1e-3
    for wrong in (None, torch.eye(2)):
        with pytest.raises(UserError, match="labels of 3 classes"):
            g(z[:2], wrong)


def test_discriminator_with_labels_classifies() -> None:
    """The score comes first; the label is no input."""
    d, images = discriminator(label_dim=3), torch.randn(4, 3, 16, 16)
    outputs = d(images)
    assert outputs.shape == (4, 4)
    assert torch.equal(outputs, d(images, torch.eye(4)[:, :3]))
    plain = discriminator()
    state = d.state_dict()
    for name in ("tail.out.weight", "tail.out.bias"):
        state[name] = state[name][:1]
    plain.load_state_dict(state)
    torch.testing.assert_close(plain(images), outputs[:, 0])


def test_there_is_no_w_to_average_or_truncate() -> None:
    g, ws = generator(), torch.randn(2, 1, 6)
    for psi in (1.0, [1.0]):
        assert g.truncate(ws, psi) is ws
    assert g.truncate(ws, 0.5, layers=0) is ws
    for psi in (0.7, [0.7]):
        with pytest.raises(UserError, match=r"truncation: .*0\.7.* ProGAN has no w to truncate"):
            g(torch.randn(2, 6), truncation=psi)
    g.update_w_avg(torch.ones(6))
    assert not g.w_avg.any()
    assert "w_avg" not in g.state_dict()


def test_there_is_no_noise() -> None:
    g, z = generator(), torch.randn(2, 6)
    assert synthesis(g).num_noises == len(synthesis(g).noise_sizes) == 0
    images = tensor(g(z))
    for noise in ("random", "fixed", "none", []):
        assert torch.equal(tensor(g(z, noise=noise)), images)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="noise: 1 maps given, this network takes none"):
        g(z, noise=[torch.randn(1, 1, 4, 4)])


def test_rgb_of_some_levels() -> None:
    """What a pyramid of connected levels is made of."""
    network = SynthesisNetwork(ProGANGenerator(resolution=16, z_dim=6, features=FEATURES), (4, 16))
    assert list(network.to_rgb) == ["4", "16"]
    xs = network.features(torch.randn(2, 1, 6), "random", 2)
    assert [x.shape[2] for x in xs] == [4, 8, 16]
    assert network.rgb(4, xs[0]).shape == (2, 3, 4, 4)
    assert network.rgb(16, xs[2]).shape == (2, 3, 16, 16)


# ---- precision


@pytest.mark.parametrize("growth", [at(0), at(2, 0.5), at(2)])
def test_bfloat16_is_close_to_float32(growth: GrowthState) -> None:
    """Images, logits, R1 and gradients; all of them stay float32."""
    results = []
    for precision in ("fp32", "bf16"):
        torch.manual_seed(3)
        g, d = generator(activation="swish"), discriminator(activation="swish")
        set_precision(precision, torch.device("cpu"), g, d)  # type: ignore[arg-type]
        images = tensor(g(torch.randn(4, 6), growth=growth))
        logits = d(images, growth=growth)
        r1 = zero_centred_penalty(lambda x, _, d=d: d(x, growth=growth), images, 1.0)
        (logits.mean() + r1.mean()).backward()
        gradients = [p.grad.flatten() for net in (g, d) for p in net.parameters() if p.grad is not None]
        results.append([images.detach(), logits.detach(), r1.detach(), torch.cat(gradients)])
    for exact, narrow, limit in zip(*results, (0.02, 0.03, 0.05, 0.05), strict=True):
        assert narrow.dtype == torch.float32
        assert 0 < (exact - narrow).norm() / exact.norm() < limit


def test_what_stays_float32_in_a_bfloat16_trunk() -> None:
    """The input layer and the last dense layers; convolutions do not."""
    g, d = generator(), discriminator()
    set_precision("bf16", torch.device("cpu"), g, d)
    inputs: dict[str, torch.dtype] = {}
    for prefix, network in (("g.", synthesis(g)), ("d.", d)):
        for name, module in network.named_modules():
            if name and not list(module.children()):

                def record(_: Any, args: tuple[Tensor, ...], key: str = prefix + name) -> None:
                    inputs[key] = args[0].dtype

                module.register_forward_pre_hook(record)
    for growth in (at(2, 0.5), at(1, 0.5)):
        d(g(torch.randn(4, 6), growth=growth), growth=growth)
    full = {name for name, dtype in inputs.items() if dtype == torch.float32}
    assert full == {"g.blocks.0.input.dense", "d.tail.dense", "d.tail.out"}
    assert {dtype for name, dtype in inputs.items() if name not in full} == {torch.bfloat16}
    assert len(inputs) == 19  # three levels: 1 + 5 + 3 layers of G, 3 + 4 + 3 of D


@pytest.mark.parametrize("build", [generator, discriminator])
def test_without_equalized_learning_rate(build: Any) -> None:
    """He's initialization: the same network at first, with the factor in its weights and none at run time."""
    torch.manual_seed(3)
    equalized = build()
    torch.manual_seed(3)
    he = build(weights="he")
    x = torch.randn(4, 6) if build is generator else torch.randn(4, 3, 16, 16)
    torch.testing.assert_close(tensor(he(x)), tensor(equalized(x)), rtol=1e-4, atol=1e-5)
    layers = [m for m in he.modules() if isinstance(m, (EqualizedConv, EqualizedDense))]
    twins = [m for m in equalized.modules() if isinstance(m, (EqualizedConv, EqualizedDense))]
    assert layers
    for layer, twin in zip(layers, twins, strict=True):
        assert layer.scale == 1
        torch.testing.assert_close(layer.weight, twin.weight * twin.scale)
    if build is discriminator:  # N(0, 2 / fan in): the hidden layers' scale is He's
        wide = build_discriminator(ProGANDiscriminator(resolution=8, weights="he"))
        deviation = wide.tail.dense.weight.std().item()
        assert deviation == pytest.approx(math.sqrt(2 / (512 * 16)), rel=0.01)
    assert he.state_dict().keys() == equalized.state_dict().keys()
