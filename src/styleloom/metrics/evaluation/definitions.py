"""What can be measured, by name: `fid50k`, `kid10k_lite0`, `ppl2_wend`, ...

A name says what a number is. The count is part of it, and so is the feature network wherever it is not the
one that the metric was defined with: only the Fréchet distance in the network of 2015 is called FID.
"""

from __future__ import annotations

from styleloom.errors import UserError, nearest, quoted
from styleloom.metrics.evaluation.feature_metrics import FEATURE_METRICS
from styleloom.metrics.evaluation.latent_metrics import LATENT_METRICS
from styleloom.metrics.evaluation.metric import Definition, Metric
from styleloom.metrics.evaluation.network_metrics import NETWORK_METRICS
from styleloom.metrics.evaluation.pixel_metrics import PIXEL_METRICS

METRICS: dict[str, Metric] = {
    metric.kind: metric for metric in (*FEATURE_METRICS, *LATENT_METRICS, *PIXEL_METRICS, *NETWORK_METRICS)
}
"""Every metric, by kind."""


def parse(name: str) -> Definition:
    """The metric called `name`. Raises UserError with the names that there are."""
    for metric in METRICS.values():
        if (found := metric.parse(name)) is not None:
            return found
    examples = [part for metric in METRICS.values() for part in metric.example.split(", ")]
    raise UserError(
        f"metric: {quoted(name)} does not exist, {nearest(name, examples)}examples: {', '.join(examples)}; a "
        "number counts generated images, all takes every image of two sets, a last word names the feature "
        "network"
    )


def parse_all(names: str) -> tuple[Definition, ...]:
    """Of "fid50k,kid50k", in order. Raises UserError for an unknown, empty or repeated name."""
    parts = [part.strip() for part in names.split(",")]
    if len(set(parts)) != len(parts):
        twice = next(part for part in parts if parts.count(part) > 1)
        raise UserError(f"metrics: {quoted(twice)} is given more than once")
    return tuple(parse(part) for part in parts)
