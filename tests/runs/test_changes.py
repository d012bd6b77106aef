"""What may change when a run is resumed, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from every import every
from styleloom.errors import UserError
from styleloom.runs.begin import check_changes
from styleloom.runs.directory import RunDirectory
from styleloom.runs.fit import resume, save_state, start
from tiny import make_archive, opened, same_state, steps, tiny


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("resume"), labels="folders")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("other"), 21)


@pytest.fixture
def started(archive: Path, tmp_path: Path) -> Path:
    trainer, _ = start(tmp_path / "run", tiny(), opened(archive), "cpu")
    trainer.close()
    return tmp_path / "run"


def test_changed_hyper_parameters_are_refused(started: Path, archive: Path) -> None:
    changed = tiny("batch=16", "d_regularizer.gamma=3")
    with pytest.raises(UserError) as caught:
        resume(started, opened(archive), changed, device="cpu")
    for part in (
        "d_regularizer.gamma: 0.5 -> 3",
        "batch.base: 8 -> 16",
        "--allow-change d_regularizer.gamma --allow-change batch.base",
    ):
        assert part in str(caught.value)
    with pytest.raises(UserError, match=r"batch\.base: 8 -> 16\. To do so name each: --allow-change batch"):
        resume(started, opened(archive), changed, ["d_regularizer.gamma"], "cpu")
    assert RunDirectory(started).read_experiment()[0] == tiny()  # refused: nothing was written
    trainer, run = resume(started, opened(archive), changed, ["d_regularizer.gamma", "batch.base"], "cpu")
    assert run.read_experiment()[0] == changed == trainer.experiment
    trainer.close()


def test_an_edited_experiment_is_refused(started: Path, archive: Path) -> None:
    run = RunDirectory(started)
    _, data = run.read_experiment()
    run.write_experiment(tiny("learning_rate=0.01"), data)
    with pytest.raises(UserError, match=r"learning_rate\.base: 0\.002 -> 0\.01"):
        resume(started, opened(archive), device="cpu")
    trainer, _ = resume(started, opened(archive), None, ["learning_rate.base"], "cpu")
    trainer.step()
    assert trainer.opt_d.param_groups[0]["lr"] == pytest.approx(0.01 * 16 / 17)
    trainer.close()


def test_options_of_the_run_may_change(started: Path, archive: Path) -> None:
    changed = tiny("run.tick_kimg=0.024", "run.keep_states=7", "run.swd_images=4", "run.max_skipped=3")
    trainer, _ = resume(started, opened(archive), changed, device="cpu")
    assert trainer.experiment == changed
    trainer.close()


def test_a_permission_that_is_not_needed_is_refused(started: Path, archive: Path) -> None:
    with pytest.raises(UserError, match="--allow-change batch: that does not differ from the run"):
        resume(started, opened(archive), tiny(), ["batch"], "cpu")


@every("field", ["precision", "seed", "compile", "style_mixing", "adam.beta2"])
def test_nothing_that_matters_may_change_silently(field: str) -> None:
    values = {"precision": "bf16", "seed": "1", "compile": "first-order", "style_mixing": "0"}
    changed = tiny(f"{field}={values.get(field, '0.5')}")
    with pytest.raises(UserError, match=f"--allow-change {field}$"):
        check_changes(tiny(), changed, [])
    check_changes(tiny(), changed, [field])


def test_other_data_are_refused(started: Path, archive: Path, other: Path) -> None:
    with pytest.raises(UserError, match=r"data: .*\(20 images\).*--allow-change data"):
        resume(started, opened(other), device="cpu")
    trainer, run = resume(started, opened(other), None, ["data"], "cpu")
    assert run.read_experiment()[1]["count"] == 21
    trainer.close()


def test_another_network_is_refused_in_words(started: Path, archive: Path) -> None:
    wider = tiny("generator.features.max=16")
    with pytest.raises(UserError, match=r"state-0+\.safetensors, g: weights of another network: .*expected"):
        resume(started, opened(archive), wider, ["generator.features.max"], "cpu")


def test_the_latest_complete_state_is_taken(started: Path, archive: Path) -> None:
    trainer, run = resume(started, opened(archive), device="cpu")
    steps(trainer, 2)
    save_state(trainer, run)
    (started / "state-copy.safetensors").write_bytes(b"mine")
    (started / ".state-000000009.safetensors.77.partial").write_bytes(b"half")
    continued, _ = resume(started, opened(archive), device="cpu")
    assert continued.step_count == 2
    same_state(trainer, continued)
    trainer.close()
    continued.close()


def test_a_damaged_state_is_named(started: Path, archive: Path) -> None:
    state = RunDirectory(started).states()[-1]
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(UserError, match=rf"{state.name}: damaged or half-written"):
        resume(started, opened(archive), device="cpu")
    state.unlink()
    with pytest.raises(UserError, match="has no training state"):
        resume(started, opened(archive), device="cpu")
