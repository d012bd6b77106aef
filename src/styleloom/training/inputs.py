"""What a step works on: reals from the loader, latents and labels of fakes from a generator on the CPU."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from styleloom.config import Experiment
from styleloom.config.growth import active_ws
from styleloom.data import reals
from styleloom.data.dataset import ImageDataset
from styleloom.data.loader import Batch, Loader
from styleloom.distributed import ALONE, Processes
from styleloom.errors import UserError, shown
from styleloom.layers.share import Share
from styleloom.training.cutoffs import draw_cutoffs
from styleloom.training.regularizers import like, scales
from styleloom.types import GrowthState, Images

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Latents:
    """What a batch of fakes is made from.

    Args:
        z, z2: [N, Z], the two latents of style mixing.
        cutoffs: [N], layer from which `z2` is used. They stay on the CPU: the host reads them without waiting
            for a device.
        label: [N, K].
    """

    z: Tensor
    z2: Tensor
    cutoffs: Tensor
    label: Tensor

    def __len__(self) -> int:
        return len(self.z)

    def part(self, index: int, count: int) -> Latents:
        """Micro-batch `index` of `count`: every count-th sample."""
        return Latents(
            *(t[index::count] for t in (self.z, self.z2, self.cutoffs, self.label)),
        )


@dataclass(frozen=True)
class Reals:
    """Real images at the level and in the form that the discriminator reads, and their labels [N, K]."""

    images: Images
    label: Tensor

    def part(self, index: int, count: int) -> Reals:
        """Micro-batch `index` of `count`: every count-th sample."""
        images = [x[index::count] for x in scales(self.images)]
        return Reals(like(self.images, images), self.label[index::count])


class Inputs:
    """The images of a training, and the random latents of its fakes.

    Args:
        experiment: what is trained.
        dataset: its images; the last `data.held_out` of them are kept for evaluation.
        device: where the networks are.
        workers: threads that decode images ahead.
        cache_bytes: memory for decoded images; and as much again for those of a level of a growing run.
        side: of the images to begin with, px.
        processes: that train together. Each has every P-th image of a batch.
    """

    def __init__(
        self,
        experiment: Experiment,
        dataset: ImageDataset,
        device: torch.device,
        workers: int,
        cache_bytes: int,
        side: int,
        processes: Processes = ALONE,
    ) -> None:
        self.experiment, self.dataset, self.device = experiment, dataset, device
        self.workers, self.cache_bytes, self.side = workers, cache_bytes, side
        self.processes, self.share = processes, Share(processes.rank, processes.size)
        if processes.size == 1:
            dataset.preload(cache_bytes)
        else:
            dataset.keep(cache_bytes)  # each process decodes the images that it uses, when it uses them
        held_out = experiment.data.held_out
        self.train_set, self.evaluation_set = dataset.split(held_out) if held_out else (dataset, dataset)
        self.draws = torch.Generator().manual_seed(experiment.seed + 1)
        self.loader = self._loader(0)

    def move(self, side: int, position: int) -> None:
        """Continue at `position` of the sequence of samples, with images of `side` px.

        The sequence does not depend on the side.
        """
        self.loader.close()
        self.side = side
        self.loader = self._loader(position)

    def _loader(self, position: int) -> Loader:
        mirror = self.experiment.data.mirror == "horizontal"
        level = self.train_set.at(self.side, self.cache_bytes)
        if self.side < self.experiment.resolution and not level.keeps_images:
            logger.warning(
                f"the images of {self.side} px take more than {self.cache_bytes / 2**30:g} GiB, each is "
                "decoded from full size whenever it is needed; --cache-gib raises the limit"
            )
        rank = (self.share.index + position) % self.share.count  # so that sample 0 of a batch is share 0's
        shard = (rank, self.share.count)
        return Loader(level, self.experiment.seed, mirror, self.workers, position, shard)

    def next(self, count: int) -> Batch:
        """The next `count` samples of this process.

        Raises UserError where a process cannot read one; then all stay where they were.
        """
        position = self.loader.position
        try:
            with self.processes.together():
                return self.loader.next(count)
        except UserError:
            if self.loader.position != position:  # this process could read its own
                self.move(self.side, position)
            raise

    def reals(self, loaded: Batch, growth: GrowthState | None) -> Reals:
        """A batch of the loader on the device: in [-1, 1], faded where a level fades in, or a pyramid."""
        cfg = self.experiment.generator
        labels = to_device(loaded.labels[:, : cfg.label_dim], self.device)  # none when they are not used
        images = reals.to_signed(to_device(loaded.images, self.device))
        if growth is not None:
            return Reals(reals.fade(images, growth.alpha), labels)
        if cfg.pyramid_sides is not None:
            return Reals(reals.pyramid(images, cfg.pyramid_sides), labels)
        return Reals(images, labels)

    def latents(
        self, count: int, growth: GrowthState | None, labels: Tensor | None = None, shrink: int = 1
    ) -> Latents:
        """This process's share of the latents of `count` fakes; they are drawn on all processes.

        Args:
            count: fakes of all processes together.
            labels: of this share; [N, K] of random training images unless given.
            shrink: batch of the step over `count`. The number of samples that share one draw of style mixing
                is divided by it, too.
        """
        experiment, cfg = self.experiment, self.experiment.generator
        share = self.share.of
        z, z2 = map(share, torch.randn(2, count, cfg.z_dim, generator=self.draws))
        cutoffs = draw_cutoffs(
            count,
            cfg.num_ws,
            experiment.style_mixing,
            self.draws,
            active_ws(growth, cfg.num_ws),
            max(int(experiment.style_mixing_unit(self.side)) // shrink, 1),
        )
        if labels is None:
            chosen = torch.randint(len(self.train_set), (count,), generator=self.draws)
            found = self.train_set.labels(chosen.numpy()) if cfg.label_dim else torch.zeros(count, 0)
            labels = share(torch.as_tensor(found))
        z, z2 = to_device(z, self.device), to_device(z2, self.device)
        return Latents(z, z2, share(cutoffs), to_device(labels, self.device))

    def record(self) -> dict[str, Any]:
        """What identifies the images, as run and state record it."""
        return {
            "path": self.dataset.path,
            "name": self.dataset.name,
            "fingerprint": self.dataset.fingerprint,
            "count": len(self.dataset),
        }


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device. To CUDA it goes through pinned memory, and the host does not wait for it."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def check_data(experiment: Experiment, dataset: ImageDataset) -> None:
    """Raise UserError unless the images are of the experiment's shape and there are enough of them."""
    for name in ("resolution", "channels", "grid", "label_dim"):
        wanted, found = getattr(experiment.generator, name), getattr(dataset, name)
        unused_labels = name == "label_dim" and wanted == 0
        if wanted != found and not unused_labels:
            raise UserError(
                f"{shown(dataset.name)}: has {name} {found}, the experiment {wanted}; "
                f"train with --set {name}={_written(found)} or build another data set"
            )
    if len(dataset) <= experiment.data.held_out:
        raise UserError(
            f"data.held_out: {experiment.data.held_out} leaves nothing of {len(dataset)} images to train on"
        )


def _written(value: int | tuple[int, ...]) -> str:
    """A value as --set takes it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
