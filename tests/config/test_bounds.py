"""Numbers that would hang, or fill the memory, are refused when an experiment is made."""

from __future__ import annotations

import itertools

import pytest
import torch

from every import every
from styleloom.config import apply_overrides
from styleloom.config.serialize import flatten
from styleloom.errors import UserError
from styleloom.networks.build import build_discriminator, build_generator
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


@every("override", HUGE)
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


def test_no_number_breaks_an_experiment_or_its_networks() -> None:
    """Every numeric field with numbers that nobody means: refused by name, or networks that can be built."""
    other = (str, bool, type(None))
    fields = [name for name, value in flatten(get("demo")).items() if not isinstance(value, other)]
    assert "generator.resample_filter" in fields
    messages = {}
    for name, number in itertools.product(fields, ("0", "-1", "1e308", "nan", "1e-320", "9" * 38)):
        try:
            experiment = apply_overrides(get("demo"), [f"{name}={number}"])
        except UserError as error:
            messages[name, number] = str(error)
            continue
        with torch.device("meta"):
            build_generator(experiment.generator)
            build_discriminator(experiment.discriminator)
    unnamed = {
        (name, number)
        for (name, number), message in messages.items()
        if not any(part in message for part in name.split(".")[-2:])
    }
    assert not unnamed
