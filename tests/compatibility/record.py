"""Write the files of `recorded/`: `python tests/compatibility/record.py` with the package at commit 879f553.

They stay as they are: a file that an older version wrote must load in every later one. Run this again, with
the version at hand, only to add another version's files beside these.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from styleloom import presets, sampling
from styleloom.config import Experiment, apply_overrides
from styleloom.data.build import BuildOptions, build_dataset
from styleloom.data.conversion import ConversionOptions
from styleloom.data.dataset import open_dataset
from styleloom.data.sources import open_source
from styleloom.runs.fit import fit, start
from styleloom.snapshot import write_tensors

RECORDED = Path(__file__).parent / "recorded" / "879f553"

SHARED = [
    "resolution=16",
    "generator.z_dim=8",
    "generator.w_dim=8",
    "generator.mapping.layers=2",
    "generator.mapping.width=8",
    "generator.features.max=4",
    "discriminator.features.max=4",
    "precision=fp32",
    "learning_rate=0.002",
    "batch=8",
    "run.tick_kimg=0.008",
    "run.swd_images=0",
    "run.state_every=1",
    "run.keep_states=1",
    "run.keep_snapshots=1",
]

RUNS: dict[str, tuple[str, list[str]]] = {
    # step 5 of a fade-in; its penalty is in the main step
    "growing": (
        "stylegan-f",
        ["growth.initial_resolution=8", "growth.stabilize_kimg=0.016", "growth.fade_kimg=0.08",
         "total_kimg=0.2"],
    ),
    # path length at steps 0 and 4, R1 at step 0; steps 5 and 6 are main steps alone
    "stylegan2": ("stylegan2-f", ["g_regularizer.every=4", "d_regularizer.every=16", "total_kimg=0.2"]),
}  # fmt: skip

STEPS = 5
FURTHER = 2


def experiment(name: str) -> Experiment:
    """The experiment of a recorded run."""
    preset, overrides = RUNS[name]
    return apply_overrides(presets.get(preset), SHARED + overrides)


def record_data(folder: Path) -> Path:
    """Twelve images of blobs, 16 px."""
    images, rng = folder / "images", np.random.default_rng(0)
    images.mkdir()
    for i in range(12):
        small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        small.resize((16, 16), Image.Resampling.BILINEAR).save(images / f"{i}.png")
    build_dataset(open_source(images), folder / "data.zip", BuildOptions(ConversionOptions(16)))
    shutil.rmtree(images)
    return folder / "data.zip"


def record_run(name: str, data: Path) -> None:
    """A run with its state after five steps; what the next two steps make of it; images of its snapshot."""
    dataset = open_dataset(data)
    dataset.path = data.name  # no folder of whoever records this
    folder = RECORDED / name
    trainer, run = start(folder / "run", experiment(name), dataset, "cpu", 0)

    class Enough(Exception):  # noqa: N818
        pass

    def report(line: dict[str, object]) -> None:
        if "tick" in line and trainer.step_count == STEPS:
            raise Enough

    with contextlib.suppress(Enough):
        fit(trainer, run, report)
    shutil.rmtree(run.path / "events", ignore_errors=True)
    for picture in run.path.glob("*.png"):
        picture.unlink()
    run.save_snapshot(trainer.ema, trainer.experiment, {"images_seen": trainer.images_seen}, 1)
    losses = [
        {key: value.item() for key, value in sorted(trainer.step().items()) if value.ndim == 0}
        for _ in range(FURTHER)
    ]
    after = {key: t for key, t in trainer.state()[0].items() if key.split(".")[0] in ("g", "d", "ema")}
    images = sampling.load(run.snapshots()[-1], "cpu", "fp32").generate([0, 1, 2], 0.7)
    write_tensors(
        folder / "after.safetensors", after | {"images": images}, {"format": "recorded", "version": 1}
    )
    (folder / "losses.json").write_text(json.dumps(losses, indent=1) + "\n")
    trainer.close()


if __name__ == "__main__":
    torch.set_num_threads(1)
    shutil.rmtree(RECORDED, ignore_errors=True)
    RECORDED.mkdir(parents=True)
    archive = record_data(RECORDED)
    for run_name in RUNS:
        record_run(run_name, archive)
