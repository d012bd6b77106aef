"""The benchmark of projection compares equal mathematics, and reports what it measured."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

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
    ours, plain = (options._projector(16, torch.device("cpu"), 1, kind) for kind in ("fp32", None))
    for _ in range(3):
        found = ours.step()
        with bench.plain_projection():
            torch.testing.assert_close(plain.step(), found, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(plain.w, ours.w, rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(plain.regularization, ours.regularization, rtol=1e-3, atol=1e-6)


def test_rates_of_each_variant(bench: ModuleType) -> None:
    options = bench.ProjectTime(preset="demo", resolutions=(16,), batches=(1, 2), rounds=1)
    (case,) = options.run()["cases"]
    assert case["plain_steps_per_sec"] > 0
    names = {f"{precision}, batch {batch}" for precision in ("fp32", "bf16") for batch in (1, 2)}
    for key in ("target_steps_per_sec", "ratio", "ratio_spread"):
        assert set(case[key]) == names
