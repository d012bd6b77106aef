"""What may be asked of a generator: seeds, truncation, labels and noise, checked before any work."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast, get_args

import numpy as np
import torch
from torch import Tensor

from styleloom import arguments
from styleloom.config.checks import one_of
from styleloom.config.parts import Rng as Rng
from styleloom.errors import UserError, quoted
from styleloom.types import NoiseMode

SampleNoise: TypeAlias = NoiseMode | int | Sequence[int]
"""A mode; or the seed that noise is drawn from, one for all images or one for each."""

LabelLike: TypeAlias = "Tensor | np.ndarray | Sequence[float] | Sequence[Sequence[float]]"
"""One label [K] for all images, or one for each [N, K]."""


@dataclass(frozen=True)
class Request:
    """Which images are asked for, checked: what `Sampler.generate` takes, with a value for each of N images.

    Args:
        seeds: of z.
        truncation: psi of each layer.
        truncation_layers: how many layers are truncated; None for all.
        labels: [N, K]; None without labels.
        noise: "fixed" or "none"; or the seeds of the maps, which may be `seeds` itself.
        rngs: of z.
    """

    seeds: Sequence[int]
    truncation: list[float]
    truncation_layers: int | None
    labels: Tensor | None
    noise: NoiseMode | Sequence[int]
    rngs: Sequence[Rng]

    def at(self, positions: Sequence[int]) -> Request:
        """That of some of the images."""
        seeds, rngs = [self.seeds[i] for i in positions], [self.rngs[i] for i in positions]
        noise = self.noise
        if not isinstance(noise, str):
            noise = seeds if noise is self.seeds else [noise[i] for i in positions]
        labels = None if self.labels is None else self.labels[list(positions)]
        return replace(self, seeds=seeds, labels=labels, noise=noise, rngs=rngs)

    def records(self) -> list[dict[str, Any]]:
        """What each image is made from, as JSON; labels lie beside it."""
        psi = self.truncation
        common = {"truncation": psi[0] if len(set(psi)) == 1 else psi}
        if self.truncation_layers is not None:
            common["truncation_layers"] = self.truncation_layers
        noises = [self.noise] * len(self.seeds) if isinstance(self.noise, str) else self.noise
        return [
            {"seed": seed, "rng": rng, **common, "noise": noise}
            for seed, rng, noise in zip(self.seeds, self.rngs, noises, strict=True)
        ]


def one_or_each(name: str, values: Sequence[int], count: int, several: bool = True) -> Sequence[int]:
    """One value for each of `count` images; without `several`, `values` holds one that all images share."""
    if not several:
        return list(values) * count
    if len(values) != count:
        raise UserError(
            f"{name}: {quoted(list(values))} is not valid; one, or one for each of {count} images"
        )
    return values


def noise_source(noise: SampleNoise, count: int) -> NoiseMode | Sequence[int]:
    """`noise`, when it is a mode, or a seed for each of `count` images. Raises UserError otherwise."""
    if isinstance(noise, str):
        return arguments.noise_mode(noise)
    several = isinstance(noise, Iterable)
    return one_or_each("noise", arguments.seeds("noise", noise if several else [noise]), count, several)


def rngs_of(rng: Rng | Sequence[Rng], count: int) -> Sequence[Rng]:
    """One for each of `count` images. Raises UserError for another word or number of words."""
    words: list[Rng] = [cast(Rng, rng)] * count if isinstance(rng, str) else list(rng)
    for word in {rng} if isinstance(rng, str) else words:
        one_of("rng", word, get_args(Rng))
    if len(words) != count:
        raise UserError(f"rng: {len(words)} words given; one, or one for each of {count} images")
    return words


def image_labels(
    dim: int,
    count: int,
    classes: int | Sequence[int] | None = None,
    label: LabelLike | None = None,
) -> Tensor | None:
    """Labels [N, K] of `count` images; None without labels.

    Args:
        dim: K; 0 for a generator without labels.
        count: N.
        classes: one class for all images, or one for each; the labels are one-hot.
        label: the vectors themselves, [K] for all images or [N, K].
    """
    if not dim:
        for name, value in (("class", classes), ("label", label)):
            if value is not None:
                raise UserError(f"{name}: this generator was trained without labels; valid: none")
        return None
    if classes is not None and label is not None:
        raise UserError(f"class: {quoted(classes)} is not valid together with a label; give one of them")
    if label is not None:
        return _vectors(label, count, dim)
    if classes is None:
        raise UserError(f"class: this generator needs one, 0 to {dim - 1}, or a label of {dim} numbers")
    several = isinstance(classes, Iterable)
    indices = list(arguments.wholes("class", classes if several else [classes], 0, dim - 1))
    return torch.eye(dim)[torch.tensor(one_or_each("class", indices, count, several), dtype=torch.int64)]


def _vectors(label: LabelLike, count: int, dim: int) -> Tensor:
    """Label vectors [N, K]. Raises UserError unless they are finite numbers of this shape."""
    try:
        vectors = torch.as_tensor(label, dtype=torch.float32)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise UserError(
            f"label: {quoted(label)} is not valid; {dim} numbers, for each image or all"
        ) from error
    if vectors.ndim == 1:
        arguments.shape("label", vectors.shape, (dim,), "one label for all images")
        vectors = vectors.expand(count, -1)
    arguments.shape("label", vectors.shape, (count, dim), "a label for each image")
    if not vectors.isfinite().all():
        raise UserError("label: NaN or infinite numbers are not valid; finite numbers")
    return vectors
