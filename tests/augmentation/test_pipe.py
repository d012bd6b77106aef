"""The pipe as a whole: derivatives, untouched images, all kinds of images, one draw for all scales."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from ops.derivatives import assert_equal_derivatives, randn
from styleloom.augmentation.color import color_matrices, recolored
from styleloom.augmentation.draws import RandomDraws
from styleloom.augmentation.filter import band_gains, filtered, filtered_reference, reduced_gains
from styleloom.augmentation.pipe import Pipe
from styleloom.augmentation.strengths import Strengths
from styleloom.config.augmentation import SETS, Augmentation
from styleloom.data.reals import pyramid
from styleloom.errors import UserError
from styleloom.types import Images


def pipe(*names: str) -> Pipe:
    return Pipe(Strengths.of(Augmentation(set=names).transformations))  # type: ignore[arg-type]


def drawn(transform: Pipe, images: Images, p: float, seed: int = 0) -> Images:
    """With the draws of a seed, and torch's generators as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return transform(images, p)


@pytest.mark.parametrize("name", ["blit", "geom", "color", "filter", "noise", "cutout", "bgcfnc"])
def test_first_and_second_derivatives(name: str) -> None:
    images = randn(3, 3, 4, 5).requires_grad_()
    assert gradcheck(lambda x: drawn(pipe(name), x, 0.7), [images], fast_mode=True)
    assert gradgradcheck(lambda x: drawn(pipe(name), x, 0.7), [images], fast_mode=True)


def test_the_filter_equals_its_reference() -> None:
    torch.manual_seed(1)
    gains = band_gains(Strengths.of(["imgfilter"]), 0.6, 4, RandomDraws())
    assert_equal_derivatives(
        lambda x: filtered(x, gains), lambda x: filtered_reference(x, gains), [randn(4, 2, 9, 6)]
    )


def test_without_probability_nothing_happens() -> None:
    """Not even a random number is drawn."""
    images, before = randn(2, 3, 8, 8), torch.get_rng_state()
    assert pipe("bgcfnc")(images, 0.0) is images
    assert torch.equal(torch.get_rng_state(), before)


def test_images_that_are_not_chosen_stay_as_they_are() -> None:
    images = randn(200, 3, 8, 8, dtype=torch.float32)
    for name in SETS:
        found = drawn(pipe(name), images, 0.04)
        assert isinstance(found, Tensor)
        same = (found == images).flatten(1).all(1)
        most = 0.04 * (len(SETS[name]) + 3 * (name in ("filter", "bgcf", "bgcfn", "bgcfnc")))
        assert same.float().mean() > 1 - 1.6 * most, name
        assert not same.all(), name


def test_the_same_seed_draws_the_same() -> None:
    images = randn(4, 3, 16, 16)
    one, same, other = (drawn(pipe("bgcfnc"), images, 0.8, seed) for seed in (1, 1, 2))
    assert isinstance(one, Tensor)
    assert isinstance(same, Tensor)
    assert isinstance(other, Tensor)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_grey_and_rgba_images() -> None:
    """Grey follows what colours do to greys; alpha keeps its values, wherever they move to."""
    draws = [color_matrices(Strengths.of(SETS["color"]), 1.0, 5, channels, _seeded(3)) for channels in (3, 1)]
    grey = randn(5, 1, 4, 4)
    inverted = Strengths.of(["brightness", "contrast", "lumaflip"])
    matrices = color_matrices(inverted, 1.0, 5, 3, _seeded(4))
    torch.testing.assert_close(
        recolored(grey, matrices), recolored(grey.expand(-1, 3, -1, -1), matrices)[:, :1]
    )
    assert not torch.equal(draws[0], draws[1])  # hue and saturation are for colours alone
    rgba = randn(5, 4, 4, 4)
    found = recolored(rgba, draws[0])
    assert torch.equal(found[:, 3], rgba[:, 3])
    torch.testing.assert_close(found[:, :3], recolored(rgba[:, :3], draws[0]))


def _seeded(seed: int) -> RandomDraws:
    torch.manual_seed(seed)
    return RandomDraws()


def test_hue_and_saturation_keep_greys() -> None:
    images = randn(6, 1, 3, 3).expand(-1, 3, -1, -1)
    for name in ("hue", "saturation"):
        torch.testing.assert_close(drawn(pipe(name), images, 1.0), images)


def test_one_draw_for_all_scales_of_a_pyramid() -> None:
    """The lower scale of a transformed pyramid is about the reduced transformed image."""
    smooth = torch.nn.functional.interpolate(randn(6, 3, 4, 4), (64, 64), mode="bicubic")
    scales = pyramid(smooth, (16, 32, 64))
    for name in ("bgc", "noise", "filter"):
        found = drawn(pipe(name), scales, 1.0)
        assert isinstance(found, tuple)
        assert [x.shape for x in found] == [x.shape for x in scales]
        whole = drawn(pipe(name), smooth, 1.0)
        assert isinstance(whole, Tensor)
        torch.testing.assert_close(found[-1], whole)
        for ours, expected in zip(found, pyramid(whole, (16, 32, 64)), strict=True):
            error = (ours - expected).square().mean() / expected.square().mean()
            assert error < 0.05, (name, tuple(ours.shape), float(error))


def test_cutout_cuts_the_same_place_of_all_scales() -> None:
    scales = pyramid(torch.ones(8, 1, 32, 32), (8, 16, 32))
    found = drawn(pipe("cutout"), scales, 1.0)
    shares = torch.stack([(x == 0).float().mean((1, 2, 3)) for x in found])
    assert (shares > 0.05).all()
    assert (shares - shares[-1]).abs().max() < 0.08


def test_bands_move_up_when_images_are_reduced() -> None:
    gains = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    rows = {1: [1, 2, 3, 4], 2: [1, 1, 2, 3], 4: [1, 1, 1, 2], 8: [1, 1, 1, 1], 64: [1, 1, 1, 1]}
    assert {factor: reduced_gains(gains, factor)[0].tolist() for factor in rows} == rows


def test_the_smallest_images_pass() -> None:
    for shape in ((2, 3, 4, 4), (2, 1, 4, 2), (2, 3, 6, 4)):
        found = drawn(pipe("bgcfnc"), torch.rand(shape), 1.0)
        assert isinstance(found, Tensor)
        assert found.shape == shape
        assert torch.isfinite(found).all()


def test_names_of_sets_and_transformations() -> None:
    """Sets add up in the paper's order; several names are joined; others are refused."""
    assert Augmentation(set=("bg", "xint", "noise")).transformations == (*SETS["bg"], "noise")
    assert [len(SETS[name]) for name in ("bg", "bgc", "bgcf", "bgcfn", "bgcfnc")] == [7, 12, 13, 14, 15]
    with pytest.raises(UserError, match=r"augment\.set: 'bcg' is not valid, did you mean"):
        Augmentation(set=("bcg",))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="name a set"):
        Augmentation(set=())
    with pytest.raises(UserError, match=r"augment\.p: 0\.2 is not valid with augment\.mode none"):
        Augmentation(p=0.2)
