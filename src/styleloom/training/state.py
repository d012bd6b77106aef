"""The state of a training: everything that the next step depends on, as tensors and a JSON document.

A state is checked as a whole before the trainer changes: names, types and shapes of tensors must be those of
the trainer's own, numbers must be finite, and counters and states of random generators valid.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from styleloom.config import to_json
from styleloom.errors import UserError, quoted
from styleloom.snapshot import check_contents, load_weights
from styleloom.tensor_file import contents_of
from styleloom.training.health import complaint
from styleloom.training.optim import STATE_FIELDS

if TYPE_CHECKING:
    from styleloom.training.trainer import Trainer

COUNTERS = ("step", "images_seen", "loader_position")

MAX_COUNTER = 2**53
"""Far above any training, and exact as a number of every kind."""


def state_of(trainer: Trainer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, and a document: experiment, counters, data, and what is wrong with the weights, if anything.

    Networks are `g.*`, `d.*` and `ema.*`, optimizers `KIND_g.FIELD.PARAMETER`, random generators `rng.*`.
    """
    networks, optimizers = trainer.networks(), trainer.optimizers()
    tensors = {f"{key}.{name}": t for key, net in networks.items() for name, t in net.state_dict().items()}
    for key, (optimizer, network) in optimizers.items():
        for name, parameter in network.named_parameters():
            for field, value in optimizer.state.get(parameter, {}).items():
                tensors[f"{key}.{field}.{name}"] = value
    tensors["path_mean"] = trainer.path_mean
    tensors["rng.torch"] = torch.get_rng_state()
    tensors["rng.draws"] = trainer.inputs.draws.get_state()
    if trainer.device.type == "cuda":
        tensors["rng.cuda"] = torch.cuda.get_rng_state(trainer.device)
    if trainer.device.type == "mps":
        tensors["rng.mps"] = torch.mps.get_rng_state()
    tensors |= trainer.augment.state()
    document = {
        "experiment": to_json(trainer.experiment),
        "counters": {
            "step": trainer.step_count,
            "images_seen": trainer.images_seen,
            "loader_position": trainer.inputs.loader.position,
            "growth_phase": list(trainer.growth_phase),
            "skipped": dict(trainer.skipped),
            "skipped_in_a_row": dict(trainer.skipped_in_a_row),
            "device": trainer.device.type,
            "processes": trainer.processes.size,
        },
        "data": trainer.inputs.record(),
        "complaint": complaint(trainer),
    }
    return tensors, document | ({} if trainer.init is None else {"init": trainer.init})


def digest(trainer: Trainer) -> list[float]:
    """Numbers that are equal where two trainers stand at the same step and hold the same networks, and almost
    surely only there."""
    sums = [
        part.double().sum()
        for network in trainer.networks().values()
        for tensor in network.state_dict().values()
        for part in (tensor, tensor.abs())
    ]
    return [trainer.step_count, trainer.inputs.loader.position, *torch.stack(sums).tolist()]


def restore(
    trainer: Trainer, tensors: Mapping[str, Tensor], document: Mapping[str, Any], where: str = "state"
) -> None:
    """Put a state's tensors and counters in place, and the loader at its position.

    Args:
        where: what errors call the state: its file.

    Raises UserError, before anything has changed, for a state that is damaged or of another network.
    """
    counters = checked_counters(document, where)
    moments = _checked_moments(trainer, tensors, counters["skipped"], where)
    for key, network in trainer.networks().items():
        check_contents(
            contents_of(network.state_dict()), contents_of(part_of(tensors, key)), f"{where}, {key}"
        )
    _check_others(trainer, tensors, where)
    for key, network in trainer.networks().items():
        load_weights(network, part_of(tensors, key), f"{where}, {key}")
    for optimizer, parameter, found in moments:
        optimizer.state[parameter] = {f: _placed(f, t, parameter) for f, t in found.items()}
    trainer.path_mean = tensors["path_mean"].to(trainer.device)
    torch.set_rng_state(tensors["rng.torch"])
    trainer.inputs.draws.set_state(tensors["rng.draws"])
    if trainer.device.type == "cuda" and "rng.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["rng.cuda"], trainer.device)
    if trainer.device.type == "mps" and "rng.mps" in tensors:
        torch.mps.set_rng_state(tensors["rng.mps"])
    trainer.augment.load(tensors)
    _take_counters(trainer, counters)
    init = document.get("init")
    trainer.init = init if isinstance(init, dict) else None


def _take_counters(trainer: Trainer, counters: Mapping[str, Any]) -> None:
    trainer.step_count, trainer.images_seen = counters["step"], counters["images_seen"]
    trainer.growth_phase = tuple(counters.get("growth_phase", trainer.phase_now()))
    trainer.skipped = dict(counters["skipped"])
    rows = counters["skipped_in_a_row"]
    trainer.skipped_in_a_row = {kind: rows.get(kind, 0) for kind in trainer.skipped_in_a_row}
    side = trainer.current_resolution(trainer.images_seen)
    trainer.inputs.move(side, counters["loader_position"])


def checked_counters(document: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The document's counters. Raises UserError unless each is there and a number."""
    counters = document.get("counters")
    rows: Any = counters if isinstance(counters, dict) else {}
    skipped, in_a_row = rows.get("skipped"), rows.get("skipped_in_a_row")
    phase = rows.get("growth_phase", [0, 0])
    good = (
        all(_count(rows.get(name)) for name in COUNTERS)
        and isinstance(skipped, dict)
        and all(_count(skipped.get(name)) for name in ("g", "d"))
        and isinstance(in_a_row, dict)
        and all(_count(number) for number in in_a_row.values())
        and isinstance(phase, list)
        and len(phase) == 2
        and all(_count(number) for number in phase)
        and isinstance(rows.get("device"), str)
    )
    if not good:
        raise UserError(f"{where}: damaged, its counters are {quoted(counters)}")
    return rows


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_COUNTER


def _checked_moments(
    trainer: Trainer, tensors: Mapping[str, Tensor], skipped: Mapping[str, int], where: str
) -> list[tuple[torch.optim.Optimizer, nn.Parameter, dict[str, Tensor]]]:
    """What each optimizer remembers of each parameter that it has moved.

    A parameter that never had a gradient has no moments. The parameters of one layer have moments together or
    not at all, unless an update was skipped.
    """
    fields = STATE_FIELDS[trainer.experiment.optimizer]
    complete = []
    for key, (optimizer, network) in trainer.optimizers().items():
        moved: dict[str, set[bool]] = defaultdict(set)
        for name, parameter in network.named_parameters():
            found = {f: tensors[f"{key}.{f}.{name}"] for f in fields if f"{key}.{f}.{name}" in tensors}
            missing = [f"{key}.{f}.{name}" for f in fields if f not in found]
            layer = name.rpartition(".")[0]
            moved[layer].add(bool(found))
            if found and missing:
                raise UserError(f"{where}: damaged, {missing[0]} is missing")
            if len(moved[layer]) > 1 and not skipped[key[-1]]:
                raise UserError(f"{where}: damaged, {key} has no moments of a part of {layer}")
            for field, tensor in found.items():
                shape = torch.Size() if field == "step" else parameter.shape
                if tensor.shape != shape or tensor.dtype != torch.float32:
                    raise UserError(
                        f"{where}: damaged, {key}.{field}.{name} is {tensor.dtype} {tuple(tensor.shape)}, "
                        f"expected {torch.float32} {tuple(shape)}"
                    )
            if found:
                complete.append((optimizer, parameter, found))
    return complete


def _check_others(trainer: Trainer, tensors: Mapping[str, Tensor], where: str) -> None:
    """Numbers are finite, the running mean and the generators' states fit."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UserError(f"{where}: {name} holds NaN or infinite numbers, training cannot go on from it")
    mean = tensors.get("path_mean")
    if mean is None or mean.shape != () or mean.dtype != torch.float32:
        raise UserError(f"{where}: damaged, path_mean is missing or not one number")
    for name, expected in trainer.augment.expected().items():
        found = tensors.get(name)
        if found is not None and (found.shape != expected.shape or found.dtype != expected.dtype):
            raise UserError(f"{where}: damaged, {name} is {found.dtype} {tuple(found.shape)}")
    for name in ("rng.torch", "rng.draws"):
        try:
            torch.Generator().set_state(tensors[name])
        except (KeyError, RuntimeError, TypeError) as error:
            raise UserError(f"{where}: damaged, {name} is no state of a random generator") from error


def part_of(tensors: Mapping[str, Tensor], key: str) -> dict[str, Tensor]:
    """The tensors of the network that a state calls `key`, by their names in it."""
    return {name[len(key) + 1 :]: t for name, t in tensors.items() if name.startswith(f"{key}.")}


def _placed(field: str, value: Tensor, parameter: nn.Parameter) -> Tensor:
    """An optimizer's tensor where and how the optimizer had it: moments laid out like the parameter."""
    if field == "step":  # copied: the optimizer counts in place
        return value.to(parameter.device if parameter.device.type == "cuda" else "cpu", copy=True)
    return torch.empty_like(parameter, requires_grad=False).copy_(value)
