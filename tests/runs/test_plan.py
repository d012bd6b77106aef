"""What a dry run says."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from every import every
from styleloom import presets
from styleloom.config import Experiment, apply_overrides
from styleloom.config.growth import growth_at
from styleloom.networks.build import build_discriminator, build_generator, count_parameters
from styleloom.ops.upfirdn import _kept_fir_kernel
from styleloom.runs.plan import (
    MetaNetworks,
    intervals,
    parameter_table,
    part_of,
    phase_flops,
    timeline,
    training_flops,
)
from tiny import tiny

SIDES = tuple(2**r for r in range(2, 11))


def growing(*overrides: str, name: str = "stylegan-f") -> Experiment:
    """A preset that grows, at 32 px and narrow; a level takes 2 kimg, 1 of them to fade in."""
    narrow = ("generator.features.max=8", "discriminator.features.max=8", "generator.mapping.layers=1")
    phases = ("growth.stabilize_kimg=1", "growth.fade_kimg=1", "resolution=32", "total_kimg=8")
    return apply_overrides(presets.get(name), [*narrow, *phases, *overrides])


def grown_kimg(rows: list[dict[str, float]]) -> list[tuple[float, float, float]]:
    return [(row["kimg"], row["resolution"], row["alpha"]) for row in rows]


# ---- schedule


def test_the_timeline_of_a_run_that_does_not_grow() -> None:
    experiment = presets.get("stylegan2-f")
    same: dict[str, Any] = {
        "level": 8,
        "resolution": 1024,
        "alpha": 1.0,
        "batch": 32,
        "learning_rate": 0.002,
    }
    assert timeline(experiment) == [{"kimg": 0, **same}, {"kimg": 25000, **same}]


def test_the_timeline_of_a_growing_run() -> None:
    """A new level counts from where its fade begins; tables follow it."""
    rows = timeline(growing())
    assert grown_kimg(rows) == [(0, 8, 1), (1, 16, 0), (2, 16, 1), (3, 32, 0), (4, 32, 1), (8, 32, 1)]
    assert [row["level"] for row in rows] == [1, 2, 2, 3, 3, 3]
    assert [row["batch"] for row in rows] == [256, 128, 128, 64, 64, 64]


def test_a_run_that_ends_within_a_fade() -> None:
    rows = timeline(growing("total_kimg=3.25"))
    assert grown_kimg(rows) == [(0, 8, 1), (1, 16, 0), (2, 16, 1), (3, 32, 0), (3.25, 32, 0.25)]


def test_a_run_that_ends_where_a_fade_would_begin() -> None:
    assert grown_kimg(timeline(growing("total_kimg=3"))) == [(0, 8, 1), (1, 16, 0), (2, 16, 1), (3, 16, 1)]


def test_growing_without_fades_and_without_stable_phases() -> None:
    rows = timeline(growing("growth.fade_kimg=0"))
    assert grown_kimg(rows) == [(0, 8, 1), (1, 16, 1), (2, 32, 1), (8, 32, 1)]
    rows = timeline(growing("growth.stabilize_kimg=0"))
    assert grown_kimg(rows) == [(0, 16, 0), (1, 32, 0), (2, 32, 1), (8, 32, 1)]


def test_growing_that_starts_at_full_resolution() -> None:
    rows = timeline(growing("growth.initial_resolution=32"))
    assert grown_kimg(rows) == [(0, 32, 1), (8, 32, 1)]


def test_numbers_by_images_seen() -> None:
    """A row at every knot, with the level faded in so far; the factor is in the learning rate."""
    rows = timeline(
        growing(
            "learning_rate=0.5",
            "learning_rate_factor=0:0,0.5:1,2:0.5:cosine",
            "d_regularizer.gamma=1.25:8,1.5:4,9:2",
        )
    )
    assert grown_kimg(rows) == [
        (0, 8, 1),
        (0.5, 8, 1),
        (1, 16, 0),
        (1.25, 16, 0.25),
        (1.5, 16, 0.5),
        (2, 16, 1),
        (3, 32, 0),
        (4, 32, 1),
        (8, 32, 1),
    ]
    rates = {row["kimg"]: row["learning_rate"] for row in rows}
    assert [rates[kimg] for kimg in (0, 0.5, 2, 8)] == [0, 0.5, 0.25, 0.25]
    assert rates[1.25] == pytest.approx(0.5 * 0.75)  # half-way along the cosine
    gammas = [row["d_regularizer.gamma"] for row in rows]
    assert gammas[:5] == [8, 8, 8, 8, 4]
    assert gammas[-1] == pytest.approx(4 - 2 * 6.5 / 7.5)


@every("overrides", [(), ("total_kimg=3.25",), ("growth.stabilize_kimg=0",)])
def test_intervals_say_what_the_networks_are_told(overrides: tuple[str, ...]) -> None:
    experiment = growing(*overrides)
    parts = intervals(experiment)
    assert [part.start_kimg for part in parts[1:]] == [part.end_kimg for part in parts[:-1]]
    for part in parts:
        for share in (0.01, 0.5, 0.99):
            kimg = part.start_kimg + share * (part.end_kimg - part.start_kimg)
            state = growth_at(kimg * 1000, experiment.growth, experiment.resolution)
            assert state is not None
            assert (state.level, state.alpha < 1) == (part.level, part.fades)


# ---- parameters


def test_the_parameter_table_is_that_of_the_paper() -> None:
    """Configuration F at 1024 px."""
    rows = parameter_table(presets.get("stylegan2-f"))
    totals = {network: count for network, part, count in rows if part == "total"}
    assert totals == {"generator": 30_370_060, "discriminator": 29_012_513}
    for network, total in totals.items():
        assert sum(count for n, part, count in rows if n == network and part != "total") == total


# By side from 4 to 1024 px, toRGB and fromRGB apart, the mapping network in none.
PROGAN_G = (6_554_624, 4_719_616, 4_719_616, 4_719_616, 1_769_984, 442_624, 110_720, 27_712, 6_944)
TO_RGB = (1_539, 1_539, 1_539, 1_539, 771, 387, 195, 99, 51)
STYLEGAN_G = (3_420_160, 5_771_264, 5_771_264, 5_771_264, 2_295_808, 705_536, 242_176, 93_440, 39_808)
STYLEGAN2_G = (2_630_657, 5_244_930, 5_244_930, 5_244_930, 2_163_970, 639_618, 209_218, 76_962, 31_570)
STYLEGAN2_RGB = (264_195, 264_195, 264_195, 264_195, 132_099, 66_051, 33_027, 16_515, 8_259)
PLAIN_D = (6_559_745, 4_719_616, 4_719_616, 4_719_616, 1_770_240, 442_752, 110_784, 27_744, 6_960)
FROM_RGB = (2_048, 2_048, 2_048, 2_048, 1_024, 512, 256, 128, 64)
RESNET_D = (6_559_745, 4_981_760, 4_981_760, 4_981_760, 1_901_312, 475_520, 118_976, 29_792, 7_472)
LAST = (0, 0, 0, 0, 0, 0, 0, 0, 64)

LEVELS = {
    "progan": ((PROGAN_G, TO_RGB), (PLAIN_D, FROM_RGB)),
    "stylegan-b": ((PROGAN_G, TO_RGB), (PLAIN_D, FROM_RGB)),
    "stylegan-f": ((STYLEGAN_G, TO_RGB), (PLAIN_D, FROM_RGB)),
    "stylegan2-d": ((STYLEGAN2_G, STYLEGAN2_RGB), (PLAIN_D, FROM_RGB)),
    "stylegan2-e": ((STYLEGAN2_G, STYLEGAN2_RGB), (RESNET_D, LAST)),
}


@every("name", LEVELS)
def test_parameters_level_by_level(name: str) -> None:
    table = parameter_table(presets.get(name))
    for network, (hidden, rgb) in zip(("generator", "discriminator"), LEVELS[name], strict=True):
        found = {"hidden": dict.fromkeys(SIDES, 0), "rgb": dict.fromkeys(SIDES, 0)}
        for of, part, count in table:
            side, px, module = part.partition(" px ")
            if of == network and px:
                found["rgb" if "_rgb" in module else "hidden"][int(side)] += count
        assert tuple(found["hidden"].values()) == hidden
        assert tuple(found["rgb"].values()) == rgb


def test_parts_are_in_the_order_of_levels() -> None:
    rows = parameter_table(growing())
    parts = [part for network, part, _ in rows if network == "generator"]
    assert parts == [
        "mapping_network",
        "4 px input",
        "4 px blocks.0",
        "4 px to_rgb.4",
        "8 px blocks.1",
        "8 px to_rgb.8",
        "16 px blocks.2",
        "16 px to_rgb.16",
        "32 px blocks.3",
        "32 px to_rgb.32",
        "total",
    ]


@every(
    ("name", "part"),
    [
        ("mapping_network.layers.3.weight", "mapping_network"),
        ("synthesis_network.const", "synthesis_network.const"),
        ("synthesis_network.blocks.3.conv_up.affine.bias", "synthesis_network.blocks.3"),
        ("synthesis_network.blocks.0.to_rgb.affine.bias", "synthesis_network.blocks.0.to_rgb"),
        ("synthesis_network.to_rgb.64.weight", "synthesis_network.to_rgb.64"),
        ("from_rgb.0.weight", "from_rgb.0"),
        ("from_rgb.weight", "from_rgb"),
        ("tail.from_rgb.weight", "tail.from_rgb"),
        ("tail.start.combine.of_both.weight", "tail"),
        ("blocks.7.skip.weight", "blocks.7"),
    ],
)
def test_parts(name: str, part: str) -> None:
    assert part_of(name) == part


def test_levels_of_other_grids() -> None:
    """Sides are nominal: a 4:3 image of 24 x 32 px has level 32."""
    rows = parameter_table(growing("grid=3,4"))
    assert ("generator", "32 px blocks.3") in [row[:2] for row in rows]


def test_the_parameter_table_of_small_networks() -> None:
    experiment = tiny("label_dim=2")
    totals = {network: count for network, part, count in parameter_table(experiment) if part == "total"}
    assert totals["generator"] == count_parameters(build_generator(experiment.generator))
    assert totals["discriminator"] == count_parameters(build_discriminator(experiment.discriminator))


# ---- cost


def test_flops() -> None:
    once = training_flops(tiny())
    assert once > 0
    assert training_flops(tiny("total_kimg=0.128")) == pytest.approx(2 * once)
    assert (
        training_flops(tiny("d_regularizer.gamma=0")) < once < training_flops(tiny("d_regularizer.every=1"))
    )
    assert training_flops(tiny("g_regularizer.weight=0")) < once
    assert training_flops(tiny("label_dim=2")) >= once


def test_a_growing_run_costs_each_level_what_it_costs_alone() -> None:
    """1 kimg at 8 px and 3 at 16 px, the first of which fades in, cost what two runs of those would."""
    small = training_flops(growing("resolution=8", "total_kimg=1"))
    large = training_flops(growing("resolution=16", "growth.initial_resolution=16", "total_kimg=3"))
    both = training_flops(growing("resolution=16", "total_kimg=4"))
    assert both == pytest.approx(small + large)
    assert both < training_flops(growing("resolution=16", "growth.initial_resolution=16", "total_kimg=4"))


def test_a_run_that_ends_early_costs_its_levels_alone() -> None:
    until_16 = training_flops(growing("total_kimg=2"))
    assert until_16 < training_flops(growing("total_kimg=3")) < 2 * until_16
    assert training_flops(growing()) > 4 * until_16


@every("name", ["progan", "stylegan-f", "msg-progan", "msg-stylegan", "stylegan2-d"])
def test_every_step_with_a_penalty_costs_more_than_one_in_16(name: str) -> None:
    narrow = ["generator.features.max=8", "discriminator.features.max=8", "resolution=16"]
    experiment = apply_overrides(presets.get(name), narrow)
    flops = phase_flops(experiment)
    assert flops["d_penalty"] > 0
    costs = {steps: training_flops(_penalised_every(experiment, steps)) for steps in (1, 16)}
    assert costs[1] > costs[16] > training_flops(apply_overrides(experiment, ["d_regularizer.gamma=0"]))


def _penalised_every(experiment: Experiment, steps: int) -> Experiment:
    return apply_overrides(experiment, [f"d_regularizer.every={steps}"])


def test_r2_and_relativistic_losses_cost_more_passes() -> None:
    once, twice = phase_flops(tiny()), phase_flops(tiny("d_regularizer.r2_gamma=1"))
    assert twice["d_penalty"] > 2 * once["d_penalty"]  # lazily, fakes are made for it
    relativistic = phase_flops(tiny("loss=relativistic-hinge"))
    assert relativistic["g_main"] > once["g_main"]
    assert relativistic["d_main"] == once["d_main"]


def test_smaller_work_at_lower_levels() -> None:
    networks = MetaNetworks(growing())
    costs = [networks.forward_flops(level) for level in networks.levels]
    assert len(costs) == 4
    assert all(low < high for one, two in pairwise(costs) for low, high in zip(one, two, strict=True))
    assert list(MetaNetworks(tiny()).levels) == [1]


def test_planning_does_not_disturb_what_follows() -> None:
    """Kernels are kept for the life of the process: none may have been made without storage."""
    _kept_fir_kernel.cache_clear()
    training_flops(tiny())
    image = build_generator(tiny().generator)(torch.zeros(1, 16))
    assert torch.isfinite(image).all()
