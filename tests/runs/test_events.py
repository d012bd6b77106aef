"""TensorBoard's events have the numbers of stats.jsonl."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest

from styleloom.errors import UserError
from styleloom.runs.events import EventWriter
from styleloom.runs.fit import fit, resume, start
from tiny import make_archive, opened, tiny


def scalars(path: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard shows: value by images seen, by name."""
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    accumulator = module.EventAccumulator(str(path / "events"))
    accumulator.Reload()
    return {tag: {e.step: e.value for e in accumulator.Scalars(tag)} for tag in accumulator.Tags()["scalars"]}


@pytest.mark.filterwarnings("ignore")  # tensorboard's own
def test_events_are_those_of_stats(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    archive = make_archive(tmp_path)
    trainer, run = start(tmp_path / "run", tiny(), opened(archive), "cpu")
    fit(trainer, run)
    trainer.close()
    found = scalars(run.path)
    for line in run.stats.read():
        for name, value in line.items():
            if name not in ("tick", "step", "images_seen") and value is not None:
                assert found[name][line["images_seen"]] == pytest.approx(value, rel=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_history_survives_a_resume_and_what_is_repeated_does_not(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    archive = make_archive(tmp_path)
    trainer, run = start(tmp_path / "run", tiny("run.state_every=2"), opened(archive), "cpu")

    def report(line: dict[str, Any]) -> None:
        if line["images_seen"] == 56:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(trainer, run, report)  # state at 32, ticks at 16, 32, 48
    trainer.close()
    trainer, run = resume(run.path, opened(archive), device="cpu")
    assert trainer.images_seen == 32
    fit(trainer, run)
    trainer.close()
    found = scalars(run.path)["loss_g"]
    assert {line["images_seen"]: pytest.approx(line["loss_g"]) for line in run.stats.read()} == found
    assert list(found) == [16, 32, 48, 64]


def test_without_the_extra_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if "tensorboard" in name:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with EventWriter(tmp_path, 0) as writer:
        writer.write({"loss_g": 1.0}, 8)
    assert list(tmp_path.iterdir()) == []
    assert "tensorboard" in (EventWriter.__doc__ or "") or "extra" in (EventWriter.__doc__ or "")


@pytest.mark.filterwarnings("ignore")
def test_what_is_no_number_is_left_out(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with EventWriter(tmp_path, 0) as writer:
        writer.write({"loss_g": None, "note": "x", "swd": 2, "tick": 3}, 8)
    assert scalars(tmp_path) == {"swd": {8: 2.0}}


def test_a_full_disk_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file is opened, and where a tick is written."""
    tensorboard = pytest.importorskip("torch.utils.tensorboard")

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    message = rf"cannot write {tmp_path / 'events'}: No space left on device"
    with EventWriter(tmp_path, 0) as events:
        with monkeypatch.context() as patch:
            patch.setattr(tensorboard.SummaryWriter, "flush", full)
            with pytest.raises(UserError, match=message):
                events.write({"loss": 1.0}, 8)
        monkeypatch.setattr(tensorboard.SummaryWriter, "__init__", full)
        with pytest.raises(UserError, match=message):
            EventWriter(tmp_path, 0)
