"""experiment.json: what a run trains, and on which data. A folder with this file is a run."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from styleloom.atomic import write_text
from styleloom.config import Experiment, from_json, to_json
from styleloom.errors import UserError, quoted, shell_word, shown
from styleloom.file_kinds import readable_file
from styleloom.runs import lock
from styleloom.runs.records import state_document, step_of
from styleloom.tensor_file import DOCUMENT_CHARACTERS

logger = logging.getLogger(__name__)

NAME = "experiment.json"


def write_experiment(folder: Path, experiment: Experiment, data: dict[str, Any]) -> None:
    """Record what the run in `folder` trains, and on which data."""
    document = {"experiment": to_json(experiment), "data": data}
    write_text(folder / NAME, json.dumps(document, indent=2) + "\n")


def read_experiment(folder: Path, states: Sequence[Path]) -> tuple[Experiment, dict[str, Any]]:
    """What `write_experiment` recorded. Raises UserError when `folder` is no run.

    Where experiment.json is gone, the run's latest state that can be read says the same. A damaged one
    may hold an edit of the user's: it is refused, with the advice to remove it.

    Args:
        folder: of the run.
        states: of the run, oldest first.
    """
    file = folder / NAME
    try:
        document = _document(file)
    except UserError as error:
        found = _document_of_states(states)
        if found is None:
            raise
        if os.path.lexists(file):
            raise UserError(
                f"{error}; mend it, or remove it: the run's latest state says what it said"
            ) from error
        logger.warning(f"{error}; what it said is taken from the run's latest state")
        document = found
    try:
        return from_json(document["experiment"]), document["data"]
    except UserError as error:
        raise UserError(f"{shown(file)}: {error}") from error


def _document(file: Path) -> dict[str, Any]:
    """What experiment.json holds. Raises UserError where that is no experiment with its data."""
    try:
        size = os.stat(file).st_size
    except PermissionError as error:
        raise UserError(f"{shown(file)}: permission denied, this user may not read it") from error
    except OSError as error:
        raise _no_run(file.parent, error) from error
    readable_file(file, "the document of a run")
    if size > DOCUMENT_CHARACTERS:
        raise UserError(f"{shown(file)}: damaged, it has {size:,} bytes, at most {DOCUMENT_CHARACTERS:,}")
    try:
        document = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{shown(file)}: damaged, no JSON ({quoted(str(error))})") from error
    if not _describes_a_run(document):
        raise UserError(f"{shown(file)}: damaged, it has no experiment with its data")
    return document


def _document_of_states(states: Sequence[Path]) -> dict[str, Any] | None:
    """What the latest state that can be read says; None where no state says what the run trains.

    The state of step 0 does not count: it is written before experiment.json makes the folder a run.
    """
    later = [state for state in states if step_of(state) > 0]
    found = next(filter(None, map(state_document, reversed(later))), None)
    return found if _describes_a_run(found) else None


def _no_run(folder: Path, error: OSError) -> UserError:
    """What to say of a folder without experiment.json."""
    if (folder / lock.NAME).exists():
        return UserError(
            f"{shown(folder)}: this run was ended before its first state was complete; start it again, with "
            f"the same --out {shell_word(folder)}"
        )
    return UserError(f"{shown(folder)}: not a run directory, {NAME}: {error.strerror}")


def _describes_a_run(document: Any) -> bool:
    return isinstance(document, dict) and all(
        isinstance(document.get(part), dict) for part in ("experiment", "data")
    )
