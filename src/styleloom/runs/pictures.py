"""Images that a run makes of its generators at fixed latents."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from styleloom.config import Experiment
from styleloom.data.dataset import ImageDataset
from styleloom.data.reals import to_uint8
from styleloom.networks.assembly import StyleGenerator
from styleloom.sampling import Sampler
from styleloom.types import GrowthState

SHEET_PX = (1536, 1024)
"""Width and height that a sample grid may fill; 4 x 2 images at least, 16 x 8 at most."""


def sheet_shape(size: tuple[int, int]) -> tuple[int, int]:
    """Columns and rows of a sample grid for images of `size` (height, width in px)."""
    columns, rows = SHEET_PX[0] // size[1], SHEET_PX[1] // size[0]
    return min(max(columns, 4), 16), min(max(rows, 2), 8)


def samples(
    generator: StyleGenerator,
    experiment: Experiment,
    count: int,
    psi: float = 1.0,
    growth: GrowthState | None = None,
    label: Tensor | None = None,
) -> Tensor:
    """Images of seeds 0 to count-1: uint8 [N, C, H, W] on the CPU.

    Args:
        count: N.
        psi: truncation; 1 for none.
        growth: of a growing run; images have the size of its level.
        label: of each image, [N, K]; by default class i modulo the number of classes.
    """
    dim = generator.label_dim
    sampler = Sampler(generator, experiment, growth)
    classes = [i % dim for i in range(count)] if dim and label is None else None
    return to_uint8(sampler.generate(range(count), psi, classes=classes, label=label)).cpu()


def sample_labels(dataset: ImageDataset, label_dim: int, count: int) -> Tensor | None:
    """Labels [N, K] of samples of a generator that was trained on `dataset`; None for the default.

    Label vectors cannot be made up as classes can, so those of the first images are repeated.
    """
    if not label_dim or not dataset.has_vectors:
        return None
    return torch.from_numpy(dataset.labels(np.arange(count) % len(dataset)))
