"""Train a small StyleGAN2 on a folder of images.

python examples/train_on_a_folder.py photos --resolution 64 --minutes 30
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import tyro

import styleloom
from styleloom.config import DataOptions
from styleloom.data import BuildOptions, ConversionOptions, build_dataset, open_source
from styleloom.runs.fit import fit, start


def main(
    folder: tyro.conf.Positional[Path],
    out: Path = Path("runs/folder"),
    resolution: int = 64,
    minutes: float = 10.0,
    device: str = "auto",
) -> None:
    """Build an archive, train the demo's networks on it, save a picture.

    Args:
        folder: images, in sub-folders or not.
        out: folder to create.
        resolution: side of the images, px.
        minutes: training time.
        device: auto, cpu, cuda, mps.
    """
    archive = out / "images.zip"
    source = open_source(folder)
    build_dataset(source, archive, BuildOptions(ConversionOptions(resolution, upscale=True)))
    dataset = styleloom.open_dataset(archive)

    experiment = styleloom.preset("demo").with_data(resolution=resolution)
    experiment = replace(experiment, name="folder", data=DataOptions(mirror="horizontal"))
    trainer, run = start(out / "run", experiment, dataset, device)
    fit(trainer, run, max_minutes=minutes)
    trainer.close()

    sampler = styleloom.load(run.snapshots()[-1], device)
    images = styleloom.to_uint8(sampler.generate(range(4), truncation=0.7))
    for seed, image in enumerate(images):
        styleloom.save_png(out / f"seed{seed}.png", image)
    print(f"{trainer.images_seen} images seen; {run.snapshots()[-1]}")


if __name__ == "__main__":
    tyro.cli(main)
