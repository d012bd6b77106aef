"""How much memory a training takes: its phases run on tensors without storage, what is alive is counted.

Weights, optimizer and images are counted exactly. Activations, gradients among them, are the most that is
alive at once in the worst phase. What kernels and the allocator take besides is proportional to these, by
factors that were fitted to trainings on the CPU (`benchmarks/memory.py`).
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from styleloom.config import Experiment
from styleloom.config.growth import active_ws
from styleloom.config.schedules import at
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.precision import set_precision
from styleloom.runs.plan import intervals
from styleloom.training import phases
from styleloom.training.adversaries import Adversaries
from styleloom.training.inputs import Latents, Reals
from styleloom.training.optim import STATE_FIELDS
from styleloom.types import GrowthState

BASE_GIB = 0.315
"""Of a process that has imported all and trains nothing."""

BESIDE_WEIGHTS = 0.33
"""What the CPU takes besides, over weights and optimizer: weights in other orders."""

BESIDE_ACTIVATIONS = {"fp32": 1.17, "bf16": 1.46}
"""What it takes besides, over activations: workspaces, and blocks of other sizes that the heap keeps."""


@dataclass(frozen=True)
class Memory:
    """Bytes, by what holds them.

    Args:
        process: libraries.
        weights: both networks and the EMA.
        optimizer: moments.
        activations: the most that phases hold at once, gradients included.
        images: decoded ones.
        workspace: what kernels and the allocator take besides.
    """

    process: float
    weights: float
    optimizer: float
    activations: float
    images: float
    workspace: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.process + self.weights + self.optimizer + self.activations + self.images + self.workspace


class Alive(TorchDispatchMode):
    """Counts the bytes of storages that are alive, and the most that were."""

    def __init__(self) -> None:
        super().__init__()
        self._sizes: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.equal.default:
            return True  # whether a filter is symmetric: all are
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._see(tensor)
        return out

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._sizes:
            return
        self._sizes[key] = storage.nbytes()
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, key)

    def _gone(self, key: int) -> None:
        self.now -= self._sizes.pop(key, 0)


def predict(experiment: Experiment, device: str, image_bytes: float = 0.0) -> Memory:
    """Memory of a training at the level that takes most of it, on "cpu" or "cuda".

    Args:
        experiment: its precision must not be "auto".
        image_bytes: of decoded images that are kept.
    """
    with torch.device("meta"):
        g, d = build_generator(experiment.generator), build_discriminator(experiment.discriminator)
    set_precision(experiment.precision, torch.device("meta"), g, d)
    size_g, size_d = (sum(t.numel() * t.element_size() for t in n.state_dict().values()) for n in (g, d))
    moments = len(STATE_FIELDS[experiment.optimizer]) - 1
    worst = max(_activations(experiment, g, d, level) for level in _levels(experiment))
    weights, optimizer = 2 * size_g + size_d, moments * (size_g + size_d)
    process = workspace = 0.0  # on CUDA memory_gib of stats.jsonl is what tensors have taken
    if device == "cpu":
        process = BASE_GIB * 2**30
        workspace = BESIDE_WEIGHTS * (weights + optimizer) + BESIDE_ACTIVATIONS[experiment.precision] * worst
    return Memory(process, weights, optimizer, worst, image_bytes, workspace)


def _levels(experiment: Experiment) -> list[GrowthState | None]:
    """Where the networks stand in each part of the run; the last ones take most, but their batch is least."""
    top = len(experiment.generator.sides) - 1
    found = {part.level for part in intervals(experiment)}
    return [None if k == top else GrowthState(k, 0.5 if k else 1.0) for k in sorted(found)[-3:]]


def _activations(experiment: Experiment, g: nn.Module, d: nn.Module, growth: GrowthState | None) -> float:
    """The most that is alive beside the weights in any phase of a step."""
    top = len(experiment.generator.sides) - 1
    side = experiment.generator.sides[top if growth is None else growth.level]
    batch = int(experiment.batch(side))
    part = min(experiment.micro_batch or batch, batch)
    alive, worst = Alive(), 0.0
    for trained, run in _phases(at(experiment, 0), g, d, growth, (batch, part)):
        g.requires_grad_(trained is g)
        d.requires_grad_(trained is d)
        if part < batch:  # gradients of the micro-batch before are there already
            for parameter in trained.parameters():
                parameter.grad = torch.zeros_like(parameter)
        held = sum(p.numel() * p.element_size() for p in trained.parameters()) if part < batch else 0
        gc.collect()
        with alive:
            before = alive.now
            alive.peak = before
            run()
            worst = max(worst, alive.peak - before + held)
        for parameter in trained.parameters():
            parameter.grad = None
    return worst


def _phases(
    experiment: Experiment, g: Any, d: nn.Module, growth: GrowthState | None, sizes: tuple[int, int]
) -> list[tuple[nn.Module, Callable[[], Any]]]:
    """Each phase that the experiment has, on one micro-batch, with the network that it trains."""
    batch, part = sizes
    cfg, meta = experiment.generator, torch.device("meta")
    nets = Adversaries(g, d, growth, g.synthesis_network, d)
    side = cfg.resolution if growth is None else cfg.sides[growth.level]
    mixes = experiment.style_mixing > 0

    def latents(count: int) -> Latents:
        z = torch.zeros(count, cfg.z_dim, device=meta)
        cutoffs = torch.full((count,), 1 if mixes else active_ws(growth, cfg.num_ws))
        return Latents(z, z, cutoffs, torch.zeros(count, cfg.label_dim, device=meta))

    def reals() -> Reals:
        sides = cfg.pyramid_sides or (side,)
        images = [torch.zeros(part, cfg.channels, *cfg.size_at(s), device=meta) for s in sides]
        label = torch.zeros(part, cfg.label_dim, device=meta)
        return Reals(tuple(images) if cfg.pyramid_sides is not None else images[0], label)

    path, penalty = experiment.g_regularizer, experiment.d_regularizer
    fewer = max(part // path.batch_shrink, 1)
    found: list[tuple[nn.Module, Callable[[], Any]]] = [
        (g, lambda: phases.generator_main(nets, experiment, latents(part), batch, reals())),
        (d, lambda: phases.discriminator_main(nets, experiment, latents(part), reals(), batch)),
    ]
    if path.weight > 0:
        mean = torch.zeros((), device=meta)
        found.append((g, lambda: phases.generator_path_length(nets, experiment, latents(fewer), batch, mean)))
    if penalty.active and penalty.every > 1:
        found.append(
            (d, lambda: phases.discriminator_penalty(nets, experiment, latents(part), reals(), batch))
        )
    return found
