"""A run that is killed at any moment, the first seconds included, or runs out of disk, goes on bit for bit.

`STYLELOOM_KILLS=100 python -m pytest tests/runs/test_kill_loop.py -m slow` kills a hundred times.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import styleloom
from styleloom.cli import main
from styleloom.runs.directory import RunDirectory
from tiny import flags, make_archive

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("STYLELOOM_KILLS", "6"))
LONG = [
    "total_kimg=1.6",
    "run.tick_kimg=0.08",
    "run.state_every=1",
    "run.snapshot_every=2",
    "run.swd_images=8",
]


def words(run: Path, archive: Path) -> list[str]:
    """The command that a user would type next."""
    if (run / "experiment.json").exists():
        return ["train", "--resume", str(run), "--device", "cpu"]
    return ["train", "--data", str(archive), "--out", str(run), "--device", "cpu", *flags(*LONG)]


def process(command: list[str], limit_bytes: int | None = None) -> subprocess.Popen[str]:
    source = str(Path(styleloom.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    code = "import sys; from styleloom.cli import main; "
    if limit_bytes is not None:
        code += "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        code += f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_bytes}, {limit_bytes})); "
    code += "sys.exit(main())"
    argv = [sys.executable, "-c", code, *command]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("kills"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, archive: Path) -> tuple[RunDirectory, float]:
    """The uninterrupted run, and how long its process took."""
    path = tmp_path_factory.mktemp("whole") / "run"
    began = time.monotonic()
    with process(words(path, archive)) as running:
        _, err = running.communicate()
    assert running.returncode == 0, err
    return RunDirectory(path), time.monotonic() - began


def check_the_end(path: Path, archive: Path, whole: RunDirectory) -> None:
    assert main(words(path, archive)) == 0
    run = RunDirectory(path)
    assert run.states()[-1].name == whole.states()[-1].name
    assert run.states()[-1].read_bytes() == whole.states()[-1].read_bytes()
    assert {line["images_seen"] for line in whole.stats.read()} <= {
        line["images_seen"] for line in run.stats.read()
    }
    assert not list(run.path.glob(".*"))
    assert not (run.path / "run.lock").exists()


@pytest.mark.timeout(60 * KILLS + 300)
def test_killed_at_any_moment(archive: Path, tmp_path: Path, whole: tuple[RunDirectory, float]) -> None:
    """Half of the kills fall into the start of a new run, half anywhere."""
    run, (complete, seconds) = tmp_path / "run", whole
    seed = int.from_bytes(os.urandom(4), "little")
    moments = random.Random(seed)
    for number in range(KILLS):
        if number % 2 == 0 and number < KILLS - 2:
            shutil.rmtree(run, ignore_errors=True)
        with process(words(run, archive)) as running:
            time.sleep(moments.random() * seconds)
            how = moments.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
            running.send_signal(how)
            _, err = running.communicate(timeout=300)
        assert "Traceback" not in err or "import" in err, (seed, number, how, err)
        assert running.returncode in (0, 130, -how), (seed, number, how, err)
    check_the_end(run, archive, complete)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
@pytest.mark.parametrize("limit_bytes", [100, 2_000, 5_000, 20_000])
def test_a_disk_that_fills(
    limit_bytes: int, archive: Path, tmp_path: Path, whole: tuple[RunDirectory, float]
) -> None:
    """Files that cannot grow beyond so many bytes: one message, nothing half-written, and it goes on."""
    run = tmp_path / "run"
    for _ in range(2):
        with process(words(run, archive), limit_bytes) as running:
            _, err = running.communicate(timeout=300)
        assert running.returncode == 2, err
        assert err.count("styleloom: error: cannot write ") == 1, err
        assert "Traceback" not in err
    assert not list(run.glob(".*.partial"))
    check_the_end(run, archive, whole[0])
