"""What a file of weights is, as a document: for `styleloom inspect`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from styleloom.config import Experiment
from styleloom.config.networks import GeneratorConfig
from styleloom.config.serialize import flatten
from styleloom.errors import UserError, shown
from styleloom.file_hash import sha256_of
from styleloom.foreign.file import AVERAGE, D, ForeignFile, G
from styleloom.foreign.reading import take_discriminator, take_generator

EXACT = "the same weights as float32: outputs agree with the code's own to 2e-5 of the largest value"
ROUNDED = "weights are stored with less than float32 has; what is there is taken exactly"

SMALL_KINDS = ("<f2", ">f2", "bf16")


def describe(file: ForeignFile) -> dict[str, Any]:
    """Everything that a file of another code says, and whether and how exactly it is read."""
    inside, outside = file.inside, file.outside
    tried = {role: _tried(file, role) for role in inside.networks}
    main = next((role for role in (AVERAGE, G) if role in inside.networks), None)
    return {
        "file": str(file.path),
        "bytes": outside.size,
        "sha256": outside.sha256,
        "container": outside.container,
        "format": inside.format,
        "code": inside.code,
        "version": inside.version,
        "licence": inside.licence,
        "networks": {
            role: {
                "function": network.function,
                "variables": len(network.arrays),
                "numbers": network.parameters,
                "parameters": tried[role].parameters,
                "read": tried[role].reason is None,
                "reason": tried[role].reason,
                "lod": network.lod,
                "settings": dict(network.kwargs),
            }
            for role, network in inside.networks.items()
        },
        "facts": dict(inside.facts),
        "w_average": inside.w_average,
        "unpickling": {
            "imports": sorted(map(str, outside.seen.names)),
            "calls": sorted(map(str, outside.seen.called)),
            "source_texts": inside.source_texts,
        },
        **(_unread(file) if main is None or inside.refused else _generator(file, main, tried[main])),
    }


@dataclass(frozen=True)
class Tried:
    """Whether a network was read.

    Args:
        reason: why it is not; None where it is.
        parameters: numbers in it that were trained.
        facts: of a generator.
    """

    reason: str | None
    parameters: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def _tried(file: ForeignFile, role: str) -> Tried:
    """Build a network, and keep what is worth telling of it."""
    if file.inside.refused:
        return Tried(f"this is {file.inside.refused}")
    try:
        if role == D:
            return Tried(None, _parameters(take_discriminator(file)))
        taken = take_generator(file, "ema" if role == AVERAGE else "raw")
    except UserError as error:
        return Tried(str(error).removeprefix(f"{shown(file.path)}: "))
    more = {
        "default_truncation": taken.info["origin"].get("truncation"),
        "unfinished_growth": "images_seen" in taken.info,
    }
    return Tried(None, _parameters(taken.generator), generator_facts(taken.experiment) | more)


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _generator(file: ForeignFile, role: str, tried: Tried) -> dict[str, Any]:
    """What users ask of the file's generator."""
    if tried.reason is not None:
        return {"read": False, "known": False, "reason": tried.reason}
    small = any(array.kind in SMALL_KINDS for array in file.inside.networks[role].arrays.values())
    return {"read": True, "exactness": ROUNDED if small else EXACT, **tried.facts}


def _unread(file: ForeignFile) -> dict[str, Any]:
    """Of a file whose kind is known, but which has no generator that is read."""
    alone = (
        "a discriminator alone: `train --init` and `convert` take it with the generators that lie beside it"
    )
    return {"read": False, "known": True, "reason": f"this is {file.inside.refused or alone}"}


def generator_facts(experiment: Experiment) -> dict[str, Any]:
    """What users ask of a generator."""
    config: GeneratorConfig = experiment.generator
    settings = {name: _json(value) for name, value in flatten(config).items()}
    height, width = config.size
    return {
        "family": config.family,
        "height": height,
        "width": width,
        "channels": config.channels,
        "labels": config.label_dim,
        "mapping_layers": settings.get("mapping.layers"),
        "configuration": settings,
    }


def _json(value: Any) -> Any:
    if dataclasses.is_dataclass(value) or isinstance(value, Mapping):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def describe_own(
    path: Path, experiment: Experiment, info: Mapping[str, Any], networks: Mapping[str, nn.Module]
) -> dict[str, Any]:
    """The same for a snapshot of ours, with its networks by role."""
    origin = info.get("origin")
    kinds = {D: experiment.discriminator.family}
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "sha256": sha256_of(path),
        "container": "safetensors",
        "format": "styleloom-snapshot",
        "code": "styleloom",
        "licence": origin.get("licence") if isinstance(origin, dict) else None,
        "networks": {
            role: {
                "function": kinds.get(role, experiment.generator.family),
                "variables": len(network.state_dict()),
                "numbers": sum(t.numel() for t in network.state_dict().values()),
                "parameters": _parameters(network),
                "read": True,
                "reason": None,
            }
            for role, network in networks.items()
        },
        "info": dict(info),
        "w_average": "w_avg" if experiment.generator.has_w else "none, this generator has no w",
        "read": True,
        "unpickling": None,
        **generator_facts(experiment),
    }
