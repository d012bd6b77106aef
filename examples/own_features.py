"""Compare a generator with real images in features of one's own: here, how often each colour occurs.

python examples/own_features.py snapshot.safetensors photos.zip
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor

import styleloom
from styleloom.features.registry import NetworkEntry, register
from styleloom.metrics.evaluation.collect import FeatureNetworks
from styleloom.metrics.evaluation.definitions import parse_all
from styleloom.metrics.evaluation.subject import RealImages, Subject
from styleloom.metrics.evaluation.suite import Evaluation


class Colours:
    """A `styleloom.types.FeatureNetwork`: the share of pixels in each of 4 x 4 x 4 bins of RGB."""

    @property
    def identity(self) -> dict[str, Any]:
        """What the numbers depend on."""
        return {"name": "colours", "weights": "none", "resize": "none"}

    @property
    def layers(self) -> Mapping[str, int]:
        """One layer."""
        return {"bins": 64}

    def features(self, images_u8: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """uint8 [N, 3, H, W] to float32 [N, 64]."""
        levels = images_u8.long() // 64  # [N, 3, H, W], 0 to 3
        bins = (16 * levels[:, 0] + 4 * levels[:, 1] + levels[:, 2]).flatten(1)
        counts = torch.zeros(len(bins), 64).scatter_add_(1, bins, torch.ones(bins.shape))
        return dict.fromkeys(layers, counts / bins.shape[1])


def main(snapshot: tyro.conf.Positional[Path], data: tyro.conf.Positional[str], images: int = 1000) -> None:
    """Fréchet and kernel distance in colours.

    Args:
        snapshot: a snapshot-*.safetensors.
        data: an archive of real images.
        images: how many to generate.
    """
    colours = NetworkEntry("colours", "shares of colours", "MIT", (), lambda *_: Colours(), None, "bins")
    register("colours", colours)
    sampler = styleloom.load(snapshot, "cpu", "fp32")
    reals = RealImages(styleloom.open_dataset(data, sampler.resolution))
    evaluation = Evaluation(
        parse_all(f"fd{images}_colours,kid{images}_colours"), FeatureNetworks(torch.device("cpu"))
    )
    document = evaluation.run(Subject(str(snapshot), {}, sampler, reals))
    for entry in document["metrics"].values():
        for name, value in entry["values"].items():
            print(f"{name}: {value['mean']:.4g}")


if __name__ == "__main__":
    tyro.cli(main)
