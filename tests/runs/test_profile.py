"""--profile: a Chrome trace with the phases' names, and no other training."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from styleloom.cli.train import Train
from styleloom.errors import UserError
from styleloom.runs.fit import fit, start
from styleloom.runs.profile import MAX_STEPS, WARMUP_STEPS
from tiny import assert_equal, make_archive, opened, tiny

FIELDS = ("g_regularizer.every=2", "d_regularizer.every=2")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("profile"))


def test_the_trace_has_the_phases_of_the_recorded_steps(
    archive: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    states = []
    for steps in (None, 2):
        trainer, run = start(tmp_path / f"run-{steps}", tiny(*FIELDS), opened(archive), "cpu")
        caplog.set_level("INFO", "styleloom")
        assert fit(trainer, run, profile_steps=steps)
        trainer.close()
        states.append(trainer.state()[0])
    assert_equal(*states)
    assert not list((tmp_path / "run-None").glob("profile*"))
    (trace,) = (tmp_path / "run-2").glob("profile*")
    assert trace.name == f"profile-{WARMUP_STEPS:09d}.json"
    assert str(trace) in caplog.text
    events = json.loads(trace.read_text())["traceEvents"]
    ranges = Counter(event["name"] for event in events if event.get("cat") == "user_annotation")
    once = {
        "g_path_length": 1,
        "d_penalty": 1,
    }  # steps 3 and 4: the regularizers of every second step run once
    expected = {"data_wait": 2, "g_main": 2, "g_ema": 2, "d_main": 2, **once}
    assert {name: ranges[name] for name in expected} == expected
    assert any(event["name"].startswith("aten::") for event in events)


def test_a_training_that_ends_early_has_what_was_recorded_or_says_so(
    archive: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for kimg, steps in ((0.04, 1), (0.016, 0)):
        trainer, run = start(tmp_path / f"run-{steps}", tiny(f"total_kimg={kimg}"), opened(archive), "cpu")
        fit(trainer, run, profile_steps=50)
        trainer.close()
        assert len(list(run.path.glob("profile*"))) == steps
        assert ("no profile: the training ended" in caplog.text) == (steps == 0)


def test_a_full_disk_leaves_no_half_trace(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def full(source: Any, target: Any) -> None:
        if "profile" in str(target):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    trainer, run = start(tmp_path / "run", tiny(), opened(archive), "cpu")
    with pytest.raises(UserError, match=r"cannot write .*profile-.*: No space left on device"):
        fit(trainer, run, profile_steps=1)
    trainer.close()
    assert not [path for path in run.path.rglob("*") if "profile" in path.name]
    assert run.states()[-1].name == "state-000000004.safetensors"  # saved all the same


def test_refusals() -> None:
    for steps in (0, -1, MAX_STEPS + 1):
        with pytest.raises(UserError, match=f"--profile: {steps} is not valid, it must be 1 to {MAX_STEPS}"):
            Train(profile=steps).run()
