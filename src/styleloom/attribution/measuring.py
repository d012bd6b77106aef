"""Distances of images after projection, and the two sets whose distances are known to be what they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from styleloom import arguments
from styleloom.attribution.calibration import Calibration
from styleloom.data.dataset import ImageDataset
from styleloom.data.reals import to_signed, to_uint8
from styleloom.errors import UserError, quoted, shown
from styleloom.projection import Projection, Projector, project
from styleloom.sampling import Sampler
from styleloom.types import PerceptualDistance


def distances(
    sampler: Sampler,
    images: Tensor,
    options: Projection | None = None,
    distance: PerceptualDistance | None = None,
    labels: Tensor | None = None,
    batch: int = 8,
    watch: Callable[[Projector], None] | None = None,
) -> list[float]:
    """How far each image is from the nearest one that a projection to w finds (StyleGAN2 section 5).

    Args:
        sampler: the generator, in float32 arithmetic for distances that can be compared.
        images: [N, C, H, W] in [-1, 1], as the generator makes them; 8-bit images for comparison with files.
        options: of the projection; W with optimised noise by default, as in the paper.
        distance: None for the first of `projection.comparison.PREFERRED` whose weights are here.
        labels: [N, K], for generators that take labels: where in w each projection begins.
        batch: images at once.
        watch: called after each step of each batch.

    Returns:
        N distances, at least 0, in units of `distance`.

    Raises UserError for a generator without w, and for tensors that do not fit it.
    """
    arguments.whole("batch", batch, 1)
    found: list[float] = []
    for start in range(0, len(images), batch):
        at = slice(start, start + batch)
        own = None if labels is None else labels[at]
        found += project(sampler, images[at], options, distance, own, watch=watch).distance.tolist()
    return found


def generated_images(sampler: Sampler, seeds: Sequence[int], classes: int | None = None) -> Tensor:
    """Images [N, C, H, W] of seeds, without truncation and with noise of their own, rounded to 8 bits.

    The authors' projector takes them unrounded. Here they are rounded, since images that are judged come from
    files, as the real ones do.

    Args:
        sampler: the generator.
        seeds: one image each.
        classes: of all images, for generators trained with labels.

    Raises UserError for arguments that are not valid.
    """
    return to_signed(to_uint8(sampler.generate(seeds, classes=classes)))


@dataclass(frozen=True)
class RealImages:
    """Real images of a data set, of which a generator has seen none, if that is known.

    Args:
        dataset: the part of the set that they are the first of.
        positions: in `dataset`.
        record: which images they are, as JSON: name and fingerprint of the set, the part, and what is known
            of it.
    """

    dataset: ImageDataset
    positions: Sequence[int]
    record: Mapping[str, Any]

    def names(self) -> list[str]:
        """What the images are called where they came from."""
        return [self.dataset.source_name(position) for position in self.positions]

    def images(self, at: Sequence[int]) -> Tensor:
        """The images [N, C, H, W] in [-1, 1] at these of `positions`."""
        where = np.array([self.positions[i] for i in at], np.int64)
        return to_signed(torch.from_numpy(self.dataset.images(where)))


def real_images(
    sampler: Sampler,
    dataset: ImageDataset,
    count: int,
    trained_on: Mapping[str, Any] | None = None,
    classes: int | None = None,
) -> RealImages:
    """The first `count` images that training did not see, where `dataset` is the one it was on.

    Args:
        sampler: the generator that they are projected into.
        dataset: images of the generator's size and channels.
        count: at least 1.
        trained_on: what the snapshot says of its data (`Snapshot.info["data"]`); None where it does not.
        classes: of a generator with labels: images of this class alone, where the set is labelled.

    Raises UserError for images of another size or channels, and for fewer than `count`.
    """
    arguments.whole("count", count, 1)
    generator = sampler.experiment.generator
    ours, theirs = (generator.channels, *sampler.size), (dataset.channels, *dataset.size)
    if ours != theirs:
        raise UserError(
            f"{shown(dataset.name)}: images of shape {[*theirs]}; valid: {[*ours]}, as the generator makes "
            "them"
        )
    fingerprint, held_out = dataset.fingerprint, sampler.experiment.data.held_out
    part = "all: not the set that the generator was trained on"
    if trained_on is not None and trained_on.get("fingerprint") == fingerprint:
        part = "training images: nothing of the set was held out"
        if held_out:
            dataset = dataset.split(held_out)[1]
            part = f"held out: the last {held_out}, which training did not see"
    elif trained_on is None:
        part = "all: what the generator was trained on is not known"
    positions = _of_class(dataset, classes)
    if len(positions) < count:
        only = "" if classes is None else f" of class {classes}"
        raise UserError(
            f"count: {count} is not valid, {shown(dataset.name)} has {len(positions)} images{only} ({part})"
        )
    record = {"name": dataset.name, "fingerprint": fingerprint, "part": part, "class": classes}
    return RealImages(dataset, positions[:count], record)


def _of_class(dataset: ImageDataset, classes: int | None) -> list[int]:
    """Positions of the images of a class; of all where none is asked for, or the set has no labels."""
    if classes is None or not dataset.label_dim:
        return list(range(len(dataset)))
    if dataset.has_vectors or classes >= dataset.label_dim:
        raise UserError(f"class: {classes} is not valid, {shown(dataset.name)} has no such class")
    labels = dataset.labels(np.arange(len(dataset), dtype=np.int64))
    return np.flatnonzero(labels[:, classes]).tolist()


def method(
    sampler: Sampler,
    options: Projection,
    distance: PerceptualDistance,
    precision: str,
    classes: int | None = None,
) -> dict[str, Any]:
    """How distances are measured, as JSON: what has to be equal for two of them to be compared."""
    return {
        "snapshot_sha256": sampler.snapshot_sha256,
        "distance": distance.identity,
        "projection": dataclasses.asdict(options),
        "precision": precision,
        "class": classes,
        "generated": "psi 1, noise of the seed, rounded to 8 bits",
    }


def options_of(calibration: Calibration) -> Projection:
    """How the images of a calibration were projected. Raises UserError where we cannot do the same."""
    given = calibration.document["method"].get("projection")
    expected = {f.name for f in dataclasses.fields(Projection)}
    if not isinstance(given, dict) or set(given) != expected:
        raise UserError(
            f"projection: {quoted(given)} is not valid; the settings of this styleloom: "
            f"{', '.join(sorted(expected))}"
        )
    return Projection(**given)


def check_method(calibration: Calibration, used: Mapping[str, Any]) -> None:
    """Raise UserError unless distances measured as `used` says can be compared with a calibration's."""
    recorded = calibration.document["method"]
    for name, value in used.items():
        if recorded.get(name) != value:
            raise UserError(
                f"{name}: the calibration was made with {quoted(recorded.get(name))}, not {quoted(value)}"
            )
