"""Every preset in miniature: its own networks, losses, order and growth, narrow and at 16 px."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

from styleloom.config import ByResolution, Experiment, FeatureMaps, Growth, Mapping, RunOptions

RESOLUTION = 16
BATCH = 4
STEPS_PER_PHASE = 2
NARROW = FeatureMaps(base=64, max=8)


def _with(config: Any, **values: Any) -> Any:
    """`config` with those of `values` that it has a field for."""
    names = {field.name for field in dataclasses.fields(config)}
    return replace(config, **{name: value for name, value in values.items() if name in names})


def shrink(experiment: Experiment, resolution: int = RESOLUTION) -> Experiment:
    """The same experiment, small: growing ones pass a level every `2 * STEPS_PER_PHASE` steps.

    All are mirrored, which is a matter of the loader alone.
    """
    g, d = experiment.generator, experiment.discriminator
    shape: dict[str, Any] = {"resolution": resolution, "features": NARROW}
    mapping = getattr(g, "mapping", None)
    if isinstance(mapping, Mapping):
        shape["mapping"] = replace(mapping, width=8, layers=min(mapping.layers, 2))
    kimg = STEPS_PER_PHASE * BATCH / 1000
    growth = experiment.growth
    if growth.mode == "progressive":
        growth = Growth("progressive", growth.initial_resolution, kimg, kimg)
    return replace(
        experiment,
        name="tiny",
        source="",
        generator=_with(g, z_dim=8, w_dim=8, **shape),
        discriminator=_with(d, **{k: v for k, v in shape.items() if k != "mapping"}),
        batch=ByResolution(BATCH),
        style_mixing_unit=ByResolution(2),
        growth=growth,
        total_kimg=8 * kimg,
        precision="fp32",
        data=replace(experiment.data, mirror="horizontal", held_out=0),
        run=RunOptions(tick_kimg=ByResolution(1), swd_images=0),
    )
