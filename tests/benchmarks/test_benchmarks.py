"""The benchmarks compare equal mathematics, and print what their readers parse."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from styleloom.config import FeatureMaps, Mapping, StyleGAN2Discriminator, StyleGAN2Generator
from styleloom.networks.build import build_discriminator, build_generator

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


@pytest.fixture
def plain(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import plain

    return plain


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


def run(script: str, *arguments: str) -> dict:
    command = [sys.executable, str(BENCHMARKS / script), *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_step_time_reports_ratios_of_every_phase():
    document = run(
        "step_time.py",
        *("--resolution", "8", "--batch", "4", "--rounds", "1", "--threads", "1", "--overrides", *TINY),
    )
    assert set(document["ratio_amortised"]) == {"fp32", "bf16"}
    for entry in document["variants"].values():
        assert set(entry["images_per_sec"]) == {"g_main", "g_path_length", "d_main", "d_r1", "amortised"}
        assert all(rate > 0 for rate in entry["images_per_sec"].values())
    low, high = document["ratio_spread"]["fp32"]
    assert 0 < low <= document["ratio_amortised"]["fp32"] <= high


def test_generate_reports_every_case():
    document = run(
        "generate.py", *("--preset", "demo", "--resolutions", "8", "--batches", "1", "2", "--rounds", "1")
    )
    assert [(c["resolution"], c["batch"]) for c in document["cases"]] == [(8, 1), (8, 2)]
    assert all(set(c["ratio"]) == {"fp32", "bf16"} for c in document["cases"])
