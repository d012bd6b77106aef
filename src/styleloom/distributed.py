"""The same evaluation, and the same training, on one process or on many.

Work of an evaluation is cut into blocks of fixed size. Process r of P takes the blocks r, r + P, r + 2P, ...,
and the first one receives every result in the order of the blocks, whoever made it. What a block holds and
the order in which results are added up are the same for any P, so the number of processes changes no result.

The processes of a training hold the same networks and take the same steps; `sum` adds up what each found on
its share of a batch, and what one of them decides or suffers (`any`, `together`), all do.

Started by torch's own launcher, on one machine or several:

    torchrun --nproc-per-node 8 -m styleloom evaluate SNAPSHOT --data DATA.zip --metrics fid50k
    torchrun --nproc-per-node 8 -m styleloom train --data DATA.zip --preset stylegan2-f
"""

from __future__ import annotations

import contextlib
import datetime
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from styleloom.errors import ProcessLostError, UserError, quoted

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.distributed_c10d import Store

T = TypeVar("T")
R = TypeVar("R")


DAYS = datetime.timedelta(days=7)
"""All wait while the first computes a metric of an evaluation."""


POLL_SEC = 0.02
"""Between two looks of the first process at who has come."""


class StoppedError(Exception):
    """Work that processes share was asked to end."""


@dataclass(frozen=True)
class Processes:
    """This process among `size`.

    Args:
        rank: 0 collects and reports.
        size: number of processes.
        local_rank: number of this process on its machine, which picks its accelerator.
        group: of torch.distributed; None for the group of all.
        interrupted: asked before each block of `ordered`; when it says yes on one process, all raise
            StoppedError.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    group: Any = None
    interrupted: Callable[[], bool] = lambda: False

    @classmethod
    def join(cls, accelerated: bool = False, patience: datetime.timedelta = DAYS) -> Processes:
        """Join the processes that torchrun started (it sets RANK, WORLD_SIZE, LOCAL_RANK), if it did.

        Without WORLD_SIZE this process is alone. `joined` gives the same processes until they `leave`.

        Args:
            accelerated: whether tensors on CUDA devices, where there are some, are exchanged, too, by NCCL.
            patience: how long a process waits for another one.

        Raises UserError where the variables contradict each other or some are missing.
        """
        size = _number("WORLD_SIZE", 1)
        if size == 1:
            return cls()
        rank, local_rank = _number("RANK"), _number("LOCAL_RANK", 0)
        if not 0 <= rank < size:
            raise UserError(f"RANK: {rank} is not valid with WORLD_SIZE {size}; valid: 0 to {size - 1}")
        for name in ("MASTER_ADDR", "MASTER_PORT"):
            if not os.environ.get(name):
                raise _not_by_torchrun(name)
        import torch

        if not _dist().is_initialized():
            nccl = accelerated and torch.cuda.is_available()
            backend = "cpu:gloo,cuda:nccl" if nccl else "gloo"  # results are on the CPU
            store = _fresh(rank, size, patience)
            _dist().init_process_group(backend, timeout=patience, store=store, rank=rank, world_size=size)
        _joined.append(cls(rank, size, local_rank))
        return _joined[-1]

    def patient(self, minutes: float) -> Processes:
        """The same processes, which wait for each other so long at most: then `ProcessLostError`."""
        if self.size == 1:
            return self
        return replace(self, group=_dist().new_group(timeout=datetime.timedelta(minutes=minutes)))

    def leave(self) -> None:
        """Leave the process group."""
        _joined.clear()
        if self.size > 1 and _dist().is_initialized():
            _dist().destroy_process_group()

    def named_device(self, name: str) -> str:
        """The device that `name` means on this process: where it is CUDA without a number, one of its own."""
        if self.size == 1 or ":" in name or name not in ("auto", "cuda"):
            return name
        import torch

        if not torch.cuda.is_available():
            return name
        return f"cuda:{self.local_rank % torch.cuda.device_count()}"

    @property
    def collects(self) -> bool:
        """Whether this is the process that receives all results and reports them."""
        return self.rank == 0

    def ordered(self, blocks: Sequence[T], run: Callable[[T], R]) -> Iterator[R]:
        """Results run(block) of every block, in order, on the process that `collects`; nothing elsewhere.

        All processes call this with the same blocks, and each runs its share of them. Results must be on the
        CPU and must be possible to pickle. A UserError of one process is raised on all of them, so that none
        waits for another.
        """
        if self.size == 1:
            yield from map(run, blocks)
            return
        for first in range(0, len(blocks), self.size):
            mine = first + self.rank
            result: R | Exception | None = None
            try:
                if self.interrupted():
                    raise StoppedError
                result = run(blocks[mine]) if mine < len(blocks) else None
            except (UserError, StoppedError) as error:
                result = error
            gathered: list[Any] | None = [None] * self.size if self.collects else None
            with self._waiting():
                _dist().gather_object(result, gathered, dst=0, group=self.group)
            failure = self.agree(next((r for r in gathered or () if isinstance(r, Exception)), None))
            if failure is not None:
                raise failure
            if gathered is not None:
                yield from gathered[: len(blocks) - first]

    def agree(self, value: T) -> T:
        """The first process's `value`, returned on all processes."""
        if self.size == 1:
            return value
        box: list[Any] = [value if self.collects else None]
        with self._waiting():
            _dist().broadcast_object_list(box, src=0, group=self.group)
        return box[0]

    def any(self, flag: bool) -> bool:
        """Whether `flag` holds on at least one process. The host waits for all."""
        if self.size == 1:
            return flag
        import torch

        votes = torch.tensor([int(flag)])
        with self._waiting():
            _dist().all_reduce(votes, _dist().ReduceOp.MAX, self.group)
        return bool(votes.item())

    def same(self, value: Any) -> bool:
        """Whether all processes hold an equal `value`, which can be pickled."""
        if self.size == 1:
            return True
        values: list[Any] = [None] * self.size
        with self._waiting():
            _dist().all_gather_object(values, value, self.group)
        return all(other == values[0] for other in values)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """A context that all processes leave in the same way: a UserError of one is raised by all.

        Within it no process may wait for another one.
        """
        error: UserError | None = None
        try:
            yield
        except UserError as caught:
            error = caught
        if not self.any(error is not None):
            return
        if self.size == 1:
            assert error is not None
            raise error
        errors: list[Any] = [None] * self.size
        with self._waiting():
            _dist().all_gather_object(errors, error, self.group)
        raise next(found for found in errors if found is not None) from error

    def sum(self, tensor: Tensor) -> None:
        """Add up `tensor` over all processes, in place. Afterwards it has the same bits on all of them."""
        if self.size > 1:
            with self._waiting():
                _dist().all_reduce(tensor, group=self.group)

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean of `tensor` over all processes, a new tensor."""
        total = tensor.clone()
        self.sum(total)
        return total / self.size

    def _waiting(self) -> contextlib.AbstractContextManager[None]:
        return _lost(self.rank, self.size)


ALONE = Processes()
"""A process without others."""

_joined: list[Processes] = []


def joined() -> Processes:
    """The processes that this one has joined; itself alone where it has joined none."""
    return _joined[-1] if _joined else ALONE


def _dist() -> Any:
    """torch.distributed, imported when there are other processes: help and mistakes do not wait for torch."""
    import torch.distributed

    return torch.distributed


def _fresh(rank: int, size: int, patience: datetime.timedelta) -> Store:
    """The processes' common store, without what an earlier start of theirs left there.

    torchrun keeps the store where it restarts processes, and with it the addresses of those that are gone.
    So the first process makes up a name, and all keep what they store under it: each other one says hello
    under a name of its own, which the first answers. It answers those of the dead, too, who do not come.
    """
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous("env://", timeout=patience))
    own = uuid.uuid4().hex
    if rank:
        store.set(f"hello/{rank}", own)
        with _lost(rank, size):
            name = store.get(f"answer/{own}").decode()  # waits for it
        store.set(f"there/{name}/{rank}", "")
        return PrefixStore(name, store)
    awaited, deadline = set(range(1, size)), time.monotonic() + patience.total_seconds()
    while awaited:
        for other in sorted(awaited):
            if store.check([f"hello/{other}"]):
                store.set(f"answer/{store.get(f'hello/{other}').decode()}", own)
            if store.check([f"there/{own}/{other}"]):
                awaited.remove(other)
        with _lost(rank, size):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(awaited)} processes did not come")
        time.sleep(POLL_SEC)
    return PrefixStore(own, store)


@contextlib.contextmanager
def _lost(rank: int, size: int) -> Iterator[None]:
    """Around what waits for other processes: torch's error becomes ProcessLostError."""
    try:
        yield
    except RuntimeError as error:
        raise ProcessLostError(
            f"process {rank} of {size} waited for another one, which has ended or hangs"
        ) from error


def _number(name: str, default: int | None = None) -> int:
    """A variable that torchrun sets. Raises UserError where it is absent or no number."""
    text = os.environ.get(name, "" if default is None else str(default))
    if not text:
        raise _not_by_torchrun(name)
    if not text.isdecimal():
        raise UserError(f"the variable {name} is {quoted(text)}; valid: a number, as torchrun sets it")
    return int(text)


def _not_by_torchrun(name: str) -> UserError:
    size = os.environ.get("WORLD_SIZE", "")
    return UserError(
        f"the variable WORLD_SIZE is {quoted(size)}, {name} is not set; valid: both, as torchrun sets them, "
        "or no WORLD_SIZE for a process alone"
    )


def blocks(count: int, size: int) -> list[range]:
    """0..count-1 in ranges of `size`; the last may be shorter."""
    return [range(start, min(start + size, count)) for start in range(0, count, size)]
