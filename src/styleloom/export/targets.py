"""Formats of other programs by name: what each writes, and what it can be asked."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import styleloom
from styleloom.atomic import atomic_path
from styleloom.errors import UserError, shown
from styleloom.export.folders import check_folder, whole_folder
from styleloom.file_hash import sha256_of

if TYPE_CHECKING:
    from styleloom.snapshot import Snapshot

RECORD = "export.json"
"""In a folder that was exported: what is in it and where it came from."""


@dataclass(frozen=True)
class Options:
    """What an export can be asked; `Target.options` says which ones a format takes.

    Args:
        noise: where a graph has its noise from: the maps stored with the network, an input for each, none.
        half: keep weights as float16.
        runtime: folder of the npm package onnxruntime-web; None for the one in the user's cache.
        license: of the weights, for a card; None for that of their origin.
        evaluation: what `styleloom evaluate --json` printed of this snapshot, for a card.
    """

    noise: Literal["fixed", "input", "none"] = "fixed"
    half: bool = False
    runtime: Path | None = None
    license: str | None = None
    evaluation: tuple[Path, ...] = ()


Write: TypeAlias = "Callable[[Snapshot, Path, Options], dict[str, Any]]"
"""A snapshot to a file, or into an empty folder; returns what is worth knowing of it, as JSON."""


@dataclass(frozen=True)
class Target:
    """A format.

    Args:
        module: where its `export` is, a `Write`.
        suffix: end of the file's name, as is usual; None for a folder of files.
        options: fields of `Options` that mean something.
        trained: whether it holds the networks in training as well, where there are any.
    """

    module: str
    suffix: str | None
    options: tuple[str, ...] = ()
    trained: bool = False

    def write(self, snapshot: Snapshot, out: Path, options: Options) -> dict[str, Any]:
        """Import the module and run it."""
        function: Write = importlib.import_module(self.module).export
        return function(snapshot, out, options)


TARGETS: dict[str, Target] = {
    "tf-pickle": Target("styleloom.export.tf_pickle", ".pkl", trained=True),
    "rosinality": Target("styleloom.export.rosinality", ".pt", trained=True),
    "onnx": Target("styleloom.export.onnx_file", None, ("noise", "half")),
    "pt2": Target("styleloom.export.pt2", None, ("noise",)),
    "browser": Target("styleloom.export.browser", None, ("half", "runtime")),
    "hub": Target("styleloom.export.hub_folder", None, ("license", "evaluation")),
}


def export(
    snapshot: Snapshot, out: Path, to: str, options: Options, overwrite: bool = False
) -> dict[str, Any]:
    """Write a snapshot to `out` in the format `to`, one of `TARGETS`; what was written, as JSON.

    Raises UserError for what the format cannot say, and for files in the way.
    """
    target = TARGETS[to]
    about = {"to": to, "snapshot_sha256": snapshot.sha256, "styleloom": styleloom.__version__}
    check_place(out, target, overwrite)
    if target.suffix is None:
        with whole_folder(out, overwrite) as folder:
            record = {**about, **target.write(snapshot, folder, options)}
            (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        return record
    with atomic_path(out) as partial:
        record = {**about, **target.write(snapshot, partial, options)}
    return {**record, "bytes": out.stat().st_size, "sha256": sha256_of(out)}


def check_place(out: Path, target: Target, overwrite: bool) -> None:
    """Raise UserError where `out` cannot be what is written there."""
    if target.suffix is None:
        if out.suffix in (".onnx", ".pt2"):
            raise UserError(f"{shown(out)}: the export is a folder of several files; name a folder")
        return check_folder(out, overwrite)
    if out.suffix != target.suffix:
        raise UserError(f"{shown(out)}: not a valid name for this export; one that ends with {target.suffix}")
    if out.exists() and not overwrite:
        raise UserError(f"{shown(out)}: there already; replace it with --overwrite")
    return None
