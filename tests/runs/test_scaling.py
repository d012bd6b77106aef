"""The cost model: its parts, and what it says of the papers' presets."""

from __future__ import annotations

import math

import pytest

from styleloom import presets
from styleloom.networks.build import build_discriminator, build_generator, count_parameters
from styleloom.runs.scaling import FLOPS_F_1024, Machines, Work, a100s, predict, table, work_of
from tiny import tiny

WORK = Work(flops=1e9, exchanged=1e6, exchanges=4, state=1e7, steps_per_state=10)
MACHINES = Machines("test", 1e10, 4, 1e8, 1e7, 1e-3, 0.1, 1e8)


def test_one_process_exchanges_nothing() -> None:
    row = predict(WORK, MACHINES, 8, 1)
    assert row.step_sec == pytest.approx(8 * 0.1 + 0.1 / 10)
    assert (row.efficiency, row.exchange_share) == (1, 0)


def test_the_parts_of_a_step() -> None:
    row = predict(WORK, MACHINES, 8, 4)
    late = 1 + 0.1 * math.sqrt(2 * math.log(4))
    exchange = 1e6 * 2 * 3 / 4 / 1e8 + 4 * 2 * 3 * 1e-3
    assert row.step_sec == pytest.approx(8 * 0.1 / 4 * late + exchange + 0.01)
    assert row.exchange_share == pytest.approx(exchange / row.step_sec)
    assert row.images_per_sec == pytest.approx(8 / row.step_sec)
    across = predict(WORK, MACHINES, 8, 8)
    assert across.exchange_share * across.step_sec == pytest.approx(1e6 * 2 * 7 / 8 / 1e7 + 4 * 2 * 7 * 1e-3)


def test_gradients_of_every_phase_travel() -> None:
    lazy = ("g_regularizer.every=4", "d_regularizer.every=2")
    experiment, half = tiny(*lazy), tiny(*lazy, "gradient_exchange=bf16")
    g = count_parameters(build_generator(experiment.generator))
    d = count_parameters(build_discriminator(experiment.discriminator))
    assert work_of(experiment).exchanged == 4 * (1.25 * g + 1.5 * d)
    assert work_of(half).exchanged == 2 * (1.25 * g + 1.5 * d)


def test_a_batch_that_cannot_be_divided_grows() -> None:
    rows = table(tiny(), Machines("test", 1e10), (1, 2, 4))
    assert [(row.processes, row.batch, row.same_batch) for row in rows] == [
        (1, 8, True),
        (2, 8, True),
        (4, 16, False),
    ]


def test_the_papers_presets() -> None:
    """Eight processes divide a batch of 32; more need a larger one."""
    machines = a100s()
    assert work_of(presets.get("stylegan2-f")).flops == pytest.approx(FLOPS_F_1024, rel=1e-3)
    rows = {row.processes: row for row in table(presets.get("stylegan2-f"), machines)}
    assert rows[1].images_per_sec == pytest.approx(68.6 / 8, rel=0.01)
    assert (rows[8].batch, rows[8].same_batch, rows[16].batch, rows[16].same_batch) == (32, True, 64, False)
    assert rows[8].efficiency > 0.95
    assert rows[1024].efficiency < rows[16].efficiency
