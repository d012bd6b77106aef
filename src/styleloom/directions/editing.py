"""Latents moved along directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from styleloom import arguments
from styleloom.directions.direction_set import Directions, Unit
from styleloom.errors import UserError
from styleloom.latents import Latents


def moved(values: Tensor, step: Tensor, strengths: Tensor, layers: Sequence[int] | None = None) -> Tensor:
    """Latents `values + strengths step`.

    Args:
        values: ws [N, L, W], or z [N, Z].
        step: [W] or [Z].
        strengths: [N].
        layers: rows of ws that move; None for all. Without meaning for z.
    """
    step = step.to(values)
    if values.ndim == 2:
        return values + strengths.to(values)[:, None] * step
    moves = torch.zeros(values.shape[1]).to(values)
    moves[list(range(values.shape[1]) if layers is None else layers)] = 1.0
    return values + strengths.to(values)[:, None, None] * moves[:, None] * step


def step_of(
    latents: Latents,
    directions: Directions,
    name: str,
    layers: Sequence[int] | None = None,
    unit: Unit = "deviation",
) -> tuple[Tensor, list[int]]:
    """What a strength of 1 adds, [W] or [Z], and the rows of ws that move. Args and errors as in `edited`."""
    if latents.space != directions.space:
        raise UserError(
            f"directions: in {directions.space}, and latents in {latents.space}: they do not belong together"
        )
    chosen = list(directions.layers if layers is None else layers)
    if latents.space == "w":
        chosen = list(arguments.wholes("layers", chosen, 0, latents.values.shape[1] - 1))
    step = directions.step(name, unit)
    arguments.shape("directions", step.shape, latents.values.shape[-1:], "numbers of a latent")
    return step, chosen


def edited(
    latents: Latents,
    directions: Directions,
    name: str,
    strengths: Sequence[float],
    layers: Sequence[int] | None = None,
    unit: Unit = "deviation",
) -> Latents:
    """Every latent at every strength along a direction: N latents and S strengths give N S, latent by latent.

    Noise and labels stay, and a strength of 0 is the latent itself. Edits add up: the result may be edited
    again.

    Args:
        latents: in the space of the directions.
        directions, name: which.
        strengths: in units of `unit`; -3 to 3 standard deviations stays where the generator is at home.
        layers: rows of ws that move; None for those of `directions`.
        unit: "deviation", the standard deviation of latents along the direction; "length", a step of length
            1, as SeFa's and InterFaceGAN's authors count.

    Raises UserError for another space, an unknown name, and layers that do not exist.
    """
    step, chosen = step_of(latents, directions, name, layers, unit)
    amounts = [arguments.finite("strength", strength) for strength in strengths]
    copies = latents[[at for at in range(len(latents)) for _ in amounts]]
    every = torch.tensor(amounts * len(latents), dtype=torch.float32)
    edit = {"direction": name, "unit": unit, "layers": chosen if latents.space == "w" else None}
    records = [
        {**record, "edits": [*record.get("edits", []), {**edit, "strength": strength}]}
        for record, strength in zip(copies.images, amounts * len(latents), strict=True)
    ]
    return replace(
        copies,
        values=moved(copies.values, step, every, chosen),
        document={**copies.document, "images": records},
    )
