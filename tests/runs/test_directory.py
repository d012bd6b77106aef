"""What a run writes, how much of it stays, and what comes back after a failure."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from every import every
from styleloom.errors import UserError
from styleloom.networks.build import build_generator
from styleloom.runs.directory import RunDirectory
from styleloom.snapshot import read_snapshot
from styleloom.snapshot_names import BEST
from tiny import tiny

DATA = {"path": "x.zip", "name": "x", "fingerprint": "f", "count": 3}
DOCUMENT: dict[str, Any] = {"experiment": {}, "counters": {}, "data": DATA}


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    made = RunDirectory.create(tmp_path / "runs" / "a")
    made.write_experiment(tiny(), DATA)
    return made


def test_the_experiment_comes_back(run: RunDirectory) -> None:
    assert run.read_experiment() == (tiny(), DATA)


def test_a_path_in_use_is_refused(run: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"runs/a: exists already; .*--resume .*runs/a"):
        RunDirectory.create(run.path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="file: exists already"):
        RunDirectory.create(tmp_path / "file")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="link: exists already"):
        RunDirectory.create(tmp_path / "link")
    with pytest.raises(UserError, match=r"cannot write .*file/run: "):
        RunDirectory.create(tmp_path / "file" / "run")
    (tmp_path / "empty").mkdir()
    assert RunDirectory.create(tmp_path / "empty").path.is_dir()


@every(
    ("content", "message"),
    [
        (None, r"not a run directory, experiment\.json: No such file"),
        (b"", r"experiment\.json: damaged"),
        (b"{", r"experiment\.json: damaged"),
        (b"\xff\xfe", r"experiment\.json: damaged"),
        (b"[]", r"experiment\.json: damaged"),
        (b"{}", r"experiment\.json: damaged, .*experiment"),
        (b'{"experiment": {"nmae": "x"}, "data": {}}', r"experiment\.json: nmae: no such field"),
        (b'{"experiment": {"batch": {"base": 0}}, "data": {}}', r"experiment\.json: batch: 0 is not valid"),
    ],
)
def test_no_run(content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "experiment.json").write_bytes(content)
    with pytest.raises(UserError, match=message):
        RunDirectory(tmp_path).read_experiment()


def test_a_file_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="file: not a run directory"):
        RunDirectory(tmp_path / "file").read_experiment()


# ---- statistics


def test_statistics(run: RunDirectory) -> None:
    assert run.stats.read() == []
    for step in (4, 8, 12):
        run.stats.append({"step": step, "loss": 0.5, "swd": None})
    assert [line["step"] for line in run.stats.read()] == [4, 8, 12]
    with open(run.stats.path, "a") as file:
        file.write('{"step": 16, "lo')
    assert [line["step"] for line in run.stats.read()] == [4, 8, 12]
    run.stats.rewind(8)
    run.stats.append({"step": 12})
    assert [json.loads(line)["step"] for line in run.stats.path.read_text().splitlines()] == [4, 8, 12]


def test_statistics_are_json(run: RunDirectory) -> None:
    with pytest.raises(ValueError, match="JSON"):
        run.stats.append({"step": 1, "loss": float("nan")})


# ---- states and snapshots


def test_states_are_kept_and_pruned(run: RunDirectory) -> None:
    for step in (2, 10, 100):
        run.save_state(step, {"x": torch.tensor(step)}, DOCUMENT, 2)
    assert [path.name for path in run.states()] == [
        "state-000000010.safetensors",
        "state-000000100.safetensors",
    ]
    tensors, document = run.load_state()
    assert tensors["x"] == 100
    assert document["data"] == DATA
    for step in (101, 102):
        run.save_state(step, {"x": torch.tensor(step)}, DOCUMENT, 0)
    assert len(run.states()) == 4  # 0 keeps all


def test_files_of_other_names_are_left_alone(run: RunDirectory) -> None:
    for name in ("state-mine.safetensors", "snapshot-mine.safetensors", BEST, "state-1.txt"):
        (run.path / name).write_bytes(b"x")
    generator = build_generator(tiny().generator)
    run.save_state(1, {"x": torch.zeros(())}, DOCUMENT, 1)
    run.save_snapshot(generator, tiny(), {"images_seen": 5000}, 1)
    run.save_snapshot(generator, tiny(), {"images_seen": 12_345_678}, 1)
    assert [path.name for path in run.snapshots()] == ["snapshot-012345.safetensors"]
    assert len(run.states()) == 1
    for name in ("state-mine.safetensors", "snapshot-mine.safetensors", BEST, "state-1.txt"):
        assert (run.path / name).read_bytes() == b"x"


def test_snapshots_load(run: RunDirectory) -> None:
    generator = build_generator(tiny().generator)
    path = run.save_snapshot(generator, tiny(), {"images_seen": 5000, "swd": 1.5}, 2)
    best = run.save_best(generator, tiny(), {"images_seen": 5000, "swd": 1.5})
    for file in (path, best):
        snapshot = read_snapshot(file)
        assert snapshot.experiment == tiny()
        assert snapshot.info == {"images_seen": 5000, "swd": 1.5}


@pytest.mark.parametrize("kind", ["state", "snapshot"])
def test_the_old_file_stays_until_the_new_one_is_complete(
    kind: str, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: one message, the old file as it was, nothing half-written."""
    generator = build_generator(tiny().generator)

    def save(number: int) -> None:
        if kind == "state":
            run.save_state(number, {"x": torch.tensor(number)}, DOCUMENT, 1)
        else:
            run.save_snapshot(generator, tiny(), {"images_seen": number * 1000}, 1)

    save(1)
    before = {path: path.read_bytes() for path in run.path.iterdir()}

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for target in ("os.replace", "os.fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(target, full)
            with pytest.raises(UserError, match=rf"cannot write .*{kind}-0+2\.safetensors: No space left"):
                save(2)
        assert before == {path: path.read_bytes() for path in run.path.iterdir()}
    save(2)
    assert len(run.states() if kind == "state" else run.snapshots()) == 1


def test_partial_files_are_removed(run: RunDirectory) -> None:
    (run.path / ".state-000000009.safetensors.77.partial").write_bytes(b"x")
    (run.path / ".mine").write_bytes(b"x")
    run.remove_partial_files()
    assert sorted(path.name for path in run.path.iterdir()) == [".mine", "experiment.json", "run.lock"]


def test_snapshots_of_one_thousand_images_do_not_replace_each_other(tmp_path: Path) -> None:
    run, generator = RunDirectory.create(tmp_path / "run"), build_generator(tiny().generator)
    for seen in (16, 32, 32, 48, 1032, 1040):
        run.save_snapshot(generator, tiny(), {"images_seen": seen}, keep=0)
    files = run.snapshots()
    assert [read_snapshot(path).info["images_seen"] for path in files] == [16, 32, 48, 1032, 1040]
    assert files[2].name == "snapshot-000000.safetensors"  # the newest of a thousand has its plain name
    assert files[3].name == "snapshot-000001-032.safetensors"
    run.save_snapshot(generator, tiny(), {"images_seen": 2000}, keep=2)
    assert [path.name[9:15] for path in run.snapshots()] == ["000001", "000002"]
