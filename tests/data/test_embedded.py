from __future__ import annotations

import numpy as np
import pytest

from every import every
from styleloom.data import ImageDataset, check_dataset, open_dataset
from styleloom.data.sources import EMBEDDED_SETS
from styleloom.errors import UserError

from .images import build


@pytest.fixture(scope="module")
def emoji() -> ImageDataset:
    dataset = open_dataset("emoji")
    assert dataset.preload()
    return dataset


def test_size_number_and_recipe(emoji: ImageDataset) -> None:
    assert EMBEDDED_SETS["emoji"].stat().st_size < 8_000_000
    assert (len(emoji), emoji.resolution, emoji.channels, emoji.label_dim) == (1870, 64, 3, 0)
    assert (emoji.name, emoji.recipe["source"], emoji.recipe["filter"]) == ("emoji", "emoji", "lanczos")
    assert (emoji.grid, emoji.size) == ((4, 4), (64, 64))
    # Of the index as it was made, before there were grids: runs record it.
    assert emoji.fingerprint == "03c02a8b7c77f5e48a303861e6323328e51db4c9b2dc3d6ab0e68eb4523ad064"
    notice = (EMBEDDED_SETS["emoji"].parent / "NOTICE.md").read_text()
    for phrase in ("Microsoft Corporation", "2023 LobeHub", "MIT License", "THE SOFTWARE IS PROVIDED"):
        assert phrase in notice


def test_all_images_are_whole_distinct_and_in_shuffled_order(emoji: ImageDataset) -> None:
    report = check_dataset("emoji")
    assert report.problems == report.duplicates == ()
    names = sorted(report.index.sources)
    assert not any(f"1f3f{digit}" in name for name in names for digit in "bcdef")
    np.random.RandomState(123).shuffle(names)
    assert tuple(names) == report.index.sources


def test_background_is_white_and_the_middle_is_not(emoji: ImageDataset) -> None:
    pixels = emoji.images(np.arange(len(emoji)))
    assert (pixels[:, :, [0, 0, -1, -1], [0, -1, 0, -1]] >= 254).all()
    assert (pixels.reshape(len(emoji), -1).min(1) < 220).all()  # every image shows something
    assert pixels.std() > 50


@every("resolution", [4, 16, 32])
def test_smaller_by_averaging_blocks(emoji: ImageDataset, resolution: int) -> None:
    small = open_dataset("emoji", resolution)
    assert small.resolution == resolution
    factor = 64 // resolution
    for i in range(0, len(small), 200):
        blocks = emoji.image(i).astype(np.float64).reshape(3, resolution, factor, resolution, factor)
        np.testing.assert_array_equal(small.image(i), np.rint(blocks.mean((2, 4))))
    assert small.fingerprint != emoji.fingerprint
    assert small.split(10)[0].fingerprint != emoji.split(10)[0].fingerprint


def test_larger_is_refused() -> None:
    with pytest.raises(UserError, match="emoji is stored at 64 px, not 128 px; emoji is given at 4 to 64 px"):
        open_dataset("emoji", 128)


def test_an_archive_can_be_built_from_it(tmp_path) -> None:
    dataset = open_dataset(build("emoji", tmp_path / "e.zip", resolution=8))
    assert (len(dataset), dataset.resolution, dataset.recipe["source"]) == (1870, 8, "emoji")
