"""Directions of a sampler's generator, by three methods."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from styleloom import arguments
from styleloom.directions.boundary import TooFewError, fit_boundary
from styleloom.directions.direction_set import Directions
from styleloom.directions.pca import covariance, principal_components
from styleloom.directions.sefa import factorize
from styleloom.errors import UserError
from styleloom.metrics.classifiers.classifier import Classifier
from styleloom.networks.assembly import finest
from styleloom.sampling import Sampler

logger = logging.getLogger(__name__)

COUNT = 10
"""Directions of a method that orders them, unless told otherwise."""

SAMPLES = 10_000
"""Latents that the covariance of w is measured on."""

Z_SEED = 123
"""numpy's seed of these latents."""

BLOCK = 1024
"""Latents that pass the mapping network together."""

Progress = Callable[[str, int, int], None]
"""Told what is done, how much of it, and how much there is."""


Scorer = Callable[[Tensor], Tensor]
"""Images [N, C, H, W] to a score [N, A] for each attribute, positive where an image has it."""


def _quiet(what: str, done: int, total: int) -> None:
    pass


@torch.inference_mode()
def sampled_w(
    sampler: Sampler, samples: int = SAMPLES, seed: int = Z_SEED, classes: int | None = None
) -> Tensor:
    """w [N, W] of latents z that numpy's RandomState(seed) draws, not truncated, on the CPU.

    Args:
        sampler: of a generator with a mapping network.
        samples: N.
        seed: of z and of random classes.
        classes: of generators with labels: the class of all; None draws one for each latent.
    """
    generator = sampler.generator
    rng = np.random.RandomState(arguments.whole("seed", seed, 0, 2**32 - 1))
    count = arguments.whole("samples", samples, 2)
    z = torch.from_numpy(rng.randn(count, generator.z_dim).astype(np.float32))
    drawn: Sequence[int] | int | None = classes
    if generator.label_dim and classes is None:
        drawn = rng.randint(generator.label_dim, size=count).tolist()
    labels = sampler.labels(count, drawn)
    parts = []
    for at in range(0, count, BLOCK):
        own = None if labels is None else labels[at : at + BLOCK]
        parts.append(generator.mapping(z[at : at + BLOCK].to(generator.w_avg.device), own)[:, 0].cpu())
    return torch.cat(parts)


def latent_covariance(
    sampler: Sampler, samples: int = SAMPLES, seed: int = Z_SEED, classes: int | None = None
) -> Tensor:
    """The covariance [D, D] of the latents of `sampler.space`, float64: z has that of its definition."""
    if sampler.space == "z":
        return torch.eye(sampler.generator.z_dim, dtype=torch.float64)
    return covariance(sampled_w(sampler, samples, seed, classes))


def sefa(
    sampler: Sampler,
    count: int | None = None,
    layers: Sequence[int] | None = None,
    spread: Tensor | None = None,
) -> Directions:
    """The directions that change the styles of `layers` most, "sefa-0" first (see `sefa.factorize`).

    For generators without w these are directions in z, and the weights are those of the input layer. Raises
    UserError where styles do not depend on the latent alone.

    Args:
        sampler: the generator.
        count: how many; None for COUNT, or as many as there are.
        layers: rows of ws; None for all that are styles.
        spread: the covariance of latents, where it is known already.
    """
    generator = sampler.generator
    if sampler.space == "z" and len(generator.mapping_network.layers):
        raise UserError(
            "directions: this generator has no styles, and its weights say nothing about z, which a mapping "
            "network stands before; use --method classifier"
        )
    chosen = chosen_layers(sampler, layers)
    weights = generator.synthesis_network.style_weights()
    vectors, values = factorize([weights[layer][:, : sampler.latent_shape[-1]] for layer in chosen])
    spread = latent_covariance(sampler) if spread is None else spread
    return _named(sampler, "sefa", vectors, values, spread, count, chosen)


def pca(
    sampler: Sampler,
    count: int | None = None,
    layers: Sequence[int] | None = None,
    spread: Tensor | None = None,
) -> Directions:
    """The directions along which w varies most, "pca-0" first; values are shares of the variance.

    Args as in `sefa`. Raises UserError for generators without w: the components of z are arbitrary.
    """
    if sampler.space == "z":
        raise UserError(
            "directions: this generator has no w, and z varies alike in every direction, so that it has no "
            "principal components; use --method sefa or classifier"
        )
    spread = latent_covariance(sampler) if spread is None else spread
    vectors, variances = principal_components(spread)
    shares = variances / variances.sum().clamp(min=torch.finfo(variances.dtype).tiny)
    return _named(sampler, "pca", vectors, shares, spread, count, chosen_layers(sampler, layers))


def boundaries(
    sampler: Sampler,
    latents: Tensor,
    scores: Mapping[str, Tensor],
    keep: float = 0.5,
    layers: Sequence[int] | None = None,
    spread: Tensor | None = None,
) -> Directions:
    """A direction for each attribute: the normal of its boundary (see `boundary.fit_boundary`).

    Args:
        sampler: the generator.
        latents: [N, D], w or z, as `sampler.space` says.
        scores: by the attribute's name, [N], positive where the image has it.
        keep: as in `fit_boundary`.
        layers, spread: as in `sefa`.

    An attribute with too few images on one side is left out with a warning. Raises UserError where none is
    left.
    """
    found = {}
    for name, score in scores.items():
        try:
            found[name] = fit_boundary(latents, score, keep)
        except TooFewError as error:
            if len(scores) == 1:
                raise UserError(f"attribute {name}: {error}") from error
            logger.warning(f"attribute {name} is left out: {error}")
    if not found:
        raise UserError(f"attributes: none of {', '.join(scores)} has enough images on both sides")
    spread = latent_covariance(sampler) if spread is None else spread
    chosen = chosen_layers(sampler, layers)
    return Directions(
        sampler.space,
        "classifier",
        tuple(found),
        torch.stack([boundary.normal for boundary in found.values()]),
        torch.tensor([boundary.accuracy for boundary in found.values()]),
        spread.float(),
        chosen,
    )


@torch.inference_mode()
def scored_latents(
    sampler: Sampler,
    score: Scorer,
    names: Sequence[str],
    seeds: Sequence[int],
    classes: int | None = None,
    progress: Progress = _quiet,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Latents [N, D] of `seeds`, in the space of `sampler.space`; by attribute, scores [N] of their images.

    Images are not truncated, and have each seed's own noise.

    Args:
        sampler: the generator.
        score: images [N, C, H, W], about [-1, 1] (not clipped), to scores [N, A]; `by_classifiers` or
            `probe.Probes`.
        names: of the A attributes.
        seeds: one image each.
        classes: of generators with labels: the class of all; None takes for each the class (its seed modulo
            the number of classes).
        progress: told what is done.
    """
    latents, scores = [], []
    for values, ws, maps in _passes(sampler, seeds, classes):
        progress("generated images", sum(map(len, latents)), len(seeds))
        images = finest(sampler.generator.synthesis(ws, sampler.growth, maps))
        scores.append(score(images).float().cpu())
        latents.append(values)
    return torch.cat(latents), dict(zip(names, torch.cat(scores).unbind(1), strict=True))


def by_classifiers(classifiers: Sequence[Classifier]) -> Scorer:
    """The logits of classifiers on the sampler's device."""
    return lambda images: torch.stack([classifier.logits(images) for classifier in classifiers], 1)


@torch.inference_mode()
def latents_of(sampler: Sampler, seeds: Sequence[int], classes: int | None = None) -> Tensor:
    """Latents [N, D] of `seeds`, in the space of `sampler.space`, on the CPU."""
    return torch.cat([values for values, _, _ in _passes(sampler, seeds, classes)])


def _passes(
    sampler: Sampler, seeds: Sequence[int], classes: int | None
) -> Iterator[tuple[Tensor, Tensor, list[Tensor]]]:
    """Latents [N, D] on the CPU, ws and noise maps of `seeds`, as many at a time as make one pass."""
    for at in range(0, len(seeds), sampler.images_per_pass):
        own = seeds[at : at + sampler.images_per_pass]
        z, maps = sampler.draw(own)
        ws = sampler.generator.mapping(z, _labels(sampler, own, classes))
        yield (z if sampler.space == "z" else ws[:, 0]).cpu(), ws, maps


def _labels(sampler: Sampler, seeds: Sequence[int], classes: int | None) -> Tensor | None:
    """Labels [N, K] of one class, or of the class that each seed falls on; None without labels."""
    dim = sampler.generator.label_dim
    drawn = classes if not dim or classes is not None else [seed % dim for seed in seeds]
    return sampler.labels(len(seeds), drawn)


def chosen_layers(sampler: Sampler, layers: Sequence[int] | None) -> tuple[int, ...]:
    """The rows of ws that `layers` means, None for all styles. Raises UserError for a wrong one."""
    last = sampler.generator.num_ws - 1
    if layers is not None:
        chosen = tuple(sorted(set(arguments.wholes("layers", layers, 0, last))))
        if not chosen:
            raise UserError("layers: none given; at least one")
        return chosen
    weights = sampler.generator.synthesis_network.style_weights()
    return tuple(at for at, weight in enumerate(weights) if len(weight))


def _named(
    sampler: Sampler,
    method: str,
    vectors: Tensor,
    values: Tensor,
    spread: Tensor,
    count: int | None,
    layers: tuple[int, ...],
) -> Directions:
    """The first `count` of the vectors."""
    count = min(COUNT, len(vectors)) if count is None else arguments.whole("count", count, 1, len(vectors))
    names = tuple(f"{method}-{at}" for at in range(count))
    return Directions(sampler.space, method, names, vectors[:count], values[:count], spread.float(), layers)
