"""Snapshots and runs that an older version wrote load, resume and go on as they did there.

`recorded/` holds them, and what the older version itself made of them afterwards; `record.py` says how.
The steps that follow are main steps alone: in the lazy ones, versions differ on purpose in what becomes of a
parameter without a gradient.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from styleloom import sampling
from styleloom.data.dataset import open_dataset
from styleloom.runs.fit import fit, resume
from styleloom.snapshot import read_snapshot
from tiny import assert_equal

RECORDED = Path(__file__).parent / "recorded" / "879f553"
NAMES = ("growing", "stylegan2")


def difference(ours: Tensor, theirs: Tensor, scale: Tensor) -> float:
    """Distance of two tensors over the size of `scale`."""
    return float((ours.double() - theirs.double()).norm() / scale.double().norm().clamp(min=1e-12))


@pytest.mark.parametrize("name", NAMES)
def test_a_snapshot_makes_the_same_images(name: str) -> None:
    file = next((RECORDED / name / "run").glob("snapshot-*.safetensors"))
    snapshot = read_snapshot(file)
    weights = load_file(file)
    assert_equal(weights, dict(snapshot.generator.state_dict()))
    assert snapshot.info["images_seen"] == 40
    assert (snapshot.growth is None) is (name == "stylegan2")
    images = sampling.load(file, "cpu", "fp32").generate([0, 1, 2], 0.7)
    expected = load_file(RECORDED / name / "after.safetensors")["images"]
    assert (images - expected).abs().max() < 1e-4  # of a range of 2; other processors round otherwise


@pytest.mark.parametrize("name", NAMES)
def test_a_state_resumes(name: str, tmp_path: Path) -> None:
    recorded = RECORDED / name
    run_path = shutil.copytree(recorded / "run", tmp_path / "run")
    before = load_file(next(run_path.glob("state-*.safetensors")))
    trainer, run = resume(run_path, open_dataset(RECORDED / "data.zip"), device="cpu", workers=0)
    assert (trainer.step_count, trainer.images_seen, trainer.inputs.loader.position) == (5, 40, 40)
    assert [line["step"] for line in run.stats.read()] == [1, 2, 3, 4, 5]
    assert_equal(before, {key: t.clone() for key, t in trainer.state()[0].items()})

    for expected in json.loads((recorded / "losses.json").read_text()):
        stats = trainer.step()
        for key, value in expected.items():
            assert stats[key].item() == pytest.approx(value, rel=1e-3, abs=1e-4), key
    after, ours = load_file(recorded / "after.safetensors"), trainer.state()[0]
    for network in ("g", "d", "ema"):
        keys = [key for key in after if key.startswith(f"{network}.")]
        assert set(keys) == {key for key in ours if key.startswith(f"{network}.")}
        mine, theirs, old = (torch.cat([t[key].flatten() for key in keys]) for t in (ours, after, before))
        assert difference(mine, theirs, theirs - old) < 0.01, network  # of the way of two steps

    while trainer.step_count < 9:  # path length or penalty again
        trainer.step()
    assert all(t.isfinite().all() for t in trainer.state()[0].values())
    fit(trainer, run, max_minutes=0)
    trainer.close()
    again, _ = resume(run_path, open_dataset(RECORDED / "data.zip"), device="cpu", workers=0)
    assert again.step_count == 10
    again.close()
