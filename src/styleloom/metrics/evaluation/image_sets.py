"""Sets of images that metrics compare: of a data set, of files, of a generator.

An image of a set depends on nothing but its position in it. Blocks of any size, on any number of processes,
therefore hold the same images.
"""

from __future__ import annotations

import copy
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from styleloom.config.seeds import MAX_IMAGE_SEED
from styleloom.data import reals
from styleloom.data.conversion import pixels_as_they_are
from styleloom.data.dataset import ImageDataset
from styleloom.data.decoding import BadImageError, quiet, seen_size
from styleloom.data.index import content_digest, source_hash
from styleloom.data.loader import mirror_coins, permutation
from styleloom.data.sources import Source, opened
from styleloom.errors import UserError, shown
from styleloom.metrics.evaluation.image_size import Resize, common_size, px, resized
from styleloom.metrics.evaluation.measure import UnmeasurableError
from styleloom.metrics.probes.mixing import check_latents, mixed_images
from styleloom.sampling import Sampler

Shape: TypeAlias = tuple[int, int, int]
"""Channels, height and width of an image, px."""

Choice: TypeAlias = Literal["first", "random", "full"]
"""Which images of a data set a metric takes; see `Selection`."""

SEEDS_PER_REPEAT = 2**20
"""Repeat r of an evaluation with seed s takes the latents of seeds (s + r) 2^20, (s + r) 2^20 + 1, ..."""

MAX_REPEATS = (MAX_IMAGE_SEED + 1) // SEEDS_PER_REPEAT
"""Seed and number of repeats add up to so many at most."""

_LABELS = 1  # random stream of a seed


class ImageSet(Protocol):
    """A set of images, each known by its position."""

    name: str

    @property
    def shape(self) -> Shape:
        """Of every image."""
        ...

    @property
    def available(self) -> int | None:
        """How many different images there are; None for as many as one likes."""
        ...

    def images(self, positions: range) -> Tensor:
        """uint8 [N, C, H, W] of the images at `positions`."""
        ...

    def record(self) -> dict[str, Any]:
        """What the set is, as JSON; equal records mean equal images."""
        ...


# ---- real images


@dataclass(frozen=True)
class Selection:
    """Which images of a data set stand for the reals, and how.

    Args:
        choice: "first" takes them in stored order, as the authors' code does, and begins again where the set
            is smaller; "random" takes a random order, as StyleGAN words it; "full" is every image once.
        mirror: flip each with probability 1/2, as the authors' code does where training did.
    """

    choice: Choice = "first"
    mirror: bool = False


class DatasetImages:
    """Images of a data set.

    Args:
        dataset: at the resolution to compare at.
        selection: which of them.
        seed: of the coins of mirroring and of the random order.
        resize: brings them to another size; None leaves them as they are.

    Raises UserError for images of other proportions than that size has.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        selection: Selection | None = None,
        seed: int = 0,
        resize: Resize | None = None,
    ) -> None:
        self.resize = None if resize is None or resize.size in (None, dataset.size) else resize
        if self.resize is not None and not self.resize.fits(dataset.size):
            raise UserError(
                f"{shown(dataset.name)}: images of {px(dataset.size)} cannot be resized to "
                f"{px(self.resize.size)}; valid: the same proportions"
            )
        self.dataset = dataset
        self.selection = Selection() if selection is None else selection
        self.seed = seed
        self.name = dataset.name

    @property
    def shape(self) -> Shape:
        """Of every image."""
        size = self.dataset.size if self.resize is None else self.resize.size
        assert size is not None
        return (self.dataset.channels, *size)

    @property
    def available(self) -> int:
        """Images of the data set."""
        return len(self.dataset)

    def images(self, positions: range) -> Tensor:
        """uint8 [N, C, H, W]; positions past the end begin again, with coins of their own."""
        at = np.arange(positions.start, positions.stop, dtype=np.int64)
        stored = self.dataset.images(self._indices(at))
        if self.resize is not None:
            stored = np.stack([self.resize(image) for image in stored])
        images = torch.from_numpy(stored)
        if self.selection.mirror:
            images = reals.mirror(images, torch.from_numpy(mirror_coins(self.seed, at)))
        return images

    def _indices(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        size = len(self.dataset)
        if self.selection.choice != "random":
            return positions % size
        epochs, places = np.divmod(positions, size)
        orders = {int(epoch): permutation(self.seed, int(epoch), size) for epoch in np.unique(epochs)}
        return np.array([orders[int(e)][p] for e, p in zip(epochs, places, strict=True)], np.int64)

    def record(self) -> dict[str, Any]:
        """Content, recipe and selection; the seed where something is drawn by it."""
        drawn = self.selection.mirror or self.selection.choice == "random"
        return {
            "kind": "data set",
            "name": self.name,
            "fingerprint": self.dataset.fingerprint,
            "recipe": {
                name: value
                for name, value in self.dataset.recipe.items()
                if name in ("source", "source_sha256", "crop", "filter", "channels", "order", "tool_version")
            },
            "shape": list(self.shape),
            "count": len(self.dataset),
            "choice": self.selection.choice,
            "mirror": self.selection.mirror,
            **resized(self.resize, len(self.dataset)),
            **({"seed": self.seed} if drawn else {}),
        }


class FileImages:
    """Images of a folder or zip of files, as they are: of one size, in the order of their names.

    Args:
        source: the files.
        channels: 1 or 3; other files are converted. Transparency is composited on white.
        resize: brings them to one size; None takes them as they are.

    Raises UserError naming every file that is no image, or differs in size from most, or with `resize` in
    proportions.
    """

    def __init__(self, source: Source, channels: int = 3, resize: Resize | None = None) -> None:
        self.source = source
        self.name = source.name
        self.names = sorted(source.names)
        self.channels = channels
        with quiet(), ThreadPoolExecutor(os.cpu_count()) as pool:
            found = list(pool.map(self._look, self.names))
        self._fingerprint = source_hash(
            {name: digest for name, (digest, _) in zip(self.names, found, strict=True)}
        )
        sizes = {name: size for name, (_, size) in zip(self.names, found, strict=True)}
        self._size, self.resize = common_size(self.name, sizes, resize)
        self._num_resized = sum(size != self._size for size in sizes.values())
        self._coins: int | None = None

    def mirrored(self, seed: int) -> FileImages:
        """The same images, each flipped with probability 1/2 by its position."""
        result = copy.copy(self)
        result._coins = seed
        return result

    def _look(self, name: str) -> tuple[bytes, tuple[int, int] | str]:
        """Hash of a file, and its height and width or what is wrong with it. Nothing is decoded yet."""
        digest = bytes(32)
        try:
            with opened(self.source, name) as data:
                digest = content_digest(data)
                return digest, seen_size(data)
        except OSError as error:
            return digest, f"cannot be read: {error.strerror or error}"
        except BadImageError as error:
            return digest, str(error)

    @property
    def shape(self) -> Shape:
        """Of every image."""
        return (self.channels, *self._size)

    @property
    def available(self) -> int:
        """Number of files."""
        return len(self.names)

    def images(self, positions: range) -> Tensor:
        """uint8 [N, C, H, W]. Raises UserError naming a file that cannot be decoded."""
        with quiet(), ThreadPoolExecutor(os.cpu_count()) as pool:
            arrays = list(pool.map(self._pixels, self.names[positions.start : positions.stop]))
        images = torch.from_numpy(np.stack(arrays))
        if self._coins is None:
            return images
        at = np.arange(positions.start, positions.start + len(images), dtype=np.int64)
        return reals.mirror(images, torch.from_numpy(mirror_coins(self._coins, at)))

    def _pixels(self, name: str) -> NDArray[np.uint8]:
        try:
            with opened(self.source, name) as data:
                image = pixels_as_they_are(data, self.channels)
            return image if self.resize is None else self.resize(image)
        except OSError as error:
            reason = f"cannot be read: {error.strerror or error}"
        except BadImageError as error:
            reason = str(error)
        raise UserError(f"{shown(self.name)}: {shown(name)}: {reason}")

    def record(self) -> dict[str, Any]:
        """Hash over the names and contents of the files."""
        return {
            "kind": "files",
            "name": self.name,
            "fingerprint": self._fingerprint,
            "shape": list(self.shape),
            "count": len(self.names),
            "mirror": self._coins is not None,
            **resized(self.resize, self._num_resized),
            **({} if self._coins is None else {"seed": self._coins}),
        }


# ---- generated images


class GeneratedImages:
    """Images of a generator: position p is the image of seed `first_seed` + p, without truncation.

    Args:
        sampler: the generator.
        first_seed: of position 0.
        labels: labels [K, D] among which each seed draws one, as those of the training images; for
            generators that take labels.
        num_latents: latents mixed in an image, at random crossover points (StyleGAN Table 2).
    """

    available = None

    def __init__(
        self, sampler: Sampler, first_seed: int = 0, labels: Tensor | None = None, num_latents: int = 1
    ) -> None:
        if sampler.generator.label_dim and labels is None:
            raise UserError(
                "labels: this generator needs them, as they occur in its data; give labelled --data"
            )
        if labels is not None and sampler.generator.label_dim not in (0, labels.shape[1]):
            raise UserError(
                f"labels: those of the data have {labels.shape[1]} numbers, this generator takes "
                f"{sampler.generator.label_dim}; valid: the data that it was trained on"
            )
        check_latents(sampler, num_latents)
        self.sampler = sampler
        self.first_seed = first_seed
        self.num_latents = num_latents
        self.name = "generated"
        self._labels = labels if sampler.generator.label_dim else None

    @property
    def shape(self) -> Shape:
        """Of every image."""
        return (self.sampler.experiment.generator.channels, *self.sampler.size)

    def seeds(self, positions: range) -> list[int]:
        """The seeds of the images at `positions`."""
        return [self.first_seed + position for position in positions]

    def labels(self, seeds: list[int]) -> Tensor | None:
        """One label [N, D] for each seed, as frequent as in the data; None without labels."""
        if self._labels is None:
            return None
        draws = [np.random.default_rng((seed, _LABELS)).integers(len(self._labels)) for seed in seeds]
        return self._labels[torch.as_tensor(draws)].to(self.sampler.generator.w_avg.device)

    @torch.inference_mode()
    def images(self, positions: range) -> Tensor:
        """uint8 [N, C, H, W] on the CPU. Raises UnmeasurableError where the generator makes NaN."""
        seeds = self.seeds(positions)
        images = mixed_images(self.sampler, seeds, self.num_latents, self.labels(seeds))
        finite = images.isfinite().flatten(1).all(1)
        if not finite.all():
            bad = seeds[int((~finite).nonzero()[0])]
            raise UnmeasurableError(f"the generator makes NaN or infinite pixels, first with seed {bad}")
        return reals.to_uint8(images).cpu()

    def record(self) -> dict[str, Any]:
        """Which seeds. The generator itself is described by the record of the `Subject`."""
        return {
            "kind": "generated",
            "first_seed": self.first_seed,
            "num_latents": self.num_latents,
            "truncation": "none",
            "noise": "drawn from each seed",
            "shape": list(self.shape),
            "labels": "as in the data" if self._labels is not None else "none",
        }


def first_seed(seed: int, repeat: int) -> int:
    """The seed of the first latent of a repeat."""
    return (seed + repeat) * SEEDS_PER_REPEAT


def labels_of(dataset: ImageDataset | None) -> Tensor | None:
    """Every label [N, D] of a data set; None where there is none."""
    if dataset is None or not dataset.label_dim:
        return None
    return torch.from_numpy(dataset.labels(np.arange(len(dataset))))
