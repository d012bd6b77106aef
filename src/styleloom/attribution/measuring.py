"""Distances of images after projection, and the two sets whose distances are known to be what they are."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from styleloom import arguments
from styleloom.attribution.calibration import Calibration
from styleloom.config.checks import one_of
from styleloom.config.experiment import Precision
from styleloom.data.dataset import ImageDataset
from styleloom.data.reals import to_signed, to_uint8
from styleloom.errors import UserError, quoted, shown
from styleloom.projection import Projection, Projector, project
from styleloom.projection.projector import check_targets
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


def check_styles(sampler: Sampler) -> None:
    """Raise UserError for a generator without w, into which nothing can be projected."""
    check_targets(sampler, torch.empty(0, sampler.experiment.generator.channels, *sampler.size))


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

    def records(self) -> list[dict[str, Any]]:
        """Place of each image in `dataset`, and its name where it came from."""
        return [{"position": place, "name": self.dataset.source_name(place)} for place in self.positions]

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


@dataclass(frozen=True)
class Method:
    """How distances are measured: what has to be equal for two of them to be compared.

    Args:
        snapshot_sha256: of the generator's file.
        distance: identity of the perceptual distance, with its "name".
        projection: its settings.
        precision: arithmetic of the generator.
        classes: of all images, for generators trained with labels.
    """

    snapshot_sha256: str | None
    distance: Mapping[str, Any]
    projection: Projection
    precision: Precision = "fp32"
    classes: int | None = None

    def record(self) -> dict[str, Any]:
        """All of it, as JSON."""
        return {**dataclasses.asdict(self), "generated": "psi 1, noise of the seed, rounded to 8 bits"}


def method_of(calibration: Calibration) -> Method:
    """How the distances of a calibration were measured. Raises UserError where we cannot do the same."""
    given = {name: calibration.document["method"].get(name) for name in Method.__dataclass_fields__}
    identity, settings = given["distance"], given["projection"]
    if not isinstance(identity, dict) or not isinstance(identity.get("name"), str):
        raise UserError(f"distance: {quoted(identity)} is not valid; the identity of a perceptual distance")
    expected = set(Projection.__dataclass_fields__)
    if not isinstance(settings, dict) or set(settings) != expected:
        valid = ", ".join(sorted(expected))
        raise UserError(f"projection: {quoted(settings)} is not valid; the settings that we know: {valid}")
    one_of("precision", given["precision"], get_args(Precision))
    if given["classes"] is not None:
        arguments.whole("classes", given["classes"], 0)
    return Method(**{**given, "projection": Projection(**settings)})


def check_method(method: Method, sampler: Sampler, distance: PerceptualDistance) -> None:
    """Raise UserError unless `sampler` and `distance` are those that distances were measured with."""
    ours, theirs = sampler.snapshot_sha256, method.snapshot_sha256
    if ours != theirs:
        raise UserError(
            f"made for another snapshot, of SHA-256 {quoted(theirs)}; this one has {quoted(ours)}"
        )
    if json.loads(json.dumps(distance.identity)) != method.distance:
        raise UserError(
            f"made with another distance, {quoted(method.distance)}; here it is {distance.identity}"
        )
