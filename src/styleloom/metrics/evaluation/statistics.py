"""Statistics of real images: from earlier in the evaluation, from the cache, or computed."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from styleloom import environment
from styleloom.errors import UserError, printable, shown
from styleloom.metrics.evaluation.cache import StatisticsCache
from styleloom.metrics.evaluation.collect import Collector
from styleloom.metrics.evaluation.image_sets import Choice, ImageSet
from styleloom.metrics.evaluation.keep import Statistic, WantedStatistic
from styleloom.metrics.evaluation.subject import RealImages
from styleloom.metrics.moments import Moments, Rows

logger = logging.getLogger(__name__)


@dataclass
class RealStatistics:
    """Statistics of real images, each made once.

    Args:
        reals: the images.
        collector: makes statistics.
        cache: keeps those of features between evaluations.
        open_files: closes temporary files when nothing more is compared.
    """

    reals: RealImages
    collector: Collector
    cache: StatisticsCache
    open_files: contextlib.ExitStack
    _found: dict[tuple[Choice, WantedStatistic], Statistic] = field(default_factory=dict)
    _origin: dict[tuple[Choice, WantedStatistic], dict[str, Any]] = field(default_factory=dict)

    def get(self, choice: Choice, want: WantedStatistic) -> Statistic:
        """A statistic that `prepare` has made available."""
        return self._found[choice, want]

    def record(self, choice: Choice, want: WantedStatistic) -> dict[str, Any]:
        """Which images a statistic is of, and where and on what it was made."""
        return self.reals.images(choice).record() | {"used": want.count} | self._origin[choice, want]

    def prepare(self, choice: Choice, wants: set[WantedStatistic]) -> None:
        """Make these statistics available. Those that are neither here nor in the cache are collected in one
        pass over the images, and cached."""
        images = self.reals.images(choice)
        missing: set[WantedStatistic] = set()
        for want in sorted(wants, key=repr):
            if (choice, want) not in self._origin and not self._from_cache(choice, want, images):
                missing.add(want)
        if not missing:
            return
        made = environment.record(self.collector.networks.device)
        for want, statistic in self.collector.collect(
            images, missing, "real images", self.open_files
        ).items():
            self._found[choice, want] = statistic
            self._origin[choice, want] = {"statistics": "computed", "made": made}
            if isinstance(statistic, Moments | Rows) and self.collector.processes.collects:
                self.cache.put(self._key(images, want), statistic.to_tensors(), made)

    def _from_cache(self, choice: Choice, want: WantedStatistic, images: ImageSet) -> bool:
        """Whether the cache has it. Only the first process looks, and tells the others."""
        processes = self.collector.processes
        kept = self.cache.get(self._key(images, want)) if want.network and processes.collects else None
        statistic = None
        if kept is not None:
            try:
                statistic = restored_statistic(want, kept[0])
            except (UserError, KeyError, RuntimeError, TypeError) as error:  # other tensors than were written
                path = self.cache.path(self._key(images, want))
                logger.warning(f"statistics are made anew: {shown(path)}: {printable(str(error))}")
        if not processes.agree(statistic is not None):
            return False
        self._origin[choice, want] = {"statistics": "cached", "made": {} if kept is None else kept[1]}
        if statistic is not None:
            self._found[choice, want] = statistic
        return True

    def _key(self, images: ImageSet, want: WantedStatistic) -> dict[str, Any]:
        """All that a statistic depends on, which excludes the name of the file."""
        return {
            "images": {name: value for name, value in images.record().items() if name != "name"},
            "network": self.collector.networks.features(want.network).identity,
            "layer": want.layer,
            "keep": want.keep.name,
            "count": want.count,
        }


def restored_statistic(want: WantedStatistic, tensors: Mapping[str, Tensor]) -> Statistic:
    """A statistic of features from the tensors that its `to_tensors` gave.

    Raises UserError for one of other features or images, or one that is not finite, and what torch raises for
    tensors of other names and shapes.
    """
    assert want.keep.from_tensors is not None
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise UserError("statistics hold NaN or infinity; valid: finite numbers")
    found = want.keep.from_tensors(tensors)
    if found.count != want.count:
        raise UserError(f"statistics are of {found.count} images; valid: {want.count}")
    return found
