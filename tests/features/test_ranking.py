"""A perceptual distance ranks pairs of images as people would."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from styleloom.data import open_dataset
from styleloom.data.reals import to_signed
from styleloom.features.registry import load_distance
from styleloom.types import EmbeddingDistance

NUM = 12


@pytest.fixture(scope="module")
def faces() -> Tensor:
    """Portraits of 64 px in [-1, 1]."""
    return to_signed(torch.from_numpy(open_dataset("portraits").images(np.arange(NUM))))


@torch.no_grad()
def test_small_changes_are_nearer_than_another_image(faces: Tensor) -> None:
    distance = load_distance("efficientnet-lite0")
    noise = torch.randn(faces.shape, generator=torch.Generator().manual_seed(0))
    near = {
        "shifted by 1 px": pad(faces, (1, 0, 0, 0), mode="replicate")[..., :-1],
        "blurred a little": avg_pool2d(pad(faces, (1, 1, 1, 1), mode="replicate"), 3, 1),
        "noise": faces + 0.05 * noise,
    }
    stronger = {"shifted by 1 px": pad(faces, (3, 0, 0, 0), mode="replicate")[..., :-3]}
    stronger |= {"blurred a little": avg_pool2d(pad(faces, (3, 3, 3, 3), mode="replicate"), 7, 1)}
    stronger |= {"noise": faces + 0.2 * noise}
    others = distance.distance(faces, faces.roll(1, 0))
    assert distance.distance(faces, faces).abs().max() == 0
    for name, changed in near.items():
        found = distance.distance(faces, changed)
        assert found.min() > 0, name
        assert (found < others).all(), name
        assert (found < distance.distance(faces, stronger[name])).all(), name


@torch.no_grad()
def test_a_distance_in_two_parts_is_the_distance(faces: Tensor) -> None:
    distance = load_distance("efficientnet-lite0")
    assert isinstance(distance, EmbeddingDistance)
    found = distance.between(distance.embed(faces[:4]), distance.embed(faces[4:8]))
    assert torch.equal(found, distance.distance(faces[:4], faces[4:8]))
