"""What `styleloom demo` measures of a generator in the features of a small network that works offline."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from styleloom.data.dataset import ImageDataset

if TYPE_CHECKING:
    from styleloom.sampling import Sampler

FEATURES = "lite0"
"""Feature network: one whose weights come with a package of the `metrics` extra."""


@dataclass(frozen=True)
class Quality:
    """How near a set of images is to the held-out ones.

    Args:
        kid: kernel distance, times 1000.
        precision, recall: by the third nearest neighbour.
    """

    kid: float
    precision: float
    recall: float


def quality(
    sampler: Sampler, train_set: ImageDataset, reals: ImageDataset, device: str = "auto"
) -> tuple[Quality, Quality]:
    """That of generated images, and that of training images: the floor, what a perfect generator has.

    Args:
        sampler: whose images are measured, as many as there are reals.
        train_set: as many of its images are measured as well.
        reals: the held-out images.

    Raises UserError where it cannot be measured, such as without the feature network.
    """
    from styleloom.metrics.evaluation.cache import StatisticsCache
    from styleloom.metrics.evaluation.collect import FeatureNetworks
    from styleloom.metrics.evaluation.definitions import parse
    from styleloom.metrics.evaluation.image_sets import DatasetImages
    from styleloom.metrics.evaluation.measure import UnmeasurableError, errors
    from styleloom.metrics.evaluation.subject import RealImages, Subject
    from styleloom.metrics.evaluation.suite import Evaluation
    from styleloom.precision import resolve_device

    names = [f"{kind}{len(reals)}_{FEATURES}" for kind in ("kid", "pr")]
    definitions, networks = [parse(name) for name in names], FeatureNetworks(resolve_device(device))
    found = []
    with tempfile.TemporaryDirectory() as folder:  # keeps the features of the reals from one set to the other
        cache = StatisticsCache(Path(folder))
        evaluation = Evaluation(definitions, networks, cache=cache)
        for images in (sampler, DatasetImages(train_set)):
            document = evaluation.run(Subject("demo", {}, images, RealImages(reals)))
            if failed := errors(document):
                raise UnmeasurableError("; ".join(f"{metric}: {why}" for metric, why in failed.items()))
            values = [document["metrics"][metric]["values"].values() for metric in names]
            kid, precision, recall = (value["mean"] for group in values for value in group)
            found.append(Quality(1000 * kid, precision, recall))
    generated, floor = found
    return generated, floor
