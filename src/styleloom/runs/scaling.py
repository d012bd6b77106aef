"""What a step costs on many processes, by a model: compute, exchange of gradients, stragglers, states.

A step of a batch B on P processes takes

    s B / P max(1, P / cores) (1 + v sqrt(2 ln P))  +  b 2 (P - 1) / P / w  +  m 2 (P - 1) l  +  t

s are the seconds of one process for an image and v their relative spread from process to process: the slowest
of P is about sqrt(2 ln P) deviations late. b are the bytes of gradients of a step, which a ring sends
2 (P - 1) / P times through each link of bandwidth w, m the exchanges of a step, l the latency of a message,
and t the time for writing a state over the steps between two. Nothing overlaps, as in the trainer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from styleloom.config import Experiment
from styleloom.networks.build import count_parameters
from styleloom.runs.plan import MetaNetworks, flops_per_image
from styleloom.training.exchange import DTYPES, divides

COUNTS = tuple(2**k for k in range(11))
"""Numbers of processes that a table has."""


@dataclass(frozen=True)
class Machines:
    """What processes run on.

    Args:
        name: for tables.
        flops_per_sec: that one process gets out of its device in training.
        per_machine: processes of one machine.
        bandwidth: of a process's link to another one of its machine, bytes/s.
        across: of a machine's link to another machine, bytes/s; a ring enters and leaves a machine once.
        latency_sec: of one message.
        spread: of the time of a step from process to process, relative.
        disk: bytes/s at which a state is written.
        cores: that the processes of a machine share where there are fewer of them than processes.
    """

    name: str
    flops_per_sec: float
    per_machine: int = 8
    bandwidth: float = 200e9
    across: float = 25e9
    latency_sec: float = 10e-6
    spread: float = 0.01
    disk: float = 1e9
    cores: int | None = None


PUBLISHED_F_1024 = 68.6 / 8
"""Images/s of one A100 in the training of configuration F at 1024 px, which others published for eight."""

FLOPS_F_1024 = 2.022e12
"""Floating-point operations of an image of it, as `work_of` counts them; a test compares."""


class Work(NamedTuple):
    """What a step of an experiment asks for.

    Args:
        flops: for an image of the highest level that the run trains.
        exchanged: bytes of gradients that a process has of each step, on average.
        exchanges: collectives of a step, on average; two of them agree on flags.
        state: bytes of a state.
        steps_per_state: steps between two states.
    """

    flops: float
    exchanged: float
    exchanges: float
    state: float
    steps_per_state: float


class Prediction(NamedTuple):
    """A row of a table: what a step takes on so many processes.

    Args:
        processes: number of them.
        batch: of the step.
        same_batch: whether that is the experiment's own; a larger one trains something else.
        step_sec: seconds of a step.
        images_per_sec: of all processes.
        efficiency: images/s over those of one process times their number, in 0..1.
        exchange_share: share of a step in which gradients travel, in 0..1.
    """

    processes: int
    batch: int
    same_batch: bool
    step_sec: float
    images_per_sec: float
    efficiency: float
    exchange_share: float


def work_of(experiment: Experiment) -> Work:
    """What a step asks for."""
    networks = MetaNetworks(experiment)
    g, d = count_parameters(networks.g), count_parameters(networks.d)
    path, penalty = experiment.g_regularizer, experiment.d_regularizer
    lazy_g = 1 / path.every if path.weight > 0 and path.every > 1 else 0.0
    lazy_d = 1 / penalty.every if penalty.active and penalty.every > 1 else 0.0
    means = 1 / path.every if path.weight > 0 else 0.0  # of path lengths
    side, options = experiment.resolution, experiment.run
    images = options.tick_kimg(side) * 1000 * options.state_every
    return Work(
        max(flops for flops, _ in flops_per_image(experiment).values()),
        DTYPES[experiment.gradient_exchange].itemsize * ((1 + lazy_g) * g + (1 + lazy_d) * d),
        2 + lazy_g + lazy_d + means + 2,
        4 * (4 * g + 3 * d),  # G, its average and two moments; D and two moments
        max(images / experiment.batch(side), 1),
    )


def predict(work: Work, machines: Machines, batch: int, processes: int, own: bool = True) -> Prediction:
    """The model above for one number of processes.

    Args:
        own: whether the batch is the experiment's own.
    """
    per_image = work.flops / machines.flops_per_sec
    shared = max(1.0, min(processes, machines.per_machine) / (machines.cores or math.inf))
    late = machines.spread * math.sqrt(2 * math.log(processes))
    compute = per_image * batch / processes * shared * (1 + late)
    width = machines.bandwidth
    if processes > machines.per_machine:
        width = min(width, machines.across)
    bandwidth = work.exchanged * 2 * (processes - 1) / processes / width
    exchange = bandwidth + work.exchanges * 2 * (processes - 1) * machines.latency_sec
    step = compute + exchange + work.state / machines.disk / work.steps_per_state
    alone = per_image * batch + work.state / machines.disk / work.steps_per_state
    return Prediction(processes, batch, own, step, batch / step, alone / (processes * step), exchange / step)


def table(experiment: Experiment, machines: Machines, counts: Sequence[int] = COUNTS) -> list[Prediction]:
    """A row for each number of processes.

    Where they cannot divide the experiment's batch, each has as many images as the most processes that can
    have: the batch grows with them.
    """
    work, batch = work_of(experiment), int(experiment.batch(experiment.resolution))
    most = max(count for count in COUNTS if divides(experiment, count))
    rows = []
    for count in counts:
        own = divides(experiment, count)
        rows.append(predict(work, machines, batch if own else batch // most * count, count, own))
    return rows


def a100s() -> Machines:
    """Machines of eight A100, as fast as code of others was on them; links as their makers state them."""
    return Machines("A100, 8 a machine", PUBLISHED_F_1024 * FLOPS_F_1024)
