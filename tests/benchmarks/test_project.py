"""The benchmark of projection compares equal mathematics, and reports what it measured."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from styleloom.networks.assembly import Trunk

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("project_benchmark", BENCHMARKS / "project.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "keep_large_blocks", lambda: None)
    return module


def test_plain_steps_are_the_same_steps(bench: ModuleType) -> None:
    options = bench.ProjectTime(preset="demo")
    ours, plain = (options._projector(16, torch.device("cpu"), 1, kind) for kind in (False, True))
    for _ in range(3):
        found = ours.step()
        with bench.plain_projection():
            torch.testing.assert_close(plain.step(), found, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(plain.w, ours.w, rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(plain.regularization, ours.regularization, rtol=1e-3, atol=1e-6)


def test_each_variant_steps_in_its_own_precision(bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The TF32 switches are the process's: whoever set them last would decide for all."""
    calls: list[str] = []
    set_precision = bench.set_precision

    def noted(precision: str, device: torch.device, *networks: torch.nn.Module) -> None:
        calls.append(precision)
        set_precision(precision, device, *networks)

    step = bench.Projector.step

    def noted_step(self: Any) -> torch.Tensor:
        dtypes = {m.trunk_dtype for m in self.sampler.generator.modules() if isinstance(m, Trunk)}
        calls.append(f"step in {dtypes}")
        return step(self)

    monkeypatch.setattr(bench, "set_precision", noted)
    monkeypatch.setattr(bench.Projector, "step", noted_step)
    bench.ProjectTime(preset="demo", resolutions=(16,), batches=(1,), rounds=1).run()
    single, half = ("fp32", f"step in {{{torch.float32}}}"), ("bf16", f"step in {{{torch.bfloat16}}}")
    assert calls == [*single, *single, *half] * 2


def test_rates_of_each_variant(bench: ModuleType) -> None:
    options = bench.ProjectTime(preset="demo", resolutions=(16,), batches=(1, 2), rounds=1)
    (case,) = options.run()["cases"]
    assert case["plain_steps_per_sec"] > 0
    names = {f"{precision}, batch {batch}" for precision in ("fp32", "bf16") for batch in (1, 2)}
    for key in ("target_steps_per_sec", "ratio", "ratio_spread"):
        assert set(case[key]) == names
