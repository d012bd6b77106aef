"""Every metric moves the right way when real images are damaged in a known way."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from styleloom import open_dataset
from styleloom.metrics.descriptors import Patches
from styleloom.metrics.fid import frechet_distance
from styleloom.metrics.inception_score import inception_score
from styleloom.metrics.kid import kernel_distance
from styleloom.metrics.moments import Moments
from styleloom.metrics.ms_ssim import ms_ssim
from styleloom.metrics.precision_recall import precision_recall
from styleloom.metrics.swd import sliced_wasserstein

HALF = 600


@cache
def halves() -> tuple[Tensor, Tensor]:
    """Two sets of different emoji, uint8 [600, 3, 32, 32]; the archive is in random order."""
    images = torch.from_numpy(open_dataset("emoji", 32).images(np.arange(2 * HALF)))
    return images[:HALF], images[HALF:]


def features(images_u8: Tensor) -> Tensor:
    """[N, 64]: a fixed random projection of the pixels and of what a box filter takes from them."""
    images = images_u8.float() / 255
    detail = images - F.avg_pool2d(images, 3, 1, 1)
    pixels = torch.cat((images, 4 * detail), dim=1).flatten(1)
    generator = torch.Generator().manual_seed(0)
    projection = torch.randn(pixels.shape[1], 64, generator=generator)
    return pixels @ projection / pixels.shape[1] ** 0.5


def moments_of(images_u8: Tensor) -> Moments:
    moments = Moments()
    moments.add(features(images_u8))
    return moments


def frechet(reals: Tensor, fakes: Tensor) -> float:
    return frechet_distance(moments_of(reals), moments_of(fakes))


def kernel(reals: Tensor, fakes: Tensor) -> float:
    return kernel_distance(features(reals), features(fakes), num_subsets=5, subset_size=300).value


def sliced(reals: Tensor, fakes: Tensor) -> float:
    return sliced_wasserstein(reals, fakes, Patches(patches_per_image=16), directions=16).average


def blurred(images_u8: Tensor) -> Tensor:
    return F.avg_pool2d(images_u8.float(), 5, 1, 2, count_include_pad=False).round().to(torch.uint8)


def noisy(images_u8: Tensor) -> Tensor:
    grain = torch.randn(images_u8.shape, generator=torch.Generator().manual_seed(1))
    return (images_u8 + 40 * grain).clamp(0, 255).to(torch.uint8)


def few_modes(images_u8: Tensor) -> Tensor:
    """Six of the images, a hundred times each."""
    return images_u8[:6].repeat(HALF // 6, 1, 1, 1)


@pytest.mark.parametrize("metric", [frechet, kernel, sliced])
@pytest.mark.parametrize("damage", [blurred, noisy, few_modes])
def test_distances_grow_with_damage(
    metric: Callable[[Tensor, Tensor], float], damage: Callable[[Tensor], Tensor]
) -> None:
    reals, others = halves()
    floor = metric(reals, others)
    assert metric(reals, damage(others)) > 1.3 * max(floor, 1e-4)
    assert metric(reals, reals) < floor


def test_truncation_trades_recall_for_precision() -> None:
    """Features shrunk towards their mean, as the truncation trick shrinks w."""
    reals, others = (features(images) for images in halves())
    mean = others.mean(dim=0)
    results = [precision_recall(reals, torch.lerp(mean, others, psi)) for psi in (1.0, 0.7, 0.4)]
    precisions, recalls = [one.precision for one in results], [one.recall for one in results]
    assert precisions == sorted(precisions)
    assert recalls == sorted(recalls, reverse=True)
    assert precisions[-1] > precisions[0] + 0.02
    assert recalls[-1] < recalls[0] - 0.3


def test_noise_lowers_precision_and_lost_modes_lower_recall() -> None:
    reals, others = halves()
    intact = precision_recall(features(reals), features(others))
    # Hardly any projection is left that a real could be taken for.
    damaged = precision_recall(features(reals), features(noisy(noisy(others))))
    assert damaged.precision < intact.precision - 0.2
    collapsed = precision_recall(features(reals), features(few_modes(others)))
    assert collapsed.recall < 0.1 * intact.recall


def test_similarity_of_pairs_rises_as_variety_falls() -> None:
    _, others = halves()
    first, second = others.chunk(2)
    varied = ms_ssim(first, second).mean()
    # Half way towards the mean image, and all alike.
    mean = others.float().mean(dim=0)
    alike = [torch.lerp(mean, part.float(), 0.5).round().to(torch.uint8) for part in (first, second)]
    assert ms_ssim(*alike).mean() > varied + 0.05
    assert ms_ssim(first, first).mean() == 1


def test_inception_score_of_predictions_that_are_known() -> None:
    certain = 1e3 * torch.eye(10)
    assert inception_score(torch.zeros(200, 10)).mean == pytest.approx(1)
    assert inception_score(certain.repeat(20, 1)).mean == pytest.approx(10)
    assert inception_score(certain[:1].repeat(200, 1)).mean == pytest.approx(1)
    assert inception_score(certain[:5].repeat(40, 1)).mean == pytest.approx(5)
    vague = inception_score(2 * torch.eye(10).repeat(20, 1)).mean
    assert 1 < vague < inception_score(4 * torch.eye(10).repeat(20, 1)).mean < 10
