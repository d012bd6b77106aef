"""The effect of truncation: a row for each seed, psi from -1 to 1 (StyleGAN Fig. 8).

python examples/truncation_sheet.py snapshot.safetensors --seeds 91 388
"""

from __future__ import annotations

from pathlib import Path

import torch
import tyro

import styleloom
from styleloom.images import grid


def main(
    snapshot: tyro.conf.Positional[Path],
    seeds: tuple[int, ...] = (91, 388),
    columns: int = 9,
    out: Path = Path("truncation.png"),
) -> None:
    """The middle column is the average image; opposite signs are opposite in W.

    Args:
        snapshot: a snapshot-*.safetensors.
        seeds: one row each.
        columns: values of psi, evenly from -1 to 1.
        out: PNG file.
    """
    sampler = styleloom.load(snapshot)
    one_class = 0 if sampler.generator.label_dim else None
    columns_of_images = [
        sampler.generate(seeds, truncation=psi, classes=one_class, noise="fixed")
        for psi in torch.linspace(-1, 1, columns).tolist()
    ]
    images = torch.stack(columns_of_images, 1).flatten(0, 1)  # [seeds * columns, C, R, R], row by row
    styleloom.save_png(out, grid(images, columns))
    print(out)


if __name__ == "__main__":
    tyro.cli(main)
