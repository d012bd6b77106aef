"""The same evaluation on one process or on many.

Work is cut into blocks of fixed size. Process r of P takes the blocks r, r + P, r + 2P, ..., and the first
one receives every result in the order of the blocks, whoever made it. What a block holds and the order in
which results are added up are the same for any P, so the number of processes changes no result.

Started by torch's own launcher, on one machine or several:

    torchrun --nproc-per-node 8 -m styleloom evaluate SNAPSHOT --data DATA.zip --metrics fid50k
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch.distributed as dist

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Processes:
    """This process among `size`.

    Args:
        rank: 0 collects and reports.
        size: number of processes.
        local_rank: number of this process on its machine, which picks its accelerator.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @classmethod
    def join(cls) -> Processes:
        """Those that torchrun started (it sets RANK, WORLD_SIZE, LOCAL_RANK), or this one alone."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        if not dist.is_initialized():
            # Results travel through main memory. The others wait while the first one computes numbers.
            dist.init_process_group("gloo", timeout=datetime.timedelta(days=7))
        return cls(int(os.environ["RANK"]), size, int(os.environ.get("LOCAL_RANK", "0")))

    def leave(self) -> None:
        """Part from the others."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()

    @property
    def collects(self) -> bool:
        """Whether results come together here."""
        return self.rank == 0

    def ordered(self, blocks: Sequence[T], run: Callable[[T], R]) -> Iterator[R]:
        """run(block) of every block, in order: all of them where `collects`, none elsewhere.

        All processes call this with the same blocks. Results must be on the CPU and can be pickled.
        """
        for first in range(0, len(blocks), self.size):
            mine = first + self.rank
            result = run(blocks[mine]) if mine < len(blocks) else None
            if self.size == 1:
                yield result  # type: ignore[misc]
                continue
            gathered: list[Any] | None = [None] * self.size if self.collects else None
            dist.gather_object(result, gathered, dst=0)
            if gathered is not None:
                yield from gathered[: len(blocks) - first]

    def agree(self, value: T) -> T:
        """The first process's `value`, everywhere."""
        if self.size == 1:
            return value
        box: list[Any] = [value if self.collects else None]
        dist.broadcast_object_list(box, src=0)
        return box[0]


def blocks(count: int, size: int) -> list[range]:
    """0..count-1 in runs of `size`; the last may be shorter."""
    return [range(start, min(start + size, count)) for start in range(0, count, size)]
