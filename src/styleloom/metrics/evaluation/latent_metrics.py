"""Metrics of a generator's latent spaces: perceptual path lengths, linear separability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch

from styleloom.data.pixels import box_mean
from styleloom.errors import UserError
from styleloom.metrics.classifiers.classifier import MAX_RESOLUTION, Classifier
from styleloom.metrics.evaluation.collect import FeatureNetworks
from styleloom.metrics.evaluation.image_sets import GeneratedImages
from styleloom.metrics.evaluation.measure import Measure
from styleloom.metrics.evaluation.metric import NETWORK, NUM, Definition
from styleloom.metrics.evaluation.probe_metric import Probe, ProbeMetric, blank
from styleloom.metrics.probes.ppl import (
    Step,
    check_space,
    comparable,
    image_path_lengths,
    path_length,
    path_length_samples,
    percentile_groups,
)
from styleloom.metrics.probes.separability import PRIMAL, PUBLISHED, Method, separability

PATH = r"_(?P<space>z|w)(?P<sampling>full|end)"


@dataclass(frozen=True, kw_only=True)
class PerceptualPathLength(ProbeMetric):
    """Perceptual path length.

    Args:
        crop: whether only the central window of an image counts.
    """

    crop: bool = False

    def check_generator(
        self,
        d: Definition,
        images: GeneratedImages,
        networks: FeatureNetworks,
        classifiers: Sequence[Classifier],
    ) -> None:
        """Raise UserError for a space that the generator lacks, or images that the network cannot compare."""
        assert d.network is not None
        check_space(images.sampler, d.space or "w")
        seen = comparable(blank(images, networks), self.crop)
        try:
            networks.distance(d.network).distance(seen, seen)
        except RuntimeError as error:  # what a network raises when nothing is left of an image
            height, width = seen.shape[2:]
            raise UserError(f"{d.name}: {d.network} cannot compare images of {width}x{height} px") from error

    def measure(self, probe: Probe, d: Definition) -> Measure | None:
        """The mean over paths, with its standard error."""
        assert d.network is not None
        assert d.space is not None
        distance, sampler = probe.collector.networks.distance(d.network), probe.images.sampler
        step = Step(d.space, d.sampling, self.crop)
        parts = probe.results(
            d.name,
            d.num,
            lambda seeds, labels: path_length_samples(sampler, distance, seeds, step, labels),
        )
        if not parts:
            return None
        found = path_length(torch.cat(parts))
        return Measure(
            {d.name: found.mean},
            {d.name: found.standard_error},
            {"kept": found.kept, "low": found.low, "high": found.high},
        )


class PerceptualPathLengthOfImages(PerceptualPathLength):
    """Perceptual path length of each image by itself."""

    def measure(self, probe: Probe, d: Definition) -> Measure | None:
        """The mean over images and quantiles; the details have each image's."""
        assert d.network is not None
        distance, sampler = probe.collector.networks.distance(d.network), probe.images.sampler
        parts = probe.results(
            d.name,
            d.num,
            lambda seeds, labels: image_path_lengths(sampler, distance, seeds, labels=labels),
        )
        if not parts:
            return None
        values = torch.cat(parts)
        seeds = probe.images.seeds(range(d.num))
        low, high = percentile_groups(values, seeds)
        quantiles = values.quantile(torch.tensor([0.1, 0.5, 0.9], dtype=values.dtype)).tolist()
        return Measure(
            {d.name: values.mean().item()}
            | {f"{d.name} {name}": q for name, q in zip(("10 %", "median", "90 %"), quantiles, strict=True)},
            {d.name: (values.std() / len(values) ** 0.5).item()} if len(values) > 1 else {},
            {
                "first_seed": seeds[0],
                "values": [round(v, 4) for v in values.tolist()],
                "seeds_low": low,
                "seeds_high": high,
            },
        )


@dataclass(frozen=True, kw_only=True)
class LinearSeparability(ProbeMetric):
    """Linear separability of attributes in latent space.

    Args:
        method: how samples are chosen and the support vector machine is fitted.
    """

    method: Method

    needs_classifiers = True
    in_training = False
    least = 1

    def check_generator(
        self,
        d: Definition,
        images: GeneratedImages,
        networks: FeatureNetworks,
        classifiers: Sequence[Classifier],
    ) -> None:
        """Raise UserError for images that a classifier does not take."""
        factor = max(images.sampler.resolution // MAX_RESOLUTION, 1)
        for classifier in classifiers:
            classifier.logits(box_mean(blank(images, networks), factor))

    def measure(self, probe: Probe, d: Definition) -> Measure | None:
        """The score in each space; the details have each attribute's entropy."""
        found = probe.latents_and_logits(d)
        if not found:
            return None
        names = [classifier.record.attribute for classifier in probe.classifiers]
        values, details = {}, {}
        for space in (d.space,) if d.space else ("z", "w"):
            told = partial(probe.collector.progress, f"{d.name}: support vector machines, {space}")
            result = separability(found[space], found["logits"], method=self.method, progress=told)
            values[d.name if d.space else f"{d.name} {space}"] = result.score
            details[space] = {
                "entropies": [
                    {"attribute": name, "bits": bits}
                    for name, bits in zip(names, result.entropies, strict=True)
                ],
                "unfitted": [names[i] for i in result.unfitted],
                "unconverged": [names[i] for i in result.unconverged],
                "kept": result.num_kept,
            }
        return Measure(values, {}, details)


LATENT_METRICS = (
    PerceptualPathLength(
        kind="ppl",
        pattern=rf"ppl{PATH}{NUM}{NETWORK}",
        num=100_000,
        text="perceptual path length (StyleGAN section 4.1) of the central crop, epsilon 1e-4",
        network="lpips-vgg",
        example="ppl_zfull, ppl_wend50k",
        crop=True,
    ),
    PerceptualPathLength(
        kind="ppl2",
        pattern=rf"ppl2{PATH}{NUM}{NETWORK}",
        num=50_000,
        text="perceptual path length of the whole image (StyleGAN2, second version of Tables 1 to 3)",
        network="lpips-vgg",
        example="ppl2_wend, ppl2_wend10k_lite0",
    ),
    PerceptualPathLengthOfImages(
        kind="ppl_images",
        pattern=rf"ppl_images{NUM}{NETWORK}",
        num=1000,
        text="perceptual path length of each image, mean of 16 directions (StyleGAN2 Figs. 4 and 5)",
        network="lpips-vgg",
        example="ppl_images1k",
    ),
    LinearSeparability(
        kind="separability",
        pattern=rf"separability(?:_(?P<space>z|w))?{NUM}",
        num=200_000,
        text="linear separability (StyleGAN section 4.2) of the attributes of --classifiers, in Z and W, by "
        "the authors' solver, which stops after 1000 iterations: minutes for each attribute",
        example="separability, separability_w",
        method=PUBLISHED,
    ),
    LinearSeparability(
        kind="separability_primal",
        pattern=rf"separability_primal(?:_(?P<space>z|w))?{NUM}",
        num=200_000,
        text="the same by the optimum of the primal problem, on samples sorted by the logit: seconds for "
        "each attribute, and lower than published numbers",
        example="separability_primal, separability_primal_w",
        method=PRIMAL,
    ),
)
