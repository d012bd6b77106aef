"""Lines of stats.jsonl as a healthy training writes them, to be made sick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

HEALTHY: dict[str, Any] = {
    "level": None,
    "alpha": None,
    "lr_g": 0.002,
    "lr_d": 0.002,
    "skipped_g": 0,
    "skipped_d": 0,
    "loss_g": 1.1,
    "loss_d": 0.9,
    "logits_real": 0.6,
    "logits_fake": -0.7,
    "logits_held_out": 0.4,
    "sign_real": 0.5,
    "distance_real": 0.4,
    "distance_fake": 0.4,
    "nearest_real": 0.3,
    "nearest_fake": 0.3,
    "d_penalty": 0.1,
    "grad_norm_g": 2.0,
    "grad_norm_d": 1.0,
    "grad_norm_d_penalty": 0.5,
    "path_penalty": 0.1,
    "grad_norm_g_path": 0.5,
    "weight_growth_g": 1.1,
    "weight_growth_d": 1.1,
}


def lines(count: int = 20, **changed: Any | Callable[[int], Any]) -> list[dict[str, Any]]:
    """So many ticks of 100 steps of 32 images; a function gives a number by tick."""
    return [
        HEALTHY
        | {"tick": i, "step": 100 * (i + 1), "images_seen": 3200 * (i + 1), "kimg": 3.2 * (i + 1)}
        | {name: value(i) if callable(value) else value for name, value in changed.items()}
        for i in range(count)
    ]
