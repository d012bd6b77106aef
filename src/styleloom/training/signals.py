"""What a training tells of its health besides its losses: how different its images are, how D judges images
that it never learned from, how far weights have grown. `diagnosis/` reads these numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from styleloom.data.loader import Batch
from styleloom.training.health import sizes
from styleloom.training.regularizers import scales
from styleloom.types import Images

if TYPE_CHECKING:
    from styleloom.training.trainer import Trainer

THUMBNAIL_PX = 16
"""Larger sides are averaged down to this before images are compared."""

HELD_OUT = 128
"""Held-out images that D judges at every tick, at most."""


def distances(images: Images, kind: str) -> dict[str, Tensor]:
    """Root mean square difference of the images of a batch, on thumbnails; nothing for fewer than 2.

    `distance_KIND` is the mean over all pairs, `nearest_KIND` that to the nearest other image of the batch.
    No gradient, and no wait for the device.
    """
    top = scales(images)[-1].detach().float()
    if len(top) < 2:
        return {}
    factor = max(min(top.shape[2:]) // THUMBNAIL_PX, 1)
    flat = F.avg_pool2d(top, factor).flatten(1)
    flat = flat - flat.mean(0)  # so that little is lost where all images are nearly one
    squares = flat.square().sum(1)
    gram = squares[:, None] + squares - 2 * flat @ flat.T
    pairs = (gram.clamp(min=0) / flat.shape[1]).sqrt()
    others = pairs + torch.diag(torch.full_like(squares, torch.inf))
    count = len(top)
    return {
        f"distance_{kind}": (pairs.sum() - pairs.diagonal().sum()) / (count * (count - 1)),
        f"nearest_{kind}": others.min(1).values.mean(),
    }


def at_a_tick(trainer: Trainer) -> dict[str, float]:
    """Signals that are measured once a tick, by the names of stats.jsonl.

    `weight_growth_g`, `weight_growth_d`: of the layer that has grown most, root mean square of its weights
    over that of their initialisation. `logits_held_out`: mean of D's logits of held-out images, where there
    are some. What comes next in the training stays what it was, bit for bit.
    """
    found = {}
    for name, network in (("g", trainer.g), ("d", trainer.d)):
        growth = [size for _, size in sizes(network)]
        if growth:
            found[f"weight_growth_{name}"] = max(growth)
    logits = held_out_logits(trainer)
    return found if logits is None else found | {"logits_held_out": float(logits.mean())}


def overfitting(line: Mapping[str, Any]) -> dict[str, float]:
    """{"r_v": ...} of a line of stats.jsonl that has D's logits of held-out images; else nothing.

    r_v = (train - held out) / (train - generated) of mean logits: 0 where D treats images that it never
    learned from like those of the training, 1 where it treats them like generated ones (Karras et al. 2020,
    arXiv 2006.06676, equation 1). The other heuristic there, r_t, is `sign_real`.
    """
    train, generated, unseen = (line.get(f"logits_{kind}") for kind in ("real", "fake", "held_out"))
    if train is None or generated is None or unseen is None or train == generated:
        return {}
    return {"r_v": (train - unseen) / (train - generated)}


@torch.no_grad()
def held_out_logits(trainer: Trainer) -> Tensor | None:
    """D's logits of up to `HELD_OUT` images that it never learned from; None where none are held out.

    They pass D as training images do, in whole groups of minibatch standard deviation.
    """
    experiment, inputs = trainer.experiment, trainer.inputs
    group = max(experiment.discriminator.minibatch_std.group_size, 1)
    side = trainer.current_resolution(trainer.images_seen)
    batch = int(experiment.batch(side))
    size = max(min(experiment.micro_batch or batch, batch) // group, 1) * group
    count = min(experiment.data.held_out, HELD_OUT) // group * group
    if not count:
        return None
    images = inputs.evaluation_set.at(side, inputs.cache_bytes)
    on_device = [trainer.device] if trainer.device.type == "cuda" else []
    parts = []
    with torch.random.fork_rng(on_device):  # `before_d` may draw
        for start in range(0, count, size):
            chosen = np.arange(start, min(start + size, count))
            found = (torch.from_numpy(a) for a in (images.images(chosen), images.labels(chosen), chosen))
            reals = inputs.reals(Batch(*found), trainer.growth)
            outputs = trainer.d(trainer.before_d(reals.images), reals.label, trainer.growth)
            parts.append(outputs if outputs.ndim == 1 else outputs[:, 0])
    return torch.cat(parts)
