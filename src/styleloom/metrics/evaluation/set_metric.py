"""Metrics of sets of images: what each collects of a set, what it refuses, and its number.

The metrics themselves are rows of `feature_metrics` and `pixel_metrics`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from styleloom.errors import UserError, shown
from styleloom.features import registry
from styleloom.metrics.classifiers.classifier import Classifier
from styleloom.metrics.evaluation.collect import FeatureNetworks
from styleloom.metrics.evaluation.image_sets import DatasetImages, ImageSet, Shape
from styleloom.metrics.evaluation.keep import Failed, Keep, Statistic, WantedStatistic
from styleloom.metrics.evaluation.measure import Measure
from styleloom.metrics.evaluation.metric import Definition, Metric
from styleloom.metrics.evaluation.subject import Subject


@dataclass(frozen=True)
class Plan:
    """What is collected for a metric.

    Args:
        metric: which.
        fakes: of the set that is measured.
        reals: of the real images; None where it does not look at them.
    """

    metric: SetMetric
    fakes: WantedStatistic
    reals: WantedStatistic | None


class SetMetric(Metric):
    """A metric over what is kept of sets of images."""

    keep: ClassVar[Keep]
    """What it is computed from."""
    layer: ClassVar[Literal["features", "logits"] | None] = None
    """Which of the network's layers it takes; None for the images themselves."""
    least_side: ClassVar[int] = 1
    """Height and width of images, px, at least."""
    reals_repeat: ClassVar[bool] = False
    """Whether a data set with fewer images than are asked for begins again, as in the authors' code; an image
    that comes again is mirrored by another coin. Otherwise each image is taken once: features that are
    compared one by one, and patches, must not repeat."""
    equal_numbers: ClassVar[bool] = False
    """Whether it needs as many images of one set as of the other."""

    @abstractmethod
    def number(self, d: Definition, reals: Any, fakes: Any, seed: int) -> Measure:
        """The metric, from what was kept of the reals (None without any) and of the fakes."""

    def least(self, d: Definition) -> int:
        """Images of each set that it needs at least."""
        return 2

    def note(self, plan: Plan, networks: FeatureNetworks) -> str:
        """What its number suffers from, for the record; empty for nothing."""
        return ""

    def measure(self, d: Definition, reals: Statistic | None, fakes: Statistic, seed: int) -> Measure:
        """The metric, from the statistics that `plan` asked for. Raises UserError where one has failed."""
        for statistic in (fakes, reals):
            if isinstance(statistic, Failed):
                raise UserError(statistic.reason)
        return self.number(d, reals, fakes, seed)

    # ---- what can be measured

    def check(
        self,
        d: Definition,
        subject: Subject,
        networks: FeatureNetworks,
        classifiers: Sequence[Classifier],
    ) -> None:
        """Raise UserError where weights are absent."""
        super().check(d, subject, networks, classifiers)
        if d.network is not None:
            networks.features(d.network)

    def plan(self, d: Definition, subject: Subject) -> Plan:
        """What to collect.

        Raises UserError where images are too few, too small or of different sizes, or too few are asked for.
        """
        images, reals = self._sets(d, subject)
        network, layer = self._layer(d)
        count, theirs = self._num_images(d, images), None
        least = self.least(d)
        if count < least:
            raise UserError(f"{d.name}: {d.num or count} images are too few; valid: at least {least}")
        self.check_size(d, images)
        if reals is not None:
            theirs = self._num_reals(d, reals, count)
            if theirs < least:
                raise UserError(
                    f"{d.name}: needs {least} real images or more, {shown(reals.name)} has {reals.available}"
                )
            if self.equal_numbers:
                count = theirs = min(count, theirs)
        if images.available is not None and images.available < count:
            raise UserError(
                f"{d.name}: needs {count:,} images, {shown(subject.name)} has {images.available:,}; a number "
                "in the metric's name asks for fewer, all in its place for every image"
            )
        return Plan(
            self,
            WantedStatistic(self.keep, count, network, layer),
            None if theirs is None else WantedStatistic(self.keep, theirs, network, layer),
        )

    def _sets(self, d: Definition, subject: Subject) -> tuple[ImageSet, ImageSet | None]:
        """The images that are measured, and the reals where the metric looks at them."""
        if self.needs_reals and subject.reals is None:
            raise UserError(f"{d.name}: needs real images to compare with; give them with --data")
        if d.latents > 1 and not subject.is_generator:
            raise UserError(f"{d.name}: mixes the latents of a generator; {shown(subject.name)} holds images")
        images = subject.images(latents=d.latents)
        reals = None if subject.reals is None else subject.reals.images(d.choice)
        if reals is not None and self.needs_reals and images.shape != reals.shape:
            raise UserError(
                f"images of {shown(subject.name)} are {_px(images.shape)}, those of {shown(reals.name)} "
                f"{_px(reals.shape)}; valid: the same channels and size"
            )
        return images, reals if self.needs_reals or self.pairs else None

    def _layer(self, d: Definition) -> tuple[str, str]:
        """Network and layer that features are taken of; empty where none are."""
        if self.layer is None:
            return "", ""
        assert d.network is not None
        network = registry.entry(d.network)
        layer = network.default_layer if self.layer == "features" else network.logits_layer
        if not layer:
            raise UserError(f"{d.name}: {d.network} has no {self.layer} that this metric could take")
        return d.network, layer

    def _num_images(self, d: Definition, images: ImageSet) -> int:
        """How many to look at: as many as the name says, or all."""
        if d.num:
            return 2 * d.num if self.pairs else d.num
        if images.available is None:
            raise UserError(
                f"{d.name}: a generator makes as many images as one likes; valid: a number in place of all"
            )
        return images.available

    def check_size(self, d: Definition, images: ImageSet) -> None:
        """Raise UserError for images that the metric, or its network, cannot look at."""
        channels, height, width = images.shape
        if min(height, width) < self.least_side:
            raise UserError(
                f"{d.name}: images of {width}x{height} px are too small; valid: {self.least_side} px"
            )
        if self.layer is not None and channels not in (1, 3):
            raise UserError(f"{d.name}: images have {channels} channels; valid: 1, 3")

    def _num_reals(self, d: Definition, reals: ImageSet, fakes: int) -> int:
        """How many reals to look at: as many as fakes, or all ("full" or all in place of a number)."""
        available = reals.available
        assert available is not None
        if d.choice == "full" or not d.num:
            return available
        if not isinstance(reals, DatasetImages):
            if d.choice == "random" and self.needs_reals:
                raise UserError(
                    f"{d.name}: {shown(reals.name)} holds files, which are taken in the order of "
                    "their names; valid: an archive made by `styleloom dataset build`, or a metric without "
                    "_random"
                )
            if self.reals_repeat and available < fakes:
                raise UserError(
                    f"{d.name}: needs {fakes:,} real images, {shown(reals.name)} has {available:,}; "
                    "a number in the metric's name asks for fewer, _full takes all"
                )
        return fakes if self.reals_repeat else min(fakes, available)


def _px(shape: Shape) -> str:
    channels, height, width = shape
    return f"{width}x{height} px with {channels} channel{'s' * (channels != 1)}"
