"""The loader's benchmark measures a lower level in its first and in later epochs."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch
from PIL import Image

from styleloom.data import BuildOptions, ConversionOptions, build_dataset, open_source

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_loader_reports_the_lower_level_by_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, images = tmp_path / "x.zip", tmp_path / "images"
    images.mkdir()
    for i in range(5):
        Image.new("RGB", (32, 32), (i, 50 * i, 0)).save(images / f"{i}.png")
    build_dataset(open_source(images), archive, BuildOptions(ConversionOptions(32)))
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    loader = importlib.import_module("loader")
    document = loader.LoaderTime(archive, workers=(0, 1), batch=2, batches=2, level=4).run()
    assert (document["resolution"], document["level"]) == (32, 4)
    assert set(document["images_per_sec"]) == set(document["level_images_per_sec"]) == {0, 1}
    for rates in document["level_images_per_sec"].values():
        assert set(rates) == {"first_epoch", "later_epochs"}
        assert all(rate > 0 for rate in rates.values())
