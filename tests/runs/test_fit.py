"""The loop: ticks, pictures, snapshots, stopping, and starting without leaving half a run."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from styleloom.config import ByResolution, RunOptions
from styleloom.errors import UserError
from styleloom.runs import fit as module
from styleloom.runs.directory import RunDirectory
from styleloom.runs.fit import StopRequest, _Loop, fit, resume, run_swd, samples, sheet_shape, start
from styleloom.runs.records import step_of
from styleloom.snapshot import read_snapshot
from styleloom.training.signals import overfitting
from styleloom.training.trainer import Trainer
from tiny import assert_equal, make_archive, opened, tiny


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("fit"), labels="folders")


@pytest.fixture
def begin(archive: Path, tmp_path: Path) -> Iterator[Any]:
    made: list[Trainer] = []

    def build(*overrides: str) -> tuple[Trainer, RunDirectory]:
        trainer, run = start(tmp_path / f"run{len(made)}", tiny(*overrides), opened(archive), "cpu")
        made.append(trainer)
        return trainer, run

    yield build
    for trainer in made:
        trainer.close()


def test_a_whole_run(begin: Any) -> None:
    trainer, run = begin(
        "run.snapshot_every=2", "run.sample_every=2", "run.swd_images=8", "run.keep_states=2"
    )
    reports: list[dict[str, Any]] = []
    assert fit(trainer, run, reports.append)
    lines = run.stats.read()
    assert [line["images_seen"] for line in lines] == [16, 32, 48, 64]
    assert [line["step"] for line in lines] == [2, 4, 6, 8]
    assert [line["tick"] for line in lines] == [0, 1, 2, 3]
    assert [line["kimg"] for line in lines] == [0.016, 0.032, 0.048, 0.064]
    assert [line.get("swd") is not None for line in lines] == [False, True, False, True]
    for line in lines:
        assert line["skipped_g"] == line["skipped_d"] == 0
        assert line["images_per_sec"] > 0
        assert (line["lr_g"], line["lr_d"]) == (pytest.approx(0.002 * 4 / 5), pytest.approx(0.002 * 16 / 17))
        assert line["batch"] == 8
        assert all(line[f"sec_{phase}"] > 0 for phase in ("g_main", "g_ema", "d_main"))
        assert 0 <= line["data_wait_share"] < 1
        assert all(math.isfinite(line[name]) for name in ("loss_g", "loss_d", "grad_norm_g", "logits_real"))
    assert "d_penalty" in lines[0]  # at step 0
    assert "d_penalty" not in lines[1]  # every 16
    assert "path_length" in lines[0]
    assert ["sec_d_penalty" in line for line in lines] == ["d_penalty" in line for line in lines]
    assert ["sec_g_path_length" in line for line in lines] == ["path_length" in line for line in lines]
    assert [r["images_seen"] for r in reports if "tick" not in r] == [8 * i for i in range(1, 9)]
    assert sum("tick" in r for r in reports) == 4
    assert [p.name for p in run.states()] == ["state-000000006.safetensors", "state-000000008.safetensors"]
    best = read_snapshot(run.path / "snapshot-best.safetensors")
    assert best.info["swd"] == min(line["swd"] for line in lines if line.get("swd") is not None)
    last = read_snapshot(run.snapshots()[-1])
    assert last.info["images_seen"] == 64
    assert last.info["data"] == trainer.inputs.record()
    for name, tensor in last.generator.state_dict().items():
        assert torch.equal(tensor, trainer.ema.state_dict()[name])


def test_only_data_formats_without_code(begin: Any) -> None:
    trainer, run = begin("run.swd_images=8")
    fit(trainer, run)
    files = [path for path in run.path.rglob("*") if path.is_file()]
    for path in files:
        assert path.suffix in (".safetensors", ".json", ".jsonl", ".png") or "tfevents" in path.name
        assert path.read_bytes()[:2] not in (b"PK", b"\x80\x02")  # torch.save, pickle
    assert {path.suffix for path in files} >= {".safetensors", ".json", ".jsonl", ".png"}
    json.loads((run.path / "experiment.json").read_text())


def picture(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_pictures(begin: Any) -> None:
    trainer, run = begin()
    reals = picture(run.path / "reals.png")
    columns, _ = sheet_shape((8, 8))
    assert reals.shape == (8 * 2, 8 * columns, 3)  # 20 images, 16 in a row
    first = trainer.inputs.dataset.image(0).transpose(1, 2, 0)
    assert (reals[:8, :8] == first).all()
    fit(trainer, run)
    for kind in ("raw", "ema"):
        assert picture(run.path / f"fakes-{kind}-000000.png").shape == (8 * 8, 8 * 16, 3)


def test_sheet_shape() -> None:
    assert [sheet_shape((r, r)) for r in (8, 64, 128, 256, 512, 1024)] == [
        (16, 8),
        (16, 8),
        (12, 8),
        (6, 4),
        (4, 2),
        (4, 2),
    ]


def test_pictures_of_classes(begin: Any) -> None:
    trainer, _ = begin("label_dim=2")
    images = samples(trainer.ema, trainer.experiment, 4)
    assert images.shape == (4, 3, 8, 8)
    assert images.dtype == torch.uint8


def test_watching_does_not_change_the_training(begin: Any) -> None:
    """Pictures, snapshots and distances draw nothing from the training's generators."""
    states = []
    for options in (["run.sample_every=1", "run.snapshot_every=1", "run.swd_images=8"], ["run.tick_kimg=99"]):
        trainer, run = begin(*options)
        fit(trainer, run)
        states.append({name: t.clone() for name, t in trainer.state()[0].items()})
    assert_equal(*states)


# ---- ticks


@pytest.mark.parametrize("batch", [8, 24, 40])
@pytest.mark.parametrize("tick_kimg", [0.016, 0.02, 0.1])
def test_ticks_are_a_function_of_images_seen(batch: int, tick_kimg: float, begin: Any) -> None:
    trainer, run = begin()
    options = RunOptions(tick_kimg=ByResolution(tick_kimg))
    object.__setattr__(trainer.experiment, "run", options)
    loop = _Loop(trainer, run, lambda line: None)
    for ticks in (1, 3):
        due = []
        for step in range(30):
            loop.images_before, trainer.images_seen = step * batch, (step + 1) * batch
            if loop.due(ticks):
                due.append(trainer.images_seen)
        every = tick_kimg * 1000 * ticks
        assert due == [n for n in range(batch, 30 * batch + 1, batch) if n // every > (n - batch) // every]
    trainer.images_seen = 0


def test_an_interruption_between_ticks_moves_no_tick(begin: Any, archive: Path) -> None:
    trainer, run = begin("run.sample_every=2", "run.snapshot_every=2", "run.swd_images=8")
    assert not fit(trainer, run, max_minutes=0)
    assert [line["images_seen"] for line in run.stats.read()] == [8]
    trainer, run = resume(run.path, opened(archive), device="cpu")
    assert fit(trainer, run)
    trainer.close()
    assert [line["images_seen"] for line in run.stats.read()] == [8, 16, 32, 48, 64]
    assert [line["images_seen"] for line in run.stats.read() if line.get("swd") is not None] == [8, 32, 64]


def test_the_best_snapshot_is_kept(begin: Any, monkeypatch: pytest.MonkeyPatch, archive: Path) -> None:
    """Also over a resume."""
    values = iter([9.0, 3.0, 5.0, 4.0])

    class Distance:
        def __init__(self) -> None:
            self.average = next(values)

    monkeypatch.setattr(module, "run_swd", lambda trainer, count: Distance())
    trainer, run = begin("run.snapshot_every=1", "run.swd_images=8")
    stop = threading.Event()

    def report(line: dict[str, Any]) -> None:
        if line.get("tick") == 1 and not stop.is_set():
            stop.set()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(trainer, run, report)
    assert read_snapshot(run.path / "snapshot-best.safetensors").info["images_seen"] == 32
    trainer, run = resume(run.path, opened(archive), device="cpu")
    assert fit(trainer, run)
    trainer.close()
    assert [line["swd"] for line in run.stats.read()] == [9, 3, 5, 4]
    assert read_snapshot(run.path / "snapshot-best.safetensors").info == {
        "images_seen": 32,
        "data": trainer.inputs.record(),
        "swd": 3,
    }


def test_the_last_snapshots_are_kept(begin: Any) -> None:
    trainer, run = begin("run.snapshot_every=1", "run.keep_snapshots=2")
    loop = _Loop(trainer, run, lambda line: None)
    for kimg in range(5):
        trainer.images_seen = kimg * 1000
        loop.snapshot({})
    assert [p.name for p in run.snapshots()] == ["snapshot-000003.safetensors", "snapshot-000004.safetensors"]
    trainer.images_seen = 0


def test_distance_to_the_evaluation_images(begin: Any) -> None:
    trainer, _ = begin("data.held_out=6")
    assert run_swd(trainer, 100).average == run_swd(trainer, 6).average > 0


def test_overfitting_by_held_out_images_is_in_the_statistics(begin: Any) -> None:
    """r_v of a line is of the logits in it; without held-out images there is none."""
    trainer, run = begin("data.held_out=8", "discriminator.minibatch_std.group_size=2")
    fit(trainer, run)
    for line in run.stats.read():
        difference = line["logits_real"] - line["logits_held_out"]
        assert line["r_v"] == difference / (line["logits_real"] - line["logits_fake"])
    values = {"logits_real": 3.0, "logits_fake": -1.0}
    for unseen, expected in ((3.0, 0.0), (1.0, 0.5), (-1.0, 1.0)):
        assert overfitting({**values, "logits_held_out": unseen}) == {"r_v": expected}
    assert overfitting(values) == overfitting({**values, "logits_fake": 3.0, "logits_held_out": 1.0}) == {}


# ---- stopping


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_saves_and_ends(number: int, begin: Any) -> None:
    trainer, run = begin()
    before = signal.getsignal(number)

    def report(line: dict[str, Any]) -> None:
        if line["images_seen"] == 24 and "tick" not in line:
            os.kill(os.getpid(), number)

    assert fit(trainer, run, report) is False
    assert signal.getsignal(number) is before
    assert trainer.images_seen == 24
    assert run.states()[-1].name == "state-000000003.safetensors"
    assert read_snapshot(run.snapshots()[-1]).info["images_seen"] == 24
    assert run.stats.read()[-1]["images_seen"] == 24


def test_a_second_interrupt_is_immediate() -> None:
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        os.kill(os.getpid(), signal.SIGTERM)  # asks again, politely
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_in_a_thread_the_signals_stay_as_they_are() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def enter() -> None:
        with StopRequest() as stop:
            seen.append(stop.requested)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [False]
    assert signal.getsignal(signal.SIGINT) is before


def test_minutes(begin: Any, archive: Path) -> None:
    trainer, run = begin()
    assert fit(trainer, run, max_minutes=0) is False
    assert trainer.step_count == 1
    assert [p.name for p in run.states()][-1] == "state-000000001.safetensors"


# ---- failures


def test_skipped_updates_are_seen_and_the_healthy_state_stays(
    begin: Any, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, run = begin("run.max_skipped=5", "total_kimg=1")
    update = trainer._update

    def poisoned(kind: str, now: Any) -> None:
        if trainer.step_count == 1 or trainer.step_count >= 4:
            network = trainer.networks()[kind[0]]
            next(p.grad for p in network.parameters() if p.grad is not None).view(-1)[0] = torch.nan
        update(kind, now)

    monkeypatch.setattr(trainer, "_update", poisoned)
    with pytest.raises(UserError, match=r"5 updates \(g\) in a row were skipped: .*--resume"):
        fit(trainer, run)
    lines = run.stats.read()
    assert [line["skipped_g"] for line in lines] == [1, 1, 4, 6]  # path length at step 4 besides
    assert lines[0]["grad_norm_g"] is None  # JSON has no NaN
    assert lines[-1]["skipped_d"] >= 4
    assert trainer.step_count == 9
    assert [step_of(state) for state in run.states()] == [
        4,
        6,
        8,
    ]  # none of the end; 6 and 8 are kept by count
    assert run.healthy_state() == run.states()[0]
    continued, run = resume(run.path, opened(archive), device="cpu")  # the latest, exactly, all the same
    assert (continued.step_count, continued.skipped["g"]) == (8, 6)
    assert all(torch.isfinite(p).all() for p in (*continued.g.parameters(), *continued.d.parameters()))
    assert fit(continued, run, max_minutes=0) is False
    continued.close()


def test_a_failed_start_leaves_nothing(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for change in ("resolution=16", "channels=1", "data.held_out=20", "precision=tf32", "seed=-1"):
        with pytest.raises(UserError):
            start(tmp_path / "run", tiny(change), opened(archive), "cpu")
        assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="device"):
        start(tmp_path / "run", tiny(), opened(archive), "gpu")

    def full(*args: Any, **kwargs: Any) -> None:
        raise UserError("cannot write: No space left on device")

    for name in ("save_image", "save_state", "write_experiment"):
        with monkeypatch.context() as patch:
            patch.setattr(RunDirectory, name, full)
            with pytest.raises(UserError, match="No space left"):
                start(tmp_path / "run", tiny(), opened(archive), "cpu")
        assert list(tmp_path.iterdir()) == []


def test_a_start_that_is_refused_touches_nothing(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="run: exists already"):
        start(tmp_path / "run", tiny(), opened(archive), "cpu")
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["mine.txt"]


def test_a_full_disk_during_training(begin: Any, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last complete state stays and continues."""
    trainer, run = begin()
    replace = os.replace

    def full(source: Any, target: Any) -> None:
        if "state-000000004" in str(target):
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(UserError, match=r"cannot write .*state-000000004.*: No space left on device"):
            fit(trainer, run)
    assert not list(run.path.glob(".*"))
    continued, run = resume(run.path, opened(archive), device="cpu")
    assert continued.step_count == 2
    assert fit(continued, run)
    continued.close()
    assert [line["images_seen"] for line in run.stats.read()] == [16, 32, 48, 64]


def test_memory_is_reported(begin: Any) -> None:
    peak = module.peak_memory_gib(torch.device("cpu"))
    assert peak is None or 0.05 < peak < 100
