"""Metrics during training: when, against what, the best snapshot, and that training does not notice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metrics.plugged import Projection, plugged
from styleloom.cli import main
from styleloom.config import Experiment
from styleloom.data.reals import to_uint8
from styleloom.errors import UserError
from styleloom.metrics.swd import sliced_wasserstein
from styleloom.presets import get
from styleloom.runs import fit as fit_module
from styleloom.runs.fit import fit, resume, start
from styleloom.runs.metrics import RunMetrics, check_distance
from styleloom.sampling import Sampler
from styleloom.snapshot import read_snapshot
from styleloom.training.trainer import Trainer
from tiny import flags, make_archive, opened, same_state, steps, tiny

METRICS = ("run.metrics=kid16_proj,pr16_proj", "run.metrics_kimg=0.03")
NAME = "metrics/kid16_proj"


@pytest.fixture(autouse=True)
def projection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Projection]:
    monkeypatch.setenv("STYLELOOM_STATISTICS", str(tmp_path / "statistics"))
    with plugged(Projection()) as network:
        yield network


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("data"), 20)


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


def test_measured_when_due_and_at_the_end(archive: Path, tmp_path: Path) -> None:
    """Ticks every 16 images, measured when 30, 60, ... were crossed since the last time, and at the end."""
    trainer, run = start(tmp_path / "run", tiny(*METRICS, "total_kimg=0.112"), opened(archive), "cpu")
    assert fit(trainer, run)
    found = {line["images_seen"]: NAME in line for line in lines(run.path)}
    assert found == {16: False, 32: True, 48: False, 64: True, 80: False, 96: True, 112: True}
    measured = [line for line in lines(run.path) if NAME in line]
    assert all(
        {NAME, "metrics/pr16_proj precision", "metrics/pr16_proj recall"} <= line.keys() for line in measured
    )


def test_the_numbers_are_those_of_evaluate(archive: Path, tmp_path: Path, capsys: Any) -> None:
    trainer, run = start(tmp_path / "run", tiny(*METRICS), opened(archive), "cpu")
    fit(trainer, run)
    snapshot = run.snapshots()[-1]
    words = ["--data", str(archive), "--metrics", "kid16_proj", "--device", "cpu", "--json"]
    assert main(["evaluate", str(snapshot), *words]) == 0
    values = json.loads(capsys.readouterr().out)["metrics"]["kid16_proj"]["values"]
    assert values["kid16_proj"]["mean"] == lines(run.path)[-1][NAME] == read_snapshot(snapshot).info[NAME]


def test_training_does_not_notice(archive: Path, tmp_path: Path) -> None:
    measured, run = start(tmp_path / "run", tiny(*METRICS), opened(archive), "cpu")
    fit(measured, run)
    plain = steps(Trainer(tiny(*METRICS), opened(archive), "cpu"), 8)
    same_state(measured, plain)


@pytest.mark.parametrize(("metric", "best"), [("kid16_proj", min), ("is16_proj", max)])
def test_the_best_snapshot_is_by_the_first_metric(
    archive: Path, tmp_path: Path, metric: str, best: Any
) -> None:
    experiment = tiny(f"run.metrics={metric},fd16_proj", "run.metrics_kimg=0.016", "run.keep_snapshots=0")
    trainer, run = start(tmp_path / "run", experiment, opened(archive), "cpu")
    fit(trainer, run)
    values = [line[f"metrics/{metric}"] for line in lines(run.path)]
    assert len(values) == 4
    assert read_snapshot(run.path / "snapshot-best.safetensors").info[f"metrics/{metric}"] == best(values)


def test_a_resumed_run_remembers_the_best(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted = iter([3.0, 1.0, 2.0, 0.5])
    monkeypatch.setattr(RunMetrics, "measure", lambda self, *_: _scripted(self, next(scripted)))
    first = tiny(*METRICS, "run.metrics_kimg=0.016", "total_kimg=0.032")
    trainer, run = start(tmp_path / "run", first, opened(archive), "cpu")
    fit(trainer, run)
    assert read_snapshot(run.path / "snapshot-best.safetensors").info[NAME] == 1.0
    longer = replace(first, total_kimg=0.048)
    trainer, run = resume(run.path, opened(archive), longer, ["total_kimg"], "cpu")
    fit(trainer, run)
    assert read_snapshot(run.path / "snapshot-best.safetensors").info[NAME] == 1.0
    trainer, run = resume(run.path, opened(archive), replace(first, total_kimg=0.064), ["total_kimg"], "cpu")
    fit(trainer, run)
    assert read_snapshot(run.path / "snapshot-best.safetensors").info[NAME] == 0.5


def _scripted(metrics: RunMetrics, value: float) -> dict[str, float]:
    metrics.measured_at = metrics.trainer.images_seen
    return {NAME: value}


def test_real_statistics_are_made_once(archive: Path, tmp_path: Path, projection: Projection) -> None:
    experiment = tiny("run.metrics=fd16_proj", "run.metrics_kimg=0.016")
    for run_name in ("a", "b"):
        trainer, run = start(tmp_path / run_name, experiment, opened(archive), "cpu")
        fit(trainer, run)
    assert projection.calls == 8 * 16 + 16  # four times in each run, and the reals


def test_a_stop_request_ends_a_measurement(
    archive: Path, tmp_path: Path, projection: Projection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is saved, without the metric; the resumed run measures at the next occasion."""
    requests: list[fit_module.StopRequest] = []
    entered = fit_module.StopRequest.__enter__

    def enter(self: fit_module.StopRequest) -> fit_module.StopRequest:
        requests.append(self)
        return entered(self)

    monkeypatch.setattr(fit_module.StopRequest, "__enter__", enter)
    looked = projection.features

    def features(images: torch.Tensor, layers: Any) -> Any:
        requests[-1].requested = True
        return looked(images, layers)

    monkeypatch.setattr(projection, "features", features)
    trainer, run = start(tmp_path / "run", tiny(*METRICS), opened(archive), "cpu")
    assert not fit(trainer, run)
    assert [NAME in line for line in lines(run.path)] == [False, False, False]
    assert (trainer.images_seen, len(run.snapshots())) == (40, 1)

    monkeypatch.setattr(projection, "features", looked)
    trainer, run = resume(run.path, opened(archive), device="cpu")
    assert fit(trainer, run)
    assert [NAME in line for line in lines(run.path)] == [False, False, False, True, True]


def test_progress_is_told(archive: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []

    def report(line: dict[str, Any]) -> None:
        if "measuring" in line:
            told.append(line["measuring"])

    trainer, run = start(tmp_path / "run", tiny(*METRICS), opened(archive), "cpu")
    fit(trainer, run, report)
    assert ("generated images", 16, 16) in told
    assert ("real images", 16, 16) in told


def growing_run(metric: str, **growth: Any) -> Experiment:
    """A narrow StyleGAN2 D at 16 px that measures at every tick."""
    growing = get("stylegan2-d").with_data(resolution=16)
    small = tiny("resolution=16")
    return replace(
        small,
        generator=replace(growing.generator, z_dim=16, w_dim=16, features=small.generator.features),
        discriminator=replace(growing.discriminator, features=small.discriminator.features),
        growth=replace(growing.growth, **growth),
        run=replace(small.run, metrics=(metric,), metrics_kimg=0.016),
    )


def test_growing_runs_are_measured_at_full_size(tmp_path: Path, capsys: Any) -> None:
    """As `evaluate` measures their snapshots; the best snapshot is one of full size."""
    data = make_archive(tmp_path, 20, side=16)
    growing = growing_run("kid16_proj", stabilize_kimg=0.016, fade_kimg=0.032)
    trainer, run = start(tmp_path / "run", growing, opened(data), "cpu")
    fit(trainer, run)
    measured = [(line["level"], line[NAME]) for line in lines(run.path)]
    assert [level for level, _ in measured] == [1, 2, None, None]
    best = read_snapshot(run.path / "snapshot-best.safetensors").info
    assert best[NAME] == min(value for level, value in measured if level is None)


@pytest.mark.parametrize("size", ["full", "level"])
def test_a_half_grown_run_is_measured_as_it_says(tmp_path: Path, size: str, capsys: Any) -> None:
    """In training and by `evaluate`, unless --measure-at says otherwise; the run's own SWD as well."""
    data = make_archive(tmp_path, 20, side=16)
    growing = growing_run("kid16_proj", stabilize_kimg=1, fade_kimg=1)
    growing = replace(growing, run=replace(growing.run, measure_at=size, swd_images=8))
    trainer, run = start(tmp_path / "run", growing, opened(data), "cpu")
    fit(trainer, run)
    snapshot = run.snapshots()[-1]
    found = {}
    for flag in ("auto", "full", "level"):
        words = ["--data", str(data), "--metrics", "kid16_proj,swd8", "--device", "cpu", "--measure-at", flag]
        assert main(["evaluate", str(snapshot), *words, "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["subject"]["measure_at"] == (size if flag == "auto" else flag)
        assert document["subject"]["images"]["shape"][1] == (
            8 if flag == "level" or flag + size == "autolevel" else 16
        )
        found[flag] = document["metrics"]["kid16_proj"]["values"]["kid16_proj"]["mean"]
    assert found["full"] != found["level"]
    last = lines(run.path)[-1]
    assert found["auto"] == found[size] == last[NAME]
    reals = trainer.inputs.evaluation_set.at(16 if size == "full" else 8)
    fakes = to_uint8(Sampler(trainer.ema, growing, trainer.growth).generate(range(8)))
    repeated = fakes.repeat_interleave(reals.resolution // 8, 2).repeat_interleave(reals.resolution // 8, 3)
    expected = sliced_wasserstein(torch.from_numpy(reals.images(np.arange(8))), repeated).average
    assert last["swd"] == pytest.approx(expected, rel=1e-6)


def test_a_metric_that_fails_does_not_end_the_training(
    archive: Path, tmp_path: Path, projection: Projection, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def fails(images: torch.Tensor, layers: Any) -> Any:
        raise UserError("features of image 3 are not finite")

    monkeypatch.setattr(projection, "features", fails)
    trainer, run = start(tmp_path / "run", tiny(*METRICS), opened(archive), "cpu")
    assert fit(trainer, run)
    assert [NAME in line for line in lines(run.path)] == [False] * 4
    assert "no metrics at 0.032 kimg: features of image 3 are not finite" in caplog.text
    assert caplog.text.count("no metrics at") == 2
    assert run.states()
    assert run.snapshots()


def test_levels_too_small_for_a_metric_are_passed_over(tmp_path: Path, caplog: Any) -> None:
    data = make_archive(tmp_path, 20, side=16)
    growing = growing_run("swd16", stabilize_kimg=0.016, fade_kimg=0.016, initial_resolution=4)
    growing = replace(growing, run=replace(growing.run, measure_at="level"))
    trainer, run = start(tmp_path / "run", growing, opened(data), "cpu")
    assert fit(trainer, run)
    found = [(line["level"], "metrics/swd16" in line) for line in lines(run.path)]
    assert found == [(0, False), (1, True), (1, True), (None, True)]
    assert "no metrics at 0.016 kimg: swd16: images of 4x4 px are too small" in caplog.text


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("kid16_prog", "metric: 'kid16_prog' names no feature network"),
        ("separability", "run.metrics: separability cannot be measured in training"),
        ("separability_primal_w", "run.metrics: separability_primal_w cannot be measured in training"),
        ("stability", "run.metrics: stability cannot be measured in training"),
        ("pr16_proj", "run.metrics: pr16_proj does not say which values are better"),
        ("fid16", "features fetch inception-2015"),
    ],
)
def test_refused_before_there_is_a_run(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metrics: str, message: str
) -> None:
    monkeypatch.setenv("STYLELOOM_WEIGHTS", str(tmp_path / "no-weights"))
    with pytest.raises(UserError, match=message):
        start(tmp_path / "run", tiny(f"run.metrics={metrics}"), opened(archive), "cpu")
    assert not (tmp_path / "run").exists()


def test_the_interval_is_more_than_nothing() -> None:
    with pytest.raises(UserError, match=r"run.metrics_kimg: 0.* more than 0"):
        tiny("run.metrics_kimg=0")


def test_flags_of_the_command_line(archive: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "run"
    words = ["--metrics", "kid16_proj", "--metrics-every", "0.03", "--device", "cpu", "--out", str(out)]
    assert main(["train", "--data", str(archive), *flags(), *words]) == 0
    assert [NAME in line for line in lines(out)] == [False, True, False, True]
    assert (out / "snapshot-best.safetensors").exists()
    # What a run measures may change on resume: it does not touch the training.
    words = ["--metrics", "fd16_proj", "--kimg", "0.08", "--allow-change", "total_kimg", "--device", "cpu"]
    assert main(["train", "--resume", str(out), *words]) == 0
    assert "metrics/fd16_proj" in lines(out)[-1]


# ---- what cannot be measured


@pytest.mark.parametrize(
    ("images", "overrides", "message"),
    [
        (20, ("data.held_out=1",), r"needs 2 images to compare with, data.held_out is 1"),
        (1, ("batch=4",), r"needs 2 images to compare with, .* has 1"),
        (20, ("run.swd_images=1",), r"1 is not valid; valid: 2 or more"),
    ],
)
def test_a_distance_that_cannot_be_measured_is_refused_first(
    tmp_path: Path, images: int, overrides: tuple[str, ...], message: str
) -> None:
    """Before there is a run, and before a file of a run changes; without the distance both go on."""
    data = make_archive(tmp_path, images)
    asked = tiny("run.swd_images=8", "total_kimg=0.016", *overrides)
    with pytest.raises(UserError, match=rf"run.swd_images: {message}(.|\n)*--set run.swd_images=0"):
        start(tmp_path / "run", asked, opened(data), "cpu")
    assert not (tmp_path / "run").exists()
    without = replace(asked, run=replace(asked.run, swd_images=0))
    trainer, run = start(tmp_path / "run", without, opened(data), "cpu")
    before = {file: file.read_bytes() for file in run.path.iterdir() if file.is_file()}
    with pytest.raises(UserError, match=rf"run.swd_images: {message}"):
        resume(run.path, opened(data), asked, device="cpu")
    assert {file: file.read_bytes() for file in run.path.iterdir() if file.is_file()} == before
    trainer, run = resume(run.path, opened(data), without, device="cpu")
    assert fit(trainer, run)


def test_images_too_small_for_descriptors(archive: Path) -> None:
    small = tiny("grid=2,4", "run.swd_images=8")
    with pytest.raises(UserError, match=r"run.swd_images: images of 8x4 px are too small .*valid: 8 px"):
        check_distance(small, opened(archive))


def test_metrics_that_cannot_be_measured_are_refused_on_resume(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, run = start(tmp_path / "run", tiny(*METRICS), opened(archive), "cpu")
    fit(trainer, run, max_minutes=0)
    before = {file: file.read_bytes() for file in run.path.iterdir() if file.is_file()}
    monkeypatch.setenv("STYLELOOM_WEIGHTS", str(tmp_path / "no-weights"))
    asked = tiny("run.metrics=fid16")
    with pytest.raises(UserError, match=r"features fetch inception-2015(.|\n)*none: --set run.metrics="):
        resume(run.path, opened(archive), asked, device="cpu")
    assert {file: file.read_bytes() for file in run.path.iterdir() if file.is_file()} == before
    trainer, run = resume(run.path, opened(archive), tiny("run.metrics="), device="cpu")
    assert fit(trainer, run)


@pytest.mark.parametrize("error", [UserError("no"), RuntimeError("out of memory"), OSError(28, "disk full")])
def test_whatever_goes_wrong_in_measuring_costs_no_training(
    archive: Path, tmp_path: Path, projection: Projection, monkeypatch: pytest.MonkeyPatch, error: Exception,
    caplog: Any,
) -> None:  # fmt: skip
    """The metrics, and the run's own distance."""

    def fails(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(projection, "features", fails)
    monkeypatch.setattr(fit_module, "run_swd", fails)
    experiment = tiny(*METRICS, "run.swd_images=8", "run.snapshot_every=1")
    trainer, run = start(tmp_path / "run", experiment, opened(archive), "cpu")
    assert fit(trainer, run)
    found = lines(run.path)
    assert [line["images_seen"] for line in found] == [16, 32, 48, 64]
    assert not any(NAME in line or line["swd"] is not None for line in found)
    assert "no sliced Wasserstein distance at 0.016 kimg: " in caplog.text
    assert str(error) in caplog.text
    same_state(trainer, steps(Trainer(experiment, opened(archive), "cpu"), 8))


def test_one_metric_without_a_value_costs_no_other(
    archive: Path, tmp_path: Path, projection: Projection, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    looked = projection.features

    def features(images: torch.Tensor, layers: Any) -> Any:
        found = looked(images, layers)
        return {layer: x * torch.inf if layer == "classes" else x for layer, x in found.items()}

    monkeypatch.setattr(projection, "features", features)
    experiment = tiny("run.metrics=kid16_proj,is16_proj", "run.metrics_kimg=0.03")
    trainer, run = start(tmp_path / "run", experiment, opened(archive), "cpu")
    assert fit(trainer, run)
    assert [NAME in line for line in lines(run.path)] == [False, True, False, True]
    assert "no is16_proj at 0.032 kimg: features of image 0 hold" in caplog.text
