"""`torchrun -m styleloom train`: two processes start, stop, resume, lose one of them, and write once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from styleloom.cli import main
from styleloom.runs.directory import RunDirectory
from tiny import flags, make_archive

SOURCE = Path(__file__).parents[2] / "src"
GRACE_SEC = 240
"""Longer than any of these trainings takes; what hangs fails."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("processes"))


def training(archive: Path, run: Path, *overrides: str, restarts: int = 0) -> subprocess.Popen[str]:
    """Two processes that start or continue a run; torchrun leads a group of processes of its own."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words = ["train", "--data", str(archive), "--resume-or-start", str(run), "--device", "cpu", "--json"]
    command = [*launcher, f"--max-restarts={restarts}", "-m", "styleloom", *words, *flags(*overrides)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SOURCE)}
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit status, stdout and stderr; a process that does not end is killed, with all that it started."""
    try:
        out, err = process.communicate(timeout=GRACE_SEC)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, out, err


def workers(run: Path) -> list[int]:
    """Process numbers of the trainings of this run, the first process's first."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if str(run).encode() in words and b"torch.distributed.run" not in words and b"\0RANK=" in environment:
            found.append((b"\0RANK=0" not in environment, int(folder.name)))
    return [number for _, number in sorted(found)]


def when_step(run: Path, step: int) -> None:
    """Wait until a state of `step` or later is there."""
    deadline = time.monotonic() + GRACE_SEC
    while time.monotonic() < deadline:
        states = RunDirectory(run).states() if run.exists() else []
        if states and int(states[-1].stem.split("-")[1]) >= step:
            return
        time.sleep(0.02)
    raise AssertionError(f"no state of step {step}")


def last_state(run: Path) -> bytes:
    return RunDirectory(run).states()[-1].read_bytes()


def test_two_processes_train_a_run(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One writes, with metrics of both; another number of processes takes it up with a note."""
    run = tmp_path / "run"
    options = ("run.snapshot_every=2", "run.metrics=swd16", "run.metrics_kimg=0.032")
    status, out, err = ended(training(archive, run, *options))
    assert status == 0, err[:3000]
    assert json.loads(out)["steps"] == 8
    lines = RunDirectory(run).stats.read()
    assert [line["step"] for line in lines] == [2, 4, 6, 8]
    assert not list(run.glob(".*"))
    assert not (run / "run.lock").exists()
    shutil.rmtree(run / "events", ignore_errors=True)
    words = ["train", "--resume", str(run), "--device", "cpu", "--kimg", "0.08", "--allow-change", "kimg"]
    assert main(words) == 0
    assert "the run was on 2 processes, it goes on with 1: equal but for rounding" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(4 * GRACE_SEC)
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
def test_a_lost_worker(how: signal.Signals, archive: Path, tmp_path: Path) -> None:
    """Killed, hung, asked to end: the run goes on from its latest state, bit for bit."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    options = ("total_kimg=0.4", "run.state_every=2", "run.patience_minutes=0.1")
    assert ended(training(archive, whole, *options))[0] == 0
    process = training(archive, run, *options, restarts=2)
    when_step(run, 4)
    os.kill(workers(run)[-1], how)
    status, _, err = ended(process)
    if status:  # asked to end, it has saved
        assert how == signal.SIGTERM, err
        assert ended(training(archive, run, *options))[0] == 0
    assert last_state(run) == last_state(whole)
    assert not list(run.glob(".*"))


def test_what_one_process_cannot_do_is_told_once(archive: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "a file").touch()
    status, _, err = ended(training(archive, run))
    assert status == 1  # torchrun's
    assert err.count("styleloom: error: ") == 1, err
    assert "not a run directory" in err
