"""Snapshots: a generator's weights with the experiment that made them, in one safetensors file.

Tensors are named as in the generator's state dict; the metadata holds the experiment as JSON. Loading
executes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from styleloom.atomic import atomic_path
from styleloom.config import Experiment, from_json, to_json
from styleloom.errors import UserError
from styleloom.models import EMBEDDED
from styleloom.networks.assembly import StyleGenerator
from styleloom.networks.build import build_generator
from styleloom.training.growth import unfinished_growth
from styleloom.types import GrowthState

FORMAT = "styleloom-snapshot"
VERSION = 1


@dataclass(frozen=True)
class Snapshot:
    """A loaded snapshot.

    Args:
        generator: with its weights, in evaluation mode, on the CPU.
        experiment: what made it.
        info: images_seen, data set, whatever else the writer recorded.
    """

    generator: StyleGenerator
    experiment: Experiment
    info: dict[str, Any]

    @property
    def growth(self) -> GrowthState | None:
        """Where the run stood; None for full resolution, which is also where nothing is recorded."""
        seen = self.info.get("images_seen")
        return None if seen is None else unfinished_growth(self.experiment, seen)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> None:
    """Tensors and one JSON document to `path`, atomically."""
    contiguous = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    with atomic_path(path) as partial:
        try:
            save_file(contiguous, partial, {"styleloom": json.dumps(document)})
        except SafetensorError as error:  # what a full disk raises here
            raise UserError(f"cannot write {path}: {error}") from error


def read_tensors(path: Path, expected: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_tensors` wrote. Raises UserError for a file that is absent, damaged or something else."""
    if not path.is_file():
        names = ", ".join(EMBEDDED)
        raise UserError(
            f"{path}: there is no such file; expected a {expected} (*.safetensors), or an embedded "
            f"model: {names}"
        )
    try:
        with safe_open(str(path), framework="pt") as file:  # type: ignore[no-untyped-call]
            text = (file.metadata() or {}).get("styleloom")
            document = json.loads(text) if text else {}
            found = document.get("format") if isinstance(document, dict) else None
            if found != expected:
                raise UserError(f"{path}: not a {expected} (found: {found or 'no styleloom metadata'})")
            version = document.get("version")
            if not isinstance(version, int) or version > VERSION:
                raise UserError(
                    f"{path}: written by a newer styleloom (format {version}, this one reads up to "
                    f"{VERSION}); update styleloom"
                )
            return {name: file.get_tensor(name) for name in file.keys()}, document  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: damaged or half-written, it cannot be read ({error})") from error


def load_weights(network: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Copy `tensors` into `network`. Raises UserError naming what does not fit."""
    own = network.state_dict()
    missing, unexpected = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    wrong = [
        f"{name} is {tuple(tensors[name].shape)}, expected {tuple(own[name].shape)}"
        for name in sorted(own.keys() & tensors.keys())
        if own[name].shape != tensors[name].shape
    ]
    problems = [
        *(f"missing {name}" for name in missing),
        *(f"unexpected {name}" for name in unexpected),
        *wrong,
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise UserError(f"{where}: weights of another network: {'; '.join(problems[:5])}{more}")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def save(path: Path | str, generator: StyleGenerator, experiment: Experiment, **info: Any) -> None:
    """Write a snapshot atomically. `info` must be JSON."""
    document = {"format": FORMAT, "version": VERSION, "experiment": to_json(experiment), "info": info}
    write_tensors(Path(path), generator.state_dict(), document)


def load(path: Path | str) -> Snapshot:
    """Read a snapshot, by path or by the name of an embedded one (``emoji-64``).

    Raises UserError when it is absent, half-written or of another network.
    """
    path = EMBEDDED.get(str(path), Path(path))
    tensors, document = read_tensors(path, FORMAT)
    recorded: Any = document.get("experiment")
    try:
        experiment = from_json(recorded)
    except UserError as error:
        raise UserError(f"{path}: its experiment cannot be read ({error})") from error
    generator = build_generator(experiment.generator)
    load_weights(generator, tensors, str(path))
    generator.eval().requires_grad_(False)
    return Snapshot(generator, experiment, document.get("info", {}))
