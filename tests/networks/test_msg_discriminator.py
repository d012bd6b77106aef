"""MSG-GAN's discriminators: input, combine functions, statistics at every block, penalties over scales."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from styleloom.config.networks import MinibatchStd
from styleloom.errors import UserError
from styleloom.networks.msg import COMBINE
from styleloom.training.regularizers import between, wgan_gradient_penalty, zero_centred_penalty
from styleloom.types import Images, Pyramid

from .tiny_msg import BASES, Base, changed, discriminator, images_for

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
    penalty = wgan_gradient_penalty(linear, between(reals, fakes, torch.rand(4)))
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

    wgan_gradient_penalty(watched, between(reals, fakes, u))
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
    penalty = wgan_gradient_penalty(d, between(reals, fakes, u))
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
    assert wgan_gradient_penalty(d, between(reals, fakes, u)).mean() < penalty.mean()
