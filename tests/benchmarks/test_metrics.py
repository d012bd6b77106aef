"""The metrics' benchmark measures what it says, at a small size."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

SMALL = {"images": 40, "neighbours_images": 20, "inception_dim": 16, "vgg_dim": 8}
NUMBERS = {"moments_sec", "frechet_sec", "frechet_deficient_sec", "kernel_sec", "precision_recall_sec"}
REFERENCES = {"sqrtm_sec", "scikit_learn_neighbours_sec"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, NUMBERS | REFERENCES),
        ({"references": False}, NUMBERS),
        ({"large": True}, {"precision_recall_sec", "peak_memory_gib"}),
    ],
)
def test_metrics_reports_times(
    options: dict[str, bool],
    expected: set[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("metrics_benchmark", BENCHMARKS / "metrics.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)  # a plain import might find these tests' namesake
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(importlib.import_module("publishing"), "RESULTS", tmp_path)
    document = module.MetricTime(**SMALL, **options, save=True).run()
    measured = {name for name, value in document.items() if isinstance(value, float)}
    assert measured == expected
    assert all(document[name] > 0 for name in measured)
    printed = capsys.readouterr().out
    assert all(name in printed for name in measured)
    kept = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert kept == {"date": kept["date"]} | document
