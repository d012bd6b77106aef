"""A training that begins with the networks of a run, a state or a snapshot."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from styleloom.cli import main
from styleloom.config import Experiment, apply_overrides
from styleloom.errors import UserError
from styleloom.presets import get
from styleloom.runs.directory import RunDirectory
from styleloom.runs.fit import fit, resume, start
from styleloom.runs.initial import check_fit, continue_growth, described, fit_to, read_source
from styleloom.runs.records import STATE_FORMAT
from styleloom.snapshot import read_snapshot
from styleloom.snapshot_names import numbered_snapshots
from styleloom.tensor_file import read_tensors, write_tensors
from styleloom.training.trainer import Trainer
from tiny import OVERRIDES, flags, make_archive, opened, same_state, tiny


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("initial"))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, archive: Path) -> Path:
    """A run whose snapshots hold all networks."""
    path = tmp_path_factory.mktemp("initial-run") / "run"
    finished(start(path, tiny("run.keep=full"), opened(archive), "cpu"))
    return path


def finished(begun: tuple[Trainer, RunDirectory]) -> Trainer:
    fit(*begun)
    begun[0].close()
    return begun[0]


def equal(a: nn.Module, b: nn.Module) -> bool:
    theirs = b.state_dict()
    return all(torch.equal(t, theirs[name]) for name, t in a.state_dict().items())


def test_a_continued_run_begins_with_the_pictures_and_networks_of_its_source(
    full: Path, archive: Path, tmp_path: Path
) -> None:
    state = RunDirectory(full).states()[-1]
    snapshot = numbered_snapshots(full)[-1]
    was = resume(shutil.copytree(full, tmp_path / "was"), opened(archive), device="cpu")[0]
    for number, given in enumerate((full, state, snapshot)):
        source = read_source(given)
        out = tmp_path / str(number)
        trainer, run = start(out, tiny("total_kimg=0.008", "seed=5"), opened(archive), "cpu", source=source)
        for ours, theirs in ((trainer.g, was.g), (trainer.d, was.d), (trainer.ema, was.ema)):
            assert equal(ours, theirs)
        assert torch.equal(trainer.path_mean, was.path_mean)
        assert (trainer.step_count, trainer.images_seen, len(trainer.opt_g.state)) == (0, 0, 0)
        first: dict[str, bytes] = {}

        def report(line: dict[str, Any], out: Path = out, first: dict[str, bytes] = first) -> None:
            for kind in ("ema", "raw"):  # before the last grids take the names of the first
                first.setdefault(kind, (out / f"fakes-{kind}-000000.png").read_bytes())

        fit(trainer, run, report)
        trainer.close()
        assert first == {kind: (full / f"fakes-{kind}-000000.png").read_bytes() for kind in ("ema", "raw")}
        record = read_snapshot(out).info["init"]
        assert record["networks"] == ["ema", "g", "d"]
        assert record["images_seen"] == 64
        assert record["sha256"] == source.sha256
    was.close()


def test_an_average_alone_serves_for_both_generators(full: Path, archive: Path, tmp_path: Path) -> None:
    thin = tmp_path / "thin.safetensors"
    from styleloom.snapshot import write_snapshot

    whole = read_snapshot(numbered_snapshots(full)[-1])
    write_snapshot(thin, whole.generator, whole.experiment, images_seen=64)
    source = read_source(thin)
    fresh = Trainer(tiny(), opened(archive), "cpu")
    trainer, _ = start(tmp_path / "run", tiny(), opened(archive), "cpu", source=source)
    assert equal(trainer.g, whole.generator)
    assert equal(trainer.ema, whole.generator)
    assert equal(trainer.d, fresh.d)
    assert "discriminator: fresh weights" in described(source)[1]
    assert "a copy of the average" in described(source)[1]
    fresh.close()
    trainer.close()


def test_a_continued_run_resumes_exactly(full: Path, archive: Path, tmp_path: Path) -> None:
    experiment, source = tiny("total_kimg=0.032", "freeze=d:2,mapping"), read_source(full)
    whole = finished(start(tmp_path / "a", experiment, opened(archive), "cpu", source=source))
    half, run = start(tmp_path / "b", experiment, opened(archive), "cpu", source=source)
    for _ in range(2):
        half.step()
    run.save_state(half.step_count, *half.state(), keep=0)
    half.close()
    resumed = finished(resume(tmp_path / "b", opened(archive), device="cpu"))
    same_state(whole, resumed)
    assert resumed.init == source.record()


def test_other_networks_are_refused_with_what_would_fit(full: Path) -> None:
    source = read_source(full)
    other = tiny("generator.mapping.layers=3", "discriminator.features.max=4", "label_dim=2")
    with pytest.raises(UserError) as raised:
        check_fit(other, source)
    message = str(raised.value)
    for part in (
        "generator.mapping.layers is 3, there 2",
        "label_dim is 2, there 0",
        "--set generator.mapping.layers=2",
        "--set discriminator.features.max=8",
        "--set label_dim=0",
        f"--fit-to {full}",
        "styleloom convert",
    ):
        assert part in message, message
    fitting = [word for word in message.partition("To fit")[2].split() if "=" in word]
    check_fit(apply_overrides(other, [word.rstrip(";.") for word in fitting]), source)
    check_fit(tiny("generator.w_avg_beta=0.9", "discriminator.minibatch_std.group_size=2"), source)
    with pytest.raises(UserError, match="To train such networks add: --fit-to"):
        check_fit(get("progan-cifar10"), source)


def test_fit_to_takes_the_experiment_or_the_networks_alone(full: Path) -> None:
    source = read_source(full)
    assert fit_to(source) == replace(tiny("run.keep=full"), precision="auto")
    fitted = fit_to(source, get("stylegan2-f"))
    assert (fitted.generator, fitted.discriminator) == (tiny().generator, tiny().discriminator)
    assert fitted.total_kimg == get("stylegan2-f").total_kimg


def growing(*overrides: str) -> Experiment:
    shared = [word for word in OVERRIDES if not word.startswith("resolution")]
    return apply_overrides(get("stylegan-f"), [*shared, "resolution=16", *overrides])


def test_growth_goes_on_from_where_the_source_stands() -> None:
    short = ("growth.initial_resolution=4", "growth.stabilize_kimg=1", "growth.fade_kimg=1")

    class At:
        name, experiment = "x", growing(*short)

        def __init__(self, seen: int) -> None:
            self.info = {"images_seen": seen}

    now = growing("growth.initial_resolution=4")
    assert continue_growth(now, At(10_000)).growth.mode == "none"  # type: ignore[arg-type]
    assert continue_growth(now, At(2_500)).growth.initial_resolution == 8  # type: ignore[arg-type]
    assert continue_growth(now, At(1_500)).growth.initial_resolution == 8  # type: ignore[arg-type]


def test_the_command_line_continues_from_a_run(
    full: Path, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = ["train", "--data", str(archive), "--device", "cpu", "--out", str(out), "--init", str(full)]
    assert main([*words, *flags(), "--set", "generator.mapping.layers=3"]) == 2
    assert "--fit-to" in capsys.readouterr().err
    further = ["--fit-to", str(full), "--freeze", "d:2", "--freeze", "mapping", "--kimg", "0.008", "--json"]
    assert main([*words, *further]) == 0
    told = capsys.readouterr()
    assert "taken over from" in told.err
    assert json.loads(told.out)["init"]["networks"] == ["ema", "g", "d"]
    begun, ended = RunDirectory(full), RunDirectory(out)
    before, after = begun.load_state()[0], ended.load_state()[0]
    changed = {name for name, t in after.items() if name in before and not torch.equal(t, before[name])}
    assert "d.blocks.0.conv_down.weight" in changed
    assert not any(name.startswith("g.mapping_network") for name in changed)
    assert "d.blocks.0.from_rgb.weight" not in changed
    assert ended.read_experiment()[0].freeze == ("d:2", "mapping")
    again = ["train", "--resume", str(out)]
    assert main([*again, "--init", str(full)]) == 2
    assert "not with --resume" in capsys.readouterr().err
    assert main([*again, "--freeze", "d:1"]) == 2
    assert "--allow-change freeze" in capsys.readouterr().err
    assert main(["train", "--dry-run", *flags(), "--freeze", "d:99"]) == 2
    assert "this discriminator has 13 layers" in capsys.readouterr().err


def test_a_state_that_lies_about_its_networks_is_refused(full: Path, tmp_path: Path) -> None:
    tensors, document = read_tensors(RunDirectory(full).states()[-1], STATE_FORMAT)
    for field, value, message in (
        ("generator", {**document["experiment"]["generator"], "w_dim": 2**20}, "weights of another network"),
        ("generator", {"family": "none"}, "its experiment cannot be read"),
    ):
        path = tmp_path / "state-000000001.safetensors"
        lie = {**document, "experiment": {**document["experiment"], field: value}}
        write_tensors(path, tensors, {"format": STATE_FORMAT, **lie})
        with pytest.raises(UserError, match=message):
            read_source(path)
