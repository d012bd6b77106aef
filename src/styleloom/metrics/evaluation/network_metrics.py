"""Metrics of a generator's network: share of each resolution, Jacobian, change between snapshots."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from styleloom.metrics.classifiers.classifier import Classifier
from styleloom.metrics.evaluation.collect import FeatureNetworks
from styleloom.metrics.evaluation.image_sets import GeneratedImages
from styleloom.metrics.evaluation.measure import Measure
from styleloom.metrics.evaluation.metric import NUM, Definition, HistoryMetric
from styleloom.metrics.evaluation.probe_metric import Probe, ProbeMetric
from styleloom.metrics.probes.jacobian import singular_values, spectrum
from styleloom.metrics.probes.resolution_usage import resolution_usage, rgb_layers, rgb_moments
from styleloom.metrics.probes.stability import changes, images_at
from styleloom.sampling import Sampler


class ResolutionUsage(ProbeMetric):
    """What each resolution adds to the image."""

    def check_generator(
        self,
        d: Definition,
        images: GeneratedImages,
        networks: FeatureNetworks,
        classifiers: Sequence[Classifier],
    ) -> None:
        """Raise UserError for a generator whose image is no sum over resolutions."""
        rgb_layers(images.sampler)

    def measure(self, probe: Probe, d: Definition) -> Measure | None:
        """The share of each resolution, percent, finest first."""
        sampler = probe.images.sampler
        parts = probe.results(d.name, d.num, lambda seeds, labels: rgb_moments(sampler, seeds, labels))
        if not parts:
            return None
        shares = resolution_usage(torch.stack(parts).sum(0), sampler.experiment.generator.sides)
        return Measure({f"{d.name} {side} px": share for side, share in reversed(list(shares.items()))})


class Jacobian(ProbeMetric):
    """How evenly the image answers to steps in all directions of latent space."""

    def measure(self, probe: Probe, d: Definition) -> Measure | None:
        """The median singular value; the details have the spectrum."""
        sampler = probe.images.sampler
        parts = probe.results(
            d.name, d.num, lambda seeds, labels: singular_values(sampler, seeds[0], labels), block=1
        )
        if not parts:
            return None
        found = spectrum(torch.stack(parts))
        return Measure({f"{d.name} median": found.median}, {}, dataclasses.asdict(found))


class Stability(HistoryMetric):
    """How much images of fixed latents change from one snapshot to the next."""

    def images(self, sampler: Sampler, seeds: Sequence[int], labels: Tensor | None) -> dict[int, Tensor]:
        """Images at each resolution that the generator makes."""
        return images_at(sampler, seeds, labels)

    def changes(self, before: Mapping[int, Tensor], after: Mapping[int, Tensor]) -> dict[int, float]:
        """Mean squared change at each resolution that both have."""
        return changes(before, after)


NETWORK_METRICS = (
    ResolutionUsage(
        kind="resolution_usage",
        pattern=rf"resolution_usage{NUM}",
        num=1024,
        text="share of each resolution in the output of a skip generator (StyleGAN2 Fig. 8)",
        better=None,
        example="resolution_usage",
    ),
    Jacobian(
        kind="jacobian",
        pattern=rf"jacobian{NUM}",
        num=16,
        text="singular values of the generator's Jacobian, relative to the largest (StyleGAN2 Fig. 17)",
        better=None,
        example="jacobian",
    ),
    Stability(
        kind="stability",
        pattern=rf"stability{NUM}",
        num=36,
        text="mean squared change of images of fixed latents from snapshot to snapshot (MSG-GAN Fig. 6)",
        example="stability",
    ),
)
