"""The door: a file of another code, recognised, and one of its generators as ours."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from styleloom.config import Experiment
from styleloom.config.networks import DiscriminatorConfig, GeneratorConfig
from styleloom.errors import UserError, quoted, shown
from styleloom.foreign import persistence, state_dicts, tensorflow, theano
from styleloom.foreign.container import read_container
from styleloom.foreign.experiment import experiment_of, images_seen_at
from styleloom.foreign.file import AVERAGE, D, ForeignFile, ForeignNetwork, G, Recognised
from styleloom.networks.assembly import DiscriminatorTrunk, StyleGenerator
from styleloom.networks.build import build_discriminator, build_generator, weightless
from styleloom.tensor_file import check_finite
from styleloom.weights.tables import convert

Which = Literal["ema", "raw"]

logger = logging.getLogger(__name__)

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


WHICH: dict[Which, str] = {"ema": AVERAGE, "raw": G}
"""Generators by role."""


def generator_of(file: ForeignFile, which: Which | None = None) -> ForeignNetwork:
    """The average generator, or the one that was trained; by default the average, where the file has one.

    Raises UserError where it is not there.
    """
    inside = file.inside
    if inside.refused:
        raise UserError(f"{shown(file.path)}: this is {inside.refused}")
    roles = [WHICH[which]] if which else list(WHICH.values())
    there = [role for role in roles if role in inside.networks]
    if not there:
        raise UserError(
            f"{shown(file.path)}: there is no {' or '.join(roles)} in this file, only "
            f"{', '.join(inside.networks)}; name the file that holds the generator"
        )
    if there[0] == G and which is None:
        logger.warning(f"{shown(file.path)} has no average of the generator: the one in training is taken")
    return inside.networks[there[0]]


def take_generator(file: ForeignFile, which: Which | None = None) -> Taken:
    """Build the generator of a file. Raises UserError for one that we do not have, or that does not fit."""
    network = generator_of(file, which)
    with told_of(file.path):
        generator = built(network, build_generator, file.path)
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
        network = built(file.inside.networks[D], build_discriminator, file.path)
        assert isinstance(network, DiscriminatorTrunk)
        return network


def built(network: ForeignNetwork, build: Callable[[Any], nn.Module], path: Path) -> nn.Module:
    """Our network with the weights of theirs. Names and shapes are compared before it is allocated.

    Raises UserError for a network that we do not have, for one that does not fit, and for NaN.
    """
    translated = network.translate(network)
    _check_size(translated.config, network)
    with weightless():
        own = build(translated.config)
    variables = translated.variables() if translated.variables else network.variables()
    state = convert(translated.table, variables, own)
    del variables
    expected = own.state_dict()
    own.load_state_dict({name: _laid_out(state.pop(name), expected[name]) for name in expected}, assign=True)
    for module in own.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_meta:  # those that are not stored are zeros
                setattr(module, name, torch.zeros(buffer.shape, dtype=buffer.dtype))
    if translated.finish is not None:
        translated.finish(own)
    check_finite(own.state_dict(), path)
    return own.eval().requires_grad_(False)


def _laid_out(tensor: Tensor, like: Tensor) -> Tensor:
    """`tensor` itself where it lies in memory as `like` would, else a copy that does."""
    if tensor.stride() == like.stride():
        return tensor
    return torch.empty_strided(like.shape, like.stride(), dtype=like.dtype).copy_(tensor)


def _check_size(config: GeneratorConfig | DiscriminatorConfig, network: ForeignNetwork) -> None:
    """Raise UserError where the settings ask for more levels or layers than there are arrays."""
    mapping = getattr(config, "mapping", None)
    layers = max(len(config.sides), getattr(mapping, "layers", 0))
    if layers > len(network.arrays):
        raise UserError(
            f"damaged, the settings of {network.role} ask for {layers} levels or layers, and it has "
            f"{len(network.arrays)} variables"
        )
