"""What the processes of a training tell each other once a phase: gradients and statistics, in one collective.

`Processes.sum` adds up one flat buffer, in which the gradients of a phase lie one after the other, and after
them the phase's statistics. With `gradient_exchange` bf16 the gradients travel in bfloat16, half as many
bytes, and the statistics in a buffer of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn

from styleloom.config import Experiment
from styleloom.config.experiment import GradientExchange
from styleloom.config.growth import lod_at, resolution_at
from styleloom.distributed import Processes
from styleloom.errors import UserError

DTYPES: dict[GradientExchange, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Exchange:
    """Sums of gradients, and means of numbers, over all processes.

    Args:
        processes: among which a batch is divided.
        kind: how gradients travel.
    """

    def __init__(self, processes: Processes, kind: GradientExchange) -> None:
        self.processes, self.dtype = processes, DTYPES[kind]
        self.bytes = 0
        """Sent for others to add up since the training began, by this process."""
        self._buffers: dict[torch.dtype, Tensor] = {}

    def __call__(self, parameters: Iterable[nn.Parameter], numbers: Sequence[Tensor]) -> list[Tensor]:
        """Replace the gradient of each parameter that has one by its sum over all processes.

        All processes call this with the same parameters and shapes.

        Returns:
            The means of `numbers` over all processes.
        """
        if self.processes.size == 1:
            return list(numbers)
        moved = [p for p in parameters if p.grad is not None]
        parts = [[g for p in moved if (g := p.grad) is not None], [n.float() for n in numbers]]
        if self.dtype == torch.float32:
            sums = self._sums([*parts[0], *parts[1]], torch.float32)
            gradients, totals = sums[: len(moved)], sums[len(moved) :]
        else:
            gradients, totals = self._sums(parts[0], self.dtype), self._sums(parts[1], torch.float32)
        for parameter, gradient in zip(moved, gradients, strict=True):
            # laid out as the parameter; a view of the buffer, which holds until the next exchange
            parameter.grad = gradient if self.dtype == torch.float32 else gradient.float()
        return [total / self.processes.size for total in totals]

    def _sums(self, tensors: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
        """The sum of each tensor over all processes, as views of one buffer."""
        if not tensors:
            return []
        ends = [0, *accumulate(t.numel() for t in tensors)]
        flat = self._buffer(ends[-1], dtype, tensors[0].device)
        views = [
            flat[start:end].as_strided(t.shape, _dense_strides(t), flat.storage_offset() + start)
            for t, (start, end) in zip(tensors, pairwise(ends), strict=True)
        ]
        torch._foreach_copy_(views, tensors)  # pyright: ignore[reportPrivateImportUsage]
        self.processes.sum(flat)
        self.bytes += flat.numel() * flat.element_size()
        return views

    def _buffer(self, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """The first `size` numbers of a buffer that is kept, so that no exchange allocates memory anew."""
        kept = self._buffers.get(dtype)
        if kept is None or len(kept) < size:
            kept = self._buffers[dtype] = torch.empty(size, dtype=dtype, device=device)
        return kept[:size]


def _dense_strides(t: Tensor) -> tuple[int, ...]:
    """Strides of a tensor without gaps that is laid out as `t` is."""
    return torch.empty_like(t, device="meta").stride()


def check_divisible(experiment: Experiment, size: int) -> None:
    """Raise UserError unless `size` processes can divide every batch of the experiment as it is meant.

    Each must have as many images as the others, whole groups of minibatch standard deviation, and images
    for path length.
    """
    if size == 1:
        return
    problem = _problem(experiment, size)
    if problem:
        valid = [str(count) for count in range(1, 1025) if not _problem(experiment, count)]
        raise UserError(
            f"{size} processes: not valid for {experiment.name}, {problem}; valid: {', '.join(valid)}"
        )


def divides(experiment: Experiment, size: int) -> bool:
    """Whether `size` processes can train the experiment, see `check_divisible`."""
    return not _problem(experiment, size)


def _problem(experiment: Experiment, size: int) -> str:
    """Why so many processes cannot divide a step; empty where they can."""
    if size > 1 and experiment.loss == "relativistic-hinge":
        return "loss relativistic-hinge compares with the mean of the whole batch"
    std, path = experiment.discriminator.minibatch_std, experiment.g_regularizer
    for side in sides_of_run(experiment):
        batch = int(experiment.batch(side))
        own, group = batch // size, min(std.group_size, batch)
        passed = min(experiment.micro_batch or own, own)
        if batch % size or own % passed:
            parts = f" in passes of {experiment.micro_batch}" if experiment.micro_batch else ""
            return f"its batch of {batch} cannot be divided among them{parts}"
        if group > 1 and passed % group:
            return f"its batch of {batch} has groups of {group} for minibatch standard deviation"
        if path.weight > 0 and max(batch // path.batch_shrink, 1) % size:
            return f"path length takes {max(batch // path.batch_shrink, 1)} images of a batch of {batch}"
    return ""


def sides_of_run(experiment: Experiment) -> list[int]:
    """Sides of the images that the run trains at, px, from first to last."""
    sides = experiment.generator.sides
    first = resolution_at(lod_at(0, experiment.growth, experiment.resolution), experiment.resolution)
    return [side for side in sides if side >= first]
