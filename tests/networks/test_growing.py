"""Configurations B to D: demodulation under progressive growing (StyleGAN2 section 2, ProGAN section 2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from styleloom.config.networks import TABLE_2_ARCHITECTURES, Architecture, MinibatchStd
from styleloom.errors import UserError
from styleloom.layers.equalized import EqualizedConv
from styleloom.networks.assembly import StyleGenerator
from styleloom.networks.stylegan2 import Discriminator, StyledConv
from styleloom.precision import set_precision
from styleloom.types import GrowthState

from .tiny import discriminator, generator, noise_inputs, synthesis_of, tensor

RESOLUTION, LEVELS = 32, 4
STATES = [GrowthState(0, 1.0), *(GrowthState(k, a) for k in range(1, LEVELS) for a in (0.0, 0.3, 1.0))]
FADING = [state for state in STATES if state.alpha < 1]
FADED = [state for state in STATES if state.alpha == 1]


def name(state: object) -> str | None:
    """Of a test's parameter: level and alpha."""
    return f"{state.level}-{state.alpha}" if isinstance(state, GrowthState) else None


def growing_g(**fields: Any) -> StyleGenerator:
    """Four levels, up to 32 px."""
    return generator(RESOLUTION, architecture="growing", **fields)


def growing_d(**fields: Any) -> Discriminator:
    """Four levels, up to 32 px."""
    return discriminator(RESOLUTION, architecture="growing", **fields)


def synthesis_levels(g: StyleGenerator) -> list[Any]:
    """Blocks low to high, to call their layers one by one."""
    return list(synthesis_of(g).blocks)


def discriminator_levels(d: Discriminator) -> list[Any]:
    """Tail and blocks low to high."""
    return [d.tail, *reversed(d.blocks)]


def repeated(x: Tensor) -> Tensor:
    """Each pixel 2 x 2."""
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def box(x: Tensor) -> Tensor:
    """Mean of 2 x 2 pixels."""
    return (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4


def images_of(g: StyleGenerator, ws: Tensor, state: GrowthState | None, noise: Any = "fixed") -> Tensor:
    return tensor(g.synthesis(ws, state, noise))


# ---- the equations


@pytest.mark.parametrize("state", STATES, ids=name)
def test_generator(state: GrowthState) -> None:
    """The active level alone, at its own resolution, faded in by nearest neighbours.

    Level k takes the styles 2k-1, 2k and, for toRGB, 2k+1, which is 2r-3 at side 2^r.
    """
    g = growing_g()
    network, levels = synthesis_of(g), synthesis_levels(g)
    ws = torch.randn(2, g.num_ws, 8)
    maps = [torch.randn(2, 1, *size) for size in network.noise_sizes]
    features = [levels[0].conv(network.const.expand(2, -1, -1, -1), ws[:, 0], maps[0])]
    for k in range(1, state.level + 1):
        x = levels[k].conv_up(features[-1], ws[:, 2 * k - 1], maps[2 * k - 1])
        features.append(levels[k].conv(x, ws[:, 2 * k], maps[2 * k]))
    active = enumerate(zip(levels, features, strict=False))
    rgb = [level.to_rgb(x, ws[:, 2 * k + 1]) for k, (level, x) in active]
    expected = rgb[-1] * state.alpha
    if state.alpha < 1:
        expected = expected + repeated(rgb[-2]) * (1 - state.alpha)
    out = images_of(g, ws, state, maps)
    assert out.shape == (2, 3, 4 << state.level, 4 << state.level)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("state", STATES, ids=name)
def test_discriminator(state: GrowthState) -> None:
    """Images of the active resolution; the lower fromRGB sees means of 2 x 2 pixels."""
    d = growing_d()
    levels = discriminator_levels(d)
    images = torch.randn(4, 3, 4 << state.level, 4 << state.level)
    x = levels[state.level].from_rgb(images)
    for k in range(state.level, 0, -1):
        x = levels[k].conv_down(levels[k].conv(x))
        if k == state.level:
            x = state.alpha * x + (1 - state.alpha) * levels[k - 1].from_rgb(box(images))
    torch.testing.assert_close(d(images, None, state), d.tail(x)[:, 0], rtol=1e-4, atol=1e-5)


def test_layers_of_every_level() -> None:
    """toRGB and fromRGB everywhere, no residual branches, [1, 3, 3, 1] for features."""
    for levels in (synthesis_levels(growing_g()), discriminator_levels(growing_d())):
        for k, level in enumerate(levels):
            rgb = level.to_rgb if hasattr(level, "to_rgb") else level.from_rgb
            assert rgb is not None
            assert rgb.weight.shape[2:] == (1, 1)
            assert getattr(level, "skip", None) is None
            layers = [m.settings for m in level.children() if isinstance(m, StyledConv | EqualizedConv)]
            resampling = [settings for settings in layers if settings.resample != "none"]
            assert len(resampling) == (1 if k else 0)
            assert all(settings.taps == (1, 3, 3, 1) for settings in resampling)


# ---- what growing means


def load_truncated(small: nn.Module, large: nn.Module, moved: int) -> None:
    """Parameters of `large` with the names of `small`, whose blocks begin `moved` further down."""
    source = large.state_dict()
    state = {}
    for key in small.state_dict():
        parts = key.split(".")
        if "blocks" in parts:
            at = parts.index("blocks") + 1
            parts[at] = str(int(parts[at]) + moved)
        state[key] = source[".".join(parts)]
    small.load_state_dict(state)


@pytest.mark.parametrize("state", FADED[1:], ids=name)
def test_a_faded_level_is_a_smaller_network(state: GrowthState) -> None:
    """With alpha = 1 both networks are the feed-forward ones of Fig. 7 at the active resolution."""
    side, count, absent = 4 << state.level, 2 * state.level + 1, LEVELS - 1 - state.level
    g, d = growing_g(), growing_d()
    g.w_avg.copy_(torch.randn(8))
    small_g, small_d = generator(side, architecture="orig"), discriminator(side, architecture="orig")
    load_truncated(small_g, g, 0)
    load_truncated(small_d, d, absent)
    ws = torch.randn(2, g.num_ws, 8)
    maps = [torch.randn(2, 1, *size) for size in synthesis_of(g).noise_sizes]
    images = images_of(g, ws, state, maps)
    expected = small_g.synthesis(ws[:, : small_g.num_ws], noise=maps[:count])
    torch.testing.assert_close(images, expected)
    torch.testing.assert_close(d(images, None, state), small_d(images))


@pytest.mark.parametrize("level", range(1, LEVELS))
def test_a_level_begins_as_the_one_below(level: int) -> None:
    """alpha = 0: the same pictures, twice as large; the same judgement of what the lower level can see."""
    new, old = GrowthState(level, 0.0), GrowthState(level - 1, 1.0)
    g, d = growing_g(), growing_d()
    ws = torch.randn(2, g.num_ws, 8)
    torch.testing.assert_close(images_of(g, ws, new), repeated(images_of(g, ws, old)))
    x = torch.randn(4, 3, 4 << level, 4 << level)
    torch.testing.assert_close(d(x, None, new), d(box(x), None, old), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("level", range(1, LEVELS))
def test_images_fade_linearly(level: int) -> None:
    g = growing_g()
    ws = torch.randn(2, g.num_ws, 8)
    begin, quarter, end = (images_of(g, ws, GrowthState(level, alpha)) for alpha in (0.0, 0.25, 1.0))
    torch.testing.assert_close(quarter, begin + 0.25 * (end - begin), rtol=1e-4, atol=1e-5)
    assert (end - begin).abs().mean() > 0.1


def test_full_resolution_is_the_default() -> None:
    g, d = growing_g(), growing_d()
    ws, top = torch.randn(2, g.num_ws, 8), GrowthState(LEVELS - 1, 1.0)
    images = images_of(g, ws, None)
    assert torch.equal(images, images_of(g, ws, top))
    assert torch.equal(images, tensor(g.synthesis(ws, noise="fixed")))
    assert torch.equal(d(images), d(images, None, top))


# ---- inactive levels


def active_names(state: GrowthState) -> Iterator[str]:
    """Beginnings of what a state uses: feature layers up to the active level, RGB of the levels shown."""
    shown = {state.level} | ({state.level - 1} if state.alpha < 1 else set())
    for k in range(LEVELS):
        place = "tail" if k == 0 else f"blocks.{LEVELS - 1 - k}"
        if k <= state.level:
            yield from (f"g.blocks.{k}.conv", f"d.{place}.conv")
        if k in shown:
            yield from (f"g.blocks.{k}.to_rgb", f"d.{place}.from_rgb")
    yield from ("g.const", "d.tail.dense", "d.tail.out")


def is_active(key: str, state: GrowthState) -> bool:
    return key.startswith(tuple(active_names(state)))


@pytest.mark.parametrize("state", [s for s in STATES if s.alpha > 0], ids=name)
def test_only_active_parameters_get_gradients(state: GrowthState) -> None:
    """And only active layers run, also where every layer's noise is given."""
    g, d = growing_g(), growing_d()
    networks = nn.ModuleDict({"g": g.synthesis_network, "d": d})
    ran: set[str] = set()
    for key, module in networks.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda m, i, o, key=key: ran.add(key))
    ws = torch.randn(2, g.num_ws, 8).requires_grad_()
    maps = [torch.randn(1, 1, *size) for size in synthesis_of(g).noise_sizes]
    d(images_of(g, ws, state, maps), None, state).square().sum().backward()
    for key, parameter in networks.named_parameters():
        assert (parameter.grad is not None) == is_active(key, state), key
        assert parameter.grad is None or parameter.grad.abs().max() > 0, key
    leaves = {key for key, module in networks.named_modules() if not list(module.children())}
    assert ran == {key for key in leaves if is_active(key, state)}
    assert ws.grad is not None
    used = ws.grad.abs().sum((0, 2)) > 0
    assert used.tolist() == [i <= 2 * state.level + 1 for i in range(g.num_ws)]


def elements(g: StyleGenerator, d: Discriminator, state: GrowthState | None) -> int:
    """Values that autograd keeps for the backward pass of both networks, without their parameters."""
    sizes: list[int] = []

    def pack(x: Tensor) -> Tensor:
        if not isinstance(x, nn.Parameter):
            sizes.append(x.numel())
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        d(images_of(g, torch.randn(2, g.num_ws, 8), state), None, state)
    return sum(sizes)


@pytest.mark.parametrize("state", FADED[1:], ids=name)
def test_inactive_levels_cost_nothing(state: GrowthState) -> None:
    """A level of a large network keeps as much for its backward pass as the network that ends there."""
    side = 4 << state.level
    small = generator(side, architecture="growing"), discriminator(side, architecture="growing")
    assert elements(growing_g(), growing_d(), state) == elements(*small, None)


# ---- demodulation


@pytest.mark.parametrize("state", STATES, ids=name)
def test_demodulation_while_growing(state: GrowthState) -> None:
    """Demodulation (equation 3) cancels a factor of a convolution's weights; toRGB is not demodulated."""
    g = growing_g()
    ws = torch.randn(2, g.num_ws, 8)
    before = images_of(g, ws, state)
    scaled = 0
    for level in synthesis_levels(g):
        for key, layer in level.named_children():
            if isinstance(layer, StyledConv) and key != "to_rgb":
                assert layer.settings.normalization == "demodulation"
                layer.weight.data.mul_(3)
                scaled += 1
    assert scaled == 2 * LEVELS - 1
    torch.testing.assert_close(images_of(g, ws, state), before, rtol=1e-3, atol=1e-4)
    for level in synthesis_levels(g):
        assert level.to_rgb.settings.normalization == "none"
        level.to_rgb.bias.data.zero_()
    linear = images_of(g, ws, state)
    for level in synthesis_levels(g):
        level.to_rgb.weight.data.mul_(3)
    torch.testing.assert_close(images_of(g, ws, state), 3 * linear, rtol=1e-3, atol=1e-4)


# ---- styles, noise


@pytest.mark.parametrize("state", [GrowthState(2, 0.5), GrowthState(2, 1.0)], ids=name)
def test_noise_modes(state: GrowthState) -> None:
    g = growing_g()
    ws = torch.randn(1, g.num_ws, 8).expand(2, -1, -1)
    assert not torch.equal(images_of(g, ws, state, "random"), images_of(g, ws, state, "random"))
    stored = [layer.fixed for layer in noise_inputs(g)]
    torch.testing.assert_close(images_of(g, ws, state, stored), images_of(g, ws, state, "fixed"))
    zeros = [torch.zeros_like(m) for m in stored]
    torch.testing.assert_close(images_of(g, ws, state, zeros), images_of(g, ws, state, "none"))
    with pytest.raises(UserError, match="noise: 5 maps given, this network takes 7"):
        images_of(g, ws, state, stored[:5])  # those of the active levels are not enough


# ---- other sizes, labels, precision


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("state", [GrowthState(1, 0.5), GrowthState(2, 1.0)], ids=name)
def test_channels(channels: int, state: GrowthState) -> None:
    g, d = growing_g(channels=channels), growing_d(channels=channels)
    images = images_of(g, torch.randn(2, g.num_ws, 8), state)
    assert images.shape[:2] == (2, channels)
    (gradient,) = torch.autograd.grad(d(images, None, state).square().sum(), images)
    assert (gradient.abs().amax((0, 2, 3)) > 0).all()


def test_labels() -> None:
    """They count at every level, and the selected output is that of the label."""
    g, d = growing_g(label_dim=3), growing_d(label_dim=3, minibatch_std=MinibatchStd(3))
    label = torch.eye(3)
    for state in (GrowthState(0, 1.0), GrowthState(2, 0.5)):
        images = tensor(g(torch.randn(1, 6).expand(3, -1), label, noise="none", growth=state)).detach()
        assert (images[0] - images[1]).abs().max() > 1e-4
        all_logits = [d(images, label[k].expand(3, -1), state) for k in range(3)]
        torch.testing.assert_close(d(images, label, state), torch.stack(all_logits).diagonal())


def test_truncation_and_growth_together() -> None:
    g, state = growing_g(), GrowthState(1, 0.4)
    g.w_avg.copy_(torch.randn(8))
    z = torch.randn(2, 6)
    ws = g.truncate(g.mapping(z), 0.5, 3)
    torch.testing.assert_close(g(z, None, 0.5, 3, "fixed", state), g.synthesis(ws, state, "fixed"))


@pytest.mark.parametrize("state", [GrowthState(2, 0.3), GrowthState(2, 1.0)], ids=name)
def test_bfloat16_trunk(state: GrowthState) -> None:
    """Near to float32, where images fade and logits are."""
    results = []
    for precision in ("fp32", "bf16"):
        torch.manual_seed(5)
        g, d = growing_g(activation="swish"), growing_d(activation="swish")
        ws, x = torch.randn(2, g.num_ws, 8), torch.randn(4, 3, 16, 16)
        set_precision(precision, torch.device("cpu"), g, d)
        results.append((images_of(g, ws, state), d(x, None, state)))
        assert all(y.dtype == torch.float32 for y in results[-1])
    for exact, narrow in zip(*results, strict=True):
        assert 0 < (exact - narrow).norm() / exact.norm() < 0.03


# ---- errors


@pytest.mark.parametrize("architecture", TABLE_2_ARCHITECTURES)
def test_architectures_that_do_not_grow(architecture: Architecture) -> None:
    g, d = generator(architecture=architecture), discriminator(architecture=architecture)
    state = GrowthState(1, 0.5)
    with pytest.raises(UserError, match=rf"growth: .*level=1.* a generator of architecture '{architecture}'"):
        g(torch.randn(2, 6), growth=state)
    with pytest.raises(UserError, match=rf"growth: .* a discriminator of architecture '{architecture}'"):
        d(torch.randn(2, 3, 16, 16), None, state)


@pytest.mark.parametrize(
    "state", [GrowthState(4, 1.0), GrowthState(-1, 1.0), GrowthState(1, 1.5), GrowthState(0, 0.5)], ids=name
)
def test_states_that_are_not_there(state: GrowthState) -> None:
    g, d = growing_g(), growing_d()
    with pytest.raises(UserError, match=r"growth: .* level 0 to 3, alpha 0 to 1"):
        g(torch.randn(2, 6), growth=state)
    with pytest.raises(UserError, match=r"growth: .* level 0 to 3, alpha 0 to 1"):
        d(torch.randn(2, 3, 32, 32), None, state)


@pytest.mark.parametrize("architecture", [*TABLE_2_ARCHITECTURES, "growing"])
@pytest.mark.parametrize("shape", [(3, 16, 16), (3, 32, 64), (3, 64, 64), (1, 32, 32)])
def test_images_of_another_size(architecture: Architecture, shape: tuple[int, ...]) -> None:
    d = discriminator(32, architecture=architecture)
    given = ", ".join(map(str, shape))
    with pytest.raises(UserError, match=rf"images: \[{given}\] given .* takes \[3, 32, 32\] at level 3"):
        d(torch.zeros(2, *shape))


@pytest.mark.parametrize("state", STATES[:-3], ids=name)
def test_images_of_another_level(state: GrowthState) -> None:
    side = 4 << state.level
    with pytest.raises(
        UserError, match=rf"\[3, 32, 32\] given .* \[3, {side}, {side}\] at level {state.level}"
    ):
        growing_d()(torch.zeros(2, 3, 32, 32), None, state)
