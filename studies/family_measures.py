"""What the family study measures: distances, precision and recall, of generated images and of real ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from styleloom.data.dataset import ImageDataset
from styleloom.metrics.evaluation.collect import FeatureNetworks
from styleloom.metrics.evaluation.definitions import parse_all
from styleloom.metrics.evaluation.image_sets import DatasetImages
from styleloom.metrics.evaluation.subject import RealImages, Subject
from styleloom.metrics.evaluation.suite import Evaluation
from styleloom.sampling import Sampler

FLOORS = 4
"""Sets of training images that are compared with the held-out ones, as generated images are."""

Values = dict[str, list[float]]
"""The values of each of `METRICS`, one for each measurement."""

METRICS = {
    "kid": ("KID (lite0) × 1000", 1000.0, 1),
    "swd": ("SWD × 1000", 1.0, 1),
    "precision": ("precision", 1.0, 2),
    "recall": ("recall", 1.0, 2),
}
"""By name: heading, factor, decimals."""


def all_of(dataset: ImageDataset) -> Tensor:
    """Every image of a data set: uint8 [N, C, H, W]."""
    return torch.from_numpy(dataset.images(np.arange(len(dataset))))


def of_generator(sampler: Sampler, held_out: ImageDataset, repeats: int) -> Values:
    """As many generated images as are held out, compared with those."""
    return _values(_evaluation(len(held_out)).run(Subject("", {}, sampler, RealImages(held_out)), repeats))


def of_reals(train_set: ImageDataset, held_out: ImageDataset) -> Values:
    """Training images, compared with the held-out ones: what a perfect model would get."""
    found: Values = {name: [] for name in METRICS}
    evaluation = _evaluation(len(held_out))
    for _ in range(min(FLOORS, (len(train_set) - 1) // len(held_out))):
        train_set, part = train_set.split(len(held_out))
        subject = Subject("", {}, DatasetImages(part), RealImages(held_out))
        for name, values in _values(evaluation.run(subject)).items():
            found[name] += values
    return found


def _evaluation(count: int) -> Evaluation:
    names = f"kid{count}_lite0,swd{count},pr{count}_lite0"
    return Evaluation(parse_all(names), FeatureNetworks(torch.device("cpu")))


def _values(document: dict[str, Any]) -> Values:
    """The values of an evaluation; of SWD, the mean over levels."""
    entries = [entry["values"] for entry in document["metrics"].values()]
    each = [value["each"] for values in entries for label, value in values.items() if " px" not in label]
    return {
        name: [factor * value for value in values]
        for (name, (_, factor, _)), values in zip(METRICS.items(), each, strict=True)
    }
