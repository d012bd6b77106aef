"""Metrics that compare sets of images: which statistics each needs, and the number that they give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from styleloom.errors import UserError, shown
from styleloom.features.registry import entry
from styleloom.metrics.evaluation.collect import Failed, Keep, Similarities, Statistic, Wanted, grid_of
from styleloom.metrics.evaluation.definitions import Definition
from styleloom.metrics.evaluation.image_sets import DatasetImages, ImageSet
from styleloom.metrics.evaluation.measure import Measure
from styleloom.metrics.fid import frechet_distance
from styleloom.metrics.inception_score import SPLITS, inception_score
from styleloom.metrics.kid import kernel_distance
from styleloom.metrics.moments import Moments, Rows
from styleloom.metrics.ms_ssim import MIN_SIDE, joined, per_channel
from styleloom.metrics.precision_recall import precision_recall
from styleloom.metrics.swd import Descriptors, distance


@dataclass(frozen=True)
class SetMetric:
    """A metric over statistics of sets.

    Args:
        keep: the statistic.
        layer: which of the network's layers it takes; None for the images themselves.
        least: images of each set that it needs at least.
        least_side: px of height and width that it needs at least.
        number: (definition, statistic of reals, of fakes, seed) to its numbers.
    """

    keep: Keep
    layer: Literal["features", "logits"] | None
    least: int
    number: Callable[[Definition, Any, Any, int], Measure]
    least_side: int = 1


def _frechet(d: Definition, reals: Moments, fakes: Moments, seed: int) -> Measure:
    return Measure({d.name: frechet_distance(reals, fakes)})


def _kernel(d: Definition, reals: Rows, fakes: Rows, seed: int) -> Measure:
    found = kernel_distance(reals.tensor, fakes.tensor, seed=seed)
    details = asdict(found)
    return Measure({d.name: details.pop("value")}, {d.name: details.pop("standard_error")}, details)


def _inception_score(d: Definition, reals: None, fakes: Rows, seed: int) -> Measure:
    found = inception_score(fakes.tensor)
    return Measure({d.name: found.mean, f"{d.name} deviation of splits": found.std})


def _precision_recall(d: Definition, reals: Rows, fakes: Rows, seed: int) -> Measure:
    found = precision_recall(reals.tensor, fakes.tensor, k=d.neighbours)
    return Measure({f"{d.name} precision": found.precision, f"{d.name} recall": found.recall})


def _sliced_wasserstein(d: Definition, reals: Descriptors, fakes: Descriptors, seed: int) -> Measure:
    found = distance(reals, fakes)
    levels = {f"{d.name} {side} px": value for side, value in found.levels.items()}
    return Measure({d.name: found.average} | levels)


def _similarity(
    d: Definition,
    reals: Similarities | None,
    fakes: Similarities,
    seed: int,
    combine: Callable[[Tensor], Tensor],
) -> Measure:
    sets = {d.name: combine(fakes.terms)}
    if reals is not None:
        sets[f"{d.name} of reals"] = combine(reals.terms)
    return Measure(
        {name: values.mean().item() for name, values in sets.items()},
        {
            name: (values.std() / len(values) ** 0.5).item()
            for name, values in sets.items()
            if len(values) > 1
        },
    )


SET_METRICS: dict[str, SetMetric] = {
    "fid": SetMetric("moments", "features", 2, _frechet),
    "fd": SetMetric("moments", "features", 2, _frechet),
    "kid": SetMetric("rows", "features", 2, _kernel),
    "is": SetMetric("rows", "logits", SPLITS, _inception_score),
    "pr": SetMetric("rows", "features", 2, _precision_recall),
    "swd": SetMetric("descriptors", None, 2, _sliced_wasserstein, least_side=8),
    "ms_ssim": SetMetric("similarities", None, 2, partial(_similarity, combine=joined), least_side=MIN_SIDE),
    "ms_ssim_per_channel": SetMetric(
        "similarities", None, 2, partial(_similarity, combine=per_channel), least_side=MIN_SIDE
    ),
}
"""By kind."""


@dataclass(frozen=True)
class Plan:
    """What a metric wants of each set.

    Args:
        fakes: of the set that is measured.
        reals: of the real images; None where it does not look at them.
    """

    fakes: Wanted
    reals: Wanted | None


def plan(d: Definition, images: ImageSet, reals: ImageSet | None) -> Plan:
    """What to collect. Raises UserError where images are too few or too small, or too few are asked for.

    The Fréchet distance takes as many reals as fakes, or all ("full"). A data set that has fewer begins
    again, as in the authors' code, whose coins of mirroring then differ. Features that are compared one by
    one, and patches, must not repeat: there all reals are taken when they are fewer.
    """
    metric = SET_METRICS[d.kind]
    name, layer = "", ""
    if metric.layer is not None:
        assert d.network is not None
        network = entry(d.network)
        found = network.default_layer if metric.layer == "features" else network.logits_layer
        name, layer = d.network, found or ""
        if not layer:
            raise UserError(f"{d.name}: {d.network} has no {metric.layer} that this metric could take")
    fakes = _num_images(d, images)
    least = d.neighbours + 1 if d.kind == "pr" else metric.least
    if fakes < least:
        raise UserError(f"{d.name}: {d.num or fakes} images are too few; valid: at least {least}")
    _check_size(d, images)
    looks = d.of.needs_reals or d.of.pairs
    if reals is None or not looks:
        return Plan(Wanted(metric.keep, fakes, name, layer), None)
    count = _num_reals(d, reals, fakes, may_repeat=metric.keep == "moments")
    if count < least:
        raise UserError(
            f"{d.name}: needs {least} real images or more, {shown(reals.name)} has {reals.available}"
        )
    if metric.keep == "descriptors":
        fakes = count = min(fakes, count)  # as many of each
    return Plan(Wanted(metric.keep, fakes, name, layer), Wanted(metric.keep, count, name, layer))


def _num_images(d: Definition, images: ImageSet) -> int:
    """How many to look at: as many as the name says, or all."""
    if d.num:
        return 2 * d.num if d.of.pairs else d.num
    if images.available is None:
        raise UserError(
            f"{d.name}: a generator makes as many images as one likes; valid: a number in place of all"
        )
    return images.available


def _check_size(d: Definition, images: ImageSet) -> None:
    """Raise UserError for images that the metric, or its network, cannot look at."""
    metric = SET_METRICS[d.kind]
    channels, height, width = images.shape
    if min(height, width) < metric.least_side:
        raise UserError(
            f"{d.name}: images of {width}x{height} px are too small; valid: {metric.least_side} px"
        )
    if metric.keep == "descriptors":
        side = 4 * height // grid_of(images)[0]
        if side & (side - 1):
            raise UserError(
                f"{d.name}: images of {width}x{height} px cannot be halved level by level; valid: a power of "
                "two, or a small grid times one"
            )
    if metric.layer is not None and channels not in (1, 3):
        raise UserError(f"{d.name}: images have {channels} channels; valid: 1, 3")


def _num_reals(d: Definition, reals: ImageSet, fakes: int, may_repeat: bool) -> int:
    available = reals.available
    assert available is not None
    if d.choice == "full" or not d.num:
        return available
    if not isinstance(reals, DatasetImages):
        if d.choice == "random" and d.of.needs_reals:
            raise UserError(
                f"{d.name}: {shown(reals.name)} holds files, which are taken in the order of "
                "their names; valid: an archive made by `styleloom dataset build`, or a metric without "
                "_random"
            )
        if may_repeat and available < fakes:
            raise UserError(
                f"{d.name}: needs {fakes:,} real images, {shown(reals.name)} has {available:,}; "
                "a number in the metric's name asks for fewer, _full takes all"
            )
    return fakes if may_repeat else min(fakes, available)


def number(d: Definition, reals: Statistic | None, fakes: Statistic, seed: int) -> Measure:
    """The metric, from the statistics that `plan` asked for. Raises UserError where one of them failed."""
    for statistic in (fakes, reals):
        if isinstance(statistic, Failed):
            raise UserError(statistic.reason)
    return SET_METRICS[d.kind].number(d, reals, fakes, seed)


def tensors(statistic: Statistic) -> dict[str, Tensor]:
    """A statistic of features as tensors, to be kept."""
    assert isinstance(statistic, (Moments, Rows))
    return statistic.to_tensors() if isinstance(statistic, Moments) else {"rows": statistic.tensor}


def restore(want: Wanted, kept: Mapping[str, Tensor]) -> Statistic:
    """What `tensors` took apart.

    Raises UserError for a statistic of other features or images, or one that is not finite, and what torch
    raises for tensors of other names and shapes.
    """
    if not all(torch.isfinite(tensor).all() for tensor in kept.values()):
        raise UserError("statistics hold NaN or infinity; valid: finite numbers")
    found = _restored(want, kept)
    count = found.count if isinstance(found, Moments) else len(found.tensor)
    if count != want.count:
        raise UserError(f"statistics are of {count} images; valid: {want.count}")
    return found


def _restored(want: Wanted, kept: Mapping[str, Tensor]) -> Moments | Rows:
    return Moments.from_tensors(kept) if want.keep == "moments" else _rows(kept["rows"])


def _rows(kept: Tensor) -> Rows:
    rows = Rows(len(kept))
    rows.add(kept)
    return rows
