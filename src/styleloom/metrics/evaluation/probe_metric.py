"""Metrics of a generator itself: what each refuses, and its number.

The metrics themselves are rows of `latent_metrics` and `network_metrics`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from styleloom.distributed import blocks
from styleloom.errors import UserError
from styleloom.metrics.classifiers.classifier import Classifier
from styleloom.metrics.evaluation.collect import Collector, FeatureNetworks
from styleloom.metrics.evaluation.image_sets import GeneratedImages
from styleloom.metrics.evaluation.measure import Measure
from styleloom.metrics.evaluation.metric import Definition, Metric
from styleloom.metrics.evaluation.subject import Subject
from styleloom.metrics.probes.separability import latents_and_logits

R = TypeVar("R")


@dataclass
class Probe:
    """A generator under examination.

    Args:
        images: of the generator, which say what its seeds and labels are.
        collector: the networks, and the processes that share the work.
        classifiers: of attributes.
    """

    images: GeneratedImages
    collector: Collector
    classifiers: Sequence[Classifier] = ()
    _separability: dict[int, dict[str, Tensor]] = field(default_factory=dict)

    def results(
        self, name: str, count: int, run: Callable[[list[int], Tensor | None], R], block: int | None = None
    ) -> list[R]:
        """run(seeds, labels) of each block of the first `count` seeds, in order.

        Empty on processes that do not collect. The size of a block is `block`, or suits that of the images.
        """
        # Half of what a pass over images takes: path lengths make two images of each seed.
        size = block or max(1, self.collector.batch_for(self.images) // 2)
        found: list[R] = []

        def make(positions: range) -> R:
            seeds = self.images.seeds(positions)
            return run(seeds, self.images.labels(seeds))

        for number, result in enumerate(self.collector.processes.ordered(blocks(count, size), make), 1):
            found.append(result)
            self.collector.progress(name, min(number * size, count), count)
        return found

    def latents_and_logits(self, d: Definition) -> dict[str, Tensor]:
        """Samples of separability, made once for Z, W and all methods.

        Empty on processes that do not collect.
        """
        if d.num not in self._separability:
            sampler, classifiers = self.images.sampler, self.classifiers
            parts = self.results(
                d.name, d.num, lambda seeds, labels: latents_and_logits(sampler, classifiers, seeds, labels)
            )
            self._separability[d.num] = {
                name: torch.cat([part[name] for part in parts]) for name in (parts[0] if parts else ())
            }
        return self._separability[d.num]


class ProbeMetric(Metric):
    """A metric of a generator."""

    needs_generator = True
    least: ClassVar[int] = 2
    """Samples that it needs at least."""

    @abstractmethod
    def measure(self, probe: Probe, d: Definition) -> Measure | None:
        """The metric; None on processes that do not collect."""

    def check_generator(
        self,
        d: Definition,
        images: GeneratedImages,
        networks: FeatureNetworks,
        classifiers: Sequence[Classifier],
    ) -> None:
        """Raise UserError for a generator that does not have what is measured, or whose images a network does
        not take, which an empty image shows."""

    def check(
        self,
        d: Definition,
        subject: Subject,
        networks: FeatureNetworks,
        classifiers: Sequence[Classifier],
    ) -> None:
        """Raise UserError where weights are absent, too few samples are asked for, or the generator does not
        have what is measured."""
        super().check(d, subject, networks, classifiers)
        if d.network is not None:
            networks.distance(d.network)
        images = subject.generated()
        if d.num < self.least:
            raise UserError(f"{d.name}: {d.num} is too few; valid: at least {self.least}")
        self.check_generator(d, images, networks, classifiers)


def blank(images: GeneratedImages, networks: FeatureNetworks) -> Tensor:
    """An empty image [1, C, H, W] of the size that the generator makes."""
    return torch.zeros(1, *images.shape, device=networks.device)
