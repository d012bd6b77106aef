"""Snapshots: a generator's weights with the experiment that made them, in one safetensors file.

Tensors are named as in the generator's state dict: those of the average. The networks in training may stand
beside them, as `g.*` and `d.*`, so that others can continue from the file. The metadata holds the experiment
as JSON. Loading executes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from styleloom.config import Experiment, from_json, to_json
from styleloom.config.growth import unfinished_growth
from styleloom.config.networks import DiscriminatorConfig, GeneratorConfig
from styleloom.config.serialize import flatten
from styleloom.errors import UserError, cut, quoted, shown
from styleloom.file_hash import sha256_of
from styleloom.foreign.container import looks_foreign
from styleloom.foreign.file import ForeignFile
from styleloom.foreign.reading import Which, read_foreign, take_generator
from styleloom.networks.assembly import DiscriminatorTrunk, StyleGenerator
from styleloom.networks.build import build_discriminator, build_generator, weightless
from styleloom.snapshot_names import find_snapshot
from styleloom.tensor_file import Contents, check_finite, contents_of, open_tensors, write_tensors
from styleloom.types import GrowthState

FORMAT = "styleloom-snapshot"

RAW, DISCRIMINATOR = "g.", "d."
"""Before the names of tensors of the networks in training; no tensor of a generator begins so."""

C = TypeVar("C", bound=GeneratorConfig | DiscriminatorConfig)
"""The configuration of a network."""

N = TypeVar("N", bound=nn.Module)
T = TypeVar("T")


@dataclass(frozen=True)
class Snapshot:
    """A loaded snapshot.

    Args:
        generator: the average, with its weights, in evaluation mode, on the CPU.
        experiment: what made it.
        info: images_seen, data set, whatever else the writer recorded.
        path: the file it was read from; None for one in memory.
        sha256: hash of that file as it was when it was read, hex; None for one in memory.
        raw: the generator in training, where the file has it.
        discriminator: where the file has it.
    """

    generator: StyleGenerator
    experiment: Experiment
    info: dict[str, Any]
    path: Path | None = None
    sha256: str | None = None
    raw: StyleGenerator | None = None
    discriminator: DiscriminatorTrunk | None = None

    @property
    def growth(self) -> GrowthState | None:
        """Level and alpha of a run that was still growing; None at full size or without `images_seen`."""
        seen = self.info.get("images_seen")
        return None if seen is None else unfinished_growth(self.experiment, seen)


def load_weights(network: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Copy `tensors` into `network`. Raises UserError naming what does not fit; then nothing is copied."""
    own = network.state_dict()
    check_contents(contents_of(own), contents_of(tensors), where)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def check_contents(own: Contents, given: Contents, where: str) -> None:
    """Raise UserError unless names, types and shapes of `given` are those that a network has."""
    problems = [
        *(f"missing {name}" for name in sorted(own.keys() - given.keys())),
        *(f"unexpected {quoted(name)}" for name in sorted(given.keys() - own.keys())),
    ]
    for name in sorted(own.keys() & given.keys()):
        (own_type, own_shape), (given_type, given_shape) = own[name], given[name]
        if own_shape != given_shape:
            problems.append(f"{name} is {given_shape}, expected {own_shape}")
        elif own_type != given_type:
            problems.append(f"{name} is of type {given_type}, expected {own_type}")
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise UserError(f"{where}: weights of another network: {'; '.join(problems[:5])}{more}")


def write_snapshot(
    path: Path | str,
    generator: StyleGenerator,
    experiment: Experiment,
    raw: StyleGenerator | None = None,
    discriminator: nn.Module | None = None,
    /,  # whatever a file calls what it records, it is none of these
    **info: Any,
) -> None:
    """Write a snapshot atomically. `info` must be JSON; the networks are as in `Snapshot`."""
    document = {"format": FORMAT, "experiment": to_json(experiment), "info": info}
    tensors = dict(generator.state_dict())
    for prefix, network in ((RAW, raw), (DISCRIMINATOR, discriminator)):
        if network is not None:
            tensors |= {f"{prefix}{name}": tensor for name, tensor in network.state_dict().items()}
    write_tensors(Path(path), tensors, document)


def read_snapshot(path: Path | str) -> Snapshot:
    """Read a snapshot from a file, a run directory or the name of an embedded model (see `find_snapshot`).

    A file of another code (docs/weights.md) is read as a snapshot of its average generator.

    The header is checked before any weight is read, so that a damaged header cannot make us allocate more
    memory than the file has weights. torch's global random generators stay as they are.

    Raises UserError when it is absent, damaged, of another network, or holds NaN.
    """
    path = find_snapshot(path)
    if looks_foreign(path):
        return foreign_snapshot(read_foreign(path))
    with open_tensors(path, FORMAT) as file:
        experiment, info = _recorded(path, file.document)
        average, raw, d = _split(file.contents)
        check_network(build_generator, experiment.generator, average, path)
        if raw:
            check_network(build_generator, experiment.generator, raw, path)
        if d:
            check_network(build_discriminator, experiment.discriminator, d, path)
        tensors, sha256 = file.read(), sha256_of(path)
    check_finite(tensors, path)
    average, raw, d = _split(tensors)
    where = str(path)
    return Snapshot(
        _built(build_generator, experiment.generator, average, where),
        experiment,
        info,
        path,
        sha256,
        _built(build_generator, experiment.generator, raw, where) if raw else None,
        _built(build_discriminator, experiment.discriminator, d, where) if d else None,
    )


def _split(tensors: Mapping[str, T]) -> tuple[dict[str, T], dict[str, T], dict[str, T]]:
    """What belongs to the average, to the generator in training, and to the discriminator."""
    raw = {name.removeprefix(RAW): t for name, t in tensors.items() if name.startswith(RAW)}
    d = {name.removeprefix(DISCRIMINATOR): t for name, t in tensors.items() if name.startswith(DISCRIMINATOR)}
    average = {name: t for name, t in tensors.items() if not name.startswith((RAW, DISCRIMINATOR))}
    return average, raw, d


def _built(build: Callable[[C], N], config: C, tensors: Mapping[str, Tensor], where: str) -> N:
    """The network with these weights, in evaluation mode. torch's random generators stay as they are."""
    with torch.random.fork_rng(devices=[]):
        network = build(config)
    load_weights(network, tensors, where)
    return network.eval().requires_grad_(False)


def foreign_snapshot(file: ForeignFile, which: Which | None = None) -> Snapshot:
    """A generator of a file of another code: the average one ("ema") or the one that was trained ("raw").

    By default it is the average, where the file has one. Raises UserError where it is not there, is of a
    network that we do not have, or holds NaN.
    """
    taken = take_generator(file, which)
    return Snapshot(taken.generator, taken.experiment, taken.info, file.path, file.outside.sha256)


def _recorded(path: Path, document: Mapping[str, Any]) -> tuple[Experiment, dict[str, Any]]:
    """What a header says. Raises UserError for what cannot be read."""
    try:
        experiment = from_json(document.get("experiment"))  # type: ignore[arg-type]  # checked there
    except UserError as error:
        raise UserError(f"{shown(path)}: its experiment cannot be read ({cut(str(error), 500)})") from error
    except (RecursionError, ArithmeticError, ValueError) as error:
        raise UserError(f"{shown(path)}: its experiment cannot be read ({quoted(str(error))})") from error
    info = document.get("info", {})
    if not isinstance(info, dict):
        raise UserError(f"{shown(path)}: damaged, its info is {quoted(info)}; valid: an object with fields")
    seen = info.get("images_seen")
    if seen is not None and (type(seen) not in (int, float) or not 0 <= seen < 2**63):
        raise UserError(
            f"{shown(path)}: damaged, its images_seen is {quoted(seen)}; valid: a number, not negative"
        )
    try:
        unfinished_growth(experiment, seen or 0)
    except ArithmeticError as error:
        raise UserError(f"{shown(path)}: its experiment cannot be read (growth: {error})") from error
    return experiment, info


def check_network(build: Callable[[C], nn.Module], config: C, contents: Contents, path: Path) -> None:
    """Raise UserError unless the network `build(config)` has tensors of these names, types and shapes.

    No weights are allocated.
    """
    layers = flatten(config).get("mapping.layers", 0)
    if max(layers, len(config.sides)) > len(contents):  # every level and every layer has weights
        raise UserError(
            f"{shown(path)}: weights of another network: one of {len(config.sides)} levels and "
            f"{quoted(layers)} layers of mapping has more than {len(contents)} tensors"
        )
    try:
        with weightless():
            own = contents_of(build(config).state_dict())
    except (RuntimeError, ArithmeticError, ValueError, TypeError, MemoryError) as error:
        raise UserError(
            f"{shown(path)}: a network of the sizes that it records cannot be built ({quoted(str(error))})"
        ) from error
    check_contents(own, contents, str(path))
