"""The functions of a generator that a graph can hold: latents to styles, to images, and styles to images.

Psi, labels and noise are inputs of a graph or constants in it; the batch is free.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from styleloom.errors import UserError
from styleloom.networks.assembly import finest
from styleloom.sampling import Sampler
from styleloom.types import Noise

NoiseSource: TypeAlias = Literal["fixed", "input", "none"]
"""The maps stored with the network, as constants; one input for each map; none."""

BATCH = 3
"""Images of the examples with which a graph is recorded: neither 1 nor a number that occurs elsewhere."""


@dataclass(frozen=True)
class Graph:
    """A function of a generator.

    Args:
        name: of its file.
        module: the function; takes its inputs by position.
        inputs: an example of each, by name, in order.
        output: name of what it returns.
    """

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]
    output: str

    def batched(self, name: str) -> bool:
        """Whether the first axis of an input counts images."""
        return name != "psi"

    @property
    def shapes(self) -> dict[str, list[int | str]]:
        """Shape of every input, as JSON."""
        return {n: ["batch" if self.batched(n) else t.shape[0], *t.shape[1:]] for n, t in self.inputs.items()}


class _Function(nn.Module):
    """What the functions share: the generator, and which inputs there are.

    The first input is latents or styles; `others` are those that depend on the generator and on `noise`.
    """

    def __init__(self, sampler: Sampler, noise: NoiseSource) -> None:
        super().__init__()
        self.generator, self.growth = sampler.generator, sampler.growth
        self.noise = noise
        self.sizes = sampler.noise_sizes
        self.truncates = sampler.space == "w"

    def label(self, given: Sequence[Tensor]) -> Tensor | None:
        """One-hot labels [N, K] of classes [N]; None for a generator without labels."""
        if not self.generator.label_dim:
            return None
        return (given[0][:, None] == torch.arange(self.generator.label_dim)).float()

    def image(self, ws: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """ws [N, L, W] and the maps that are inputs -> images [N, C, H, W]."""
        noise: Noise = "fixed" if self.noise == "fixed" else "none"
        if self.noise == "input":
            given, stored = iter(maps), self.generator.synthesis_network.fixed_noise
            # a level that a growing run has not reached takes no map
            noise = [
                next(given) if 0 not in size else own for size, own in zip(self.sizes, stored, strict=True)
            ]
        return finest(self.generator.synthesis(ws, self.growth, noise))


class Mapping(_Function):
    """z (and class) to ws, without truncation."""

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        """z [N, Z] and classes [N] -> ws [N, L, W]."""
        return self.generator.mapping(first, self.label(others))


class Synthesis(_Function):
    """ws (and noise) to images."""

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        """ws [N, L, W] and noise maps -> images [N, C, H, W]."""
        return self.image(first, others)


class Generation(_Function):
    """z, psi (and class, and noise) to images."""

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        """z [N, Z], psi [1], classes [N] and noise maps, as far as there are any -> images [N, C, H, W]."""
        given = list(others)
        psi = given.pop(0) if self.truncates else None
        classes = [given.pop(0)] if self.generator.label_dim else []
        ws = self.generator.mapping(first, self.label(classes))
        if psi is not None:
            mean = self.generator.truncate(ws, 0.0)
            ws = mean + psi * (ws - mean)
        return self.image(ws, given)


def graphs(sampler: Sampler, noise: NoiseSource) -> list[Graph]:
    """All functions of a generator: "generator", and where it has a w, "mapping" and "synthesis".

    Raises UserError for noise that the generator does not take.
    """
    generator = sampler.generator
    sizes = [size for size in sampler.noise_sizes if 0 not in size]
    if noise == "input" and not sizes:
        raise UserError("--noise: 'input' is not valid, this generator takes no noise; fixed or none")
    z = {"z": torch.randn(BATCH, generator.z_dim)}
    psi = {"psi": torch.tensor([0.7])} if sampler.space == "w" else {}
    classes = {"class": torch.zeros(BATCH, dtype=torch.int64)} if generator.label_dim else {}
    maps = {f"noise_{i}": torch.randn(BATCH, 1, *size) for i, size in enumerate(sizes)}
    maps = maps if noise == "input" else {}
    all_of_it = Graph("generator", Generation(sampler, noise), {**z, **psi, **classes, **maps}, "image")
    if sampler.space != "w":
        return [all_of_it]
    ws = {"ws": torch.randn(BATCH, *sampler.latent_shape)}
    return [
        all_of_it,
        Graph("mapping", Mapping(sampler, noise), {**z, **classes}, "ws"),
        Graph("synthesis", Synthesis(sampler, noise), {**ws, **maps}, "image"),
    ]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what the libraries that record graphs say to their own developers."""
    log = logging.getLogger(torch.onnx.__name__)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def recorded(graph: Graph) -> torch.export.ExportedProgram:
    """The function as PyTorch records it, for any number of images."""
    batch = torch.export.Dim("batch", min=1)
    specs = [{0: batch} if graph.batched(name) else {} for name in graph.inputs]
    with torch.no_grad(), quiet():
        return torch.export.export(
            graph.module.eval(),
            tuple(graph.inputs.values()),
            dynamic_shapes={"first": specs[0], **({"others": tuple(specs[1:])} if specs[1:] else {})},
        )
