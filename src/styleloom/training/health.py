"""Whether a training can continue from its weights. Each state records it, and the last healthy one is kept.

A state is healthy if the last updates were not skipped, all its numbers are finite, and neither weights nor
gradients have exploded. The bounds are far from what trainings show: equalized weights begin with a standard
deviation of 1 (ProGAN section 4.1) and change by a few units in the longest of the papers' runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from styleloom.errors import QUOTE_CHARACTERS, UserError, shown

if TYPE_CHECKING:
    from styleloom.training.trainer import Trainer


class DivergedError(UserError):
    """`run.max_skipped` updates in a row were skipped; further steps would be skipped, too."""


WEIGHT_LIMIT = 8.0
"""Root mean square of a layer's weights, over that of their initialisation."""

GRADIENT_LIMIT = 1e8
"""Norm of a network's gradient, from the optimizer's second moments. Trainings show a few thousand."""

SECOND_MOMENTS = ("exp_avg_sq", "square_avg")


def refuse_divergence(trainer: Trainer) -> None:
    """Raise DivergedError when `run.max_skipped` updates of a kind in a row were skipped."""
    for kind, count in trainer.skipped_in_a_row.items():
        if count >= trainer.experiment.run.max_skipped:
            trainer.skipped_in_a_row[kind] = 0  # whoever continues has as many attempts again
            raise DivergedError(
                f"{count} updates ({kind}) in a row were skipped: their gradients are infinite or NaN, "
                "as with a learning rate that is too high"
            )


def complaint(trainer: Trainer) -> str | None:
    """What is wrong with a training's present state, in words; None when it is healthy."""
    for kind, count in trainer.skipped_in_a_row.items():
        if count:
            return f"the last {count} updates ({kind}) were skipped"
    for name, network in trainer.networks().items():
        if not _all_finite(network.state_dict().values()):
            return f"{name} holds NaN or infinite numbers"
        for layer, size in sizes(network):
            if size > WEIGHT_LIMIT:
                return f"{name}: the weights of {layer} have grown to {size:.3g} times their first size"
    for name, (optimizer, _) in trainer.optimizers().items():
        moments = list(optimizer.state.values())
        if not _all_finite(value for state in moments for value in state.values()):
            return f"{name} holds NaN or infinite numbers"
        squares = [state[field].sum() for state in moments for field in SECOND_MOMENTS if field in state]
        norm = float(torch.stack(squares).sum().sqrt()) if squares else 0.0
        if norm > GRADIENT_LIMIT:
            return f"{name}: the gradient's norm is about {norm:.3g}"
    return None


def recorded_complaint(document: Mapping[str, Any]) -> str | None:
    """What is wrong according to a state's document; older documents have no complaint, but counters."""
    if document.get("complaint") is not None:
        return shown(document["complaint"], QUOTE_CHARACTERS)
    counters = document.get("counters")
    rows = counters.get("skipped_in_a_row") if isinstance(counters, dict) else None
    skipped = any(rows.values()) if isinstance(rows, dict) else False
    return "its last updates were skipped" if skipped else None


def _all_finite(tensors: Iterable[Tensor]) -> bool:
    found = [torch.isfinite(t).all() for t in tensors if t.is_floating_point()]
    return bool(torch.stack(found).all()) if found else True


def sizes(network: nn.Module) -> Iterator[tuple[str, float]]:
    """Root mean square of every layer's weights, as `WEIGHT_LIMIT` counts it."""
    names, sizes = [], []
    for name, module in network.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, nn.Parameter) and weight.ndim > 1:
            names.append(name)
            sizes.append(
                weight.detach().float().square().mean().sqrt() * getattr(module, "lr_multiplier", 1.0)
            )
    return zip(names, torch.stack(sizes).tolist(), strict=True) if sizes else iter(())
