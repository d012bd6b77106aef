"""Ways back: from a training that diverged, and to a state that is not the latest."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from styleloom.cli import main
from styleloom.errors import UserError
from styleloom.runs.directory import RunDirectory
from styleloom.runs.fit import resume, start
from styleloom.runs.records import step_of
from styleloom.snapshot import read_snapshot
from styleloom.training.health import WEIGHT_LIMIT, complaint
from tiny import flags, opened, steps, tiny

# ---- divergence


def command_of(message: str) -> list[str]:
    """The words of the first command that a message advises, a rate put in."""
    found = re.search(r"styleloom (train --resume .*?--allow-change learning_rate)", message)
    assert found is not None, message
    return shlex.split(found[1].replace("LOWER", "0.002"))


def test_the_advice_after_divergence_is_true(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ruined weights push no good state away, however often one tries; the printed command trains on."""
    path = tmp_path / "a run"
    overrides = ["total_kimg=4", "run.max_skipped=6", "run.keep_states=1", "run.tick_kimg=0.008"]
    words = ["train", "--data", str(archive), "--out", str(path), "--device", "cpu"]
    assert main([*words, *flags(*overrides, "learning_rate=100")]) == 2
    message = capsys.readouterr().err
    run = RunDirectory(path)
    good = run.healthy_state()
    assert good is not None
    assert len(run.states()) <= 2  # the latest, and the healthy one
    before = good.read_bytes()
    assert main(["train", "--resume", str(path), "--device", "cpu"]) == 2  # the same again
    assert "is not healthy" in capsys.readouterr().err or run.states() == [good]
    assert good.read_bytes() == before
    again = [*command_of(message), "--device", "cpu", "--kimg", "0.24", "--allow-change", "kimg", "--json"]
    assert main(again) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["complete"], result["images_seen"]) == (True, 240)
    assert result["skipped_updates"] == {"g": 0, "d": 0}
    generator = read_snapshot(result["snapshot"]).generator
    assert all(p.square().mean().sqrt() < 2 for n, p in generator.named_parameters() if "mapping" not in n)
    assert [line["step"] for line in run.stats.read()] == list(range(step_of(good) + 1, 31))
    assert main(["train", "--resume", str(path), "--device", "cpu"]) == 0  # no permission is needed again


def test_exploded_weights_are_no_healthy_state(archive: Path, tmp_path: Path) -> None:
    """Also while every number is finite and no update is left out."""
    trainer, run = start(tmp_path / "run", tiny("learning_rate=10"), opened(archive), "cpu")
    assert complaint(trainer) is None
    first = run.states()[0]
    steps(trainer, 2)
    assert trainer.skipped == {"g": 0, "d": 0}
    assert "grown" in str(complaint(trainer)) or "gradient" in str(complaint(trainer))
    for number in range(2):
        trainer.step_count += number
        run.save_state(trainer.step_count, *trainer.state(), 1)
    assert run.healthy_state() == first == run.states()[0]
    assert len(run.states()) == 2
    trainer.close()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda t: t.skipped_in_a_row.update(d_penalty=1),
        lambda t: t.ema.w_avg.fill_(torch.nan),
        lambda t: t.d.tail.out.weight.data.fill_(torch.inf),
        lambda t: t.d.tail.out.weight.data.mul_(2 * WEIGHT_LIMIT),
        lambda t: next(iter(t.opt_g.state.values()))["exp_avg_sq"].fill_(1e30),
    ],
)
def test_what_is_not_healthy(spoil: Callable[[Any], Any], archive: Path, tmp_path: Path) -> None:
    trainer, run = start(tmp_path / "run", tiny("run.keep_states=1"), opened(archive), "cpu")
    steps(trainer, 1)
    assert complaint(trainer) is None
    with torch.no_grad():
        spoil(trainer)
    run.save_state(1, *trainer.state(), 1)
    assert [step_of(state) for state in run.states()] == [0, 1]
    assert run.healthy_state() == run.states()[0]
    trainer.close()


# ---- another state than the latest


def test_what_came_later_is_set_aside(
    run: RunDirectory, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    later = {path.name: path.read_bytes() for path in run.states() if step_of(path) > 4}
    lines = run.stats.read()
    assert main(["train", "--resume", str(run.path), "--state", "4", "--device", "cpu"]) == 0
    aside = run.path / "set-aside-1"
    assert f"after step 4 is in {aside}" in capsys.readouterr().err
    assert later == {path.name: path.read_bytes() for path in aside.glob("state-*")}
    assert [json.loads(line) for line in (aside / "stats.jsonl").read_text().splitlines()] == lines[2:]
    assert [line["step"] for line in run.stats.read()] == [2, 4, 6, 8]
    assert [step_of(state) for state in run.states()] == [0, 2, 4, 6, 8]
    for name, content in later.items():  # the same steps again
        assert (run.path / name).read_bytes() == content
    trainer, _ = resume(run.states()[1], opened(archive), device="cpu")
    assert trainer.step_count == 2
    assert (run.path / "set-aside-2").is_dir()
    trainer.close()


def test_states_by_name(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    state = run.states()[1]
    assert run.find_state("2") == run.find_state(state.name) == run.find_state(str(state)) == state
    for wanted in ("3", "state-000000003.safetensors", "/nowhere/x", "-1", ""):
        with pytest.raises(UserError, match="has states of the steps 0, 2, 4, 6, 8"):
            run.find_state(wanted)
    assert main(["train", "--state", "2"]) == 2
    assert "--state: only with --resume" in capsys.readouterr().err


def test_a_file_of_a_run_in_place_of_the_run(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    """The message says what to type."""
    train = f"type: styleloom train --resume {run.path}"
    for file, advice in {
        run.states()[1]: f"is a state, not its run; {train} --state 2\n",
        run.snapshots()[0]: f"is no run directory; to continue the run that it is in, {train}\n",
        run.path / "state-000000003.safetensors": f"the run that it is in, {train}\n",
    }.items():
        assert main(["train", "--resume", str(file)]) == 2
        message = capsys.readouterr().err
        assert message.startswith(f"styleloom: error: --resume: {file} is ")
        assert message.endswith(advice)
    nowhere = run.path.parent / "state-000000002.safetensors"
    assert main(["train", "--resume", str(nowhere)]) == 2
    assert "not a run directory" in capsys.readouterr().err
