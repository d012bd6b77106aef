from __future__ import annotations

from pathlib import Path

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


@pytest.fixture(scope="module")
def portraits() -> ImageDataset:
    dataset = open_dataset("portraits")
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


def test_size_number_and_recipe_of_the_portraits(portraits: ImageDataset) -> None:
    assert EMBEDDED_SETS["portraits"].stat().st_size < 8_000_000
    assert (len(portraits), portraits.resolution, portraits.channels) == (4640, 64, 3)
    assert (portraits.name, portraits.path, portraits.recipe["source"]) == ("portraits",) * 3
    assert portraits.size == (64, 64)
    notice = " ".join((EMBEDDED_SETS["portraits"].parent / "NOTICE.md").read_text().split())
    for phrase in (
        "portraits-64.zip",
        "[Personas by Draftbit](https://personas.draftbit.com/)",
        "[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/)",
        "(https://www.npmjs.com/package/@dicebear/personas), version 9.4.3",
        "remix of the original",
        "Changes: parts combined at random",
    ):
        assert phrase in notice, phrase


def test_attributes_of_the_portraits(portraits: ImageDataset) -> None:
    """Fifteen of yes and no, each of some portraits and not of others, then four colours of three numbers."""
    names = portraits.classes
    assert names is not None
    assert names[:15] == (
        *("glasses", "sunglasses", "eyes-closed", "facial-hair", "full-beard", "smile", "open-mouth"),
        *("long-hair", "hat", "bald", "bun", "dark-hair", "dark-skin", "wrinkles", "checked-shirt"),
    )
    colors = [
        f"{of}-{c}" for of in ("hair", "skin", "clothes", "background") for c in ("red", "green", "blue")
    ]
    assert list(names[15:]) == colors
    labels = portraits.labels(np.arange(len(portraits)))
    assert ((labels >= 0) & (labels <= 1)).all()
    assert [name for at, name in enumerate(names) if set(labels[:, at]) == {0, 1}] == list(names[:15])
    shares = labels[:, :15].mean(0)
    assert ((shares > 0.03) & (shares < 0.97)).all(), dict(zip(names, shares, strict=False))
    has = {name: labels[:, at] == 1 for at, name in enumerate(names[:15])}
    for part, whole in [
        ("sunglasses", "glasses"),
        ("full-beard", "facial-hair"),
        ("full-beard", "smile"),  # it is drawn with a mouth of its own
        ("full-beard", "open-mouth"),
    ]:
        assert (has[part] <= has[whole]).all(), (part, whole)
    for one, other in [
        ("hat", "bald"),
        ("hat", "dark-hair"),
        ("glasses", "eyes-closed"),
        ("bun", "long-hair"),
    ]:
        assert not (has[one] & has[other]).any(), (one, other)


def test_colours_of_the_portraits_are_those_of_their_pixels(portraits: ImageDataset) -> None:
    pixels, labels = portraits.images(np.arange(100)), portraits.labels(np.arange(100))
    np.testing.assert_allclose(pixels[:, :, 20, 0] / 255, labels[:, 24:27], atol=0.001)  # the background


@pytest.mark.parametrize("name", sorted(EMBEDDED_SETS))
def test_all_images_are_whole_distinct_and_in_shuffled_order(name: str) -> None:
    report = check_dataset(name)
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


@every("resolution", [4, 8, 16, 32])
def test_smaller_by_averaging_blocks(emoji: ImageDataset, portraits: ImageDataset, resolution: int) -> None:
    for full in (emoji, portraits):
        small = open_dataset(full.name, resolution)
        assert small.resolution == resolution
        factor = 64 // resolution
        for i in range(0, len(small), 300):
            blocks = full.image(i).astype(np.float64).reshape(3, resolution, factor, resolution, factor)
            np.testing.assert_array_equal(small.image(i), np.rint(blocks.mean((2, 4))))
        np.testing.assert_array_equal(small.label(5), full.label(5))
        np.testing.assert_array_equal(full.at(resolution).image(5), small.image(5))  # of growing networks
        assert small.fingerprint != full.fingerprint
        assert small.split(10)[0].fingerprint != full.split(10)[0].fingerprint


@every("name", sorted(EMBEDDED_SETS))
def test_larger_is_refused(name: str) -> None:
    message = f"{name} is stored at 64 px, not 128 px; {name} is given at 4 to 64 px"
    with pytest.raises(UserError, match=message):
        open_dataset(name, 128)


def test_an_archive_can_be_built_from_it(tmp_path: Path) -> None:
    dataset = open_dataset(build("emoji", tmp_path / "e.zip", resolution=8))
    assert (len(dataset), dataset.resolution, dataset.recipe["source"]) == (1870, 8, "emoji")


def test_an_archive_of_portraits_has_labels_when_they_are_asked_for(
    tmp_path: Path, portraits: ImageDataset, caplog: pytest.LogCaptureFixture
) -> None:
    kept = open_dataset(build("portraits", tmp_path / "kept.zip", resolution=8, labels="keep", max_images=30))
    assert (kept.resolution, kept.classes) == (8, portraits.classes)
    same = np.array(
        [int(Path(kept.source_name(i)).stem) for i in range(30)]
    )  # files of an archive have numbers
    np.testing.assert_array_equal(kept.labels(np.arange(30)), portraits.labels(same))
    assert not caplog.messages
    bare = open_dataset(build("portraits", tmp_path / "bare.zip", resolution=8, max_images=30))
    assert (bare.label_dim, bare.classes) == (0, None)
    assert caplog.messages == ["the labels of portraits are not used; --labels keep takes them"]
