"""A strip of images on the straight line between two latents in W.

python examples/interpolate.py snapshot.safetensors --seeds 3 8 --steps 9
"""

from __future__ import annotations

from pathlib import Path

import torch
import tyro

import styleloom
from styleloom.images import grid
from styleloom.networks.assembly import finest


@torch.inference_mode()
def main(
    snapshot: tyro.conf.Positional[Path],
    seeds: tuple[int, int] = (0, 1),
    steps: int = 8,
    truncation: float = 0.7,
    out: Path = Path("interpolation.png"),
) -> None:
    """Interpolate linearly in W, with the noise held still.

    Args:
        snapshot: a snapshot-*.safetensors.
        seeds: of the first and of the last image.
        steps: images, both ends included.
        truncation: psi.
        out: PNG file.
    """
    sampler = styleloom.load(snapshot)
    generator = sampler.generator
    z, _ = sampler.draw(seeds)
    label = sampler.labels(len(seeds), 0 if generator.label_dim else None)
    start, end = generator.truncate(generator.mapping(z, label), truncation)  # [L, W] each
    t = torch.linspace(0, 1, steps, device=start.device)[:, None, None]
    ws = torch.lerp(start, end, t)
    images = finest(generator.synthesis(ws, sampler.growth, noise="fixed"))  # [steps, C, H, W]
    styleloom.save_png(out, grid(images, steps))
    print(out)


if __name__ == "__main__":
    tyro.cli(main)
