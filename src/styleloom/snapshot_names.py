"""Which file a snapshot is: by path, in a run directory, by the name of a model of the package."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from styleloom import hub
from styleloom.errors import UserError, shown
from styleloom.names import embedded_name
from styleloom.pretrained import EMBEDDED_MODELS

logger = logging.getLogger(__name__)

BEST = "snapshot-best.safetensors"

PICKLE_ENDINGS = (".pkl", ".pickle", ".pt", ".pth")
"""How names of other codes' files of weights end."""

ENDINGS = (".safetensors", *PICKLE_ENDINGS)
"""How names of files of weights end."""

EXPECTED = (
    "a styleloom-snapshot (*.safetensors), a run directory, weights of another code "
    f"({', '.join(f'*{ending}' for ending in PICKLE_ENDINGS)}), hf://owner/name, or an embedded model: "
    f"{', '.join(EMBEDDED_MODELS)}"
)
"""What may be named where a snapshot is wanted."""

_NUMBERED = re.compile(r"snapshot-(\d+)(?:-(\d{3}))?\.safetensors")


def snapshot_name(images_seen: int, earlier: bool = False) -> str:
    """File name of the snapshot after so many images: NNNNNN thousands.

    Args:
        images_seen: of the training.
        earlier: whether a later snapshot has the same thousands: then the remaining images are added,
            NNNNNN-500.
    """
    remainder = f"-{images_seen % 1000:03d}" if earlier else ""
    return f"snapshot-{images_seen // 1000:06d}{remainder}.safetensors"


def numbered_snapshots(folder: Path) -> list[Path]:
    """Snapshots of a run by images seen, oldest first; without the best."""
    found = [(match, p) for p in folder.glob("snapshot-*") if (match := _NUMBERED.fullmatch(p.name))]
    return [p for _, p in sorted(found, key=lambda pair: (int(pair[0][1]), int(pair[0][2] or 1000), pair[1]))]


def is_run(path: Path) -> bool:
    """Whether `path` is a run directory."""
    return os.path.isfile(path / "experiment.json")


def names_weights(given: str) -> bool:
    """Whether `given`, which may name images as well, names a generator: a model of the package, one of a
    hub or a folder of it, or a file that is called like weights. A run directory is told by `is_run`."""
    return (
        embedded_name(given, EMBEDDED_MODELS) is not None
        or hub.is_address(given)
        or os.path.isfile(Path(given) / hub.MODEL)
        or given.endswith(ENDINGS)
    )


def find_snapshot(given: Path | str) -> Path:
    """The snapshot file that a user means by `given`.

    The name of an embedded model means that model (`embedded_name` says when). A run directory means its best
    snapshot where it keeps one, else the newest; which one is logged. `hf://owner/name` is fetched from a
    hub; a folder with what a hub has of a model means that.

    Raises UserError where there is none. That a file is a snapshot is found out by reading it.
    """
    name = embedded_name(given, EMBEDDED_MODELS)
    if name is not None:
        return EMBEDDED_MODELS[name]
    if hub.is_address(given):
        return hub.fetched(str(given))
    path = Path(given)
    if os.path.isfile(path / hub.MODEL):
        return path / hub.MODEL
    if is_run(path):
        files = [p for p in (path / BEST,) if p.is_file()] or numbered_snapshots(path)[-1:]
        if not files:
            raise UserError(f"{shown(path)}: this run has no snapshot (snapshot-*.safetensors) yet")
        logger.info(f"{shown(path)} is a run: its {shown(files[0].name)} is taken")
        return files[0]
    if os.path.isdir(path):
        raise UserError(f"{shown(path)}: is a folder, but no run directory; expected {EXPECTED}")
    if not os.path.lexists(path) and path.suffix != ".safetensors":
        raise UserError(f"{shown(path)}: there is no such file; expected {EXPECTED}")
    return path
