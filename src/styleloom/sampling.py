"""Images from a trained generator: each depends on its seed alone, never on the batch or its neighbours."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from styleloom import arguments
from styleloom.config.experiment import Experiment, Precision
from styleloom.errors import UserError
from styleloom.image_request import LabelLike, Request, Rng, SampleNoise, image_labels, noise_source, rngs_of
from styleloom.images import regrouped
from styleloom.latents import Latents, Space, check_fits
from styleloom.networks.assembly import StyleGenerator, Truncation, finest
from styleloom.ops.derived import constant
from styleloom.precision import resolve_device, resolve_precision, set_precision
from styleloom.projection import Projected, Projection, project
from styleloom.snapshot import Snapshot, read_snapshot
from styleloom.types import GrowthState, Noise, PerceptualDistance

PIXELS_PER_BATCH = 8 * 256 * 256
"""Pixels of all images that `Sampler.batches` yields at a time, unless the caller chooses their number."""

PASS_PIXELS, PASS_IMAGES = 4 * 256 * 256, 16
"""Size of one pass through the generator: PASS_PIXELS in all, and at most PASS_IMAGES images."""


def load(path: Path | str, device: str = "auto", precision: Precision = "auto") -> Sampler:
    """A snapshot, ready to generate: a file, a run directory, or the name of an embedded model."""
    return Sampler.of(read_snapshot(path), device, precision)


class Sampler:
    """A trained generator that makes images from seeds, labels and a truncation psi.

    Args:
        generator: in evaluation mode, on its device.
        experiment: what made it.
        growth: level and alpha of a run that was still growing; None at full resolution.
        snapshot_sha256: hash of the file it was read from, hex; None for a generator that has none.
    """

    def __init__(
        self,
        generator: StyleGenerator,
        experiment: Experiment,
        growth: GrowthState | None = None,
        snapshot_sha256: str | None = None,
    ) -> None:
        self.generator = generator
        self.experiment = experiment
        self.growth = growth
        self.snapshot_sha256 = snapshot_sha256

    @classmethod
    def of(cls, snapshot: Snapshot, device: str = "auto", precision: Precision = "auto") -> Sampler:
        """Move a snapshot to a device ("auto", "cpu", "cuda", "mps") and set its precision."""
        where = resolve_device(device)
        generator = snapshot.generator.to(where)
        set_precision(resolve_precision(precision, where), where, generator)
        constant(generator)
        return cls(generator, snapshot.experiment, snapshot.growth, snapshot.sha256)

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
        return min(max(PASS_PIXELS // math.prod(self.size), 1), PASS_IMAGES)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images, px."""
        return self.experiment.generator.size_at(self.resolution)

    @property
    def space(self) -> Space:
        """Where this generator's latents are kept: "w", or "z" where images have no styles."""
        return "w" if self.experiment.generator.truncates else "z"

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one latent: (L, W) in w, (Z,) in z."""
        generator = self.generator
        return (generator.num_ws, len(generator.w_avg)) if self.space == "w" else (generator.z_dim,)

    @property
    def label_dim(self) -> int:
        """K of the labels [N, K]; 0 without labels."""
        return self.generator.label_dim

    @property
    def noise_sizes(self) -> list[tuple[int, int]]:
        """Height and width, px, of every noise map, low to high; 0 x 0 above a growing run's active level."""
        sizes = self.generator.synthesis_network.noise_sizes
        if self.growth is None:
            return list(sizes)
        active = self.experiment.generator.size_at(4 << self.growth.level)
        return [size if size <= active else (0, 0) for size in sizes]

    def draw(self, seeds: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """The latent z [N, Z] and the noise maps (each [N, 1, H, W]) of every seed, 0 to `MAX_IMAGE_SEED`.

        Maps are drawn low to high. Those of levels above the active one of a growing run are not used and
        have no pixels.
        """
        return self.draw_streams(seeds)[:2]

    def draw_streams(
        self, seeds: Sequence[int], rng: Rng | Sequence[Rng] = "torch"
    ) -> tuple[Tensor, list[Tensor], list[torch.Generator]]:
        """As `draw`, and each seed's random generator, from which a caller may draw further latents.

        Where `rng` is "numpy", for all seeds or each, z alone is numpy's: noise is that of our seed.
        """
        seeds = arguments.seeds("seed", seeds)
        streams = [torch.Generator().manual_seed(seed) for seed in seeds]
        z = torch.empty(len(seeds), self.generator.z_dim)
        maps = [torch.empty(len(seeds), 1, *size) for size in self.noise_sizes]
        for i, (stream, source) in enumerate(zip(streams, rngs_of(rng, len(seeds)), strict=True)):
            z[i] = torch.randn(self.generator.z_dim, generator=stream)
            if source == "numpy":
                z[i] = torch.from_numpy(np.random.RandomState(seeds[i]).randn(self.generator.z_dim)).float()
            for layer in maps:
                layer[i] = torch.randn(layer.shape[1:], generator=stream)
        device = self.generator.w_avg.device
        return z.to(device), [layer.to(device) for layer in maps], streams

    def further_latents(self, streams: Sequence[torch.Generator]) -> Tensor:
        """One more z [N, Z] of each of `draw_streams`."""
        zs = [torch.randn(self.generator.z_dim, generator=rng) for rng in streams]
        return torch.stack(zs).to(self.generator.w_avg.device)

    def labels(
        self, count: int, classes: int | Sequence[int] | None = None, label: LabelLike | None = None
    ) -> Tensor | None:
        """Labels [N, K] of `count` images, as in `image_labels`, on the generator's device."""
        labels = image_labels(self.label_dim, count, classes, label)
        return None if labels is None else labels.to(self.generator.w_avg.device)

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
        return self._joined(self.batches(seeds, truncation, truncation_layers, classes, noise, batch, label))

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
        return self.images(self.request(seeds, truncation, truncation_layers, classes, label, noise), batch)

    def images(self, request: Request, batch: int | None = None) -> Iterator[Tensor]:
        """What `request` asks for, in tensors of `batch` images each."""
        default = max(1, PIXELS_PER_BATCH // math.prod(self.size))
        batch = arguments.whole("batch", default if batch is None else batch, 1)

        def images(at: Sequence[int]) -> Tensor:
            own = request.at(at)
            z, maps = self._drawn(own)
            return finest(self.generator.synthesis(self._styles(z, own), self.growth, maps))

        return regrouped(self.passes(len(request.seeds), images), batch)

    def latents(
        self,
        seeds: Sequence[int],
        truncation: Truncation = 1.0,
        truncation_layers: int | None = None,
        classes: int | Sequence[int] | None = None,
        label: LabelLike | None = None,
        noise: SampleNoise = "random",
        rng: Rng | Sequence[Rng] = "torch",
    ) -> Latents:
        """What `generate` makes its images from, on the CPU: to be changed, kept and rendered.

        Args:
            seeds, truncation, truncation_layers, classes, label, noise: as in `generate`.
            rng: where z comes from, for all seeds or each; noise is that of our seed either way.
        """
        return self.kept(self.request(seeds, truncation, truncation_layers, classes, label, noise, rng))

    def kept(self, request: Request) -> Latents:
        """The latents of what `request` asks for, on the CPU.

        Raises UserError where latents are kept before truncation, and the request truncates them.
        """
        if self.space == "z" and any(psi != 1 for psi in request.truncation[: request.truncation_layers]):
            raise UserError(
                "truncation: latents of a generator without styles are kept as z, which is not truncated; "
                "valid here: 1"
            )
        z, maps = self._drawn(request)
        values = z.cpu()
        if self.space == "w":
            passes = self.passes(len(z), lambda at: self._styles(z[list(at)], request.at(at)))
            values = torch.cat([torch.empty(0, *self.latent_shape), *(part.cpu() for part in passes)])
        document = {"snapshot_sha256": self.snapshot_sha256, "images": request.records()}
        labels = None if request.labels is None else request.labels.cpu()
        return Latents(self.space, values, self._kept_noise(maps), labels, document)

    def render(self, latents: Latents) -> Tensor:
        """Images [N, C, H, W] of latents: where these are of `latents`, those of `generate`, bit for bit.

        Raises UserError for latents that are not this generator's: see `check_fits`.
        """
        check_fits(latents, self)
        device = self.generator.w_avg.device

        def images(at: Sequence[int]) -> Tensor:
            rows = list(at)
            ws, labels = latents.values[rows].to(device), latents.labels
            if latents.space == "z":
                ws = self.generator.mapping(ws, None if labels is None else labels[rows].to(device))
            noise: Noise = "none"
            if latents.noise is not None:
                noise = [(t if t.shape[0] == 1 else t[rows]).to(device) for t in latents.noise]
            return finest(self.generator.synthesis(ws, self.growth, noise))

        return self._joined(self.passes(len(latents), images))

    def with_noise(self, latents: Latents, noise: SampleNoise) -> Latents:
        """The same latents with other noise: "fixed", "none", or a seed, for all images or each."""
        if noise == "random":
            raise UserError("noise: 'random' is not valid, latents have no seed; fixed, none, or seeds")
        source = noise_source(noise, len(latents))
        each = [source] * len(latents) if isinstance(source, str) else source
        images = [record | {"noise": n} for record, n in zip(latents.images, each, strict=True)]
        maps = self._kept_noise(source if isinstance(source, str) else self.draw(source)[1])
        return replace(latents, noise=maps, document={**latents.document, "images": images})

    def project(
        self,
        images: Tensor,
        options: Projection | None = None,
        distance: PerceptualDistance | None = None,
        labels: Tensor | None = None,
        start: Latents | None = None,
    ) -> Projected:
        """The latents with which this generator makes images [N, C, H, W] in [-1, 1], as it makes them.

        StyleGAN2 appendix D; see `projection.project`.
        """
        return project(self, images, options, distance, labels, start)

    def request(
        self,
        seeds: Sequence[int],
        truncation: Truncation = 1.0,
        truncation_layers: int | None = None,
        classes: int | Sequence[int] | None = None,
        label: LabelLike | None = None,
        noise: SampleNoise = "random",
        rng: Rng | Sequence[Rng] = "torch",
    ) -> Request:
        """These arguments of `latents`, checked. Raises UserError for one that is not valid.

        That of a psi for a generator that is not truncated comes from truncating the average.
        """
        seeds = arguments.seeds("seeds", seeds)
        labels = self.labels(len(seeds), classes, label)
        generator = self.generator
        psi = arguments.truncation(truncation, generator.num_ws)
        generator.truncate(
            generator.w_avg.expand(1, generator.num_ws, -1), psi, truncation_layers
        )  # or refuse
        source = noise_source(noise, len(seeds))
        noises = seeds if source == "random" else source
        return Request(seeds, psi, truncation_layers, labels, noises, rngs_of(rng, len(seeds)))

    def _drawn(self, request: Request) -> tuple[Tensor, Noise]:
        """z [N, Z] and noise."""
        z, maps, _ = self.draw_streams(request.seeds, request.rngs)
        if isinstance(request.noise, str):
            return z, request.noise
        return z, maps if request.noise is request.seeds else self.draw(request.noise)[1]

    def _styles(self, z: Tensor, request: Request) -> Tensor:
        """ws [N, L, W], truncated."""
        ws = self.generator.mapping(z, request.labels)
        return self.generator.truncate(ws, request.truncation, request.truncation_layers)

    def _kept_noise(self, noise: Noise) -> tuple[Tensor, ...] | None:
        """The maps of `noise` for `Latents`; stored ones are shared by all images."""
        if noise == "none":
            return None
        maps = self.generator.synthesis_network.fixed_noise if isinstance(noise, str) else noise
        return tuple(t[..., :h, :w].cpu() for t, (h, w) in zip(maps, self.noise_sizes, strict=True))

    def _joined(self, parts: Iterable[Tensor]) -> Tensor:
        """All images in one tensor."""
        none = torch.empty(0, self.experiment.generator.channels, *self.size)
        return torch.cat(list(parts) or [none.to(self.generator.w_avg.device)])

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
