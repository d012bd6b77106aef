"""Which layer takes which style and which noise map."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from styleloom.config.networks import Architecture
from styleloom.errors import UserError
from styleloom.networks.stylegan2 import StyledConv

from .tiny import generator, noise_inputs, synthesis_of, tensor


def layers(g: Any) -> dict[str, StyledConv]:
    """Modulated layers by name: "conv_up 8", "conv 8", "to_rgb 8"."""
    found = {}
    network = synthesis_of(g)
    for side, block in zip(network.cfg.sides, network.blocks, strict=True):
        for name, module in block.named_children():
            if isinstance(module, StyledConv):
                found[f"{name} {side}"] = module
    return found


def expected_indices(architecture: Architecture, resolution: int) -> dict[str, int]:
    """At full resolution. The 4x4 convolution has 0; at side 2^r: 2r-5, 2r-4 and, for toRGB, 2r-3."""
    indices = {"conv 4": 0}
    for r in range(2, resolution.bit_length()):
        side = 2**r
        if r > 2:
            indices |= {f"conv_up {side}": 2 * r - 5, f"conv {side}": 2 * r - 4}
        if architecture == "skip" or side == resolution:
            indices[f"to_rgb {side}"] = 2 * r - 3
    return indices


@pytest.mark.parametrize("resolution", [8, 16, 64])
@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_each_layer_takes_its_own_style(architecture: Architecture, resolution: int) -> None:
    g = generator(resolution, architecture=architecture)
    ws = torch.arange(float(g.num_ws))[None, :, None].expand(2, -1, 8)
    seen: dict[str, set[float]] = {}
    for name, layer in layers(g).items():

        def record(module: Any, args: tuple[Tensor, ...], name: str = name) -> None:
            seen[name] = set(args[0].flatten().tolist())

        layer.affine.register_forward_pre_hook(record)
    g.synthesis(ws)
    assert seen == {name: {float(i)} for name, i in expected_indices(architecture, resolution).items()}


@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_changing_a_style_changes_what_follows_it_alone(architecture: Architecture) -> None:
    """Layers before the changed one give the same result bit for bit; it and all that follow do not."""
    g = generator(32, architecture=architecture)
    results: dict[str, Tensor] = {}
    for name, layer in layers(g).items():

        def record(module: Any, args: Any, output: Tensor, name: str = name) -> None:
            results[name] = output.detach()

        layer.register_forward_hook(record)
    ws = torch.randn(2, g.num_ws, 8)
    base_image = tensor(g.synthesis(ws, noise="fixed"))
    base = dict(results)
    indices = expected_indices(architecture, 32)
    features = {name: i for name, i in indices.items() if not name.startswith("to_rgb")}
    for changed in range(g.num_ws):
        other = ws.clone()
        other[:, changed] += 1
        image = tensor(g.synthesis(other, noise="fixed"))
        assert not torch.equal(image, base_image)
        differ = {name for name in indices if not torch.equal(results[name], base[name])}
        expected = {name for name, i in features.items() if i >= changed}
        for name, i in indices.items():
            if name.startswith("to_rgb") and i >= changed:  # its own style, or features before it
                expected.add(name)
        assert differ == expected


@pytest.mark.parametrize("resolution", [8, 16, 64])
@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_noise_maps_go_to_their_layers(architecture: Architecture, resolution: int) -> None:
    """2L-3 maps: one at 4 px, two at each further side; 2L-2 styles."""
    g = generator(resolution, architecture=architecture)
    network, log2 = synthesis_of(g), resolution.bit_length() - 1
    assert network.num_noises == len(network.noise_sizes) == 2 * log2 - 3 == len(noise_inputs(g))
    assert g.num_ws == 2 * log2 - 2
    sides = (4, *(2**r for r in range(3, log2 + 1) for _ in range(2)))
    assert network.noise_sizes == tuple((side, side) for side in sides)
    maps = [torch.full((1, 1, *size), float(i)) for i, size in enumerate(network.noise_sizes)]
    indices, seen = expected_indices(architecture, resolution), dict[int, float]()
    for name, layer in layers(g).items():
        if name.startswith("to_rgb"):
            assert layer.noise is None
            continue
        assert layer.noise is not None

        def record(module: Any, args: tuple[Any, ...], index: int = indices[name]) -> None:
            seen[index] = args[1].flatten()[0].item()

        layer.noise.register_forward_pre_hook(record)
    g.synthesis(torch.randn(2, g.num_ws, 8), noise=maps)
    assert seen == {i: float(i) for i in range(2 * log2 - 3)}


def test_noise_modes() -> None:
    """Fresh in each call, the stored maps, none, or given ones."""
    g = generator()
    z = torch.randn(1, 6).expand(2, -1)

    def image(noise: Any) -> Tensor:
        return tensor(g(z, noise=noise)).detach()

    first, second = image("random"), image("random")
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    assert torch.equal(image("fixed"), image("fixed"))
    torch.testing.assert_close(image("fixed")[0], image("fixed")[1])
    stored = [layer.fixed for layer in noise_inputs(g)]
    torch.testing.assert_close(image(stored), image("fixed"))
    torch.testing.assert_close(image([torch.zeros_like(m) for m in stored]), image("none"))
    assert not torch.allclose(image("none"), image("fixed"))
    for layer in noise_inputs(g):
        torch.nn.init.zeros_(layer.strength)
    torch.testing.assert_close(image("random"), image("none"))


@pytest.mark.parametrize("count", [0, 4, 6])
def test_a_wrong_number_of_maps(count: int) -> None:
    g = generator()
    with pytest.raises(UserError, match=f"noise: {count} maps given, this network takes 5"):
        g(torch.randn(1, 6), noise=[torch.zeros(1, 1, 4, 4)] * count)


def test_the_constant_has_neither_noise_nor_bias() -> None:
    """StyleGAN2 section 2.1: hence 17 noise inputs at 1024 px, where StyleGAN has 18."""
    g = generator()
    network = synthesis_of(g)
    assert network.const.shape == (1, 12, 4, 4)
    seen: list[Tensor] = []
    block: Any = network.blocks[0]
    block.conv.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    g(torch.randn(2, 6))
    torch.testing.assert_close(seen[0], network.const.expand(2, -1, -1, -1))


def test_the_constant_is_normal() -> None:
    """StyleGAN2 draws it from N(0, 1), StyleGAN starts from 1."""
    const = synthesis_of(generator(8, features=type(synthesis_of(generator()).cfg.features)(512, 256))).const
    assert const.std().item() == pytest.approx(1, abs=0.1)
    assert abs(const.mean().item()) < 0.1
