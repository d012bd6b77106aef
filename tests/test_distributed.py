"""Work is cut the same way for any number of processes, and comes back in order."""

from __future__ import annotations

import importlib
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st

from every import every
from styleloom import distributed as module
from styleloom.distributed import Processes, blocks
from styleloom.errors import UserError


@given(st.integers(0, 200), st.integers(1, 50))
def test_blocks_cover_everything_once(count: int, size: int) -> None:
    found = blocks(count, size)
    assert [i for block in found for i in block] == list(range(count))
    assert all(len(block) == size for block in found[:-1])


def test_one_process_does_it_all() -> None:
    assert list(Processes().ordered([1, 2, 3], lambda x: x * x)) == [1, 4, 9]
    assert (Processes().agree(5), Processes().collects) == (5, True)


@given(st.integers(0, 20), st.integers(2, 5))
def test_many_processes_take_turns(count: int, size: int) -> None:
    """Each process makes every `size`-th block; the first one receives all, in order."""
    made: dict[int, list[int]] = {rank: [] for rank in range(size)}
    rounds: list[list[int | None]] = []

    for rank in reversed(range(size)):  # the others first: their results wait for the first process
        calls = iter(range(10**6))

        def gather(
            result: Any,
            gathered: list[Any] | None,
            dst: int,
            group: Any,
            rank: int = rank,
            calls: Any = calls,
        ) -> None:
            number = next(calls)
            while len(rounds) <= number:
                rounds.append([None] * size)
            rounds[number][rank] = result
            if gathered is not None:
                gathered[:] = rounds[number]

        def work(block: int, rank: int = rank) -> int:
            made[rank].append(block)
            return -block

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dist, "gather_object", gather)
            patch.setattr(dist, "broadcast_object_list", lambda box, **_: None)  # nothing went wrong
            results = list(Processes(rank, size).ordered(list(range(count)), work))
    assert results == [-block for block in range(count)]
    assert made == {rank: list(range(rank, count, size)) for rank in range(size)}


def test_only_the_first_process_receives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "gather_object", lambda *_, **__: None)
    monkeypatch.setattr(dist, "broadcast_object_list", lambda *_, **__: None)
    assert list(Processes(1, 2).ordered([1, 2], abs)) == []
    assert not Processes(1, 2).collects


def test_alone_without_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert module.Processes.join() == Processes(0, 1, 0)


@pytest.mark.parametrize("first", [0, 1])
def test_a_start_finds_nothing_of_an_earlier_one(monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    """torchrun keeps the store when it restarts processes; whichever comes first, they find each other."""
    kept = dist.HashStore()
    rendezvous = importlib.import_module("torch.distributed.rendezvous")  # a function has its name, too
    monkeypatch.setattr(rendezvous, "rendezvous", lambda *_, **__: iter([(kept, 0, 2)]))
    patience = timedelta(seconds=20)
    with ThreadPoolExecutor(2) as threads:
        for start in ("first", "second"):
            before = kept.get("hello/1") if start == "second" else None
            earlier = threads.submit(module._fresh, first, 2, patience)
            while first == 1 and (not kept.check(["hello/1"]) or kept.get("hello/1") == before):
                time.sleep(0.001)
            later = threads.submit(module._fresh, 1 - first, 2, patience)
            one, other = earlier.result(), later.result()
            assert not one.check(["address"])
            assert not other.check(["address"])
            one.set("address", start)
            assert other.check(["address"])
            assert other.get("address") == start.encode()


@every(
    ("variables", "message"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is '2', RANK is not set; valid: both, as torchrun sets them"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "MASTER_ADDR is not set"),
        ({"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1"}, "MASTER_PORT is not set"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK: 2 is not valid with WORLD_SIZE 2; valid: 0 to 1"),
        ({"WORLD_SIZE": "two"}, "the variable WORLD_SIZE is 'two'; valid: a number"),
        ({"WORLD_SIZE": "2", "RANK": "-1"}, "the variable RANK is '-1'; valid: a number"),
    ],
)
def test_variables_that_no_launcher_sets_so(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str
) -> None:
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        Processes.join()


def test_an_error_of_one_process_is_raised_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one's block 1 failed: it hands over the error, and nobody waits for its result."""
    failure = UserError("image 1 is damaged")

    def gather(result: Any, gathered: list[Any] | None, **_: Any) -> None:
        assert gathered is not None
        gathered[:] = [result, failure]

    monkeypatch.setattr(dist, "gather_object", gather)
    monkeypatch.setattr(dist, "broadcast_object_list", lambda box, **_: None)
    with pytest.raises(UserError, match="image 1 is damaged"):
        list(Processes(0, 2).ordered([0, 1], abs))

    def fails(block: int) -> int:
        raise failure

    told: list[Any] = []
    monkeypatch.setattr(dist, "gather_object", lambda result, *_, **__: told.append(result))
    monkeypatch.setattr(dist, "broadcast_object_list", lambda box, **_: box.__setitem__(0, told[0]))
    with pytest.raises(UserError, match="image 1 is damaged"):
        list(Processes(1, 2).ordered([0, 1], fails))
    assert told == [failure]
