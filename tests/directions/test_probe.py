"""Linear probes learn what tells labelled images apart, and see it in other images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.images import build
from styleloom.data.dataset import open_dataset
from styleloom.directions.probe import fit_probes
from styleloom.errors import UserError


def test_a_probe_sees_what_the_labels_mean(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, channel in (("red", 0), ("blue", 2)):
        (tmp_path / "source" / name).mkdir(parents=True)
        for at in range(30):
            pixels = rng.integers(0, 100, (16, 16, 3), dtype=np.uint8)
            pixels[..., channel] += 150
            Image.fromarray(pixels).save(tmp_path / "source" / name / f"{at:02d}.png")
    dataset = open_dataset(build(tmp_path / "source", tmp_path / "a.zip", 16, labels="folders"))
    with pytest.raises(UserError, match="40 images, a probe needs at least 50"):
        fit_probes(dataset, count=40)
    probes = fit_probes(dataset)
    assert sorted(probes.names) == ["blue", "red"]
    assert min(probes.accuracies) > 0.9
    rng = np.random.default_rng(1)
    for name, channel in (("red", 0), ("blue", 2)):
        pixels = rng.integers(0, 100, (8, 3, 16, 16)) / 127.5 - 1
        pixels[:, channel] += 150 / 127.5
        scores = probes(torch.from_numpy(pixels).float())[:, probes.names.index(name)]
        assert (scores > 0).float().mean() > 0.8, name
