"""Images from a trained generator: each depends on its seed alone, never on the batch or its neighbours."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from styleloom import arguments
from styleloom.config.experiment import Experiment, Precision
from styleloom.errors import UserError, quoted
from styleloom.networks.assembly import StyleGenerator, Truncation, finest
from styleloom.precision import resolve_device, resolve_precision, set_precision
from styleloom.snapshot import Snapshot, read_snapshot
from styleloom.types import GrowthState, NoiseMode

PIXELS_PER_BATCH = 8 * 256 * 256
"""Pixels of all images that `Sampler.batches` yields at a time, unless the caller chooses their number."""

PASS_PIXELS, PASS_IMAGES = 4 * 256 * 256, 16
"""Size of one pass through the generator: PASS_PIXELS in all, and at most PASS_IMAGES images."""

SampleNoise: TypeAlias = NoiseMode | int | Sequence[int]
"""A mode; or the seed that noise is drawn from, one for all images or one for each."""

LabelLike: TypeAlias = "Tensor | np.ndarray | Sequence[float] | Sequence[Sequence[float]]"
"""One label [K] for all images, or one for each [N, K]."""


def load(path: Path | str, device: str = "auto", precision: Precision = "auto") -> Sampler:
    """A snapshot, ready to generate: a file, a run directory, or the name of an embedded model."""
    return Sampler.of(read_snapshot(path), device, precision)


class Sampler:
    """A trained generator that makes images from seeds, labels and a truncation psi.

    Args:
        generator: in evaluation mode, on its device.
        experiment: what made it.
        growth: level and alpha of a run that was still growing; None at full resolution.
    """

    def __init__(
        self, generator: StyleGenerator, experiment: Experiment, growth: GrowthState | None = None
    ) -> None:
        self.generator = generator
        self.experiment = experiment
        self.growth = growth

    @classmethod
    def of(cls, snapshot: Snapshot, device: str = "auto", precision: Precision = "auto") -> Sampler:
        """Move a snapshot to a device ("auto", "cpu", "cuda", "mps") and set its precision."""
        where = resolve_device(device)
        generator = snapshot.generator.to(where)
        set_precision(resolve_precision(precision, where), where, generator)
        return cls(generator, snapshot.experiment, snapshot.growth)

    @property
    def resolution(self) -> int:
        """Nominal side of the images, px: that of the active level in a growing run."""
        return self.generator.resolution if self.growth is None else 4 << self.growth.level

    @property
    def images_per_pass(self) -> int:
        """Images that go through the generator together.

        The number never depends on how many images are asked for: PyTorch may round a convolution or a
        matrix product differently for another batch size, and an image would then depend on its batch.
        """
        height, width = self.size
        return min(max(PASS_PIXELS // (height * width), 1), PASS_IMAGES)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images, px."""
        return self.experiment.generator.size_at(self.resolution)

    def draw(self, seeds: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """The latent z [N, Z] and the noise maps (each [N, 1, H, W]) of every seed, 0 to `MAX_IMAGE_SEED`.

        Maps are drawn low to high. Those of levels above the active one of a growing run are not used and
        have no pixels.
        """
        z, maps, _ = self.draw_streams(seeds)
        return z, maps

    def draw_streams(self, seeds: Sequence[int]) -> tuple[Tensor, list[Tensor], list[torch.Generator]]:
        """As `draw`, and each seed's random generator, from which a caller may draw further latents."""
        sizes = [
            size if self.growth is None or size <= self.size else (0, 0)
            for size in self.generator.synthesis_network.noise_sizes
        ]
        streams: list[torch.Generator] = []
        maps: list[list[Tensor]] = [[] for _ in sizes]
        zs: list[Tensor] = []
        for seed in arguments.seeds("seed", seeds):
            rng = torch.Generator().manual_seed(seed)
            streams.append(rng)
            zs.append(torch.randn(self.generator.z_dim, generator=rng))
            for layer, size in zip(maps, sizes, strict=True):
                layer.append(torch.randn(1, *size, generator=rng))
        device = self.generator.w_avg.device
        return torch.stack(zs).to(device), [torch.stack(layer).to(device) for layer in maps], streams

    def further_latents(self, streams: Sequence[torch.Generator]) -> Tensor:
        """One more z [N, Z] of each of `draw_streams`."""
        zs = [torch.randn(self.generator.z_dim, generator=rng) for rng in streams]
        return torch.stack(zs).to(self.generator.w_avg.device)

    def labels(
        self, count: int, classes: int | Sequence[int] | None = None, label: LabelLike | None = None
    ) -> Tensor | None:
        """Labels [N, K] of `count` images; None without labels.

        Args:
            count: N.
            classes: one class for all images, or one for each; the labels are one-hot.
            label: the vectors themselves, [K] for all images or [N, K].
        """
        dim, device = self.generator.label_dim, self.generator.w_avg.device
        if not dim:
            for name, value in (("class", classes), ("label", label)):
                if value is not None:
                    raise UserError(f"{name}: this generator was trained without labels; valid: none")
            return None
        if classes is not None and label is not None:
            raise UserError(f"class: {quoted(classes)} is not valid together with a label; give one of them")
        if label is not None:
            return _vectors(label, count, dim).to(device)
        if classes is None:
            raise UserError(f"class: this generator needs one, 0 to {dim - 1}, or a label of {dim} numbers")
        several = isinstance(classes, Iterable)
        indices = list(arguments.wholes("class", classes if several else [classes], 0, dim - 1))
        return torch.eye(dim, device=device)[torch.tensor(one_or_each("class", indices, count, several))]

    def generate(
        self,
        seeds: Sequence[int],
        truncation: Truncation = 1.0,
        truncation_layers: int | None = None,
        classes: int | Sequence[int] | None = None,
        noise: SampleNoise = "random",
        batch: int | None = None,
        label: LabelLike | None = None,
    ) -> Tensor:
        """Images [N, C, H, W], about [-1, 1] (not clipped), float32 on the generator's device.

        On one device and number of threads an image depends, bit for bit, on its own seed, label and noise
        alone: see `images_per_pass`.

        Args:
            seeds: one image each; z and random noise depend on the seed alone.
            truncation: psi, or one psi per layer (StyleGAN appendix B).
            truncation_layers: how many layers, counted from the first, are truncated; None for all.
            classes: for generators that were trained with labels: a class, or one for each image.
            noise: "random" draws from the image's seed, "fixed" takes the stored maps, "none" leaves it out;
                a number, or one for each image, draws from that seed instead.
            batch: checked, but without effect here; see `batches`.
            label: instead of classes: one vector [K], or one for each image [N, K].

        Raises UserError for an argument that is not valid.
        """
        parts = list(self.batches(seeds, truncation, truncation_layers, classes, noise, batch, label))
        empty = (0, self.experiment.generator.channels, *self.size)
        return torch.cat(parts) if parts else torch.empty(empty, device=self.generator.w_avg.device)

    def batches(
        self,
        seeds: Sequence[int],
        truncation: Truncation = 1.0,
        truncation_layers: int | None = None,
        classes: int | Sequence[int] | None = None,
        noise: SampleNoise = "random",
        batch: int | None = None,
        label: LabelLike | None = None,
    ) -> Iterator[Tensor]:
        """The images of `generate` in tensors of `batch` images each: for more images than fit in memory.

        The default batch has as many pixels as 8 images of 256 x 256. All arguments are checked before the
        iterator is returned.
        """
        seeds = arguments.seeds("seeds", seeds)
        labels = self.labels(len(seeds), classes, label)
        psi = arguments.truncation(truncation, self.generator.num_ws)
        if truncation_layers is not None:
            arguments.whole("truncation layers", truncation_layers, 0, self.generator.num_ws)
        noise_seeds: Sequence[int] | None = None
        if isinstance(noise, str):
            arguments.noise_mode(noise)
        else:
            several = isinstance(noise, Iterable)
            values = arguments.seeds("noise", noise if several else [noise])
            noise_seeds = one_or_each("noise", values, len(seeds), several)
        height, width = self.size
        batch = max(1, PIXELS_PER_BATCH // (height * width)) if batch is None else batch
        batch = arguments.whole("batch", batch, 1)

        def images(at: Sequence[int]) -> Tensor:
            z, maps = self.draw([seeds[i] for i in at])
            if noise_seeds is not None:
                _, maps = self.draw([noise_seeds[i] for i in at])
            mode = noise if isinstance(noise, str) and noise != "random" else maps
            own = None if labels is None else labels[list(at)]
            return finest(self.generator(z, own, psi, truncation_layers, mode, self.growth))

        return _regrouped(self.passes(len(seeds), images), batch)

    @torch.no_grad()
    def passes(self, count: int, images: Callable[[Sequence[int]], Tensor]) -> Iterator[Tensor]:
        """Images 0 to `count` - 1, one pass of `images_per_pass` after the other.

        Args:
            count: images in all.
            images: makes the images at given positions. The last pass repeats the last position until the
                pass is full; the repeats are not yielded.
        """
        size = self.images_per_pass
        for start in range(0, count, size):
            at = range(start, min(start + size, count))
            yield images([*at, *[at[-1]] * (size - len(at))])[: len(at)]


def one_or_each(name: str, values: Sequence[int], count: int, several: bool = True) -> Sequence[int]:
    """One value for each of `count` images; without `several`, `values` holds one that all images share."""
    if not several:
        return list(values) * count
    if len(values) != count:
        raise UserError(
            f"{name}: {quoted(list(values))} is not valid; one, or one for each of {count} images"
        )
    return values


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


def _regrouped(parts: Iterator[Tensor], size: int) -> Iterator[Tensor]:
    """The same images, `size` at a time."""
    held: list[Tensor] = []
    for image in itertools.chain.from_iterable(part.split(1) for part in parts):
        held.append(image)
        if len(held) == size:
            yield torch.cat(held)
            held.clear()
    if held:
        yield torch.cat(held)
