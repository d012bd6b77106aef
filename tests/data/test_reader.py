"""Another place to read images from needs one class: parts, levels, batches and training follow."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from styleloom.data import ImageDataset, ImageInfo, ImageReader, Loader, open_dataset
from styleloom.data.reader import Level, Subset
from styleloom.training.trainer import Trainer
from tiny import assert_equal, make_archive, opened, steps, tiny

from .images import means, noise

SIZE = 12


class ArrayReader(ImageReader):
    """Images that are in memory."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels
        identity = (hashlib.sha256(pixels.tobytes()).hexdigest(),)
        self.info = ImageInfo("noise", "array in memory", identity, pixels.shape[-1], pixels.shape[1])

    def __len__(self) -> int:
        return len(self.pixels)

    def images(self, indices: np.ndarray) -> np.ndarray:
        return self.pixels[indices]


class LabelledReader(ArrayReader):
    """Image i is of the class i mod 3."""

    def __init__(self, pixels: np.ndarray) -> None:
        super().__init__(pixels)
        self.info = ImageInfo("noise", "array in memory", ("ab" * 32,), pixels.shape[-1], label_dim=3)

    def labels(self, indices: np.ndarray) -> np.ndarray:
        return np.eye(3, dtype=np.float32)[indices % 3]


@pytest.fixture
def pixels() -> np.ndarray:
    """uint8 [12, 3, 8, 8]."""
    return np.stack([noise(8, 8, seed=i).transpose(2, 0, 1) for i in range(SIZE)])


def test_views_of_views_show_the_images_that_they_name(pixels: np.ndarray) -> None:
    reader = LabelledReader(pixels)
    odd = Subset(reader, np.arange(1, SIZE, 2), "odd")
    last = Subset(Level(odd, 4, "box 2"), np.array([5, 0]), "last and first")
    everything = np.arange(2)
    np.testing.assert_array_equal(last.images(everything), means(pixels[[11, 1]], 2))
    np.testing.assert_array_equal(last.labels(everything), reader.labels(np.array([11, 1])))
    assert [last.source_name(i) for i in everything] == ["11", "1"]
    assert (len(odd), len(last), last.info.resolution, last.info.size) == (6, 2, 4, (4, 4))
    words = " ".join(["ab" * 32, "odd", "box 2", "last and first"])
    assert last.info.fingerprint == hashlib.sha256(words.encode()).hexdigest()
    assert Level(odd, 4).info.fingerprint == odd.info.fingerprint != reader.info.fingerprint == "ab" * 32
    with pytest.raises(AssertionError, match="Subset has labels"):
        ImageReader.labels(last, everything)


def test_a_data_set_of_any_reader_has_parts_levels_and_memory(pixels: np.ndarray) -> None:
    dataset = ImageDataset(LabelledReader(pixels))
    assert dataset.preload()
    train, held_out = pickle.loads(pickle.dumps(dataset)).split(4)
    level = held_out.at(4)
    assert level.preloaded
    np.testing.assert_array_equal(level.images(np.arange(4)), means(pixels[8:], 2))
    np.testing.assert_array_equal(level.label(1), [1, 0, 0])
    assert (dataset.recipe, dataset.classes, dataset.path) == ({}, None, "array in memory")
    dataset.check_headers()
    dataset.close()
    for workers in (0, 2):
        with Loader(train.at(4), 3, True, workers) as loader, Loader(train, 3, True) as full:
            batch, expected = loader.next(9), full.next(9)
        assert torch.equal(batch.indices, expected.indices)
        assert torch.equal(batch.labels, torch.eye(3)[batch.indices % 3])
        np.testing.assert_array_equal(batch.images, means(expected.images.numpy(), 2))


def test_training_from_an_array_is_that_from_an_archive(tmp_path: Path) -> None:
    archive = open_dataset(make_archive(tmp_path))
    dataset = ImageDataset(ArrayReader(archive.images(np.arange(len(archive)))))
    experiment = tiny("data.held_out=4", "data.mirror=horizontal")
    found, expected = (
        steps(Trainer(experiment, images, "cpu"), 2) for images in (dataset, opened(Path(archive.path)))
    )
    assert_equal(found.state()[0], expected.state()[0])
    assert found.inputs.record() == {
        "path": "array in memory",
        "name": "noise",
        "fingerprint": dataset.fingerprint,
        "count": 20,
    }
    for trainer in (found, expected):
        trainer.close()
