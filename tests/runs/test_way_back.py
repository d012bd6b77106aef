"""Ways back: from a training that diverged, and from states that are damaged."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from styleloom.cli import main
from styleloom.errors import UserError
from styleloom.runs.directory import RunDirectory
from styleloom.runs.fit import fit, resume, start
from styleloom.runs.records import step_of
from styleloom.snapshot import read_snapshot
from styleloom.snapshot_names import BEST
from styleloom.training.health import WEIGHT_LIMIT, complaint
from styleloom.training.optim import STATE_FIELDS
from tiny import flags, make_archive, opened, steps, tiny


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("back"))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, archive: Path) -> Path:
    """A run with states of the steps 2, 4, 6 and 8; copy it before changing it."""
    path = tmp_path_factory.mktemp("recorded") / "run"
    trainer, run = start(path, tiny("run.keep_states=0", "run.snapshot_every=1"), opened(archive), "cpu")
    fit(trainer, run)
    trainer.close()
    return path


@pytest.fixture
def run(recorded: Path, tmp_path: Path) -> RunDirectory:
    return RunDirectory(shutil.copytree(recorded, tmp_path / "run"))


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


# ---- damaged states

Content = tuple[dict[str, Tensor], dict[str, Any]]


def rewritten(state: Path, change: Callable[[dict[str, Tensor], dict[str, Any]], Any]) -> None:
    """`state` as an older version would have written it, without a checksum, after a change."""
    with safe_open(state, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        document = json.loads(file.metadata()["styleloom"])
    document |= {"version": 1}
    del document["sha256"]
    change(tensors, document)
    save_file(tensors, state, {"styleloom": json.dumps(document)})


def drop(*names: str) -> Callable[[dict[str, Tensor], dict[str, Any]], None]:
    return lambda tensors, document: [tensors.pop(name) for name in names] and None


def put(name: str, make: Callable[[Tensor], Tensor]) -> Callable[[dict[str, Tensor], dict[str, Any]], Any]:
    return lambda tensors, document: tensors.update({name: make(tensors[name])})


BIAS = "d.tail.out.bias"
DAMAGES: dict[str, Callable[[dict[str, Tensor], dict[str, Any]], Any]] = {
    "a moment is missing": drop("adam_d.exp_avg_sq.tail.out.bias"),
    "all moments of a parameter": drop(*(f"adam_d.{f}.tail.out.bias" for f in STATE_FIELDS["adam"])),
    "a weight is missing": drop(BIAS),
    "a generator is missing": drop("rng.torch"),
    "the mean is missing": drop("path_mean"),
    "type of a weight": put(BIAS, lambda t: t.double()),
    "type of a moment": put("adam_d.exp_avg.tail.out.bias", lambda t: t.double()),
    "shape of a moment": put("adam_d.exp_avg.tail.out.bias", lambda t: t.repeat(2)),
    "shape of a step": put("adam_d.step.tail.out.bias", lambda t: t.repeat(2)),
    "shape of a generator": put("rng.draws", lambda t: t[:-1].clone()),
    "NaN in a weight": put(BIAS, lambda t: t * torch.nan),
    "NaN in a moment": put("adam_g.exp_avg_sq.mapping_network.layers.0.bias", lambda t: t * torch.nan),
    "no counters": lambda tensors, document: document.pop("counters"),
    "a counter is a text": lambda tensors, document: document["counters"].update(step="8"),
    "a counter is negative": lambda tensors, document: document["counters"].update(loader_position=-1),
    "a phase of one number": lambda tensors, document: document["counters"].update(growth_phase=[1]),
    "no data": lambda tensors, document: document.pop("data"),
    "data of another kind": lambda tensors, document: document.update(data=[1]),
    "no experiment": lambda tensors, document: document.pop("experiment"),
    "an unknown field": lambda tensors, document: document["experiment"].update(x=1),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_state_names_itself_and_another(name: str, run: RunDirectory, archive: Path) -> None:
    """One message; nothing changes; the advised state resumes."""
    state = run.states()[-1]
    rewritten(state, DAMAGES[name])
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(UserError) as caught:
        resume(run.path, opened(archive), device="cpu")
    assert str(state) in str(caught.value)
    assert f"styleloom train --resume {shlex.quote(str(run.path))} --state 6" in str(caught.value)
    assert before == {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}


def test_damaged_bytes_are_found_and_the_older_state_resumes(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    state = run.states()[-1]
    content = bytearray(state.read_bytes())
    whole = bytes(content)
    content[len(content) // 2] ^= 1
    for damaged in (
        bytes(content),
        whole[: len(whole) // 2],
        whole[:-1],
        b"",
        whole[:6] + b"\xff" + whole[7:],
    ):
        state.write_bytes(damaged)
        assert main(["train", "--resume", str(run.path), "--device", "cpu"]) == 2
        message = capsys.readouterr().err
        assert str(state) in message
        found = re.search(r"styleloom (train --resume .* --state 6)", message)
        assert found is not None, message
    assert main([*shlex.split(found[1]), "--device", "cpu"]) == 0
    assert state.read_bytes() == whole


# ---- statistics


def test_valid_lines_after_a_damaged_one_stay(
    run: RunDirectory, archive: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = run.stats.path.read_bytes().split(b"\n")
    for damage in (b'{"tick": 1, "st', b"\xff\xfe\x00", b"[1]", b'{"tick": "x", "step": 4}', b"{}", b"null"):
        run.stats.path.write_bytes(b"\n".join([lines[0], damage, *lines[2:]]))
        assert [line["step"] for line in run.stats.read()] == [2, 6, 8]
        trainer, _ = resume(run.path, opened(archive), device="cpu")
        trainer.close()
        assert [line["step"] for line in run.stats.read()] == [2, 6, 8]
        assert "damaged lines are left out: 1" in caplog.text
        caplog.clear()
    run.stats.path.write_bytes(lines[0])  # a kill between the line and its end
    trainer, _ = resume(run.path, opened(archive), device="cpu")
    trainer.close()
    run.stats.append({"step": 9})
    assert [line["step"] for line in run.stats.read()] == [2, 9]


def test_lines_that_json_reads_and_nobody_can_use_are_damaged(run: RunDirectory, archive: Path) -> None:
    """They cost neither the run nor the lines beside them."""
    whole = run.stats.path.read_text()
    for wrong in (
        '{"step": 8, "tick": NaN}',
        '{"step": 8, "tick": 1e999}',
        '{"step": 8, "tick": 3.5}',
        '{"step": true}',
        '{"step": 8, "sec_total": NaN}',
        '{"step": 8, "sec_total": null}',
        '{"step": 8, "swd": "x"}',
        '{"step": 8, "swd": [1]}',
        '{"step": 8, "metrics/x": "1"}',
        f'{{"step": 8, "tick": 1{"0" * 400}}}',
    ):
        run.stats.path.write_text(whole + wrong + "\n")
        assert [line["step"] for line in run.stats.read()] == [2, 4, 6, 8], wrong
    run.stats.path.write_text(whole + '{"step": 8, "metrics/x": 1}\n')  # of another version: no images seen
    shutil.copy(run.snapshots()[-1], run.path / BEST)
    trainer, _ = resume(run.path, opened(archive), tiny("total_kimg=0.08"), ["total_kimg"], device="cpu")
    fit(trainer, run)
    trainer.close()
    assert run.stats.read()[-1]["tick"] == 4


# ---- damaged experiments


def test_the_states_say_what_a_damaged_experiment_said(
    run: RunDirectory, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Told once. A damaged file may hold an edit: it stays until the user removes it."""
    file = run.path / "experiment.json"
    whole = file.read_bytes()
    for content in (b"", b"\0" * 50, b"\xff\xfe\x00", b"[]", b"null", b"[" * 100_000, whole[:-30], None):
        if content is not None:
            file.write_bytes(content)
            assert main(["train", "--resume", str(run.path), "--device", "cpu"]) == 2
            assert "or remove it: the run's latest state says what it said" in capsys.readouterr().err
            assert file.read_bytes() == content
        file.unlink()
        assert main(["train", "--resume", str(run.path), "--device", "cpu"]) == 0
        assert capsys.readouterr().err.count("is taken from the run's latest state") == 1
        assert file.read_bytes() == whole
    for state in run.states()[1:]:
        state.unlink()
    file.write_bytes(b"[" * 100_000)
    with pytest.raises(UserError, match=r"experiment\.json: damaged, no JSON"):
        run.read_experiment()
    file.unlink()
    with pytest.raises(UserError, match="not a run directory"):
        run.read_experiment()
    os.mkfifo(file)
    with pytest.raises(UserError, match="no regular file"):
        run.read_experiment()


def test_a_state_under_another_name_is_refused(run: RunDirectory, archive: Path) -> None:
    """Else the run would begin anew from it at every resume, and later states would count as earlier."""
    wrong = run.path / "state-000000999.safetensors"
    shutil.copy(run.states()[1], wrong)
    with pytest.raises(UserError, match=r"rename it to state-000000002.safetensors.*--state 8"):
        resume(run.path, opened(archive), device="cpu")
    assert run.healthy_state() == run.states()[-2]


def test_numbers_that_no_run_has_are_refused(run: RunDirectory, archive: Path) -> None:
    for changed in ({"images_seen": 2**70}, {"loader_position": 2**70}, {"skipped": {"g": 2**64, "d": 0}}):
        state = run.states()[-1]
        rewritten(state, lambda tensors, document, by=changed: document["counters"].update(by))
        with pytest.raises(UserError, match="damaged, its counters are"):
            resume(run.path, opened(archive), device="cpu")
        state.unlink()  # the next one has a checksum still
    for name, value in (("cache_gib", float("nan")), ("cache_gib", float("inf")), ("workers", 2**40)):
        with pytest.raises(UserError, match=name):
            resume(run.states()[0], opened(archive), device="cpu", **{name: value})
    with pytest.raises(UserError, match="--state"):
        run.find_state("9" * 5000)
    assert run.find_state("0002") == run.find_state("2")
