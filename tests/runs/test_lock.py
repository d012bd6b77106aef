"""One process trains a run; what a killed start left is in nobody's way."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import styleloom
from styleloom.cli import main
from styleloom.errors import UserError
from styleloom.runs import lock
from styleloom.runs.directory import RunDirectory
from styleloom.runs.fit import fit, resume, start
from tiny import flags, make_archive, opened, tiny

HOLD = """
import sys
from pathlib import Path
from styleloom.runs.lock import lock
lock(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("lock"))


@pytest.fixture
def run(archive: Path, tmp_path: Path) -> RunDirectory:
    trainer, run = start(tmp_path / "run", tiny(), opened(archive), "cpu")
    fit(trainer, run, max_minutes=0)
    trainer.close()
    return run


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has locked `tmp_path / "run"`."""
    (tmp_path / "run").mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(Path(styleloom.__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_a_run_that_is_trained_is_left_alone(
    run: RunDirectory, other: subprocess.Popen[str], archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    assert main(["train", "--resume", str(run.path)]) == 2
    message = capsys.readouterr().err
    assert re.search(rf"{run.path}: process {other.pid} on .* is training this run", message)
    assert (
        main(["generate", str(run.snapshots()[-1]), "--seeds", "0", "--out", str(run.path.parent / "x")]) == 0
    )
    assert before == {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert (run.path / lock.NAME).exists()  # the file stays, the lock does not
    trainer, _ = resume(run.path, opened(archive), device="cpu")
    assert fit(trainer, run)
    trainer.close()
    assert not (run.path / lock.NAME).exists()


def test_two_starts_at_one_place(
    other: subprocess.Popen[str], archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other process has begun, and written nothing yet."""
    out = tmp_path / "run"
    assert main(["train", "--data", str(archive), "--out", str(out), *flags()]) == 2
    assert f"process {other.pid}" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == [lock.NAME]


def test_a_lock_is_taken_again_by_its_process(tmp_path: Path) -> None:
    for _ in range(2):
        lock.lock(tmp_path)
        lock.lock(tmp_path)
        assert "process" in (tmp_path / lock.NAME).read_text()
        lock.unlock(tmp_path)
        lock.unlock(tmp_path)
        assert not list(tmp_path.iterdir())


def test_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning, and the run is trained without a lock."""

    def unsupported(descriptor: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "_take", unsupported)
    assert lock.lock(tmp_path) is False
    assert caplog.messages == [
        f"{tmp_path}: its file system has no locks; let no second process train this run"
    ]


def test_a_refused_resume_gives_the_lock_back(run: RunDirectory, archive: Path) -> None:
    with pytest.raises(UserError, match="batch"):
        resume(run.path, opened(archive), tiny("batch=16"), device="cpu")
    assert not (run.path / lock.NAME).exists()


@pytest.mark.parametrize(
    "left",
    [
        [lock.NAME],
        [lock.NAME, ".reals.png.77.partial"],
        [lock.NAME, "reals.png", ".state-000000000.safetensors.77.partial"],
        [lock.NAME, "reals.png", "state-000000000.safetensors", ".experiment.json.77.partial"],
    ],
)
def test_what_a_killed_start_left_is_used_again(left: list[str], archive: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for name in left:
        (tmp_path / "run" / name).write_bytes(b"half")
    with pytest.raises(UserError, match=r"ended before its first state was complete; start it again"):
        RunDirectory(tmp_path / "run").read_experiment()
    trainer, run = start(tmp_path / "run", tiny(), opened(archive), "cpu")
    assert fit(trainer, run, max_minutes=0) is False
    trainer.close()
    assert not list(run.path.glob(".*"))
    (run.path / lock.NAME).touch()  # a killed run is no half start
    with pytest.raises(UserError, match="exists already"):
        start(run.path, tiny(), opened(archive), "cpu")


def test_somebodys_files_are_no_half_start(archive: Path, tmp_path: Path) -> None:
    for names in (["reals.png"], [lock.NAME, "thesis.txt"]):
        folder = tmp_path / "-".join(names)
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes(b"mine")
        with pytest.raises(UserError, match="exists already"):
            start(folder, tiny(), opened(archive), "cpu")
        assert sorted(path.name for path in folder.iterdir()) == sorted(names)


@pytest.mark.parametrize("when", ["save_image", "save_state", "write_experiment"])
def test_an_interrupted_start_leaves_nothing(
    when: str, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RunDirectory, when, interrupted)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "run", tiny(), opened(archive), "cpu")
    (tmp_path / "mine").mkdir()
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "mine", tiny(), opened(archive), "cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert not list((tmp_path / "mine").iterdir())
