"""What a dry run says."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from styleloom import presets
from styleloom.networks.build import build_discriminator, build_generator, count_parameters
from styleloom.ops.upfirdn import fir_kernel
from styleloom.training.plan import parameter_table, timeline, training_flops
from tiny import tiny


def test_the_timeline_of_a_run_that_does_not_grow() -> None:
    experiment = presets.get("stylegan2-f")
    same: dict[str, Any] = {"resolution": 1024, "alpha": 1.0, "batch": 32, "learning_rate": 0.002}
    assert timeline(experiment) == [{"kimg": 0, **same}, {"kimg": 25000, **same}]


def test_the_parameter_table_is_that_of_the_paper() -> None:
    """Configuration F at 1024 px."""
    rows = parameter_table(presets.get("stylegan2-f"))
    totals = {network: count for network, part, count in rows if part == "total"}
    assert totals == {"generator": 30_370_060, "discriminator": 29_012_513}
    for network, total in totals.items():
        assert sum(count for n, part, count in rows if n == network and part != "total") == total


def test_the_parameter_table_of_small_networks() -> None:
    experiment = tiny("label_dim=2")
    totals = {network: count for network, part, count in parameter_table(experiment) if part == "total"}
    assert totals["generator"] == count_parameters(build_generator(experiment.generator))
    assert totals["discriminator"] == count_parameters(build_discriminator(experiment.discriminator))


def test_flops() -> None:
    once = training_flops(tiny())
    assert once > 0
    assert training_flops(tiny("total_kimg=0.128")) == pytest.approx(2 * once)
    assert (
        training_flops(tiny("d_regularizer.gamma=0")) < once < training_flops(tiny("d_regularizer.every=1"))
    )
    assert training_flops(tiny("g_regularizer.weight=0")) < once
    assert training_flops(tiny("label_dim=2")) >= once


def test_planning_does_not_disturb_what_follows() -> None:
    """Kernels are kept for the life of the process: none may have been made without storage."""
    fir_kernel.cache_clear()
    training_flops(tiny())
    image = build_generator(tiny().generator)(torch.zeros(1, 16))
    assert torch.isfinite(image).all()
