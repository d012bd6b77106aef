"""Labels of the samples that a run shows and measures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from data.images import build, make_folder
from styleloom.runs.fit import fit, start
from styleloom.runs.pictures import sample_labels
from styleloom.sampling import Sampler
from tiny import make_archive, opened, tiny


def test_samples_have_vectors_that_occur(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In pictures, and in the run's own distance, where each fake has the label of the real beside it."""
    folder = make_folder(tmp_path / "images", 12, 8)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    vectors = np.random.default_rng(0).normal(size=(12, 3)).round(3)
    (tmp_path / "labels.json").write_text(json.dumps(dict(zip(names, vectors.tolist(), strict=True))))
    archive = build(folder, tmp_path / "data.zip", 8, labels=str(tmp_path / "labels.json"))
    seen: list[torch.Tensor] = []
    generate = Sampler.generate

    def watched(self: Sampler, *args: object, **kwargs: object) -> torch.Tensor:
        seen.append(torch.as_tensor(kwargs["label"]))
        return generate(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Sampler, "generate", watched)
    experiment = tiny("label_dim=3", "run.swd_images=6", "run.snapshot_every=1", "data.held_out=4")
    trainer, run = start(tmp_path / "run", experiment, opened(archive), "cpu")
    fit(trainer, run, max_minutes=0)
    held_out = torch.from_numpy(trainer.inputs.evaluation_set.labels(np.arange(4)))
    assert {len(label) for label in seen} == {128, 4}
    for label in seen:
        assert torch.equal(label, held_out[torch.arange(len(label)) % 4])
    trainer.close()


def test_samples_of_classes_are_as_they_were(tmp_path: Path) -> None:
    dataset = opened(make_archive(tmp_path, labels="folders"))
    assert dataset.label_dim == 2
    assert not dataset.has_vectors
    assert sample_labels(dataset, 2, 4) is None
    assert sample_labels(opened(make_archive(tmp_path)), 0, 4) is None
