"""Noise in place of images, for steps whose time or memory is measured before there are data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from styleloom.config import Experiment
from styleloom.data.dataset import ImageDataset
from styleloom.data.reader import ImageInfo, ImageReader


class NoiseReader(ImageReader):
    """As many images of noise as asked for, each made when it is read."""

    def __init__(self, experiment: Experiment, count: int) -> None:
        generator = experiment.generator
        self.count = count
        self.info = ImageInfo(
            "noise",
            "noise",
            ("noise", str(count)),
            generator.resolution,
            generator.channels,
            (generator.grid[0], generator.grid[1]),
            generator.label_dim,
        )

    def __len__(self) -> int:
        return self.count

    def images(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """uint8 [N, C, H, W]."""
        height, width = self.info.size
        shape = (len(indices), self.info.channels, height, width)
        return np.random.default_rng(int(indices.sum())).integers(0, 256, shape, np.uint8)

    def labels(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [N, K], one class after the other."""
        return np.eye(max(self.info.label_dim, 1), dtype=np.float32)[
            indices % max(self.info.label_dim, 1), : self.info.label_dim
        ]

    def source_name(self, index: int) -> str:
        """The number of the image."""
        return str(index)


def noise_images(experiment: Experiment, count: int) -> ImageDataset:
    """A data set of noise that fits the experiment."""
    return ImageDataset(NoiseReader(experiment, count))
