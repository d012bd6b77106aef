"""examples/train.slurm, with stand-ins for SLURM's programs: what is started, and what follows on SIGTERM."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "train.slurm"

SRUN = """#!/usr/bin/env bash
echo "$@" > started
[ -n "${WAITS:-}" ] || exit 0
trap 'echo saved >> started; exit 130' TERM
touch ready
while :; do sleep 0.05; done
"""

SCONTROL = """#!/usr/bin/env bash
[ "$1" = show ] && printf 'one\\ntwo\\n' || echo "$@" > requeued
"""


@pytest.fixture
def job(tmp_path: Path) -> dict[str, str]:
    """The environment of a job; its programs lie in the folder, too."""
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    values = {"SLURM_JOB_NODELIST": "x", "SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "8", "SLURM_JOB_ID": "7"}
    return {**os.environ, "PATH": path, **values}


def start(job: dict[str, str], folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["bash", SCRIPT, "data.zip", "run", "--kimg", "5"], cwd=folder, env=job)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_a_job_that_ends(job: dict[str, str], tmp_path: Path) -> None:
    assert start(job, tmp_path).wait(60) == 0
    words = (tmp_path / "started").read_text()
    assert words.startswith("torchrun --nnodes 2 --nproc-per-node 8 --max-restarts 3")
    assert "--rdzv-endpoint one:29500" in words
    assert words.endswith("-m styleloom train --data data.zip --resume-or-start run --kimg 5\n")
    assert not (tmp_path / "requeued").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_a_job_whose_time_is_over(job: dict[str, str], tmp_path: Path) -> None:
    """It hands the signal on, waits for the state, and goes back into the queue."""
    process = start({**job, "WAITS": "yes"}, tmp_path)
    for _ in range(1200):
        if (tmp_path / "ready").exists():
            break
        time.sleep(0.05)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    assert (tmp_path / "started").read_text().endswith("saved\n")
    assert (tmp_path / "requeued").read_text() == "requeue 7\n"
