"""What states and snapshots say of themselves, in their names and headers; no tensor is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from styleloom.errors import UserError
from styleloom.snapshot import FORMAT as SNAPSHOT_FORMAT
from styleloom.tensor_file import open_tensors
from styleloom.training.health import recorded_complaint

STATE_FORMAT = "styleloom-state"


def state_name(step: int) -> str:
    """Name of the file of the state after `step` steps."""
    return f"state-{step:09d}.safetensors"


def step_of(state: Path) -> int:
    """Steps that a state was taken after."""
    return number_of(state)


def number_of(file: Path) -> int:
    """The number after the last hyphen of a file's name, -1 where there is none."""
    digits = file.stem.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else -1


def state_document(state: Path) -> dict[str, Any]:
    """The document of a state; empty where it cannot be read."""
    return _document(state, STATE_FORMAT)


def is_healthy_state(state: Path) -> bool:
    """Whether training could go on from a state (`training/health.py`)."""
    document = state_document(state)
    counters: Any = document.get("counters")
    named_right = isinstance(counters, dict) and counters.get("step") == step_of(state)
    return named_right and recorded_complaint(document) is None


def is_healthy_snapshot(snapshot: Path) -> bool:
    """Whether a snapshot can be read and has no complaint about its weights."""
    return _info(snapshot).get("complaint") is None


def images_seen_of(snapshot: Path) -> int | None:
    """Images seen when a snapshot was taken; None where the file is absent or cannot be read."""
    seen = _info(snapshot).get("images_seen")
    return seen if isinstance(seen, int) else None


def prune(files: list[Path], keep: int, healthy: Callable[[Path], bool]) -> None:
    """Remove all but the latest `keep` files and the latest healthy one; 0 keeps all."""
    if not keep or len(files) <= keep:
        return
    good = next(filter(healthy, reversed(files)), None)
    for file in files[:-keep]:
        if file != good:
            file.unlink(missing_ok=True)


def _info(snapshot: Path) -> dict[str, Any]:
    """What a snapshot records; one that cannot be read is not healthy."""
    info = _document(snapshot, SNAPSHOT_FORMAT).get("info")
    return info if isinstance(info, dict) else {"complaint": "damaged"}


def _document(file: Path, expected: str) -> dict[str, Any]:
    try:
        with open_tensors(file, expected) as opened:
            return opened.document
    except UserError:
        return {}
