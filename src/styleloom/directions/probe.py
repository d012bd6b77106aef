"""Attributes of images from a labelled data set, in a minute: a linear probe of a feature network.

Classifiers (`metrics.classifiers`) are trained for hours; a plane in the features of a network that has seen
many images is found at once, and is good enough to say on which side of a boundary a latent lies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from styleloom.data.dataset import ImageDataset
from styleloom.data.reals import to_uint8
from styleloom.directions.boundary import logistic
from styleloom.errors import UserError
from styleloom.features.registry import as_rgb, entry, load_network
from styleloom.metrics.classifiers.attributes import Attribute, select_attributes

NETWORK = "efficientnet-lite0"
"""The feature network that needs no download."""

HELD_OUT = 0.2
"""Share of the labelled images that a probe's accuracy is measured on."""

MIN_IMAGES = 50
"""Fewest labelled images."""

BLOCK = 32


@dataclass(frozen=True)
class Probes:
    """Linear probes of some attributes.

    Args:
        names: of the attributes.
        planes: [A, D + 1]: normals and, last, offsets.
        accuracies: of each on held-out images: the mean of the share of images with the attribute that it
            finds, and of the share of images without that it leaves alone; 0.5 is chance.
        embed: images uint8 [N, C, H, W] to features [N, D].
    """

    names: tuple[str, ...]
    planes: Tensor
    accuracies: tuple[float, ...]
    embed: Callable[[Tensor], Tensor]

    def __call__(self, images: Tensor) -> Tensor:
        """Scores [N, A] of images [N, C, H, W] in [-1, 1], positive where one has the attribute."""
        features = self.embed(to_uint8(images)).double()
        return features @ self.planes[:, :-1].T + self.planes[:, -1]


def fit_probes(
    dataset: ImageDataset,
    chosen: Sequence[str] | None = None,
    count: int = 2000,
    device: torch.device | str = "cpu",
    network: str = NETWORK,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Probes:
    """Probes of a labelled set's attributes (see `select_attributes`).

    Args:
        dataset: with labels.
        chosen: names of attributes; None for all.
        count: images that are looked at, the first of the set; HELD_OUT of them are not fitted.
        device: of the network.
        network: the feature network; its default layer is taken.
        progress: told what is done, how much of it, and how much there is.

    Raises UserError without labels, for too few images, and an unknown attribute.
    """
    count = min(count, len(dataset))
    if count < MIN_IMAGES:
        raise UserError(f"{dataset.name}: {count} images, a probe needs at least {MIN_IMAGES}")
    held_out = round(count * HELD_OUT)
    attributes = select_attributes(*dataset.split(len(dataset) // 10 or 1), chosen)
    net, layer = load_network(network, device), entry(network).default_layer
    assert layer is not None

    def embed(images_u8: Tensor) -> Tensor:
        return net.features(as_rgb(images_u8).to(device), [layer])[layer].cpu()

    parts = []
    for at in range(0, count, BLOCK):
        progress("labelled images", at, count)
        indices = np.arange(at, min(at + BLOCK, count))
        parts.append(embed(torch.from_numpy(dataset.images(indices))))
    features = torch.cat(parts).double().numpy()
    labels = dataset.labels(np.arange(count))[:, [a.index for a in attributes]] > 0
    kept, planes, accuracies = [], [], []
    for attribute, column in zip(attributes, labels.T, strict=True):
        if len(set(column[held_out:].tolist())) < 2 or len(set(column[:held_out].tolist())) < 2:
            continue  # too rare among these images
        normal, offset = logistic(features[held_out:], column[held_out:])
        accuracies.append(_balanced(features[:held_out] @ normal + offset > 0, column[:held_out]))
        planes.append(np.append(normal, offset))
        kept.append(attribute.name)
    _some(attributes, kept, count)
    return Probes(tuple(kept), torch.from_numpy(np.stack(planes)), tuple(accuracies), embed)


def _balanced(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """The mean of the shares of both sides that were found."""
    return float(np.mean([np.mean(found[truth == side] == side) for side in (False, True)]))


def _some(attributes: Sequence[Attribute], kept: Sequence[str], count: int) -> None:
    """Raise UserError where no attribute could be fitted."""
    if not kept:
        names = ", ".join(attribute.name for attribute in attributes)
        raise UserError(f"attributes: among the first {count} images all or none have {names}")
