"""The sample at a position depends on seed and position alone."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from every import every
from styleloom.data import ImageDataset, Loader, open_dataset
from styleloom.data.loader import Batch, mirror_coins, permutation
from styleloom.errors import UserError

from .images import build, encoded, make_folder, noise, rewritten

SIZE = 11
PERMUTATION_0 = [6, 3, 5, 0, 7, 2, 1, 4]
PERMUTATION_7 = [4, 2, 7, 0, 5, 3, 1, 6]
COINS_0 = "10110010111101000011110110011011"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("loader")
    return build(make_folder(root / "in", SIZE, side=8), root / "set.zip", resolution=8, labels="folders")


@pytest.fixture(scope="module")
def dataset(archive: Path) -> ImageDataset:
    return open_dataset(archive)


@pytest.fixture(scope="module")
def preloaded(archive: Path) -> ImageDataset:
    loaded = open_dataset(archive)
    assert loaded.preload()
    return loaded


def reference(dataset: ImageDataset, seed: int, mirror: bool, positions: list[int]) -> Batch:
    """Sample by sample, straight from the definition."""
    images, labels, indices = [], [], []
    size = len(dataset)
    for p in positions:
        index = int(permutation(seed, p // size, size)[p % size])
        image = dataset.image(index)
        if mirror and mirror_coins(seed, np.array([p]))[0]:
            image = image[:, :, ::-1]
        images.append(image)
        labels.append(dataset.label(index))
        indices.append(index)
    return Batch(
        torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels)), torch.tensor(indices)
    )


def assert_same(found: Batch, expected: Batch) -> None:
    for name in ("images", "labels", "indices"):
        left, right = getattr(found, name), getattr(expected, name)
        assert left.dtype == right.dtype
        assert torch.equal(left, right), name


@given(
    seed=st.integers(0, 2**63),
    mirror=st.booleans(),
    start=st.integers(0, 50),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    workers=st.integers(0, 3),
    shard=st.integers(1, 4).flatmap(lambda world: st.tuples(st.integers(0, world - 1), st.just(world))),
    in_memory=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_any_batches_workers_start_and_shard_give_the_defined_sequence(
    dataset: ImageDataset,
    preloaded: ImageDataset,
    seed: int,
    mirror: bool,
    start: int,
    sizes: list[int],
    workers: int,
    shard: tuple[int, int],
    in_memory: bool,
) -> None:
    rank, world = shard
    chosen = preloaded if in_memory else dataset
    with Loader(chosen, seed, mirror, workers, position=start, shard=shard) as loader:
        mine = (p for p in range(start, 10**9) if p % world == rank)
        total = 0
        for size in sizes:
            expected = reference(dataset, seed, mirror, [next(mine) for _ in range(size)])
            assert_same(loader.next(size), expected)
            total += size
            assert loader.position == start + total * world


@given(world=st.integers(1, 5), start=st.integers(0, 30), steps=st.integers(1, 4), batch=st.integers(1, 6))
@settings(deadline=None, max_examples=30)
def test_shards_partition_what_one_device_sees(
    preloaded: ImageDataset, world: int, start: int, steps: int, batch: int
) -> None:
    """Also from a position that `world` does not divide, as when the number of devices changes on resume."""
    alone = Loader(preloaded, 3, True, position=start)
    ranks = [Loader(preloaded, 3, True, position=start, shard=(rank, world)) for rank in range(world)]
    for _ in range(steps):
        whole = alone.next(batch * world)
        parts = [loader.next(batch) for loader in ranks]
        for rank, part in enumerate(parts):
            places = slice((rank - start) % world, None, world)
            assert torch.equal(part.indices, whole.indices[places])
            assert torch.equal(part.images, whole.images[places])
        assert {loader.position for loader in [alone, *ranks]} == {alone.position}


def test_resume_at_the_position_after_prefetching(dataset: ImageDataset) -> None:
    with Loader(dataset, 5, True, workers=2) as loader:
        first = [loader.next(n) for n in (3, 7, 1)]
        assert loader.position == 11  # although workers have decoded further
        rest = [loader.next(n) for n in (6, 20)]
    with Loader(dataset, 5, True, workers=0, position=11) as resumed:
        for batch in rest:
            assert_same(resumed.next(len(batch.images)), batch)
    with Loader(dataset, 5, True, workers=1) as again:
        for batch in first:
            assert_same(again.next(len(batch.images)), batch)


def test_every_epoch_shows_every_image_once_in_another_order(dataset: ImageDataset) -> None:
    loader = Loader(dataset, 0, False)
    epochs = [tuple(loader.next(SIZE).indices.tolist()) for _ in range(5)]
    assert all(sorted(epoch) == list(range(SIZE)) for epoch in epochs)
    assert len(set(epochs)) == 5
    other = Loader(dataset, 1, False).next(SIZE).indices.tolist()
    assert tuple(other) != epochs[0]


def test_permutations_and_coins_are_frozen() -> None:
    """Recorded values: a change here would break the exact resume of every run."""
    assert permutation(0, 0, 8).tolist() == PERMUTATION_0
    assert permutation(7, 3, 8).tolist() == PERMUTATION_7
    assert "".join("01"[c] for c in mirror_coins(0, np.arange(32)).astype(int)) == COINS_0


def test_splitmix64_matches_its_published_first_output() -> None:
    from styleloom.data.loader import _splitmix64

    # First output of the reference generator seeded with 0, and with 1234567.
    assert int(_splitmix64(np.array([0], np.uint64))[0]) == 0xE220A8397B1DCDAF
    assert int(_splitmix64(np.array([1234567], np.uint64))[0]) == 6457827717110365317


def test_coins_are_fair_and_independent_of_seed_and_neighbour() -> None:
    n = 100_000
    coins = mirror_coins(1, np.arange(n)).astype(float)
    other = mirror_coins(2, np.arange(n)).astype(float)
    limit = 5 * 0.5 / math.sqrt(n)
    assert abs(coins.mean() - 0.5) < limit
    assert abs((coins[1:] == coins[:-1]).mean() - 0.5) < limit
    assert abs((coins == other).mean() - 0.5) < limit
    np.testing.assert_array_equal(mirror_coins(1, np.arange(500, 600)), coins[500:600].astype(bool))


def test_labels_belong_to_their_images(dataset: ImageDataset) -> None:
    batch = Loader(dataset, 0, True).next(SIZE)
    for label, index in zip(batch.labels, batch.indices, strict=True):
        assert torch.equal(label, torch.from_numpy(dataset.label(int(index))))
    assert batch.labels.dtype == torch.float32
    assert batch.images.dtype == torch.uint8


def test_batches_own_their_memory(preloaded: ImageDataset) -> None:
    loader = Loader(preloaded, 0, False)
    loader.next(SIZE).images.zero_()
    assert Loader(preloaded, 0, False).next(SIZE).images.sum() > 0


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_image_names_its_file_and_keeps_the_position(tmp_path: Path, workers: int) -> None:
    whole = build(make_folder(tmp_path / "in", 40, side=8), tmp_path / "whole.zip", resolution=8)
    bad = permutation(0, 0, 40).tolist()[21]
    path = rewritten(whole, tmp_path / "x.zip", {f"{bad:08d}.png": encoded(noise(4, 4))})
    expected = open_dataset(whole)
    with Loader(open_dataset(path), 0, True, workers=workers) as loader:
        position = 0
        for size in (1, 17, 2):  # the images before it arrive, although workers meet it early
            positions = list(range(position, position + size))
            assert_same(loader.next(size), reference(expected, 0, True, positions))
            position += size
        for _ in range(2):  # it stays an error, and the position stays
            with pytest.raises(UserError, match=rf"x.zip: {bad:08d}.png: 4x4 px"):
                loader.next(2)
            assert loader.position == position


def test_workers_decode_ahead_and_stop_on_close(dataset: ImageDataset) -> None:
    before = threading.active_count()
    loader = Loader(dataset, 0, False, workers=2)
    loader.next(1)
    assert threading.active_count() > before
    assert len(loader._ahead) > 0
    loader.close()
    assert threading.active_count() == before
    assert loader.position == 1
    with pytest.raises(RuntimeError, match="closed"):
        loader.next(1)


@every(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed -1"),
        ({"workers": -1}, "workers -1"),
        ({"position": -1}, "position -1"),
        ({"shard": (2, 2)}, "rank 2, world 2"),
        ({"shard": (0, 0)}, "world 0"),
    ],
)
def test_wrong_arguments(dataset: ImageDataset, arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Loader(dataset, **{"seed": 0, "mirror": False, **arguments})
    with pytest.raises(UserError, match="batch_size 0"):
        Loader(dataset, 0, False).next(0)
