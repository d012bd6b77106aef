"""Is a generated portrait a copy of one from the training? Nearest neighbours in pixels and in features.

Portraits are put together from parts: two may differ in a detail, or, where a part hides another, in nothing
that is seen. So reals are the yardstick. A generated portrait counts as a duplicate where it is closer to one
of the training than the closest held-out portrait that differs from all of them. Besides, it is counted how
many generated portraits are closer than the closest 1 % and 5 % of as many held-out ones: a generator that
repeats its training has many more of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from styleloom.data.dataset import ImageDataset
from styleloom.distributed import blocks
from styleloom.images import grid
from styleloom.metrics.evaluation.cache import StatisticsCache
from styleloom.metrics.evaluation.collect import Collector
from styleloom.metrics.evaluation.image_sets import DatasetImages, ImageSet
from styleloom.metrics.evaluation.keep import ROWS, WantedStatistic
from styleloom.metrics.evaluation.statistics import RealStatistics
from styleloom.metrics.evaluation.subject import RealImages
from styleloom.metrics.moments import Rows

NETWORK, LAYER = "efficientnet-lite0", "pool"
BLOCK = 2000
SHOWN = 16
"""Closest pairs on the sheet, for each space."""
SHARES = (0.01, 0.05)
"""Of held-out portraits, whose distances are limits for generated ones."""


def nearest(queries: Tensor, others: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Distance of each query to the nearest of the others, and which one that is.

    The distance is the root mean square of differences. The nearest is found by matrix products; the distance
    to it is computed from differences, so that copies are at 0.

    Args:
        queries: float32 [Q, D].
        others: float32 [n, D], block by block.
    """
    squares = queries.square().sum(1)[:, None]
    least = queries.new_full((len(queries),), torch.inf)
    index, rows, start = torch.zeros(len(queries), dtype=torch.long), torch.zeros_like(queries), 0
    for block in others:
        found, at = (squares + block.square().sum(1) - 2 * queries @ block.T).min(1)
        closer = found < least
        least[closer], index[closer], rows[closer] = found[closer], at[closer] + start, block[at[closer]]
        start += len(block)
    return (queries - rows).double().square().mean(1).sqrt(), index


def neighbours(
    training: ImageDataset,
    sets: Mapping[str, ImageSet],
    count: int,
    collector: Collector,
    cache: StatisticsCache,
    open_files: contextlib.ExitStack,
) -> tuple[dict[str, Any], Tensor]:
    """Nearest portraits of the training, of `count` generated and as many held-out ones.

    Args:
        training: those that are searched.
        sets: "generated" and "reals".
        count: of each.
        collector, cache, open_files: where features come from; those of the training are kept.

    Returns what was found, by space, and a sheet: above, the generated portraits that are closest in pixels,
    each over its neighbour; below, those closest in features.
    """
    images = {name: _pixels(those, count) for name, those in sets.items()}
    parts = list(blocks(len(training), BLOCK))
    stored = lambda: (_floats(DatasetImages(training).images(part)) for part in parts)  # noqa: E731
    pixels = {name: nearest(_floats(those), stored()) for name, those in images.items()}

    want = WantedStatistic(ROWS, len(training), NETWORK, LAYER)
    reals = RealStatistics(RealImages(training), collector, cache, open_files)
    reals.prepare("full", {want})
    rows = _rows(reals.get("full", want))
    some = WantedStatistic(ROWS, count, NETWORK, LAYER)
    features = {
        name: nearest(
            _rows(collector.collect(those, {some}, f"{name} images", open_files)[some]), rows.split(BLOCK)
        )
        for name, those in sets.items()
    }
    copies = pixels["reals"][0] == 0  # in features they differ by rounding
    found, sheet = {}, []
    for space, of in (("pixels", pixels), ("features", features)):
        distances, theirs = of["generated"]
        closest = distances.argsort()[:SHOWN]
        pairs = [
            {"position": int(i), "neighbour": int(theirs[i]), "distance": distances[i].item()}
            for i in closest
        ]
        found[space] = compared(distances, of["reals"][0], copies) | {"closest": pairs}
        sheet.append(images["generated"][closest])
        sheet.append(torch.from_numpy(training.images(theirs[closest].numpy())))
    return found, grid(torch.cat(sheet), len(sheet[0]))


def compared(generated: Tensor, reals: Tensor, copies: Tensor) -> dict[str, Any]:
    """What distances to nearest neighbours say.

    Args:
        generated: of generated portraits [N].
        reals: of as many held-out ones.
        copies: which of the held-out ones look exactly like one of the training: bool [N].

    Returns limit: the least distance of a held-out portrait that is no copy; duplicates: how many generated
    portraits are below; copies: how many held-out portraits are; within: for each of `SHARES`, how many
    generated portraits are as close as the closest share of the held-out ones; least of the generated;
    median of both; count: N.
    """
    limit = reals[~copies].min().item()
    quantiles = np.quantile(reals.numpy(), SHARES)
    return {
        "limit": limit,
        "duplicates": int((generated < limit).sum()),
        "copies": int(copies.sum()),
        "within": {
            f"{share:g}": int((generated <= q).sum()) for share, q in zip(SHARES, quantiles, strict=True)
        },
        "least": generated.min().item(),
        "median": {"generated": generated.median().item(), "reals": reals.median().item()},
        "count": len(generated),
    }


def _pixels(images: ImageSet, count: int) -> Tensor:
    return torch.cat([images.images(part) for part in blocks(count, BLOCK)])


def _floats(images: Tensor) -> Tensor:
    return images.flatten(1).float()


def _rows(statistic: Any) -> Tensor:
    assert isinstance(statistic, Rows)
    return statistic.tensor
