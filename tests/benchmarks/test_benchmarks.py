"""The benchmarks compare equal mathematics, and print what their readers parse."""

from __future__ import annotations

import copy
import dataclasses
import gc
import json
import runpy
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from styleloom import presets
from styleloom.config import (
    ByResolution,
    Experiment,
    FeatureMaps,
    Mapping,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
)
from styleloom.errors import UserError
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.types import GrowthState

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FEATURES = FeatureMaps(base=64, max=8)
TINY = [
    "generator.z_dim=8",
    "generator.w_dim=8",
    "generator.mapping.width=8",
    "generator.mapping.layers=2",
] + [
    f"{network}.features.{name}={value}"
    for network in ("generator", "discriminator")
    for name, value in (("base", 64), ("max", 8))
]


@pytest.fixture(autouse=True)
def no_garbage_collections(monkeypatch):
    """A benchmark collects garbage before each measurement: among the objects of all tests, 0.2 s each."""
    monkeypatch.setattr(gc, "collect", lambda: 0)


@pytest.fixture
def plain(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import plain

    return plain


@pytest.fixture
def step_time(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import step_time

    return step_time


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("architecture", ["orig", "skip", "resnet"])
def test_plain_generator_computes_the_same(plain, architecture, grouped):
    cfg = StyleGAN2Generator(
        resolution=16, z_dim=8, w_dim=8, features=FEATURES, mapping=Mapping(2, 8), architecture=architecture
    )
    ours = build_generator(cfg)
    theirs = plain.make_plain(copy.deepcopy(ours))
    z = torch.randn(2, 8)
    ours_out = ours(z, noise="fixed")
    with plain.plain_operations(grouped):
        theirs_out = theirs(z, noise="fixed")
        theirs_out.square().sum().backward()
    ours_out.square().sum().backward()
    torch.testing.assert_close(theirs_out, ours_out, rtol=1e-4, atol=1e-5)
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(b.grad, a.grad, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("architecture", ["orig", "skip", "resnet"])
def test_plain_discriminator_computes_the_same(plain, architecture):
    cfg = StyleGAN2Discriminator(resolution=16, features=FEATURES, architecture=architecture)
    ours = build_discriminator(cfg)
    theirs = plain.make_plain(copy.deepcopy(ours))
    images = torch.randn(4, 3, 16, 16)
    ours_out = ours(images)
    with plain.plain_operations():
        theirs_out = theirs(images)
    torch.testing.assert_close(theirs_out, ours_out, rtol=1e-4, atol=1e-5)


FAMILIES = {
    "progan": ("progan", None),
    "progan, fading": ("progan", GrowthState(1, 0.4)),
    "progan, pooling after": ("progan", None),
    "stylegan-b": ("stylegan-b", None),
    "stylegan-f": ("stylegan-f", None),
    "stylegan-f, fading": ("stylegan-f", GrowthState(1, 0.4)),
    "stylegan-f-paper-blur": ("stylegan-f-paper-blur", None),
    "msg-progan": ("msg-progan", None),
    "msg-stylegan": ("msg-stylegan", None),
    "stylegan2-d": ("stylegan2-d", None),
    "stylegan2-d, fading": ("stylegan2-d", GrowthState(1, 0.4)),
    "stylegan2-f": ("stylegan2-f", None),
}
"""What test_plain_step_is_ours compares: a preset, and where it stands."""


@pytest.mark.parametrize("case", FAMILIES)
def test_plain_step_is_ours(plain, step_time, case, monkeypatch):
    """Every phase of a step gives the same statistics and the same gradients."""
    # randn_like fills memory in order, which is another order of pixels in another layout
    monkeypatch.setattr(torch, "randn_like", lambda x: torch.randn(x.shape))
    name, growth = FAMILIES[case]
    experiment = narrow(presets.get(name))
    if "pooling" in case:
        experiment = replace(experiment, discriminator=replace(experiment.discriminator, pooling="after"))
    results = []
    for is_plain in (False, True):
        variant = step_time.Variant("", experiment, "fp32", torch.device("cpu"), growth, plain=is_plain)
        set_noise_strengths(variant.nets.g)
        for phase in step_time.phase_weights(experiment):
            run = variant._prepare(phase, 4)
            with plain.plain_operations() if is_plain else nullcontext():
                results.append((phase, run(), gradients(variant)))
    half = len(results) // 2
    assert half >= 2
    for (phase, ours, ours_grads), (_, theirs, theirs_grads) in zip(
        results[:half], results[half:], strict=True
    ):
        torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-5, msg=lambda m, p=phase: f"{p}: {m}")
        assert ours_grads.keys() == theirs_grads.keys() != set()
        largest = max(gradient.abs().max().item() for gradient in ours_grads.values())
        for parameter, gradient in ours_grads.items():
            # Some are 0 but for rounding, whose size depends on the processor: a few 1e-6 of the largest.
            scale = max(gradient.abs().max().item(), largest / 20)
            torch.testing.assert_close(
                theirs_grads[parameter],
                gradient,
                rtol=1e-3,
                atol=1e-4 * scale,
                msg=lambda m, p=phase, n=parameter: f"{p}, {n}: {m}",
            )


def narrow(experiment: Experiment, resolution: int = 16) -> Experiment:
    """The preset's networks and losses, small."""

    def small(config, **fields):
        names = {field.name for field in dataclasses.fields(config)}
        return replace(config, resolution=resolution, **{k: v for k, v in fields.items() if k in names})

    mapping = getattr(experiment.generator, "mapping", None)
    shape = {"features": FEATURES, "z_dim": 8, "w_dim": 8}
    if mapping is not None:
        shape["mapping"] = replace(mapping, layers=min(mapping.layers, 2), width=8)
    return replace(
        experiment,
        generator=small(experiment.generator, **shape),
        discriminator=small(experiment.discriminator, **shape),
        growth=replace(experiment.growth, initial_resolution=8),
        batch=ByResolution(4),
        style_mixing_unit=ByResolution(4),
    )


def set_noise_strengths(network: torch.nn.Module) -> None:
    """So that noise is seen to be added where it should be."""
    for name, parameter in network.named_parameters():
        if name.endswith("strength"):
            parameter.data.fill_(0.3)


def gradients(variant) -> dict[str, torch.Tensor]:
    """The gradients of both networks, which are forgotten."""
    found = {}
    for role, network in (("g", variant.nets.g), ("d", variant.nets.d)):
        for name, parameter in network.named_parameters():
            if parameter.grad is not None:
                found[f"{role}.{name}"] = parameter.grad.clone()
                parameter.grad = None
    return found


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a script as `python benchmarks/SCRIPT ARGUMENTS --json` would; the document that it prints."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def start(script: str, *arguments: str) -> dict:
        monkeypatch.setattr(sys, "argv", [script, *arguments, "--json"])
        runpy.run_path(str(BENCHMARKS / script), run_name="__main__")
        return json.loads(capsys.readouterr().out)

    return start


PHASES = {
    "progan": {"g_main", "d_main"},
    "msg-stylegan": {"g_main", "d_main"},
    "stylegan2-c": {"g_main", "d_main", "d_penalty"},
}
ALL_PHASES = {"g_main", "g_path_length", "d_main", "d_penalty"}


@pytest.mark.parametrize("preset", PHASES)
def test_step_time_measures_the_phases_that_a_preset_runs(step_time, monkeypatch, preset):
    monkeypatch.setattr(step_time, "convolution_peak", lambda device, precision: 1e10)
    features = [o for o in TINY if "features" in o]
    options = step_time.StepTime(preset=preset, resolution=8, batch=4, rounds=1, overrides=features)
    check_step_time(options.run(), PHASES[preset])


def test_step_time_prints_json(step_time, monkeypatch, capsys):
    monkeypatch.setattr(step_time, "convolution_peak", lambda device, precision: 1e10)
    words = ["--resolution", "8", "--batch", "4", "--rounds", "1", "--threads", "1", "--overrides", *TINY]
    monkeypatch.setattr(sys, "argv", ["step_time.py", "--json", *words])
    step_time.main()
    check_step_time(json.loads(capsys.readouterr().out), ALL_PHASES)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_peak_of_a_machine_is_that_of_its_convolutions(step_time, precision):
    """GFLOP/s at least, on any machine of these decades, and less than 1,000 TFLOP/s."""
    assert 1e8 < step_time.convolution_peak(torch.device("cpu"), precision, channels=16) < 1e15


def check_step_time(document: dict, phases: set[str]) -> None:
    assert (document["resolution"], document["level"], document["batch"]) == (8, 8, 4)
    assert set(document["ratio_amortised"]) == {"fp32", "bf16"}
    for entry in document["variants"].values():
        assert set(entry["images_per_sec"]) == phases | {"amortised"}
        assert set(entry["peak_memory_gib"]) == phases
        assert all(rate > 0 for rate in entry["images_per_sec"].values())
    assert 0 < document["variants"]["fp32"]["share_of_peak"] < 10
    low, high = document["ratio_spread"]["fp32"]
    assert 0 < low <= document["ratio_amortised"]["fp32"] <= high


def test_step_time_takes_the_level_of_a_growing_run(step_time):
    experiment = narrow(presets.get("stylegan2-d"), 32)
    assert step_time.growth_of(experiment, 32) is None
    assert step_time.growth_of(experiment, 16) == GrowthState(2, 1.0)
    with pytest.raises(UserError, match="level: 64 is not valid for stylegan2-d, choose from 8, 16, 32"):
        step_time.growth_of(experiment, 64)
    with pytest.raises(UserError, match=r"choose from 32$"):
        step_time.growth_of(narrow(presets.get("msg-progan"), 32), 16)


def test_a_step_at_a_level_scales_the_penalty_and_reads_its_images(step_time):
    experiment = narrow(presets.get("stylegan-f"), 32)
    variant = step_time.Variant("fp32", experiment, "fp32", torch.device("cpu"), GrowthState(1, 1.0))
    assert (variant.side, variant.nets.gradient_scale) == (8, 0.25)
    assert variant.measure("d_main", 4) > 0


def test_growing_compares_a_level_with_networks_of_its_size(run):
    document = run(
        "growing.py",
        *("--presets", "stylegan2-d", "progan", "--resolution", "32", "--batch", "4", "--images", "5"),
        *("--rounds", "2", "--steps", "1", "--threads", "1", "--overrides", "d_regularizer.every=1"),
        *(o for o in TINY if "features" in o),
    )
    assert [case["preset"] for case in document["cases"]] == ["stylegan2-d", "progan"]
    for case in document["cases"]:
        for clock in ("wall", "cpu"):
            low, high = case[clock]["ratio_spread"]
            assert 0 < low <= case[clock]["ratio"] <= high
            assert set(case[clock]["seconds_per_step"]) == {"growing", "built"}


def test_generate_reports_every_case(run):
    document = run(
        "generate.py", *("--preset", "demo", "--resolutions", "8", "--batches", "1", "2", "--rounds", "1")
    )
    assert [(c["resolution"], c["batch"]) for c in document["cases"]] == [(8, 1), (8, 2)]
    assert all(set(c["ratio"]) == {"fp32", "bf16"} for c in document["cases"])


def test_augmentation_is_compared_with_steps_without_it(run):
    document = run(
        "augmentation.py",
        *("--preset", "demo", "--batch", "4", "--rounds", "1", "--p", "0.5", "--threads", "1"),
    )
    assert set(document["sec_per_step"]) == {"0", "0.5"}
    for key in ("ratio", "cpu_ratio"):
        assert set(document[key]) == {"0.5"}
        assert document[key]["0.5"] > 0
