"""2 N steps equal N steps, a save, a fresh start and N more, bit for bit on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from styleloom.config import Experiment, to_json
from styleloom.data.dataset import ImageDataset
from styleloom.errors import UserError
from styleloom.runs.directory import RunDirectory
from styleloom.runs.fit import fit, resume, start
from styleloom.runs.records import STATE_FORMAT
from styleloom.tensor_file import read_tensors, write_tensors
from styleloom.training.trainer import Trainer
from tiny import assert_equal, make_archive, opened, steps, tiny


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("resume"), labels="folders")


def reloaded(trainer: Trainer, archive: Path, folder: Path, workers: int = 1) -> Trainer:
    """A new trainer with the state of another, through a file, while torch's own generator moves on."""
    tensors, document = trainer.state()
    write_tensors(folder / "x.safetensors", tensors, {"format": STATE_FORMAT, "version": 1, **document})
    trainer.close()
    torch.manual_seed(987654321)
    fresh = Trainer(trainer.experiment, opened(archive), "cpu", workers)
    fresh.inputs.draws.manual_seed(123456789)
    tensors, document = read_tensors(folder / "x.safetensors", STATE_FORMAT)
    fresh.load_state(tensors, document)
    return fresh


def check_exact(experiment: Experiment, archive: Path, folder: Path, first: int = 3, second: int = 3) -> None:
    whole = steps(Trainer(experiment, opened(archive), "cpu"), first + second)
    tensors, document = whole.state()
    tensors = {name: t.clone() for name, t in tensors.items()}
    interrupted = steps(Trainer(experiment, opened(archive), "cpu"), first)
    continued = reloaded(interrupted, archive, folder)
    steps(continued, second)
    again, document_again = continued.state()
    assert document == document_again
    assert_equal(tensors, again)
    whole.close()
    continued.close()


def test_a_state_that_two_trainers_share_stays_each_one_s(archive: Path) -> None:
    """Adam's count of steps is the one number that it changes in place."""
    first = steps(Trainer(tiny(), opened(archive), "cpu"), 2)
    second = Trainer(tiny(), opened(archive), "cpu")
    second.load_state(*first.state())
    before = {name: t.clone() for name, t in first.state()[0].items() if ".step." in name}
    assert before
    steps(second, 2)
    assert_equal(before, {name: first.state()[0][name] for name in before})
    first.close()
    second.close()


CASES: dict[str, Experiment] = {
    "plain": tiny(),
    "micro-batches": tiny("micro_batch=4"),
    "labels": tiny("label_dim=2"),
    "projected labels": tiny(
        "label_dim=2", "discriminator.labels=project", "discriminator.projection.width=16"
    ),
    "mirror": tiny("data.mirror=horizontal"),
    "no mirror": tiny("data.mirror=none"),
    "bf16": tiny("precision=bf16"),
    "batch larger than the data": tiny("batch=32", "micro_batch=16"),
    "held out": tiny("data.held_out=5"),
    "not lazy": tiny("d_regularizer.every=1", "g_regularizer.every=1"),
    "no regularizers": tiny("d_regularizer.gamma=0", "g_regularizer.weight=0"),
    "wgan": tiny("loss=wgan"),
    "by images seen": tiny(
        "learning_rate_factor=0:0,0.05:1",
        "d_regularizer.gamma=0:4,0.06:1:cosine",
        "adam.beta2=0:0.9,0.03:0.99:step",
        "ema_half_life_kimg=0:0,0.06:0.05",
    ),
    "latents shared": tiny("step_order=average-last", "shared_latents=true"),
    "skip and orig": tiny("generator.architecture=orig", "discriminator.architecture=skip"),
    "batch of one": tiny("batch=1"),
}


@pytest.mark.parametrize("name", CASES)
def test_exact(name: str, archive: Path, tmp_path: Path) -> None:
    check_exact(CASES[name], archive, tmp_path)


@pytest.mark.parametrize("first", [0, 1, 2, 3, 4, 5, 6])
def test_exact_around_lazy_intervals(first: int, archive: Path, tmp_path: Path) -> None:
    experiment = tiny("g_regularizer.every=2", "d_regularizer.every=3")
    check_exact(experiment, archive, tmp_path, first, 7 - first)


@pytest.mark.parametrize("first", [4, 15, 16, 17])
def test_exact_around_the_papers_intervals(first: int, archive: Path, tmp_path: Path) -> None:
    experiment = tiny("g_regularizer.every=4", "d_regularizer.every=16")
    check_exact(experiment, archive, tmp_path, first, 18 - first)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_exact_with_images_decoded_on_the_fly(
    workers: int, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = tiny("data.mirror=horizontal")
    whole = steps(Trainer(experiment, opened(archive), "cpu"), 6)
    assert whole.inputs.dataset.preloaded
    expected = {name: t.clone() for name, t in whole.state()[0].items()}
    monkeypatch.setattr(ImageDataset, "preload", lambda self, budget_bytes=0: False)
    interrupted = steps(Trainer(experiment, opened(archive), "cpu", workers), 3)
    assert not interrupted.inputs.dataset.preloaded
    continued = steps(reloaded(interrupted, archive, tmp_path, 3 - workers), 3)
    assert_equal(expected, continued.state()[0])
    assert continued.inputs.loader.position == 48
    continued.close()


def poison(trainer: Trainer, monkeypatch: pytest.MonkeyPatch, network: str = "g") -> None:
    """Make one gradient of a network infinite, once."""
    update, left = trainer._update, [1]

    def poisoned(kind: str, now: Any) -> None:
        if kind[0] == network and left[0]:
            left[0] -= 1
            parameters = trainer.networks()[network].parameters()
            next(p.grad for p in parameters if p.grad is not None).view(-1)[0] = torch.inf
        update(kind, now)

    monkeypatch.setattr(trainer, "_update", poisoned)


@pytest.mark.parametrize("first", [0, 2])
@pytest.mark.parametrize("network", ["g", "d"])
def test_exact_after_a_skipped_update(
    network: str, first: int, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The very first update may be the one that is left out: then Adam has no moments yet."""
    states = []
    for interrupted in (False, True):
        trainer = Trainer(tiny("g_regularizer.weight=0"), opened(archive), "cpu")
        steps(trainer, first)
        poison(trainer, monkeypatch, network)
        trainer.step()
        assert trainer.skipped[network] == 1
        if interrupted:
            trainer = reloaded(trainer, archive, tmp_path)
            assert trainer.skipped[network] == 1
        steps(trainer, 3)
        states.append(({n: t.clone() for n, t in trainer.state()[0].items()}, trainer.state()[1]))
        trainer.close()
    assert states[0][1] == states[1][1]
    assert_equal(states[0][0], states[1][0])


def test_the_state_is_complete(archive: Path) -> None:
    trainer = steps(Trainer(tiny(), opened(archive), "cpu"), 1)
    tensors, document = trainer.state()
    kinds = {name.split(".")[0] for name in tensors}
    assert kinds == {"g", "d", "ema", "adam_g", "adam_d", "path_mean", "rng"}
    assert "g.w_avg" in tensors
    for name, _ in trainer.g.named_parameters():
        assert {f"adam_g.{field}.{name}" for field in ("step", "exp_avg", "exp_avg_sq")} <= tensors.keys()
    assert document["counters"]["step"] == 1
    assert document["counters"]["images_seen"] == document["counters"]["loader_position"] == 8
    assert document["experiment"] == to_json(trainer.experiment)


# ---- a whole run, interrupted


def run_to_the_end(path: Path, archive: Path, experiment: Experiment, stops: list[float]) -> Trainer:
    """Train with an interruption (max_minutes 0: after one step) wherever images_seen is in `stops`."""
    trainer, run = start(path, experiment, opened(archive), "cpu")
    while not fit(trainer, run, max_minutes=0 if trainer.images_seen in stops else 1e9):
        trainer.close()
        torch.manual_seed(5)
        trainer, run = resume(path, opened(archive), device="cpu")
    trainer.close()
    return trainer


def test_an_interrupted_run_ends_with_the_same_files(archive: Path, tmp_path: Path) -> None:
    experiment = tiny(
        "run.sample_every=2", "run.snapshot_every=2", "run.swd_images=8", "run.keep_snapshots=0"
    )
    run_to_the_end(tmp_path / "whole", archive, experiment, [])
    run_to_the_end(tmp_path / "parts", archive, experiment, [0, 8, 16, 40])
    whole, parts = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "parts")
    assert whole.states()[-1].name == parts.states()[-1].name == "state-000000008.safetensors"
    assert whole.states()[-1].read_bytes() == parts.states()[-1].read_bytes()
    names = {path.name for path in (tmp_path / "whole").glob("*.png")}
    assert names
    for name in names | {"snapshot-000000.safetensors"}:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    boundaries = {line["images_seen"]: line for line in parts.stats.read()}
    for line in whole.stats.read():
        assert line["images_seen"] in boundaries  # ticks fall on the same images
        if "swd" in line:
            assert line["swd"] == boundaries[line["images_seen"]]["swd"]
    ticks = [line["tick"] for line in parts.stats.read()]
    assert ticks == list(range(len(ticks)))


def test_a_killed_run_repeats_what_it_had_not_saved(archive: Path, tmp_path: Path) -> None:
    """States every second tick: the tick after the last state is trained, and recorded, again."""
    experiment = tiny("run.state_every=2")
    run_to_the_end(tmp_path / "whole", archive, experiment, [])
    trainer, run = start(tmp_path / "killed", experiment, opened(archive), "cpu")

    class Killed(BaseException):
        pass

    def report(line: dict[str, Any]) -> None:
        if line["images_seen"] == 48 and "tick" in line:
            raise Killed

    with pytest.raises(Killed):
        fit(trainer, run, report)
    trainer.close()
    assert [line["images_seen"] for line in run.stats.read()] == [16, 32, 48]
    with open(run.stats.path, "a") as file:
        file.write('{"tick": 3, "st')  # cut off
    (run.path / ".state-000000006.safetensors.1.partial").write_bytes(b"half")
    trainer, run = resume(tmp_path / "killed", opened(archive), device="cpu")
    assert trainer.step_count == 4
    assert [line["images_seen"] for line in run.stats.read()] == [16, 32]
    assert not list(run.path.glob(".*"))
    assert fit(trainer, run)
    trainer.close()
    assert [line["images_seen"] for line in run.stats.read()] == [16, 32, 48, 64]
    whole = RunDirectory(tmp_path / "whole")
    assert whole.states()[-1].read_bytes() == run.states()[-1].read_bytes()


def test_resuming_a_complete_run_does_nothing(archive: Path, tmp_path: Path) -> None:
    run_to_the_end(tmp_path / "run", archive, tiny(), [])

    def files() -> dict[Path, bytes]:
        """All but the list of sessions, which gets a line."""
        there = (path for path in (tmp_path / "run").iterdir() if path.is_file())
        return {path: path.read_bytes() for path in there if path.name != "sessions.jsonl"}

    before = files()
    trainer, run = resume(tmp_path / "run", opened(archive), device="cpu")
    assert fit(trainer, run)
    trainer.close()
    assert files() == before


def test_a_longer_run_equals_one_planned_so(archive: Path, tmp_path: Path) -> None:
    run_to_the_end(tmp_path / "long", archive, tiny("total_kimg=0.096"), [])
    run_to_the_end(tmp_path / "short", archive, tiny(), [])
    longer = tiny("total_kimg=0.096")
    with pytest.raises(UserError, match=r"total_kimg: 0\.064 -> 0\.096.*--allow-change total_kimg$"):
        resume(tmp_path / "short", opened(archive), longer, device="cpu")
    trainer, run = resume(tmp_path / "short", opened(archive), longer, ["total_kimg"], "cpu")
    assert fit(trainer, run)
    trainer.close()
    long = RunDirectory(tmp_path / "long")
    assert run.states()[-1].read_bytes() == long.states()[-1].read_bytes()
    assert run.read_experiment()[0].total_kimg == 0.096
