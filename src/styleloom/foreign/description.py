"""What a file of weights is, as a document: for `styleloom inspect`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from styleloom.config import Experiment
from styleloom.config.networks import GeneratorConfig
from styleloom.config.serialize import flatten
from styleloom.errors import UserError
from styleloom.file_hash import sha256_of
from styleloom.foreign.file import AVERAGE, ForeignFile, G
from styleloom.foreign.reading import take_generator

EXACT = "the same weights as float32: outputs agree with the code's own to 2e-5 of the largest value"
ROUNDED = "weights are stored with less than float32 has; what is there is taken exactly"

SMALL_KINDS = ("<f2", ">f2", "bf16")


def describe(file: ForeignFile) -> dict[str, Any]:
    """Everything that a file of another code says, and whether and how exactly it is read."""
    inside, outside = file.inside, file.outside
    return {
        "file": str(file.path),
        "bytes": outside.size,
        "sha256": sha256_of(file.path),
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
        **_reading(file),
    }


def _reading(file: ForeignFile) -> dict[str, Any]:
    """Whether the generator is read, as what, and if not, why."""
    role = AVERAGE if AVERAGE in file.inside.networks else G
    try:
        taken = take_generator(file, "ema" if role == AVERAGE else "raw")
    except UserError as error:
        reason = str(error).removeprefix(f"{file.path}: ")
        return {"read": False, "known": file.inside.refused is not None, "reason": reason}
    arrays = file.inside.networks[role].arrays.values()
    small = any(array.kind in SMALL_KINDS for array in arrays)
    truncation = taken.info["origin"].get("truncation")
    return {
        "read": True,
        "exactness": ROUNDED if small else EXACT,
        **generator_facts(taken.experiment),
        "default_truncation": truncation,
        "unfinished_growth": "images_seen" in taken.info,
    }


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


def describe_own(path: Path, experiment: Experiment, info: Mapping[str, Any], tensors: int) -> dict[str, Any]:
    """The same for a snapshot of ours."""
    origin = info.get("origin")
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "sha256": sha256_of(path),
        "container": "safetensors",
        "format": "styleloom-snapshot",
        "code": "styleloom",
        "licence": origin.get("licence") if isinstance(origin, dict) else None,
        "variables": tensors,
        "info": dict(info),
        "read": True,
        "unpickling": None,
        **generator_facts(experiment),
    }
