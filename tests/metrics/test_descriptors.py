"""Patches of pyramids: where they are cut, how they are normalised, and batch by batch."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from styleloom.errors import UserError
from styleloom.metrics import descriptors as cutting
from styleloom.metrics import pyramid, swd
from styleloom.metrics.descriptors import Descriptors, Patches, normalize_
from styleloom.metrics.swd import sliced_wasserstein

from .scenes import scenes, wide

# --- Patches ------------------------------------------------------------------------------------------------


def test_descriptors_are_patches_of_the_level() -> None:
    images = scenes(3, 32, 3).to(torch.uint8)
    bands = pyramid.laplacian_pyramid(images.float(), 16)
    for side in (32, 16):
        windows = bands[side].unfold(2, 5, 1).unfold(3, 5, 1).flatten(4)  # [3, C, side - 4, side - 4, 25]
        cut = cutting.descriptors(images, side, Patches(patches_per_image=6, patch=5))
        assert cut.shape == (18, 75)
        for row, descriptor in enumerate(cut):
            same = (windows[row // 6] == descriptor.view(3, 1, 1, 25)).all(dim=-1).all(dim=0)
            assert same.any(), f"descriptor {row} is no patch of its image at {side} px"


def test_positions_cover_the_level_evenly_up_to_its_borders() -> None:
    ramp = torch.arange(16.0)[:, None] * 16 + torch.arange(16.0)
    corners = cutting.descriptors(ramp.expand(500, 1, 16, 16), 16, Patches(patch=7))[:, 0]
    counts = torch.stack((corners // 16, corners % 16)).long()
    for axis in counts:
        assert torch.bincount(axis).shape == (10,)
        assert stats.chisquare(torch.bincount(axis).numpy()).pvalue > 1e-3


def test_batch_size_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    images = scenes(10, 32)
    whole = cutting.descriptors(images, 16)
    monkeypatch.setattr(cutting, "BATCH_ELEMENTS", 3 * 3 * 32 * 32)
    assert torch.equal(cutting.descriptors(images, 16), whole)


def test_normalize_is_per_channel_over_the_whole_set() -> None:
    cloud = torch.randn(1000, 3, 49, generator=torch.Generator().manual_seed(0))
    cloud = (
        cloud * torch.tensor([1.0, 20.0, 0.0])[:, None] + torch.tensor([5.0, -30.0, 77.7])[:, None]
    ).flatten(1)
    expected = cloud.view(1000, 3, 49).double().numpy()
    expected = expected - expected.mean(axis=(0, 2), keepdims=True)
    expected[:, :2] /= expected[:, :2].std(axis=(0, 2), keepdims=True)  # the third channel is flat
    result = normalize_(cloud.clone(), num_channels=3).view(1000, 3, 49).numpy()
    np.testing.assert_allclose(result, expected, atol=2e-5)


def test_descriptors_refuse_a_side_that_is_no_level() -> None:
    with pytest.raises(UserError, match="side is 8; valid: 32, 16"):
        cutting.descriptors(scenes(2), 8)


def test_descriptors_of_rectangles_are_patches_of_the_level() -> None:
    images = wide(3, 24, 32).to(torch.uint8)
    bands = pyramid.laplacian_pyramid(images.float(), 8, (3, 4))
    assert list(bands) == [32, 16]
    for side in (32, 16):
        windows = bands[side].unfold(2, 5, 1).unfold(3, 5, 1).flatten(4)
        cut = cutting.descriptors(images, side, Patches(patches_per_image=6, patch=5, lowest=8, grid=(3, 4)))
        assert cut.shape == (18, 75)
        for row, descriptor in enumerate(cut):
            same = (windows[row // 6] == descriptor.view(3, 1, 1, 25)).all(dim=-1).all(dim=0)
            assert same.any(), f"descriptor {row} is no patch of its image at {side} px"


@pytest.mark.parametrize(("height", "width"), [(12, 16), (16, 12)])
def test_positions_cover_rectangles_evenly_up_to_their_borders(height: int, width: int) -> None:
    ramp = torch.arange(float(height))[:, None] * 16 + torch.arange(float(width))
    images = ramp.expand(500, 1, height, width)
    corners = cutting.descriptors(images, 16, Patches(patch=7, grid=(height // 4, width // 4)))[:, 0]
    for axis, size in ((corners // 16, height), (corners % 16, width)):
        counts = torch.bincount(axis.long())
        assert counts.shape == (size - 6,)
        assert stats.chisquare(counts.numpy()).pvalue > 1e-3


# --- Batch by batch -----------------------------------------------------------------------------------------

SMALL = Patches(patches_per_image=8, patch=3)


def stream(descriptors: Descriptors, images: Tensor, batch: int) -> Descriptors:
    for part in images.split(batch):
        descriptors.add(part)
    return descriptors


@pytest.mark.parametrize(
    ("size", "grid", "lowest"),
    [((32, 32), (4, 4), 8), ((24, 32), (3, 4), 8), ((32, 24), (4, 3), 16), ((16, 16), (4, 4), 16)],
)
@pytest.mark.parametrize("batch", [1, 7, 23])
def test_streaming_changes_no_bit(
    size: tuple[int, int], grid: tuple[int, int], lowest: int, batch: int
) -> None:
    reals, fakes = (wide(23, *size, seed=seed).to(torch.uint8) for seed in (0, 1))
    patches = replace(SMALL, seed=3, lowest=lowest, grid=grid)
    whole = sliced_wasserstein(reals, fakes, patches, repeats=2, directions=5)
    with (
        Descriptors(23, patches) as ours,
        Descriptors(23, patches) as theirs,
    ):
        stream(ours, reals, batch)
        stream(theirs, fakes, 10)
        assert swd.distance(ours, theirs, repeats=2, directions=5) == whole
        assert swd.distance(ours, theirs, repeats=2, directions=5) == whole  # nothing was normalised in place
        assert ours.sides == list(whole.levels)


def test_large_batches_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    images = scenes(10)
    with Descriptors(10, SMALL) as whole, Descriptors(10, SMALL) as parts:
        whole.add(images)
        monkeypatch.setattr(cutting, "BATCH_ELEMENTS", 3 * 3 * 32 * 32)
        parts.add(images)
        for side in (32, 16):
            assert torch.equal(whole.level(side), parts.level(side))
            assert torch.equal(whole.level(side), cutting.descriptors(images, side, SMALL))


def test_files_are_in_the_folder_until_the_end(tmp_path: Path) -> None:
    with Descriptors(4, SMALL, directory=tmp_path) as descriptors:
        descriptors.add(scenes(2))
        files = sorted(path.name for path in tmp_path.rglob("*.f32"))
        assert files == ["16.f32", "32.f32"]
        assert sum(path.stat().st_size for path in tmp_path.rglob("*.f32")) == 2 * 4 * 8 * 27 * 4
        (on_disk,) = tmp_path.rglob("32.f32")
        cut = torch.from_numpy(np.fromfile(on_disk, np.float32)).view(-1, 27)
        assert torch.equal(cut, descriptors.level(32))
        assert cut[:16].any()
    assert not list(tmp_path.iterdir())


def test_files_go_when_something_fails(tmp_path: Path) -> None:
    descriptors = Descriptors(4, SMALL, directory=tmp_path)
    descriptors.add(scenes(2))
    with pytest.raises(UserError, match="images lie in"), descriptors:
        descriptors.add(torch.full((1, 3, 32, 32), math.nan))
    assert not list(tmp_path.iterdir())


def test_streaming_refuses_images() -> None:
    with Descriptors(4, SMALL) as descriptors:
        descriptors.add(scenes(3))
        with pytest.raises(UserError, match=r"images are \[3, 16, 16\] after \[3, 32, 32\]"):
            descriptors.add(scenes(1, 16))
        with pytest.raises(UserError, match="images: 5 came; valid: 4, as announced"):
            descriptors.add(scenes(2))
        with pytest.raises(UserError, match="images lie in"):
            descriptors.add(scenes(1) - 300)
        with (
            Descriptors(4, SMALL) as other,
            pytest.raises(UserError, match="reals: 3 images came; valid: 4"),
        ):
            swd.distance(descriptors, stream(other, scenes(4), 4))


@pytest.mark.parametrize("options", [{"seed": 1}, {"patch": 5}, {"patches_per_image": 4}, {"lowest": 8}])
def test_streaming_refuses_to_compare_what_differs(options: dict[str, Any]) -> None:
    with Descriptors(3, SMALL) as ours, Descriptors(3, replace(SMALL, **options)) as theirs:
        stream(ours, scenes(3), 3)
        stream(theirs, scenes(3), 3)
        with pytest.raises(UserError, match=r"descriptors differ in .*valid: the same"):
            swd.distance(ours, theirs)


def test_streaming_refuses_options() -> None:
    with pytest.raises(UserError, match="num_images is 1; valid: 2 or more"):
        Descriptors(1)
    with pytest.raises(UserError, match="patches_per_image is 0"):
        Patches(patches_per_image=0)
    with (
        Descriptors(2, Patches(patch=17)) as descriptors,
        pytest.raises(UserError, match="patch is 17 px at a level of 16"),
    ):
        descriptors.add(scenes(2))
