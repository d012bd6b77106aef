"""Images from a trained generator: one random generator per seed, so that batch size changes no image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from styleloom.allocator import keep_large_blocks
from styleloom.atomic import atomic_path
from styleloom.config.experiment import Experiment, Precision
from styleloom.config.parts import MAX_LATENT_SEED as MAX_SEED
from styleloom.data.reals import to_uint8
from styleloom.errors import UserError
from styleloom.networks.assembly import StyleGenerator, Truncation, finest
from styleloom.precision import resolve_device, resolve_precision, set_precision
from styleloom.snapshot import Snapshot
from styleloom.snapshot import load as load_snapshot
from styleloom.types import GrowthState, NoiseMode

PIXELS_PER_BATCH = 8 * 256 * 256
"""Default batch: as many images as make this many pixels."""


def load(path: Path | str, device: str = "auto", precision: Precision = "auto") -> Sampler:
    """A snapshot file, ready to generate."""
    return Sampler.of(load_snapshot(path), device, precision)


class Sampler:
    """A generator with the conveniences that people want of it.

    Args:
        generator: in evaluation mode, on its device.
        experiment: what made it.
        growth: where a growing run stood; None for the full resolution.
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
        keep_large_blocks()
        where = resolve_device(device)
        generator = snapshot.generator.to(where)
        set_precision(resolve_precision(precision, where), where, generator)
        return cls(generator, snapshot.experiment, snapshot.growth)

    @property
    def resolution(self) -> int:
        """Nominal side of the images, px: that of the active level in a growing run."""
        return self.generator.resolution if self.growth is None else 4 << self.growth.level

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images, px."""
        return self.experiment.generator.size_at(self.resolution)

    def draw(self, seeds: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """The latent z [N, Z] and the noise maps (each [N, 1, H, W]) of every seed, 0 to `MAX_SEED`.

        Maps are drawn low to high. Those of levels above the active one of a growing run are not used and
        have no pixels.
        """
        z, maps, _ = self.draw_streams(seeds)
        return z, maps

    def draw_streams(self, seeds: Sequence[int]) -> tuple[Tensor, list[Tensor], list[torch.Generator]]:
        """As `draw`, and each seed's random generator, for what else a sample needs: further latents, say."""
        sizes = [
            size if self.growth is None or size <= self.size else (0, 0)
            for size in self.generator.synthesis_network.noise_sizes
        ]
        streams: list[torch.Generator] = []
        maps: list[list[Tensor]] = [[] for _ in sizes]
        zs: list[Tensor] = []
        for seed in seeds:
            if not 0 <= seed <= MAX_SEED:
                raise UserError(f"seed: {seed} is not valid, 0 to {MAX_SEED}")
            rng = torch.Generator().manual_seed(int(seed))
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

    def labels(self, count: int, classes: int | Sequence[int] | None) -> Tensor | None:
        """One-hot labels [N, K] of a class for all images, or one for each; None without labels."""
        dim = self.generator.label_dim
        if not dim:
            if classes is not None:
                raise UserError("class: this generator was trained without labels")
            return None
        if classes is None:
            raise UserError(f"class: this generator needs one, 0 to {dim - 1}")
        indices = [classes] * count if isinstance(classes, int) else list(classes)
        if len(indices) != count or not all(0 <= i < dim for i in indices):
            raise UserError(
                f"class: {classes!r} is not valid; one for each of {count} images, 0 to {dim - 1}"
            )
        return torch.eye(dim, device=self.generator.w_avg.device)[torch.tensor(indices)]

    def generate(
        self,
        seeds: Sequence[int],
        truncation: Truncation = 1.0,
        truncation_layers: int | None = None,
        classes: int | Sequence[int] | None = None,
        noise: NoiseMode = "random",
        batch: int | None = None,
    ) -> Tensor:
        """Images [N, C, H, W], about [-1, 1] (not clipped), float32 on the generator's device.

        Args:
            seeds: one image each; z and random noise depend on the seed alone.
            truncation: psi, or one psi per layer (StyleGAN appendix B).
            truncation_layers: only the first so many layers; None for all.
            classes: label, for generators that were trained with labels.
            noise: "random" draws from the seed, "fixed" takes the stored maps, "none" leaves it out.
            batch: images at once; by default as many as have the pixels of 8 images of 256 x 256.
        """
        parts = list(self.batches(seeds, truncation, truncation_layers, classes, noise, batch))
        empty = (0, self.experiment.generator.channels, *self.size)
        return torch.cat(parts) if parts else torch.empty(empty)

    @torch.inference_mode()
    def batches(
        self,
        seeds: Sequence[int],
        truncation: Truncation = 1.0,
        truncation_layers: int | None = None,
        classes: int | Sequence[int] | None = None,
        noise: NoiseMode = "random",
        batch: int | None = None,
    ) -> Iterator[Tensor]:
        """As `generate`, one batch after the other: for more images than fit in memory."""
        seeds = list(seeds)
        labels = self.labels(len(seeds), classes)
        if batch is None:
            batch = max(1, PIXELS_PER_BATCH // self.resolution**2)
        elif batch < 1:
            raise UserError(f"batch: {batch} is not valid, it must be at least 1")
        for start in range(0, len(seeds), batch):
            z, maps = self.draw(seeds[start : start + batch])
            images = self.generator(
                z,
                None if labels is None else labels[start : start + batch],
                truncation,
                truncation_layers,
                maps if noise == "random" else noise,
                self.growth,
            )
            yield finest(images)


def to_pil(image_u8: Tensor | np.ndarray) -> Image.Image:
    """uint8 [C, H, W] with 1, 3 or 4 channels to a Pillow image."""
    array = np.asarray(image_u8.cpu() if isinstance(image_u8, Tensor) else image_u8)
    if array.shape[0] not in (1, 3, 4):
        raise UserError(f"images of {array.shape[0]} channels cannot be saved as PNG; valid: 1, 3, 4")
    return Image.fromarray(array[0] if array.shape[0] == 1 else array.transpose(1, 2, 0).copy())


def save_png(path: Path | str, image_u8: Tensor | np.ndarray) -> None:
    """Write uint8 [C, H, W] as PNG, atomically."""
    with atomic_path(path) as partial:
        to_pil(image_u8).save(partial, format="PNG")


def grid(images: Tensor, columns: int) -> Tensor:
    """Images [N, C, H, W] in [-1, 1] or uint8, side by side: uint8 [C, rows H, columns W]; gaps are white."""
    tiles = images if images.dtype == torch.uint8 else to_uint8(images)
    n, c, height, width = tiles.shape
    rows = -(-n // columns)
    sheet = torch.full((rows * columns, c, height, width), 255, dtype=torch.uint8)
    sheet[:n] = tiles.cpu()
    return (
        sheet.reshape(rows, columns, c, height, width)
        .permute(2, 0, 3, 1, 4)
        .reshape(c, rows * height, columns * width)
    )
