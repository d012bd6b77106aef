"""The door: a file of another code, recognised, and one of its generators as ours."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from styleloom.config import Experiment
from styleloom.config.networks import DiscriminatorConfig, GeneratorConfig
from styleloom.errors import UserError, quoted, shown
from styleloom.foreign import persistence, state_dicts, tensorflow, theano
from styleloom.foreign.container import read_container
from styleloom.foreign.experiment import experiment_of, images_seen_at
from styleloom.foreign.file import AVERAGE, D, ForeignFile, ForeignNetwork, G, Recognised
from styleloom.networks.assembly import DiscriminatorTrunk, StyleGenerator
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.weights.tables import convert

Which = Literal["ema", "raw"]

RECOGNISERS: tuple[Callable[[Any], Recognised | None], ...] = (
    theano.recognise,
    tensorflow.recognise,
    persistence.recognise,
    state_dicts.rosinality_checkpoint,
    state_dicts.bmsg_network,
    state_dicts.lucidrains,
    state_dicts.optimizer,
)
"""Each knows one kind of file; the first that does not say None counts."""

NO_SENSE = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RuntimeError, MemoryError)
"""What our code raises on settings of other types and sizes than any network has."""

KNOWN = "networks of ProGAN, StyleGAN, MSG-GAN or StyleGAN2"


@contextmanager
def told_of(path: Path) -> Iterator[None]:
    """Messages begin with the name of the file; what values of no sense lead to is an error of the file."""
    try:
        yield
    except UserError as error:
        text = str(error)
        raise UserError(text if text.startswith(shown(path)) else f"{shown(path)}: {text}") from error
    except NO_SENSE as error:
        told = quoted(f"{type(error).__name__}: {error}")
        raise UserError(f"{shown(path)}: damaged, values in it make no sense ({told})") from error


@contextmanager
def without_collector() -> Iterator[None]:
    """Python's collector of cycles is off: it would walk through all records again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def read_foreign(path: Path | str) -> ForeignFile:
    """What a file of another code holds; nothing of it is run, and no network is built.

    Raises UserError, in one sentence, for a file that is damaged, hostile or of no known kind.
    """
    path = Path(path)
    with told_of(path), without_collector():
        outside = read_container(path)
        for recognise in RECOGNISERS:
            inside = recognise(outside.value)
            if inside is not None:
                return ForeignFile(path, outside, inside)
        raise UserError(
            f"{outside.container}, but there are no {KNOWN} in it; docs/weights.md lists what is read"
        )


@dataclass(frozen=True)
class Taken:
    """A generator of ours with the weights of a foreign file.

    Args:
        generator: in evaluation mode, on the CPU.
        experiment: its networks, and the training of its family by default.
        info: where it is from.
    """

    generator: StyleGenerator
    experiment: Experiment
    info: dict[str, Any]


def generator_of(file: ForeignFile, which: Which = "ema") -> ForeignNetwork:
    """The average generator, or the one that was trained. Raises UserError where it is not there."""
    inside = file.inside
    if inside.refused:
        raise UserError(f"{shown(file.path)}: this is {inside.refused}")
    role = AVERAGE if which == "ema" else G
    if role not in inside.networks:
        there = ", ".join(inside.networks) or "none"
        raise UserError(f"{shown(file.path)}: there is no {role} in this file; there: {there}")
    return inside.networks[role]


def take_generator(file: ForeignFile, which: Which = "ema") -> Taken:
    """Build the generator of a file. Raises UserError for one that we do not have, or that does not fit."""
    network = generator_of(file, which)
    with told_of(file.path):
        generator = built(network, build_generator)
        assert isinstance(generator, StyleGenerator)
        config = network.translate(network).config
        experiment = experiment_of(file, config, network.lod)  # type: ignore[arg-type]
    inside = file.inside
    info: dict[str, Any] = {
        "origin": {
            "file": file.path.name,
            "format": inside.format,
            "code": inside.code,
            "network": network.role,
            "licence": inside.licence,
        }
    }
    seen = images_seen_at(network.lod, experiment)
    if seen is not None:
        info["images_seen"] = seen
    if network.truncation is not None:
        info["origin"]["truncation"] = {"psi": network.truncation[0], "layers": network.truncation[1]}
    return Taken(generator, experiment, info)


def take_discriminator(file: ForeignFile) -> DiscriminatorTrunk:
    """Build the discriminator of a file. Raises UserError as `take_generator` does."""
    if D not in file.inside.networks:
        raise UserError(f"{shown(file.path)}: there is no discriminator in this file")
    with told_of(file.path):
        network = built(file.inside.networks[D], build_discriminator)
        assert isinstance(network, DiscriminatorTrunk)
        return network


def built(network: ForeignNetwork, build: Callable[[Any], nn.Module]) -> nn.Module:
    """Our network with the weights of theirs. Names and shapes are compared before it is allocated."""
    translated = network.translate(network)
    _check_size(translated.config, network)
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        own = build(translated.config)
    variables = translated.variables() if translated.variables else network.variables()
    state = convert(translated.table, variables, own)
    del variables
    own = own.to_empty(device="cpu")
    with torch.no_grad():
        for buffer in own.buffers():
            buffer.zero_()  # those that are not stored are zeros
        for name, tensor in own.state_dict().items():
            tensor.copy_(state.pop(name))
    if translated.finish is not None:
        translated.finish(own)
    return own.eval().requires_grad_(False)


def _check_size(config: GeneratorConfig | DiscriminatorConfig, network: ForeignNetwork) -> None:
    """Raise UserError where the settings ask for more levels or layers than there are arrays."""
    mapping = getattr(config, "mapping", None)
    layers = max(len(config.sides), getattr(mapping, "layers", 0))
    if layers > len(network.arrays):
        raise UserError(
            f"damaged, the settings of {network.role} ask for {layers} levels or layers, and it has "
            f"{len(network.arrays)} variables"
        )
