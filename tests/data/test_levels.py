"""Lower levels of a data set, for growing: what they show, what they cost, and that the samples stay."""

from __future__ import annotations

import gc
import pickle
import threading
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from every import every
from styleloom.data import ImageDataset, Loader, open_dataset
from styleloom.data import reader as reader_module
from styleloom.data.archive_reader import ArchiveReader
from styleloom.data.dataset import PRELOAD_BUDGET_BYTES
from styleloom.errors import UserError

from .images import build, encoded, make_folder, means, noise, rewritten

SIZE = 13
GRID = (3, 4)  # 24 x 32 px at resolution 32


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """13 RGB images of 24 x 32 px with two classes."""
    root = tmp_path_factory.mktemp("levels")
    folder = make_folder(root / "in", SIZE, side=32)
    return build(folder, root / "set.zip", resolution=32, grid=GRID, labels="folders")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often each image of an archive has been decoded."""
    counts: Counter[int] = Counter()
    decode = ArchiveReader.image

    def counting(self: ArchiveReader, position: int) -> np.ndarray:
        counts[position] += 1
        return decode(self, position)

    monkeypatch.setattr(ArchiveReader, "image", counting)
    return counts


def everything(dataset: ImageDataset) -> np.ndarray:
    return dataset.images(np.arange(len(dataset)))


# --- What a level shows -------------------------------------------------------------------------------------


@given(
    sides=st.lists(st.sampled_from([4, 8, 16, 32]), min_size=1, max_size=4),
    held_out=st.sampled_from([None, "before", "after"]),
    preloaded=st.booleans(),
    keep=st.booleans(),
    order=st.permutations(range(SIZE - 4)),
)
@settings(deadline=None, max_examples=60)
def test_a_level_is_the_same_images_labels_and_order(
    archive: Path, sides: list[int], held_out: str | None, preloaded: bool, keep: bool, order: list[int]
) -> None:
    """However it was reached: from memory or file, kept or not, split before or after, by way of others."""
    budget = PRELOAD_BUDGET_BYTES if keep else 1
    full = level = open_dataset(archive)
    if preloaded:
        assert full.preload()
    if held_out == "before":
        full, level = full.split(4)[0], full.split(4)[0]
    for side in sides:
        level = level.at(side, budget)
    if held_out == "after":
        full, level = full.split(4)[0], level.split(4)[0]
    side = sides[-1]
    assert keep or side == 32 or not level.keeps_images or preloaded
    assert (level.resolution, level.grid, level.size) == (side, GRID, (3 * side // 4, side))
    assert len(level) == len(full)
    assert (level.channels, level.label_dim, level.classes) == (3, 2, full.classes)
    assert (level.name, level.path, level.recipe) == (full.name, full.path, full.recipe)
    assert level.fingerprint == full.fingerprint
    indices = np.array(order)
    expected = means(full.images(indices), 32 // side)
    for _ in range(2):  # made, then remembered
        np.testing.assert_array_equal(level.images(indices), expected)
    np.testing.assert_array_equal(level.image(order[0]), expected[0])
    np.testing.assert_array_equal(level.labels(indices), full.labels(indices))
    assert level.source_name(order[0]) == full.source_name(order[0])
    for wrong in (-1, len(full)):
        with pytest.raises(IndexError):
            level.images(np.array([wrong]))


def test_parts_have_other_fingerprints_at_every_level(archive: Path) -> None:
    dataset = open_dataset(archive)
    train, held_out = dataset.split(4)
    assert train.at(8).fingerprint == train.fingerprint == dataset.at(8).split(4)[0].fingerprint
    assert len({dataset.at(8).fingerprint, train.at(8).fingerprint, held_out.at(8).fingerprint}) == 3


def test_the_full_resolution_is_the_data_set_itself(archive: Path) -> None:
    dataset = open_dataset(archive)
    assert dataset.at(32) is dataset
    assert dataset.at(8).at(32) is dataset
    assert dataset.at(8).at(8) is dataset.at(8)


@every(
    ("resolution", "message"),
    [(64, "resolution 64: no level of set; valid: powers of two from 4 to 32"), (12, "nearest: 8 and 16"),
     (2, "nearest: 4")],
)  # fmt: skip
def test_other_resolutions_are_refused(archive: Path, resolution: int, message: str) -> None:
    dataset = open_dataset(archive)
    for view in (dataset, dataset.at(8)):
        with pytest.raises(UserError, match=message):
            view.at(resolution)


@pytest.mark.parametrize("preloaded", [False, True])
def test_an_embedded_set_opened_smaller_is_reduced_from_what_it_shows(preloaded: bool) -> None:
    emoji = open_dataset("emoji", 16)
    if preloaded:
        assert emoji.preload()
    indices = np.arange(0, len(emoji), 60)
    level = emoji.at(4)
    np.testing.assert_array_equal(level.images(indices), means(emoji.images(indices), 4))
    assert level.fingerprint == emoji.fingerprint != open_dataset("emoji", 4).fingerprint


# --- Memory -------------------------------------------------------------------------------------------------


def test_every_image_is_decoded_once(archive: Path, decoded: Counter[int]) -> None:
    train, held_out = open_dataset(archive).split(4)
    level = train.at(8)
    assert level.keeps_images
    assert not level.preloaded
    for indices in ([2, 0, 2], [0, 1, 5], [2]):
        level.images(np.array(indices))
    assert decoded == {0: 1, 1: 1, 2: 1, 5: 1}
    everything(level)
    assert level.preloaded
    everything(level)
    part, rest = level.split(3)
    assert part.preloaded
    everything(part)
    everything(rest)
    assert decoded == dict.fromkeys(range(SIZE - 4), 1)
    everything(held_out.at(8))
    assert decoded == dict.fromkeys(range(SIZE), 1)


def test_parts_of_a_level_share_its_memory(archive: Path, decoded: Counter[int]) -> None:
    level = open_dataset(archive).at(8)
    part, rest = level.split(4)
    everything(rest)
    part.image(0)
    assert sorted(decoded) == [0, *range(SIZE - 4, SIZE)]
    everything(level)
    assert part.preloaded
    assert set(decoded.values()) == {1}


def test_images_given_out_are_copies(archive: Path) -> None:
    level = open_dataset(archive).at(8)
    expected = everything(level).copy()
    level.image(0)[:] = 0
    everything(level)[:] = 0
    np.testing.assert_array_equal(everything(level), expected)


def test_from_preloaded_images_nothing_is_decoded(archive: Path, decoded: Counter[int]) -> None:
    dataset = open_dataset(archive)
    assert dataset.preload()
    expected = means(everything(dataset), 4)
    decoded.clear()
    for piece in (1, 5000, 2**20):  # one image at a time, two, all
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reader_module, "_PIECE_BYTES", piece)
            patch.setattr(ImageDataset, "_read", None)  # not one by one
            level = dataset.at(8)
            assert level.preloaded
        np.testing.assert_array_equal(everything(level), expected)
        del level
    assert not decoded


def test_preload_makes_what_is_missing(archive: Path, decoded: Counter[int]) -> None:
    dataset = open_dataset(archive)
    level = dataset.at(16)
    level.image(3)
    assert level.preload()
    assert decoded == dict.fromkeys(range(SIZE), 1)
    dataset.preload()
    decoded.clear()
    other = dataset.at(8)
    assert other.preloaded
    np.testing.assert_array_equal(everything(other), means(everything(dataset), 4))
    assert not decoded


def test_beyond_the_budget_images_are_decoded_every_time(archive: Path, decoded: Counter[int]) -> None:
    num_bytes = SIZE * 3 * 6 * 8
    dataset = open_dataset(archive)
    assert dataset.at(8, num_bytes).keeps_images
    assert not dataset.at(16, num_bytes).keeps_images
    level = dataset.at(8, num_bytes - 1)
    assert not level.keeps_images
    assert dataset.at(4, num_bytes - 1).keeps_images
    for _ in range(3):
        np.testing.assert_array_equal(level.image(2), means(dataset._reader.image(2), 4))
    assert decoded[2] == 6
    assert not level.preloaded
    assert not level.preload(num_bytes - 1)
    assert level.preload(num_bytes)
    assert level.keeps_images
    assert level.preloaded
    decoded.clear()
    level.image(2)
    assert not decoded


def test_a_level_in_use_is_shared_and_one_out_of_use_is_freed(archive: Path) -> None:
    dataset = open_dataset(archive)
    level = dataset.at(8)
    assert dataset.at(8) is level
    assert dataset.at(16) is not level
    memory = weakref.ref(level._memory)
    del level
    gc.collect()
    assert memory() is None


def test_many_threads_fill_a_level(archive: Path, decoded: Counter[int]) -> None:
    dataset = open_dataset(archive)
    expected = means(everything(dataset), 4)
    for _ in range(5):
        level = dataset.at(8)
        barrier = threading.Barrier(8)

        def read(seed: int, level: ImageDataset = level, barrier: threading.Barrier = barrier) -> bool:
            order = np.random.RandomState(seed).permutation(np.tile(np.arange(SIZE), 4))
            barrier.wait()
            return all(
                np.array_equal(level.images(part), expected[part]) for part in np.array_split(order, 9)
            )

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read, range(8)))
        assert level.preloaded
        decoded.clear()
        everything(level)
        assert not decoded
        del level, read


@pytest.mark.parametrize("filled", [0, 5, SIZE])
def test_pickled_levels_carry_what_they_have(archive: Path, decoded: Counter[int], filled: int) -> None:
    level = open_dataset(archive).at(8)
    level.images(np.arange(filled))
    copy = pickle.loads(pickle.dumps(level))
    decoded.clear()
    np.testing.assert_array_equal(everything(copy), everything(level))
    assert decoded == dict.fromkeys(range(filled, SIZE), 2)  # by the copy, and by the original
    assert (copy.resolution, copy.fingerprint, copy.preloaded) == (8, level.fingerprint, True)
    assert copy.at(8) is copy
    assert copy.at(16).resolution == 16


def test_a_damaged_image_stays_an_error_and_the_others_are_kept(
    archive: Path, tmp_path: Path, decoded: Counter[int]
) -> None:
    path = rewritten(archive, tmp_path / "x.zip", {"00000004.png": encoded(noise(4, 4))})
    level = open_dataset(path).at(8)
    for _ in range(2):
        with pytest.raises(UserError, match=r"x.zip: 00000004.png: 4x4 px"):
            everything(level)
    assert decoded == {0: 1, 1: 1, 2: 1, 3: 1, 4: 2}
    assert not level.preloaded
    with pytest.raises(UserError, match=r"00000004.png"):
        level.preload()


# --- With the loader ----------------------------------------------------------------------------------------


@given(
    changes=st.lists(
        st.tuples(st.sampled_from([4, 8, 16, 32]), st.integers(1, 17), st.integers(0, 2)),
        min_size=1,
        max_size=5,
    ),
    seed=st.integers(0, 2**40),
    mirror=st.booleans(),
    start=st.integers(0, 40),
    shard=st.integers(1, 3).flatmap(lambda world: st.tuples(st.integers(0, world - 1), st.just(world))),
    preloaded=st.booleans(),
)
@settings(deadline=None, max_examples=50)
def test_changes_of_level_continue_the_same_samples(
    archive: Path,
    changes: list[tuple[int, int, int]],
    seed: int,
    mirror: bool,
    start: int,
    shard: tuple[int, int],
    preloaded: bool,
) -> None:
    """Indices, labels and mirror coins are those of one loader of the full images."""
    train = open_dataset(archive).split(2)[0]
    if preloaded:
        assert train.preload()
    rank, world = shard
    first = start - start % world  # where loaders of all ranks are in step
    whole = Loader(open_dataset(archive).split(2)[0], seed, mirror, position=first, shard=shard)
    position = first
    for resolution, size, workers in changes:
        level = train.at(resolution)
        with Loader(level, seed, mirror, workers, position, (rank, world)) as loader:
            for part in (size, 1):
                found, expected = loader.next(part), whole.next(part)
                assert torch.equal(found.indices, expected.indices)
                assert torch.equal(found.labels, expected.labels)
                reduced = means(expected.images.numpy(), 32 // resolution)
                np.testing.assert_array_equal(found.images, reduced)
            position = loader.position
        assert position == whole.position


def test_workers_stop_when_all_images_of_a_level_are_in_memory(archive: Path, decoded: Counter[int]) -> None:
    before = threading.active_count()
    dataset = open_dataset(archive)
    level = dataset.at(8)
    with Loader(level, 3, True, workers=2) as loader, Loader(dataset, 3, True) as whole:
        for batch in (5, SIZE - 5, 4, SIZE, 1):
            expected = means(whole.next(batch).images.numpy(), 4)
            np.testing.assert_array_equal(loader.next(batch).images, expected)
        assert level.preloaded
        loader.next(1)
        assert threading.active_count() == before
        assert loader.position == 2 * SIZE + 6
    decoded.clear()
    with Loader(level, 3, True, workers=2) as loader:
        loader.next(SIZE)
        assert threading.active_count() == before
    assert not decoded
