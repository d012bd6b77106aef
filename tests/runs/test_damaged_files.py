"""Damaged states, statistics and experiments of a run: one message, and another way to continue."""

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
from styleloom.runs.fit import fit, resume
from styleloom.snapshot_names import BEST
from styleloom.training.optim import STATE_FIELDS
from tiny import opened, tiny

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
