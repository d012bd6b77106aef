"""Metrics that probe a generator itself: paths, separability, resolutions, Jacobian.

Those of sets of images are in `set_metrics`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from styleloom.data.pixels import box_mean
from styleloom.distributed import blocks
from styleloom.errors import UserError
from styleloom.metrics.classifiers.classifier import MAX_RESOLUTION, Classifier
from styleloom.metrics.evaluation.collect import Collector, FeatureNetworks
from styleloom.metrics.evaluation.definitions import Definition
from styleloom.metrics.evaluation.image_sets import GeneratedImages
from styleloom.metrics.evaluation.measure import Measure
from styleloom.metrics.probes.jacobian import singular_values, spectrum
from styleloom.metrics.probes.ppl import (
    check_space,
    comparable,
    image_path_lengths,
    path_length,
    path_length_samples,
    percentile_groups,
)
from styleloom.metrics.probes.resolution_usage import resolution_usage, rgb_layers, rgb_moments
from styleloom.metrics.probes.separability import PRIMAL, PUBLISHED, Method, samples, separability

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
        """run(seeds, labels) of the first `count` seeds, block by block; empty where nothing is collected."""
        size = block or max(
            1, self.collector.batch_for(self.images) // 2
        )  # path lengths take two images each
        found: list[R] = []

        def make(positions: range) -> R:
            seeds = self.images.seeds(positions)
            return run(seeds, self.images.labels(seeds))

        for number, result in enumerate(self.collector.processes.ordered(blocks(count, size), make), 1):
            found.append(result)
            self.collector.progress(name, min(number * size, count), count)
        return found

    def latents_and_logits(self, d: Definition) -> dict[str, Tensor]:
        """Samples of separability, made once for Z, W and all methods."""
        if d.num not in self._separability:
            sampler, classifiers = self.images.sampler, self.classifiers
            parts = self.results(
                d.name, d.num, lambda seeds, labels: samples(sampler, classifiers, seeds, labels)
            )
            self._separability[d.num] = {
                name: torch.cat([part[name] for part in parts]) for name in (parts[0] if parts else ())
            }
        return self._separability[d.num]


def _path_length(probe: Probe, d: Definition) -> Measure | None:
    assert d.network is not None
    assert d.space is not None
    distance, sampler = probe.collector.networks.distance(d.network), probe.images.sampler
    space, sampling, crop = d.space, d.sampling, d.kind == "ppl"
    parts = probe.results(
        d.name,
        d.num,
        lambda seeds, labels: path_length_samples(
            sampler, distance, seeds, space, sampling, crop, labels=labels
        ),
    )
    if not parts:
        return None
    found = path_length(torch.cat(parts))
    return Measure(
        {d.name: found.mean},
        {d.name: found.standard_error},
        {"kept": found.kept, "low": found.low, "high": found.high},
    )


def _path_length_of_images(probe: Probe, d: Definition) -> Measure | None:
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


def _separability(probe: Probe, d: Definition, method: Method) -> Measure | None:
    found = probe.latents_and_logits(d)
    if not found:
        return None
    names = [classifier.record.attribute for classifier in probe.classifiers]
    values, details = {}, {}
    for space in (d.space,) if d.space else ("z", "w"):
        told = partial(probe.collector.progress, f"{d.name}: support vector machines, {space}")
        result = separability(found[space], found["logits"], method=method, progress=told)
        values[d.name if d.space else f"{d.name} {space}"] = result.score
        details[space] = {
            "entropies": [
                {"attribute": name, "bits": bits} for name, bits in zip(names, result.entropies, strict=True)
            ],
            "unfitted": [names[i] for i in result.unfitted],
            "unconverged": [names[i] for i in result.unconverged],
            "kept": result.num_kept,
        }
    return Measure(values, {}, details)


def _resolution_usage(probe: Probe, d: Definition) -> Measure | None:
    sampler = probe.images.sampler
    parts = probe.results(d.name, d.num, lambda seeds, labels: rgb_moments(sampler, seeds, labels))
    if not parts:
        return None
    shares = resolution_usage(torch.stack(parts).sum(0), sampler.experiment.generator.sides)
    return Measure({f"{d.name} {side} px": share for side, share in reversed(list(shares.items()))})


def _jacobian(probe: Probe, d: Definition) -> Measure | None:
    sampler = probe.images.sampler
    parts = probe.results(
        d.name, d.num, lambda seeds, labels: singular_values(sampler, seeds[0], labels), block=1
    )
    if not parts:
        return None
    found = spectrum(torch.stack(parts))
    return Measure({f"{d.name} median": found.median}, {}, dataclasses.asdict(found))


def check(
    d: Definition, images: GeneratedImages, networks: FeatureNetworks, classifiers: Sequence[Classifier]
) -> None:
    """Raise UserError, before anything is computed, for a metric that this generator does not have, or whose
    network does not take images of this size: it is shown an empty one."""
    sampler = images.sampler
    if d.num < 2 and not d.of.needs_classifiers:
        raise UserError(f"{d.name}: {d.num} is too few; valid: at least 2")
    if d.kind == "resolution_usage":
        rgb_layers(sampler)
    blank = torch.zeros(1, *images.shape, device=networks.device)
    if d.network is not None:
        check_space(sampler, d.space or "w")
        seen = comparable(blank, crop=d.kind == "ppl")
        try:
            networks.distance(d.network).distance(seen, seen)
        except RuntimeError as error:  # what a network raises when nothing is left of an image
            height, width = seen.shape[2:]
            raise UserError(f"{d.name}: {d.network} cannot compare images of {width}x{height} px") from error
    if d.of.needs_classifiers:
        for classifier in classifiers:
            classifier.logits(box_mean(blank, max(sampler.resolution // MAX_RESOLUTION, 1)))


PROBES: dict[str, Callable[[Probe, Definition], Measure | None]] = {
    "ppl": _path_length,
    "ppl2": _path_length,
    "ppl_images": _path_length_of_images,
    "separability": partial(_separability, method=PUBLISHED),
    "separability_primal": partial(_separability, method=PRIMAL),
    "resolution_usage": _resolution_usage,
    "jacobian": _jacobian,
}
"""By kind. None where results are not collected."""
