"""Numbers that would hang, or fill the memory, are refused when an experiment is made."""

from __future__ import annotations

import pytest

from styleloom.config import apply_overrides
from styleloom.errors import UserError
from styleloom.presets import get

HUGE = [
    "batch=2000000000",
    "batch.at.64=2000000000",
    "total_kimg=1e300",
    "run.tick_kimg=1e-300",
    "run.tick_kimg.at.64=1e-9",
    "resolution=1099511627776",
    "growth.initial_resolution=1099511627776",
    "label_dim=1000000000",
    "generator.z_dim=100000000000",
    "generator.w_dim=100000000000",
    "generator.features.max=1000000000",
    "discriminator.features.base=9223372036854775807",
    "generator.mapping.layers=100000000",
    "micro_batch=9223372036854775807",
    "d_regularizer.every=99999999999999999999",
    "run.swd_images=9223372036854775807",
    "data.held_out=9223372036854775807",
]


@pytest.mark.parametrize("override", HUGE)
def test_huge_numbers_are_refused_at_once(override: str) -> None:
    name = override.partition("=")[0].removeprefix("label_dim").removeprefix("resolution").partition(".at")[0]
    with pytest.raises(UserError, match=rf"{name}.* is not valid, it must (be at (most|least)|lie in)"):
        apply_overrides(get("stylegan2-f"), [override])


def test_what_somebody_may_train_is_not_refused() -> None:
    big = [
        "resolution=4096",
        "batch=8192",
        "total_kimg=1000000",
        "label_dim=1000000",
        "run.max_skipped=1000000",
    ]
    assert apply_overrides(get("stylegan2-f"), big).batch.base == 8192
