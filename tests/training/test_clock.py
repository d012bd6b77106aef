"""What the clock says of the phases, and that a step asks the device once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from styleloom.training import clock as module
from styleloom.training.clock import PhaseClock
from styleloom.training.trainer import Trainer
from tiny import make_archive, opened, steps, tiny


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("clock"))


def test_means_over_the_steps_that_ran_a_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    clock = PhaseClock(torch.device("cpu"))
    assert clock.read() == {}
    for main, lazy in ((2.0, 8.0), (4.0, None)):
        clock.begin_step()
        with clock.data_wait():
            now[0] += 1
        with clock.phase("d_main"):
            now[0] += main
        if lazy is not None:
            with clock.phase("d_penalty"):
                now[0] += lazy
        now[0] += 1  # what belongs to no phase
        clock.end_step()
        now[0] += 100  # between steps: pictures, metrics
    assert clock.read() == {"sec_d_main": 3, "sec_d_penalty": 8, "data_wait_share": 2 / 18}
    clock.reset()
    assert clock.read() == {}


def test_every_phase_of_a_step_is_measured(archive: Path) -> None:
    trainer = Trainer(tiny("g_regularizer.every=2", "d_regularizer.every=3"), opened(archive), "cpu")
    phases = []
    for _ in range(4):
        trainer.step()
        found = trainer.clock.read()
        assert 0 <= found.pop("data_wait_share") < 1
        assert min(found.values()) > 0
        phases.append(set(found))
        trainer.clock.reset()
    trainer.close()
    always = {"sec_g_main", "sec_g_ema", "sec_d_main"}
    path, penalty = {"sec_g_path_length"}, {"sec_d_penalty"}
    assert phases == [always | path | penalty, always, always | path, always | penalty]


class Reads(TorchDispatchMode):
    """Counts where the host reads one number of a tensor, as bool(), float() and item() do."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **kwargs or {})


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.dtype]]:
    """Types of the tensors that the host reads as lists."""
    found: list[torch.dtype] = []
    tolist = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda t: (found.append(t.dtype), tolist(t))[1])
    return found


@pytest.mark.parametrize(
    ("fields", "reads"),
    [
        (["micro_batch=4"], 0),
        (["g_regularizer.every=1", "d_regularizer.every=1", "d_regularizer.kind=two-sided"], 0),
        (["optimizer=rmsprop"], 4),  # has no flag for an update to leave out: the host asks for each
    ],
)
def test_the_host_asks_the_device_once_in_a_step(
    fields: list[str], reads: int, archive: Path, lists: list[torch.dtype]
) -> None:
    """For the flags of all updates together."""
    trainer = steps(Trainer(tiny(*fields, "label_dim=0"), opened(archive), "cpu"), 1)
    trainer.step_count = 0  # both regularizers fall due
    lists.clear()
    with Reads() as mode:
        trainer.step()
    trainer.close()
    assert lists == [torch.bool]
    assert mode.count == reads


def test_on_cuda_events_are_read_when_the_step_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """With stand-ins for the device's events, which know no time before the host has waited."""
    waited = [False]

    class Event:
        made = 0

        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing
            self.time = 0
            Event.made += 1

        def record(self, stream: str) -> None:
            assert stream == "stream"
            self.time = Event.made

        def elapsed_time(self, end: Event) -> float:
            assert waited[0]
            return 500.0 * (end.time > 0)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "stream")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda *args: pytest.fail("a second wait"))
    clock = PhaseClock(torch.device("cuda"))
    for _ in range(2):
        waited[0] = False
        clock.begin_step()
        for name in ("g_main", "d_main"):
            with clock.phase(name):
                pass
        waited[0] = True  # the flags of the step's updates have been read
        clock.end_step()
    assert Event.made == 8
    assert {name: value for name, value in clock.read().items() if name != "data_wait_share"} == {
        "sec_g_main": 0.5,
        "sec_d_main": 0.5,
    }
