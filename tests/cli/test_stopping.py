"""A training that is stopped by a signal, or killed, continues exactly."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import styleloom
from styleloom.cli import main
from styleloom.runs.directory import RunDirectory
from styleloom.runs.stats_file import StatsFile
from tiny import flags, make_archive

LONG = ["total_kimg=0.96", "run.tick_kimg=0.08", "run.state_every=1", "data.mirror=horizontal"]
"""120 steps, 12 ticks."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("stopping"), labels="folders")


def process(*argv: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(styleloom.__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "styleloom", "train", *argv]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def wait_for(condition: Callable[[], bool], running: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, archive: Path) -> RunDirectory:
    out = tmp_path_factory.mktemp("whole") / "run"
    command = ["train", "--data", str(archive), "--out", str(out), "--device", "cpu", *flags(*LONG)]
    assert main(command) == 0
    return RunDirectory(out)


def check_the_end(run: RunDirectory, whole: RunDirectory) -> None:
    assert run.states()[-1].name == whole.states()[-1].name
    assert run.states()[-1].read_bytes() == whole.states()[-1].read_bytes()
    seen = [line["images_seen"] for line in run.stats.read()]
    assert seen == sorted(set(seen))
    assert {line["images_seen"] for line in whole.stats.read()} <= set(seen)
    assert not list(run.path.glob(".*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stopped_run_continues_exactly(
    number: int,
    archive: Path,
    tmp_path: Path,
    uninterrupted: RunDirectory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The signal comes as the second tick is written."""
    run = RunDirectory(tmp_path / "run")
    append = StatsFile.append

    def append_and_stop(self: StatsFile, line: dict[str, Any]) -> None:
        append(self, line)
        if len(self.read()) == 2:
            os.kill(os.getpid(), number)

    words = ["--data", str(archive), "--out", str(run.path), "--device", "cpu", *flags(*LONG)]
    with monkeypatch.context() as patch:
        patch.setattr(StatsFile, "append", append_and_stop)
        assert main(["train", *words, "--json"]) == 130
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert result["complete"] is False
    assert 160 <= result["images_seen"] < 960
    assert run.states()[-1].name == f"state-{result['steps']:09d}.safetensors"
    assert "Traceback" not in err
    assert main(["train", "--resume", str(run.path), "--device", "cpu"]) == 0
    check_the_end(run, uninterrupted)


def test_a_killed_process_continues_exactly(
    archive: Path, tmp_path: Path, uninterrupted: RunDirectory
) -> None:
    """Killed at random moments: once in the first process, once while another continues."""
    run = RunDirectory(tmp_path / "run")
    words = ["--data", str(archive), "--out", str(run.path), "--device", "cpu", *flags(*LONG)]
    moments = random.Random(os.getpid())
    for _ in range(2):
        ticks = len(run.stats.read())
        with process(*words) as running:
            wait_for(lambda ticks=ticks: len(run.stats.read()) > ticks, running)
            time.sleep(moments.random() * 0.3)
            running.kill()
            running.communicate()
        assert run.states()
        words = ["--resume", str(run.path), "--device", "cpu"]
    assert main(["train", *words]) == 0
    check_the_end(run, uninterrupted)
    assert [line["images_seen"] for line in run.stats.read()] == list(range(80, 961, 80))
