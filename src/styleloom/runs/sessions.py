"""sessions.jsonl: a line for every process that trained the run: when, from which step, on which machine."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from styleloom import environment
from styleloom.errors import UserError, shown
from styleloom.file_kinds import readable_file
from styleloom.training.trainer import Trainer

NAME = "sessions.jsonl"


def record_session(folder: Path, trainer: Trainer) -> None:
    """Add the session that begins now."""
    line = {
        "began": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "step": trainer.step_count,
        "images_seen": trainer.images_seen,
        "precision": trainer.experiment.precision,
        "machine": environment.record(trainer.device),
    }
    path = folder / NAME
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise UserError(f"cannot write {shown(path)}: {error.strerror}") from error


def read_sessions(folder: Path) -> list[dict[str, Any]]:
    """Every session, oldest first; lines that are damaged are left out, and older runs have none."""
    path = folder / NAME
    if not path.exists():
        return []
    readable_file(path, "the sessions of a run")
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(document, dict) and isinstance(document.get("machine"), dict):
            found.append(document)
    return found
