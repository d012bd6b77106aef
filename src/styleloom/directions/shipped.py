"""Directions that come with the models of the package, told by the hash of the snapshot they belong to."""

from __future__ import annotations

from pathlib import Path

from styleloom.directions.direction_set import ENDING, Directions, load_directions
from styleloom.pretrained import FOLDER

NAME = f"named{ENDING}"
"""In the folder of a model."""


def shipped_directions(snapshot_sha256: str | None, folder: Path = FOLDER) -> Directions | None:
    """Those of the snapshot with this hash, hex; None where no model has them."""
    if snapshot_sha256 is None:
        return None
    for path in sorted(folder.glob(f"*/{NAME}")):
        found = load_directions(path)
        if found.document.get("snapshot_sha256") == snapshot_sha256:
            return found
    return None
