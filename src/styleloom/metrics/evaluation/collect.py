"""One pass over a set of images, which fills the statistics of all metrics."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from styleloom.distributed import Processes, blocks
from styleloom.errors import UserError
from styleloom.features.registry import as_rgb, load_distance, load_network
from styleloom.metrics.evaluation.image_sets import ImageSet
from styleloom.metrics.evaluation.keep import Failed, Statistic, WantedStatistic
from styleloom.sampling import PIXELS_PER_BATCH
from styleloom.types import FeatureNetwork, PerceptualDistance

DEFAULT_BATCH = 64
"""Images in a batch where no number is asked for; fewer where they are large."""

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is in all."""


@dataclass
class FeatureNetworks:
    """Feature networks and distances of an evaluation, each loaded when it is first needed.

    Args:
        device: where they are.
        weights: paths of weight files that are not in their usual place, by file name.
    """

    device: torch.device
    weights: Mapping[str, Path] = field(default_factory=dict)
    _features: dict[str, FeatureNetwork] = field(default_factory=dict)
    _distances: dict[str, PerceptualDistance] = field(default_factory=dict)

    def features(self, name: str) -> FeatureNetwork:
        """The network called `name`. Raises UserError where its weights are absent."""
        if name not in self._features:
            self._features[name] = load_network(name, self.device, self.weights)
        return self._features[name]

    def distance(self, name: str) -> PerceptualDistance:
        """The distance called `name`. Raises UserError where its weights are absent."""
        if name not in self._distances:
            self._distances[name] = load_distance(name, self.device, self.weights)
        return self._distances[name]

    def identities(self) -> dict[str, Any]:
        """The identity of each network and distance that has been used."""
        return {
            "features": {name: network.identity for name, network in self._features.items()},
            "distances": {name: distance.identity for name, distance in self._distances.items()},
        }


@dataclass
class Collector:
    """Passes over sets of images.

    Args:
        networks: where features come from.
        processes: among which the images of a set are shared.
        batch: images at once; None for a batch that suits their size.
        progress: told what is being done.
    """

    networks: FeatureNetworks
    processes: Processes
    batch: int | None
    progress: Progress

    def batch_for(self, images: ImageSet) -> int:
        """How many images of this set are in a batch."""
        _, height, width = images.shape
        return self.batch or max(1, min(DEFAULT_BATCH, PIXELS_PER_BATCH // (height * width)))

    def collect(
        self, images: ImageSet, wants: set[WantedStatistic], what: str, open_files: contextlib.ExitStack
    ) -> dict[WantedStatistic, Statistic]:
        """Statistics of the first images of a set, each image made and looked at once.

        They are filled on the process that collects (`processes.collects`) and stay empty on the others. A
        statistic that refuses a batch, such as features that are not finite, becomes `Failed`; the others go
        on.

        Args:
            images: the set.
            wants: the statistics that are wanted of it.
            what: for the progress.
            open_files: when it closes, the temporary files of descriptors go.
        """
        ordered = sorted(wants, key=repr)
        statistics = {want: want.keep.new(want.count, images, open_files) for want in ordered}
        total = max(want.count for want in wants)
        pixels = max((want.count for want in wants if not want.network), default=0)

        def look(positions: range) -> dict[tuple[str, str], Tensor]:
            found = images.images(positions)
            result = {("", ""): found} if positions.start < pixels else {}
            for name in {want.network for want in ordered if want.network}:
                layers = {w.layer for w in ordered if w.network == name and w.count > positions.start}
                if layers:
                    batch = as_rgb(found.to(self.networks.device))
                    features = self.networks.features(name).features(batch, sorted(layers))
                    result |= {(name, layer): value.cpu() for layer, value in features.items()}
            return result

        done = 0
        for result in self.processes.ordered(blocks(total, self.batch_for(images)), look):
            for want, statistic in statistics.items():
                if want.count > done:
                    try:
                        statistic.add(result[want.network, want.layer][: want.count - done])
                    except UserError as error:
                        statistics[want] = Failed(str(error))
            done += len(next(iter(result.values())))
            self.progress(what, done, total)
        return statistics
