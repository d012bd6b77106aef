"""Inception score of predictions whose score is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor

from styleloom.errors import UserError
from styleloom.metrics.inception_score import SPLITS, inception_score


def random_logits(num: int, classes: int = 7, seed: int = 0) -> Tensor:
    return 3 * torch.randn(num, classes, generator=torch.Generator().manual_seed(seed))


def test_equal_to_scipy_on_each_split() -> None:
    logits = random_logits(60)
    scores = []
    for part in np.split(logits.double().numpy(), 5):
        probabilities = special.softmax(part, axis=1)
        marginal = probabilities.mean(axis=0)
        scores.append(np.exp(np.mean([stats.entropy(p, marginal) for p in probabilities])))
    result = inception_score(logits, splits=5)
    assert result.mean == pytest.approx(np.mean(scores), rel=1e-12)
    assert result.std == pytest.approx(np.std(scores), rel=1e-9)


@pytest.mark.parametrize("scale", [1.0, 50.0, 1e4])
def test_certain_and_balanced_predictions_score_the_number_of_classes(scale: float) -> None:
    """At the last scale probabilities are exactly 0 and 1."""
    one_hot = scale * torch.eye(8).repeat(20, 1)
    expected = inception_score(one_hot)
    assert expected.std == pytest.approx(0, abs=1e-9)
    assert expected.mean == pytest.approx(8, rel=1e-6) if scale > 1 else expected.mean < 8


def test_a_single_class_and_constant_predictions_score_one() -> None:
    assert inception_score(1e3 * torch.eye(8)[:1].repeat(50, 1)).mean == pytest.approx(1, abs=1e-12)
    assert inception_score(torch.zeros(50, 8)).mean == pytest.approx(1, abs=1e-12)
    assert inception_score(random_logits(1).repeat(50, 1)).mean == pytest.approx(1, abs=1e-12)


def test_a_class_that_never_occurs_is_no_trouble() -> None:
    logits = 1e4 * torch.eye(8)[:4].repeat(10, 1)
    assert inception_score(logits, 1).mean == pytest.approx(4)


def test_splits_follow_the_order_and_are_nearly_equal() -> None:
    """Class k in the k-th tenth alone: each part scores 1, the whole 10."""
    logits = 1e3 * torch.eye(10).repeat_interleave(5, dim=0)
    assert SPLITS == 10
    assert inception_score(logits).mean == pytest.approx(1)
    assert inception_score(logits, splits=1).mean == pytest.approx(10)
    # 11 images in 4 parts: 3, 3, 3 and 2, each of images of its own class in turn.
    order = 1e3 * torch.eye(3)[[0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1]]
    result = inception_score(order, splits=4)
    assert result.mean == pytest.approx((3 + 3 + 3 + 2) / 4)
    assert result.std == pytest.approx(math.sqrt(3) / 4)


def test_adding_a_constant_to_the_logits_of_an_image_changes_nothing() -> None:
    logits = random_logits(40)
    shifted = logits.double() + torch.linspace(-500, 500, 40, dtype=torch.float64)[:, None]
    assert inception_score(shifted).mean == pytest.approx(inception_score(logits).mean, rel=1e-9)


@pytest.mark.parametrize("splits", [0, 41])
def test_refuses_more_splits_than_images(splits: int) -> None:
    with pytest.raises(UserError, match=f"splits is {splits} for 40 images; valid: 1 to"):
        inception_score(random_logits(40), splits)


def test_refuses_logits() -> None:
    with pytest.raises(UserError, match="hold inf"):
        inception_score(torch.full((20, 3), math.inf))
    with pytest.raises(UserError, match=r"valid: \[N, D\]"):
        inception_score(torch.zeros(20))
