"""Plans: memory that is counted, times by measured speeds, settings that fit, the command."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from every import every
from styleloom import presets
from styleloom.cli import main
from styleloom.cli.plan import gibibytes
from styleloom.config import Experiment, apply_overrides
from styleloom.errors import UserError
from styleloom.planning.devices import (
    TABLE,
    Device,
    Rate,
    between,
    measure,
    measured_device,
    names,
    top_flops,
)
from styleloom.planning.memory import Alive, predict
from styleloom.planning.noise_images import noise_images
from styleloom.planning.plan import Request, gamma_heuristic, make_plan, micro_batches
from styleloom.runs.plan import training_flops
from styleloom.training.trainer import Trainer
from tiny import tiny

ROOT = Path(__file__).parents[2]


def device(per_sec: float = 1e9) -> Device:
    return Device("d", "cpu", "h", "s", {"fp32": (Rate(1.0, per_sec),), "bf16": (Rate(1.0, 2 * per_sec),)})


def test_what_is_alive_is_counted() -> None:
    alive = Alive()
    with alive:
        a = torch.empty(1000, device="meta")
        b = a.view(10, 100) + 1
        assert alive.now == 8000
        del a
        assert alive.now == 4000
        assert alive.peak == 8000
        del b
    assert alive.now == 0


@pytest.mark.parametrize("overrides", [(), ("d_regularizer.every=1",), ("loss=relativistic-pairing",)])
def test_counted_bytes_are_those_of_a_training(overrides: tuple[str, ...]) -> None:
    """Activations as a training on real tensors has them: the same phases under the same counter."""
    experiment = tiny("batch=16", "style_mixing=0.9", *overrides)
    memory = predict(experiment, "cpu")
    trainer = Trainer(experiment, noise_images(experiment, 32), "cpu")
    trainer.step()
    weights = [t for net in trainer.networks().values() for t in net.state_dict().values()]
    assert memory.weights == sum(t.numel() * t.element_size() for t in weights)
    moments = [
        t
        for opt, _ in trainer.optimizers().values()
        for s in opt.state.values()
        for t in s.values()
        if t.ndim
    ]
    assert memory.optimizer == pytest.approx(sum(t.numel() * 4 for t in moments), rel=0.05)
    trainer.step_count = 0
    alive = Alive()
    with alive:
        alive.peak = alive.now
        trainer.step()
    trainer.close()
    predicted = predict(experiment, "cuda").activations  # as counted, without what the CPU keeps
    assert predicted == pytest.approx(alive.peak, rel=0.25)


def test_memory_grows_with_the_batch_and_falls_with_micro_batches_and_bf16() -> None:
    experiment = replace(presets.get("demo"), precision="fp32")

    def total(*overrides: str) -> float:
        return predict(apply_overrides(experiment, overrides), "cpu").total

    assert total("batch=16") < total() < total("batch=64")
    assert total("micro_batch=8") < total()
    assert total("precision=bf16") < total()


@every("preset", ["stylegan-f", "progan", "msg-stylegan", "stylegan2-d", "msg-progan"])
def test_every_kind_of_network_is_counted(preset: str) -> None:
    words = ["resolution=16", "precision=fp32", "generator.features.max=8", "discriminator.features.max=8"]
    experiment = apply_overrides(presets.get(preset), words)
    assert predict(experiment, "cpu").activations > 0


def test_the_table_holds_what_was_measured() -> None:
    """Its images/s are those of benchmarks/results, by date, preset, resolution and batch."""
    file = ROOT / "benchmarks" / "results" / "step_time.jsonl"
    found = {}
    for line in map(json.loads, file.read_text().splitlines()):
        for precision, variant in line["variants"].items():
            key = (line["date"], line["preset"], line["resolution"], line["batch"], precision)
            found[key] = variant["images_per_sec"]["amortised"]
    for row in json.loads(TABLE.read_text()).values():
        for preset, resolution, batch, precision, rate in row["measured"]:
            assert rate == pytest.approx(found[row["date"], preset, resolution, batch, precision], rel=1e-3)
    for name in names():
        assert {"fp32", "bf16"} == set(measured_device(name).rates)
    with pytest.raises(UserError, match="xeon-amx-2"):
        measured_device("xeon")


def test_a_speed_lies_between_those_that_were_measured() -> None:
    rates = (Rate(1e6, 1e9), Rate(1e8, 1e11))
    assert between(rates, 1e7) == pytest.approx(1e10)
    assert (between(rates, 1.0), between(rates, 1e12)) == (1e9, 1e11)


def test_this_machine_is_measured() -> None:
    experiment = tiny()
    found = measure(experiment, torch.device("cpu"), 0.2)
    assert found.per_sec(top_flops(experiment), "fp32") > 0
    assert "8 px" in found.source
    with pytest.raises(UserError, match="not measured"):
        found.per_sec(1.0, "bf16")


def test_time_is_operations_over_speed_in_every_level() -> None:
    growing = apply_overrides(
        presets.get("stylegan-f"), ["resolution=32", "total_kimg=100", "precision=fp32"]
    )
    for experiment in (replace(presets.get("demo"), precision="fp32"), growing):
        hours = make_plan(Request(experiment, device())).hours
        assert hours == pytest.approx(training_flops(experiment) / 1e9 / 3600)


def test_the_length_fits_the_time() -> None:
    experiment = replace(presets.get("demo"), precision="fp32")
    whole = make_plan(Request(experiment, device())).hours
    assert whole is not None
    plan = make_plan(Request(experiment, device(), hours=whole / 3))
    assert plan.hours is not None
    assert whole / 3.5 < plan.hours <= whole / 3
    assert any(setting.startswith("total_kimg=") for setting in plan.settings)
    assert "would take" in plan.notes[0]


def test_the_micro_batch_fits_the_memory() -> None:
    experiment = apply_overrides(presets.get("emoji-64"), ["batch=64", "precision=fp32"])
    assert micro_batches(experiment) == [32, 16, 8, 4]
    whole = predict(experiment, "cpu").total / 2**30
    plan = make_plan(Request(experiment, device(), memory_gib=whole * 0.8))
    assert plan.experiment.micro_batch in (32, 16)
    assert plan.memory.total <= whole * 0.8 * 2**30
    small = make_plan(Request(experiment, device(), memory_gib=0.1))
    assert small.experiment.micro_batch == 4
    assert "does not fit" in small.notes[0]
    kept = make_plan(Request(experiment, device(), memory_gib=0.1, fixed=frozenset({"micro_batch"})))
    assert kept.experiment.micro_batch == 0


def test_advice() -> None:
    assert gamma_heuristic(256, 32) == pytest.approx(0.4096)
    experiment = replace(presets.get("stylegan2-f"), precision="fp32").with_data(resolution=32)

    def fields(experiment: Experiment, images: int | None) -> list[str]:
        return [field for field, _, _ in make_plan(Request(experiment, device(), images)).advice]

    assert fields(experiment, 1000)[:2] == ["d_regularizer.gamma", "augment.mode"]
    assert fields(experiment, 10**6) == fields(experiment, None) == ["d_regularizer.gamma"]


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "--preset", "demo", "--data", "portraits", "--device", "xeon-amx-2", "--memory", "2GB"]
    assert main([*words, "--hours", "0.1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["hours"] <= 0.1
    assert document["memory_gib"] < 2
    assert document["precision"] == "bf16"
    command = shlex.split(document["command"])
    assert command[:6] == ["styleloom", "train", "--data", "portraits", "--preset", "demo"]
    assert main(["train", *command[2:], "--dry-run", "--device", "cpu"]) == 0
    assert "GiB (process" in capsys.readouterr().out
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "images/s at 64 px" in out
    assert out.splitlines()[-1].startswith("styleloom train --data portraits --preset demo")
    assert main(["plan", "--preset", "demo", "--seconds", "0", "--device", "cpu"]) == 0
    for wrong, message in (
        (["--device", "xeon"], "is not known"),
        (["--memory", "much"], "an amount such as 8GB"),
        (["--hours", "0"], "more than 0"),
    ):
        assert main(["plan", *wrong]) == 2
        assert message in capsys.readouterr().err


@every(
    ("text", "gib"),
    [("8GB", 8.0), ("8 GiB", 8.0), ("512MB", 0.5), ("1.5g", 1.5), ("2", 2.0), ("1tb", 1024.0)],
)
def test_amounts_of_memory(text: str, gib: float) -> None:
    assert gibibytes(text) == gib
