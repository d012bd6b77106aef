"""Perceptual path length, against closed forms: linear generators under a quadratic distance."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from metrics.probed import DIM, Squared, labels, linear, passes, real
from styleloom.errors import UserError
from styleloom.metrics.probes import ppl
from styleloom.metrics.probes.ppl import (
    Step,
    central_window,
    comparable,
    image_path_lengths,
    path_length,
    path_length_samples,
    percentile_groups,
    slerp,
)
from styleloom.sampling import Sampler
from styleloom.types import GrowthState, PerceptualDistance

PIXELS = 3 * 8 * 8

SQUARED: PerceptualDistance = Squared()

SEEDS = range(12)


def matrix() -> Tensor:
    """Some A."""
    return torch.randn(PIXELS, DIM) / 10


def ends(sampler: Sampler) -> tuple[Tensor, Tensor, Tensor]:
    """z of both ends and t of every seed, float64, drawn as the metric says."""
    z, _, streams = sampler.draw_streams(SEEDS)
    other = sampler.further_latents(streams)
    t = torch.stack([torch.rand((), generator=rng, dtype=torch.float64) for rng in streams])
    return z.double(), other.double(), t


# ---- closed forms


@pytest.mark.parametrize("epsilon", [1e-2, 1e-4])
@pytest.mark.parametrize("sampling", ["end", "full"])
def test_straight_paths_of_a_linear_map(sampling: Any, epsilon: float) -> None:
    """|A (w1 - w0)|^2 for every pair, wherever on the path and whatever the step."""
    a = matrix()
    sampler = linear(a)
    start, goal, _ = ends(sampler)
    expected = ((goal - start) @ a.double().t()).square().sum(1)
    values = path_length_samples(sampler, SQUARED, SEEDS, Step("w", sampling, epsilon=epsilon))
    assert values.dtype == torch.float64
    torch.testing.assert_close(values, expected, rtol=5e-3 if epsilon == 1e-4 else 1e-4, atol=0)


def test_the_expected_path_length_of_a_linear_map() -> None:
    """w ~ N(0, I): E |A (w1 - w0)|^2 = 2 |A|^2. Many pairs come within four standard errors of it."""
    a = matrix()
    values = path_length_samples(linear(a), SQUARED, range(2000), Step(epsilon=1e-2))
    error = values.std().item() / math.sqrt(len(values))
    assert values.mean().item() == pytest.approx(2 * a.square().sum().item(), abs=4 * error)
    assert error < 0.02 * values.mean()


@pytest.mark.parametrize("sampling", ["end", "full"])
def test_arcs_of_a_linear_map_of_the_normalised_latent(sampling: Any) -> None:
    """z of length sqrt(DIM) turns towards another by epsilon times their angle theta; A of equal singular
    values s makes that s sqrt(DIM) 2 sin(epsilon theta / 2) of image."""
    scale = 0.7
    a = scale * torch.linalg.qr(torch.randn(PIXELS, DIM)).Q
    sampler = linear(a, normalize_z=True)
    start, goal, _ = ends(sampler)
    cosine = (start * goal).sum(1) / start.norm(dim=1) / goal.norm(dim=1)
    epsilon = 0.01
    chord = 2 * torch.sin(epsilon * torch.arccos(cosine) / 2)
    expected = scale**2 * DIM * (chord / epsilon).square()
    values = path_length_samples(sampler, SQUARED, SEEDS, Step("z", sampling, epsilon=epsilon))
    torch.testing.assert_close(values, expected, rtol=1e-4, atol=0)


def test_t_is_where_the_seed_says() -> None:
    """On an arc the images of A differ from place to place; these are the ones at t and t + epsilon."""
    a = matrix()
    sampler = linear(a, normalize_z=True)
    start, goal, t = ends(sampler)
    epsilon = 0.01
    near, far = (slerp(start, goal, x[:, None]) * math.sqrt(DIM) for x in (t, t + epsilon))
    expected = ((far - near) @ a.double().t()).square().sum(1) / epsilon**2
    values = path_length_samples(sampler, SQUARED, SEEDS, Step("z", "full", epsilon=epsilon))
    torch.testing.assert_close(values, expected, rtol=1e-3, atol=0)
    at_start = path_length_samples(sampler, SQUARED, SEEDS, Step("z", "end", epsilon=epsilon))
    near, far = (slerp(start, goal, torch.full((1, 1), x).double()) * math.sqrt(DIM) for x in (0, epsilon))
    expected = ((far - near) @ a.double().t()).square().sum(1) / epsilon**2
    torch.testing.assert_close(at_start, expected, rtol=1e-3, atol=0)
    assert not torch.allclose(values, at_start, rtol=0.01)


def test_latents_that_are_not_normalised_keep_the_length_of_random_ones() -> None:
    """The mapping sees |z| = sqrt(Z), where N(0, I) lies, rather than unit vectors."""
    a = torch.linalg.qr(torch.randn(PIXELS, DIM)).Q
    kept, normalised = (
        path_length_samples(linear(a, normalize_z=flag), SQUARED, SEEDS, Step("z", epsilon=0.01))
        for flag in (False, True)
    )
    torch.testing.assert_close(kept, normalised, rtol=1e-4, atol=0)


@pytest.mark.parametrize("space", ["z", "w"])
@pytest.mark.parametrize("sampling", ["end", "full"])
def test_half_the_step_gives_the_same(space: Any, sampling: Any) -> None:
    sampler = real("stylegan2-f")
    values = [
        path_length_samples(sampler, SQUARED, range(16), Step(space, sampling, epsilon=epsilon))
        for epsilon in (1e-3, 5e-4)
    ]
    assert values[0].mean().item() == pytest.approx(values[1].mean().item(), rel=0.03)
    assert (values[0] > 0).all()


# ---- what belongs to a seed


@pytest.mark.parametrize("space", ["z", "w"])
@pytest.mark.parametrize("preset", ["stylegan2-f", "stylegan-f"])
def test_batches_and_company_change_nothing(preset: str, space: Any) -> None:
    sampler = real(preset)
    before = torch.get_rng_state()
    whole = path_length_samples(sampler, SQUARED, SEEDS, Step(space, "full", epsilon=1e-2))
    parts = [
        path_length_samples(sampler, SQUARED, seeds, Step(space, "full", epsilon=1e-2))
        for seeds in ([0], range(1, 4), range(4, 12))
    ]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-3, atol=1e-5)
    swapped = path_length_samples(sampler, SQUARED, [3, 1], Step(space, "full", epsilon=1e-2))
    torch.testing.assert_close(swapped, whole[[3, 1]], rtol=1e-3, atol=1e-5)
    assert torch.equal(torch.get_rng_state(), before)


def test_all_images_of_a_block_are_made_in_one_pass() -> None:
    sampler = linear(matrix())
    path_length_samples(sampler, SQUARED, range(5))
    assert passes(sampler) == [10]


def test_both_images_of_a_pair_have_the_same_noise() -> None:
    """A map that ignores w leaves the noise alone, which cancels."""
    assert path_length_samples(linear(torch.zeros(PIXELS, DIM)), SQUARED, SEEDS).abs().max() == 0


class Seen:
    """Keeps what it is given."""

    identity: dict[str, Any] = {"name": "seen"}  # noqa: RUF012

    def __init__(self) -> None:
        self.pairs: list[tuple[Tensor, Tensor]] = []

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Zero, for any [N, 3, H, W]."""
        self.pairs.append((a, b))
        return a.new_zeros(len(a))


def test_the_distance_sees_images_that_are_not_clipped() -> None:
    sampler, seen = linear(10 * matrix()), Seen()
    path_length_samples(sampler, seen, SEEDS)
    ((a, b),) = seen.pairs
    torch.testing.assert_close(a, sampler.generate(SEEDS))
    assert a.abs().max() > 1
    assert 0 < (a - b).abs().max() < 0.01


def test_growing_runs_are_measured_at_their_level() -> None:
    sampler, seen = real("stylegan-f", growth=GrowthState(1, 0.3)), Seen()
    path_length_samples(sampler, seen, [1, 2])
    ((a, _),) = seen.pairs
    torch.testing.assert_close(a, sampler.generate([1, 2]), rtol=1e-4, atol=1e-4)
    assert a.shape == (2, 3, 8, 8)


def test_pyramids_are_measured_at_their_finest() -> None:
    seen = Seen()
    path_length_samples(real("msg-progan"), seen, [1], Step("z"))
    assert seen.pairs[0][0].shape == (1, 3, 16, 16)


def test_a_latent_input_beside_w() -> None:
    """At t = 0 the image is that of the seed: its ws are as the generator's mapping has them."""
    sampler, seen = real("stylegan-c-paper"), Seen()
    path_length_samples(sampler, seen, [1, 2], Step("w"))
    torch.testing.assert_close(seen.pairs[0][0], sampler.generate([1, 2]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("space", ["z", "w"])
def test_both_ends_have_the_label_of_the_sample(space: Any) -> None:
    sampler, seen = real("stylegan2-f", "label_dim=3"), Seen()
    path_length_samples(sampler, seen, [5, 6], Step(space), labels(2, 1))
    a, b = seen.pairs[0]
    torch.testing.assert_close(a, b, rtol=0.1, atol=0.01)
    if space == "w":
        torch.testing.assert_close(a, sampler.generate([5, 6], classes=[2, 1]), rtol=1e-4, atol=1e-4)
    values = [
        path_length_samples(sampler, SQUARED, [5, 6], Step(space, epsilon=1e-2), labels(k, 1)) for k in (0, 2)
    ]
    assert not torch.allclose(values[0][0], values[1][0], rtol=0.01)
    torch.testing.assert_close(values[0][1], values[1][1], rtol=1e-3, atol=1e-5)
    with pytest.raises(UserError, match="label: this generator needs labels of 3 classes"):
        path_length_samples(sampler, SQUARED, [5], Step(space))


# ---- what is compared


def test_the_window_of_square_and_wide_images() -> None:
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(32.0), indexing="ij")
    image = torch.stack([rows, columns])[None]
    window = central_window(image)
    assert window.shape == (1, 2, 32, 16)
    assert (window[0, 0, [0, -1], 0].tolist(), window[0, 1, 0, [0, -1]].tolist()) == ([24, 55], [8, 23])
    square = central_window(rows[None, None, :, :].expand(1, 1, 64, 32)[..., :8, :8])
    assert square.flatten().tolist() == [3] * 4 + [4] * 4 + [5] * 4 + [6] * 4


@pytest.mark.parametrize(
    ("size", "crop", "factor"),
    [
        ((256, 256), False, 1),
        ((512, 512), False, 2),
        ((1024, 1024), False, 4),
        ((512, 512), True, 1),
        ((1024, 1024), True, 2),
        ((384, 512), False, 2),  # as the authors' wide images, which have bars above and below
        ((512, 384), False, 2),
        ((512, 896), False, 2),  # 3 x 256 fit, but 3 does not divide 512
        ((768, 1024), True, 2),
        ((16, 16), True, 1),
    ],
)
def test_large_images_are_averaged_after_the_crop(size: tuple[int, int], crop: bool, factor: int) -> None:
    image = torch.rand(1, 3, *size)
    window = central_window(image) if crop else image
    height, width = window.shape[2] // factor, window.shape[3] // factor
    expected = window.reshape(3, height, factor, width, factor).mean((2, 4))[None]
    torch.testing.assert_close(comparable(image, crop), expected)


def test_the_crop_is_part_of_the_path_length() -> None:
    """A map whose images vary outside the window alone has none inside."""
    outside = torch.ones(3, 8, 8)
    outside[:, 3:7, 2:6] = 0
    sampler = linear(matrix() * outside.reshape(-1, 1))
    assert path_length_samples(sampler, SQUARED, SEEDS, Step(crop=True)).max() == 0
    assert path_length_samples(sampler, SQUARED, SEEDS, Step(crop=False)).min() > 0
    assert image_path_lengths(sampler, SQUARED, SEEDS, crop=True).max() == 0


def test_grey_images_are_compared_in_three_channels() -> None:
    image = torch.rand(2, 1, 16, 16)
    assert torch.equal(comparable(image, False), image.repeat(1, 3, 1, 1))
    with pytest.raises(UserError, match=r"shape \(2, 4, 16, 16\).* C = 1 \(grey\) or 3"):
        comparable(torch.rand(2, 4, 16, 16), False)


def test_images_too_small_to_crop() -> None:
    with pytest.raises(UserError, match="crop: images of 4x4 px cannot be cropped; valid: 8 px or more"):
        path_length_samples(real("stylegan-f", growth=GrowthState(0, 1.0)), SQUARED, [0], Step(crop=True))


# ---- slerp

vectors = st.lists(st.floats(-5, 5), min_size=4, max_size=4).filter(lambda v: np.linalg.norm(v) > 0.1)


@given(vectors, vectors, st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_slerp_divides_the_angle(a: list[float], b: list[float], t: float) -> None:
    """Of length 1, in the plane of a and b, at t times their angle from a and 1 - t times from b."""
    x, y = (torch.tensor(v, dtype=torch.float64) for v in (a, b))
    x, y = x / x.norm(), y / y.norm()
    angle = torch.arccos((x @ y).clamp(-1, 1)).item()
    result = slerp(torch.tensor([a]).double(), torch.tensor([b]).double(), torch.tensor([[t]]).double())[0]
    assert result.norm().item() == pytest.approx(1)
    if 0.01 < angle < 3.13:
        expected = (math.sin((1 - t) * angle) * x + math.sin(t * angle) * y) / math.sin(angle)
        torch.testing.assert_close(result, expected, rtol=1e-6, atol=1e-6)


def test_slerp_of_equal_ends() -> None:
    a = torch.randn(3, 8, dtype=torch.float64)
    t = torch.full((3, 1), 0.3, dtype=torch.float64)
    torch.testing.assert_close(slerp(a, 2 * a, t), a / a.norm(dim=1, keepdim=True))


# ---- from samples to a number


@given(st.lists(st.floats(0, 1e4), min_size=2, max_size=400), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_outliers_are_cut_at_numpys_percentiles(samples: list[float], seed: int) -> None:
    array = np.array(samples) + np.random.default_rng(seed).random(len(samples))
    result = path_length(torch.from_numpy(array))
    low = np.percentile(array, 1, method="lower")
    high = np.percentile(array, 99, method="higher")
    kept = array[(array >= low) & (array <= high)]
    assert (result.low, result.high, result.kept) == (low, high, len(kept))
    assert result.mean == pytest.approx(kept.mean())


def test_a_thousand_samples_lose_ten_at_each_end() -> None:
    """1 % of 999 steps is 9.99: positions 9 and 990 count."""
    result = path_length(torch.randperm(1000, dtype=torch.float64))
    assert (result.low, result.high, result.kept, result.mean) == (9, 990, 982, 499.5)


def test_the_standard_error_is_that_of_repeated_measurements() -> None:
    rng = np.random.default_rng(0)
    samples = torch.from_numpy(rng.lognormal(0, 1, (400, 500)))
    results = [path_length(row) for row in samples]
    spread = np.std([result.mean for result in results])
    assert np.mean([result.standard_error for result in results]) == pytest.approx(spread, rel=0.1)
    few = path_length(samples[0, :2])  # nothing is cut: the usual standard error
    assert few.standard_error == pytest.approx(stats.sem(samples[0, :2].numpy()))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0], "1 given, 0 not finite"),
        ([1.0, math.nan, math.inf], "3 given, 2 not finite"),
        ([], "0 given"),
    ],
)
def test_refuses_samples(values: list[float], message: str) -> None:
    with pytest.raises(UserError, match=f"path lengths: {message}"):
        path_length(torch.tensor(values, dtype=torch.float64))


# ---- single images


def test_path_length_of_an_image_is_the_mean_over_directions() -> None:
    a = matrix()
    sampler = linear(a)
    z, _, streams = sampler.draw_streams(SEEDS)
    others = torch.stack([sampler.further_latents(streams) for _ in range(5)]).double()
    expected = ((others - z.double()) @ a.double().t()).square().sum(2).mean(0)
    values = image_path_lengths(sampler, SQUARED, SEEDS, draws=5, epsilon=1e-2)
    torch.testing.assert_close(values, expected, rtol=1e-3, atol=0)
    assert passes(sampler) == [len(SEEDS)] * 6


def test_one_direction_is_a_sample_of_the_path_length() -> None:
    sampler = real("stylegan2-f")
    torch.testing.assert_close(
        image_path_lengths(sampler, SQUARED, SEEDS, draws=1, epsilon=1e-2),
        path_length_samples(sampler, SQUARED, SEEDS, Step(epsilon=1e-2)),
        rtol=1e-3,
        atol=1e-5,
    )


def test_single_images_depend_on_their_seed_and_label_alone() -> None:
    sampler = real("stylegan2-f", "label_dim=3")
    whole = image_path_lengths(sampler, SQUARED, [4, 5, 6], 3, epsilon=1e-2, labels=labels(0, 1, 2))
    one = image_path_lengths(sampler, SQUARED, [5], 3, epsilon=1e-2, labels=labels(1))
    torch.testing.assert_close(one, whole[1:2], rtol=1e-3, atol=1e-5)
    other = image_path_lengths(sampler, SQUARED, [5], 3, epsilon=1e-2, labels=labels(2))
    assert not torch.allclose(one, other, rtol=0.01)


def test_sixteen_directions_by_default() -> None:
    sampler = linear(matrix())
    image_path_lengths(sampler, SQUARED, [0])
    assert len(passes(sampler)) == 17


def test_groups_of_low_and_high_images() -> None:
    values = torch.randperm(50).double()
    low, high = percentile_groups(values, range(100, 150))
    ranks = {100 + i: v for i, v in enumerate(values.tolist())}
    assert sorted(ranks[seed] for seed in low) == [0, 1, 2, 3, 4]  # the 10th percentile is 4.9
    assert sorted(ranks[seed] for seed in high) == [45, 46, 47, 48, 49]  # the 90th 44.1
    assert (low, high) == (sorted(low), sorted(high))
    assert percentile_groups(torch.ones(3), [7, 8, 9]) == ([7, 8, 9], [7, 8, 9])


# ---- refusals


@pytest.mark.parametrize("preset", ["progan", "msg-progan"])
def test_generators_without_a_w_have_path_lengths_in_z_alone(preset: str) -> None:
    sampler = real(preset)
    message = "space: 'w' is not valid, this generator has no mapping .*; valid: 'z'"
    with pytest.raises(UserError, match=message):
        path_length_samples(sampler, SQUARED, [0], Step("w"))
    with pytest.raises(UserError, match=message):
        image_path_lengths(sampler, SQUARED, [0])
    assert path_length_samples(sampler, SQUARED, [0], Step("z")).item() > 0


def test_traditional_generators_with_a_mapping_have_a_w() -> None:
    assert path_length_samples(real("stylegan-b"), SQUARED, [0], Step("w")).item() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"space": "x"}, "space: 'x' is not valid, choose from z, w"),
        ({"sampling": "start"}, "sampling: 'start' is not valid, choose from full, end"),
        ({"epsilon": 0.0}, "epsilon: 0.0 is not valid"),
        ({"epsilon": math.nan}, "epsilon: nan is not valid"),
    ],
)
def test_refuses_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        path_length_samples(linear(matrix()), SQUARED, [0], Step(**options))


def test_refuses_no_directions() -> None:
    with pytest.raises(UserError, match="draws: 0 is not valid, it must be at least 1"):
        image_path_lengths(linear(matrix()), SQUARED, [0], draws=0)


def test_the_step_of_the_papers() -> None:
    assert ppl.EPSILON == 1e-4
