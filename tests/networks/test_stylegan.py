"""StyleGAN's layers: AdaIN, what follows a convolution, mapping, inputs, styles and noise maps."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from styleloom.config.networks import FeatureMaps, Mapping, StyleGANGenerator
from styleloom.errors import UserError
from styleloom.layers.equalized import EqualizedConv, EqualizedDense
from styleloom.networks.build import build_generator
from styleloom.networks.stylegan import adaptive_instance_norm, modulate

from .tiny import noise_inputs, tensor
from .tiny_stylegan import CONFIGURATIONS, conv, filtered, generator, layers_of, repeated, synthesis_of

CONFIGURATION = pytest.mark.parametrize("row", CONFIGURATIONS)


# ---- AdaIN


def test_statistics_are_those_of_the_style() -> None:
    """Equation 1: the result has the style's mean and deviation, whatever the features were."""
    x = torch.randn(2, 3, 8, 6) * 7 + 4
    scale, shift = torch.rand(2, 3) * 3 - 1, torch.randn(2, 3)
    y = adaptive_instance_norm(x, torch.cat([scale, shift], 1))
    torch.testing.assert_close(y.mean((2, 3)), shift, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(y.std((2, 3), correction=0), (scale + 1).abs(), rtol=1e-4, atol=1e-5)


def test_a_style_of_zero_changes_nothing() -> None:
    """The scale is style + 1, and the bias of a style starts at 0, not at 1: the 1 is added once."""
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(modulate(x, torch.zeros(2, 6)), x)
    g = build_generator(StyleGANGenerator(resolution=8, features=FeatureMaps(64, 64)))
    for layer in layers_of(g):
        assert layer.affine.bias.abs().max() == 0
        assert layer.affine.weight.std().item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("row", ["c", "c-paper", "d", "f"])
def test_every_layer_ends_with_the_statistics_of_its_style(row: str) -> None:
    g = generator(16, **CONFIGURATIONS[row])
    ws = torch.randn(2, g.num_ws, 8)
    checked = []
    for i, layer in enumerate(layers_of(g)):

        def check(module: Any, args: Any, y: Tensor, i: int = i) -> None:
            scale, shift = module.affine(ws[:, i]).chunk(2, 1)
            torch.testing.assert_close(y.mean((2, 3)), shift, rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(y.std((2, 3), correction=0), (scale + 1).abs(), rtol=1e-3, atol=1e-4)
            checked.append(i)

        layer.register_forward_hook(check)
    g.synthesis(ws, noise="fixed")
    assert checked == list(range(6))


# ---- what follows a convolution


def expected_epilogue(layer: Any, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
    """Noise, bias, leaky ReLU without gain, normalization, style, each as its formula is written."""
    if noise is not None:
        x = x + layer.noise.strength[:, None, None] * noise
    x = x + layer.bias[:, None, None]
    x = torch.where(x > 0, x, 0.2 * x)
    for name in layer.normalization:
        if name == "pixel":
            x = x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()
        else:
            x = x - x.mean((2, 3), keepdim=True)
            x = x / (x.square().mean((2, 3), keepdim=True) + 1e-8).sqrt()
    if layer.affine is None:
        return x
    style = w @ layer.affine.weight.t() / math.sqrt(8) + layer.affine.bias
    return x * (style[:, : x.shape[1], None, None] + 1) + style[:, x.shape[1] :, None, None]


@pytest.mark.parametrize("normalization", [("instance",), ("pixel",), ("pixel", "instance"), ()])
@CONFIGURATION
def test_generator(row: str, normalization: Any) -> None:
    """The whole network of each configuration, step by step (Fig. 1, appendix C)."""
    fields = CONFIGURATIONS[row] | {"normalization": normalization}
    g = generator(16, **fields)
    network, layers = synthesis_of(g), layers_of(g)
    ws = torch.randn(2, g.num_ws, 8)
    maps: list[Any] = [torch.randn(2, 1, *size) for size in network.noise_sizes]
    noises = maps or [None] * 6
    if network.input.const is not None:
        x = network.input.const.expand(2, -1, -1, -1)
    else:
        assert network.input.dense is not None
        source = ws[:, 6] if row == "c-paper" else ws[:, 0]
        x = source @ network.input.dense.weight.t() * math.sqrt(2) / 4 / math.sqrt(8)
        x = x.reshape(2, 12, 4, 4)
    x = expected_epilogue(layers[0], x, ws[:, 0], noises[0])
    for i, layer in enumerate(layers[1:], 1):
        x = conv(x, layer.conv, bias=False) if i % 2 else filtered(conv(repeated(x), layer.conv, bias=False))
        x = expected_epilogue(layer, x, ws[:, i], noises[i])
    rgb: Any = network.to_rgb["16"]
    image = torch.einsum("nchw,oc->nohw", x, rgb.weight[:, :, 0, 0]) / math.sqrt(8)  # gain 1: no He
    image = image + rgb.bias[:, None, None]
    torch.testing.assert_close(g.synthesis(ws, noise=maps), image, rtol=1e-3, atol=1e-4)


def test_order_of_normalizations() -> None:
    """They follow each other as listed."""
    images = []
    for order in (("pixel", "instance"), ("instance", "pixel")):
        torch.manual_seed(1)
        images.append(tensor(generator(normalization=order)(torch.randn(2, 6), noise="fixed")))
    assert (images[0] - images[1]).abs().max() > 0.01


def test_initial_values() -> None:
    """The constant is 1, noise strengths and biases are 0, weights N(0, 1)."""
    g = build_generator(StyleGANGenerator(resolution=8, features=FeatureMaps(256, 64)))
    network = synthesis_of(g)
    assert network.input.const is not None
    assert torch.equal(network.input.const, torch.ones(1, 64, 4, 4))
    for layer in layers_of(g):
        assert torch.equal(layer.noise.strength, torch.zeros(64))
        assert torch.equal(layer.bias, torch.zeros(64))
    assert layers_of(g)[1].conv.weight.std().item() == pytest.approx(1, abs=0.02)
    assert g.mapping_network.layers[0].weight.std().item() == pytest.approx(100, rel=0.02)  # type: ignore[union-attr]


# ---- mapping


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_mapping(depth: int) -> None:
    """The hypersphere, then layers of weights times sqrt(2) and 0.01, the last one activated as well."""
    g = generator(z_dim=8, mapping=Mapping(depth, 8))
    z = torch.randn(3, 8)
    x = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    layers: Any = g.mapping_network.layers
    assert len(layers) == depth
    for layer in layers:
        x = F.leaky_relu((x @ layer.weight.t() * math.sqrt(2 / 8) + layer.bias) * 0.01, 0.2)
    torch.testing.assert_close(g.mapping(z), x[:, None].expand(-1, 6, -1), rtol=1e-4, atol=1e-5)


def test_labels_without_mapping_layers() -> None:
    """w is z and the label's row of the matrix, normalised together."""
    g = generator(z_dim=4, w_dim=8, label_dim=3, mapping=Mapping(layers=0))
    z, label = torch.randn(3, 4), torch.eye(3)
    assert g.mapping_network.label_weight is not None
    joined = torch.cat([z, g.mapping_network.label_weight], 1)
    expected = joined / (joined.square().mean(1, keepdim=True) + 1e-8).sqrt()
    torch.testing.assert_close(g.mapping(z, label)[:, 0], expected)


# ---- inputs


def test_input_z() -> None:
    """ws end with the normalised z, which is no style: truncation leaves it, and it alone feeds the input."""
    g = generator(**CONFIGURATIONS["c-paper"])
    g.w_avg.copy_(torch.randn(8))
    z = torch.randn(2, 8)
    ws = g.mapping(z)
    assert ws.shape == (2, 7, 8)
    assert g.num_ws == 7
    latent = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    torch.testing.assert_close(ws[:, 6], latent)
    torch.testing.assert_close(ws[:, :6], g.mapping_network(z)[:, None].expand(-1, 6, -1))
    for psi, layers in ((0.0, None), (0.3, 2), ([0.5] * 7, None)):
        truncated = g.truncate(ws, psi, layers)
        torch.testing.assert_close(truncated[:, 6], latent)
        assert not torch.allclose(truncated[:, 0], ws[:, 0])
    torch.testing.assert_close(g.truncate(ws, 0.0)[:, :6], g.w_avg.expand(2, 6, 8))
    images = tensor(g(z, truncation=0.0))
    assert (images[0] - images[1]).abs().max() > 1e-3  # by z alone
    assert (
        generator(**CONFIGURATIONS["c-paper"], mapping=Mapping(2, 8, normalize_z=False))
        .mapping(z)[:, 6]
        .equal(z)
    )


@CONFIGURATION
def test_every_configuration_is_truncated(row: str) -> None:
    """Also one without styles, whose w is the normalised z, or what a mapping network makes of it."""
    for changes in ({}, {"mapping": Mapping(2, 8)}):
        g = generator(**{**CONFIGURATIONS[row], **changes})
        ws = torch.randn(2, g.num_ws, 8)
        g.w_avg.fill_(1.0)
        for psi in (0.7, [0.7] * g.num_ws):
            styles = slice(6)  # all; with z for the input layer in the last slot, all but that
            assert torch.allclose(g.truncate(ws, psi)[:, styles], 1 + 0.7 * (ws[:, styles] - 1))
        assert torch.equal(g.truncate(ws, 1.0), ws)
        assert torch.equal(g.truncate(ws, 0.5, layers=0), ws)


@CONFIGURATION
def test_styles_and_inputs_that_count(row: str) -> None:
    """A traditional generator takes the first slot alone; styles take all, the dense input one besides."""
    g = generator(**CONFIGURATIONS[row])
    ws = torch.randn(2, g.num_ws, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(tensor(g.synthesis(ws, noise="fixed")).square().sum(), ws)
    used = (gradient.abs().sum((0, 2)) > 0).tolist()
    assert used == ([True] + [False] * 5 if row == "b" else [True] * g.num_ws)
    source: list[Tensor] = []
    synthesis_of(g).input.register_forward_pre_hook(lambda module, args: source.append(args[0]))
    g.synthesis(ws)
    assert torch.equal(source[0], ws[:, -1 if row == "c-paper" else 0])


# ---- indices


@pytest.mark.parametrize("resolution", [8, 16, 64])
def test_styles_and_noise_maps_by_layer(resolution: int) -> None:
    """At side 2^r the first layer has the style and the map 2r-4, the second 2r-3."""
    g = generator(resolution)
    network, log2 = synthesis_of(g), resolution.bit_length() - 1
    assert g.num_ws == network.num_noises == len(network.noise_sizes) == 2 * log2 - 2
    assert network.noise_sizes == tuple((2**r, 2**r) for r in range(2, log2 + 1) for _ in range(2))
    styles, noises = {}, {}
    for r, block in enumerate(network.blocks, 2):
        for index, layer in ((2 * r - 4, block.layer0), (2 * r - 3, block.layer1)):
            layer: Any

            def style(module: Any, args: tuple[Tensor, ...], index: int = index) -> None:
                styles[index] = set(args[0].flatten().tolist())

            def noise(module: Any, args: tuple[Any, ...], index: int = index) -> None:
                noises[index] = set(args[1].flatten().tolist())

            layer.affine.register_forward_pre_hook(style)
            layer.noise.register_forward_pre_hook(noise)
    ws = torch.arange(float(g.num_ws))[None, :, None].expand(2, -1, 8)
    g.synthesis(ws, noise=[torch.full((1, 1, *s), float(i)) for i, s in enumerate(network.noise_sizes)])
    assert styles == noises == {i: {float(i)} for i in range(g.num_ws)}


def test_18_styles_and_noise_maps_at_1024() -> None:
    with torch.device("meta"):
        g = build_generator(StyleGANGenerator(resolution=1024))
    assert g.num_ws == synthesis_of(g).num_noises == len(noise_inputs(g)) == 18
    sizes = tuple(tuple(layer.fixed.shape[2:]) for layer in noise_inputs(g))
    assert sizes == synthesis_of(g).noise_sizes
    assert sizes[::2] == sizes[1::2] == tuple((2**r, 2**r) for r in range(2, 11))


def test_noise_modes() -> None:
    """Fresh in each call, the stored maps, none, or given ones; a strength for each channel."""
    g = generator()
    z = torch.randn(1, 6).expand(2, -1)

    def image(noise: Any) -> Tensor:
        return tensor(g(z, noise=noise)).detach()

    first, second = image("random"), image("random")
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    assert torch.equal(image("fixed"), image("fixed"))
    stored = [layer.fixed for layer in noise_inputs(g)]
    assert [layer.strength.shape[0] for layer in noise_inputs(g)] == [12, 12, 12, 12, 8, 8]
    torch.testing.assert_close(image(stored), image("fixed"))
    torch.testing.assert_close(image([torch.zeros_like(m) for m in stored]), image("none"))
    assert not torch.allclose(image("none"), image("fixed"))


def test_wrong_numbers_of_maps() -> None:
    maps = [torch.zeros(1, 1, 4, 4)] * 5
    with pytest.raises(UserError, match="noise: 5 maps given, this network takes 6"):
        generator()(torch.randn(1, 6), noise=maps)
    without = generator(noise="none")
    assert synthesis_of(without).noise_sizes == ()
    with pytest.raises(UserError, match="noise: 5 maps given, this network takes 0"):
        without(torch.randn(1, 6), noise=maps)
    z = torch.randn(1, 6)
    assert torch.equal(tensor(without(z, noise="random")), tensor(without(z, noise=[])))


# ---- gains


def test_gains_are_in_the_weights() -> None:
    """sqrt(2) within every hidden weight, plain leaky ReLU; toRGB and styles have gain 1."""
    g = generator(16)
    for name, module in g.named_modules():
        if isinstance(module, EqualizedConv | EqualizedDense):
            fan_in = module.weight[0].numel()
            hidden = "conv" in name or "mapping" in name
            multiplier = 0.01 if "mapping" in name else 1
            assert module.scale == pytest.approx(math.sqrt((2 if hidden else 1) / fan_in) * multiplier), name
            assert module.settings.gains() == (1, 1), name
