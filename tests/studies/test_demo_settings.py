"""The study of the demo's settings, in miniature: equal time, resumed, recorded, and a page of it."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import demo_candidates
import demo_page
import demo_settings
import demo_speed
from demo_settings import DemoStudy
from metrics.plugged import Projection, plugged
from styleloom import presets
from styleloom.config import ByResolution
from styleloom.config.serialize import differences
from styleloom.presets import PRESETS
from styleloom.training.trainer import Trainer
from tiny import make_archive, tiny


def test_every_candidate_is_an_experiment_that_differs() -> None:
    found = {name: demo_candidates.changes(name) for name in demo_candidates.CANDIDATES}
    assert found.pop("before") == {}
    assert all(found.values())
    assert len({json.dumps(changes) for changes in found.values()}) == len(found)
    assert found["r3gan"]["loss"] == "relativistic-pairing"
    for name in demo_candidates.CANDIDATES:
        made = demo_candidates.experiment(name, 2, 7.0)
        assert (made.resolution, made.data.held_out, made.seed, made.total_kimg) == (32, 640, 2, 7)


def test_the_settings_of_before_are_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """They do not follow the preset, which is compared with them once it differs."""
    before = demo_candidates.experiment("before")
    monkeypatch.setitem(PRESETS, "demo", replace(presets.get("demo"), style_mixing=0.25))
    assert demo_candidates.experiment("before") == before
    assert "demo" in demo_candidates.names()
    assert demo_candidates.changes("demo")["style_mixing"] == 0.25
    preset = replace(before, run=presets.get("demo").run)
    monkeypatch.setitem(PRESETS, "demo", preset)
    assert "demo" not in demo_candidates.names()


# ---- in miniature


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Networks of 8 px on 24 images of noise; every setting has as many images/s as the clock says."""
    before = tiny("data.held_out=8")
    monkeypatch.setitem(PRESETS, "demo", before)
    monkeypatch.setattr(demo_candidates, "_before", lambda: before)
    monkeypatch.setattr(demo_candidates, "HELD_OUT", 8)
    chosen = {
        name: demo_candidates.Candidate(changes, "as expected")
        for name, changes in (
            ("before", ()),
            ("r3gan", ("loss=relativistic-pairing", "d_regularizer.r2_gamma=1")),
            ("gamma-3", ("d_regularizer.gamma=3",)),
        )
    }
    monkeypatch.setattr(demo_candidates, "CANDIDATES", chosen)
    monkeypatch.setattr("styleloom.cli.demo_measures.FEATURES", "proj")
    monkeypatch.setattr(
        demo_settings, "RUN", replace(demo_settings.RUN, tick_kimg=ByResolution(0.016), state_every=1)
    )
    monkeypatch.setattr(demo_page, "SIDE", 8)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    data = make_archive(tmp_path, 24)
    with plugged(Projection()):
        yield DemoStudy(
            minutes=0.02,
            seeds=(0,),
            at_once=1,
            rounds=1,
            images_per_sec=30,
            data=str(data),
            out=tmp_path / "results" / "demo.md",
            work=tmp_path / "work",
        )


def known(study: DemoStudy, **ratios: float) -> None:
    """Write down images/s as if they had been measured."""
    entries = {n: {"ratio": r, "changes": demo_candidates.changes(n)} for n, r in ratios.items()}
    (study.work / "speeds.json").parent.mkdir(parents=True, exist_ok=True)
    (study.work / "speeds.json").write_text(json.dumps({"ratios": entries}))


def test_the_whole_study(study: DemoStudy, capsys: pytest.CaptureFixture[str]) -> None:
    known(study, **{"before": 1.0, "r3gan": 2.0, "gamma-3": 1.0})
    assert demo_settings.main(study) == 0
    lines = [json.loads(line) for line in study.records.read_text().splitlines()]
    assert [(line["setting"], line["images"]) for line in lines] == [
        ("before", 40),  # 30 images/s for 1.2 s, in batches of 8
        ("r3gan", 72),
        ("gamma-3", 40),
    ]
    for line in lines:
        assert {"kid", "recall", "precision", "swd", "reals", "machine", "date", "seed"} <= line.keys()
    page = study.out.read_text()
    ranked = sorted(lines, key=lambda line: line["kid"])
    assert page.index(f"| {ranked[0]['setting']} |") < page.index(f"| {ranked[-1]['setting']} |")
    assert "loss relativistic-pairing" in page
    assert "| real images |" in page
    assert "30 images/s of the settings of before were given, and the ratios of the others" in page
    command = f"--minutes 0.02 --data {study.data} --threads 2 --rounds 1 --images-per-sec 30`"
    assert f"`python studies/demo_settings.py {command} trained" in page
    assert "images_per_sec" not in json.loads((study.work / "speeds.json").read_text())
    assert (study.out.with_suffix("") / "best.png").exists()

    capsys.readouterr()
    assert demo_settings.main(study) == 0  # nothing is trained anew
    assert capsys.readouterr().out == ""
    assert study.out.read_text() == page


def test_an_interrupted_training_goes_on(study: DemoStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    known(study, before=1.0)
    step = Trainer.step
    seen = []

    def stopped(trainer: Trainer) -> object:
        seen.append(trainer.images_seen)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return step(trainer)

    chosen = replace(study, only=("before",))
    monkeypatch.setattr(Trainer, "step", stopped)
    with pytest.raises(KeyboardInterrupt):
        demo_settings.main(chosen)
    assert not study.records.exists()
    assert demo_settings.main(chosen) == 0
    assert seen == [0, 8, 16, 16, 24, 32]  # from the state of the tick before
    assert len(study.records.read_text().splitlines()) == 1


def test_a_setting_that_was_changed_is_trained_anew(
    study: DemoStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(study, **{"before": 1.0, "gamma-3": 1.0})
    chosen = replace(study, only=("gamma-3",))
    assert demo_settings.main(chosen) == 0
    other = demo_candidates.Candidate(("d_regularizer.gamma=4",), "more")
    monkeypatch.setitem(demo_candidates.CANDIDATES, "gamma-3", other)
    assert demo_settings.read_records(chosen) == []
    assert demo_settings.main(chosen) == 0
    assert [line["changes"] for line in demo_settings.read_records(chosen)] == [{"d_regularizer.gamma": 4}]
    assert len(study.records.read_text().splitlines()) == 2


def test_runs_of_another_length_or_on_other_images_are_kept_apart(study: DemoStudy, tmp_path: Path) -> None:
    known(study, before=1.0)
    chosen = replace(study, only=("before",))
    assert demo_settings.main(chosen) == 0
    best = (study.out.with_suffix("") / "best.png").read_bytes()
    assert demo_settings.main(replace(chosen, minutes=0.01)) == 0
    assert "## In 0.01 minutes" in study.out.read_text()
    assert (study.out.with_suffix("") / "best.png").read_bytes() == best  # of the longest length

    other = replace(chosen, data=str(make_archive(tmp_path, 32)))
    assert demo_settings.read_records(other) == []
    assert demo_settings.main(other) == 0
    assert len({line["data"] for line in map(json.loads, study.records.read_text().splitlines())}) == 2
    assert demo_settings.main(replace(chosen, minutes=0.02)) == 0  # nothing is trained anew
    assert len(study.records.read_text().splitlines()) == 3


def test_trainings_at_once(study: DemoStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that fails ends no other; one that a signal ended ends the study."""
    known(study, **{"before": 1.0, "r3gan": 1.0, "gamma-3": 1.0})
    monkeypatch.setattr(demo_settings, "ProcessPoolExecutor", lambda count, **_: ThreadPoolExecutor(count))
    monkeypatch.setattr(demo_settings, "write_page", lambda *_: None)
    numbers = {"minutes": study.minutes, "data": study.fingerprint, "kid": 1, "recall": 1, "swd": 1}
    failing = ["r3gan"]

    def train(_: DemoStudy, job: demo_settings.Job) -> dict[str, Any] | None:
        if job.name in failing:
            raise RuntimeError("broken")
        line = {"setting": job.name, "seed": job.seed, "changes": demo_candidates.changes(job.name)}
        return None if job.name == "r3gan" else line | numbers

    monkeypatch.setattr(demo_settings, "train", train)
    both = replace(study, at_once=2)
    assert demo_settings.main(both) == 1
    assert {line["setting"] for line in demo_settings.read_records(both)} == {"before", "gamma-3"}
    failing.clear()
    assert demo_settings.main(both) == 130
    assert len(study.records.read_text().splitlines()) == 2


def test_a_misspelt_setting_is_an_error_in_words() -> None:
    script = demo_settings.__file__
    ended = subprocess.run([sys.executable, script, "--only", "typo"], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: only: 'typo' is not valid, choose from before")


def test_images_per_second_are_measured_in_turns(study: DemoStudy) -> None:
    measured = replace(study, images_per_sec=None)
    assert [job.name for job in demo_settings.jobs(measured)] == list(demo_candidates.CANDIDATES)
    found = json.loads((study.work / "speeds.json").read_text())
    assert found["ratios"]["before"]["ratio"] == 1
    assert found["ratios"]["r3gan"]["ratio"] > 0
    assert found["images_per_sec"] > 0
    assert found["overhead_sec"] >= 0
    speeds = demo_speed.Speeds(study.work / "speeds.json", 2, 1)
    assert speeds.missing(tuple(demo_candidates.CANDIDATES)) == []
    made = demo_candidates.experiment("before")
    assert demo_speed.period(made) == 16
    assert not differences(made, demo_candidates.experiment("before"))


def test_given_images_per_second_are_not_kept(study: DemoStudy) -> None:
    known(study, before=1.0)
    chosen = replace(study, only=("before",))
    assert [job.images for job in demo_settings.jobs(chosen)] == [36]
    (job,) = demo_settings.jobs(replace(chosen, images_per_sec=None))  # then it is measured
    found = json.loads((study.work / "speeds.json").read_text())
    assert job.images_per_sec == found["images_per_sec"] != 30
    assert [job.images for job in demo_settings.jobs(chosen)] == [36]
    for given, words in {
        None: "images/s of all settings were measured in turns on 1 thread, and what the demo's",
        30.0: "30 images/s of the settings of before were given",
    }.items():
        assert demo_page.rates({"threads": 1, "images_per_sec": given}).startswith(words)
