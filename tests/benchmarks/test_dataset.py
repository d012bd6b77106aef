"""The benchmark of data sets measures every way, and every format."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_every_way_and_format_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    dataset = importlib.import_module("dataset")
    monkeypatch.setattr(dataset, "SOURCE_PX", 64)
    document = dataset.DatasetTime(images=3, resolutions=(32,), workers=(1,), batches=1).run()
    ways = document["builds"][32]
    for way in ("one process, Pillow", "1 workers"):
        assert ways[way]["images_per_sec"] > 0
        assert ways[way]["processor_sec_per_image"] > 0
    assert ways["hours, extrapolated"].keys() == dataset.SETS.keys()
    assert document["loader_images_per_sec"][32].keys() == {"png", "webp", "raw"}
