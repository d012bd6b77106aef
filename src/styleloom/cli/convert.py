"""`styleloom convert`: a snapshot of ours from a file of another code, or with networks for other images."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from styleloom.cli.report import print_json, say
from styleloom.cli.sheets import check_free
from styleloom.config.overrides import value_text
from styleloom.errors import UserError, shown

if TYPE_CHECKING:
    from styleloom.snapshot import Snapshot

logger = logging.getLogger(__name__)


@dataclass
class Convert:
    """Make a snapshot from a file of another code, or one with networks for other images."""

    file: tyro.conf.Positional[str]
    """A file of another code (*.pkl, *.pt, *.pth), a snapshot, a run, hf://owner/name, or an embedded
    model."""
    out: tyro.conf.Positional[Path]
    """The new snapshot, NAME.safetensors."""
    which: Literal["ema", "raw"] = "ema"
    """The generator: the average, or the one in training."""
    keep: Literal["average", "full"] = "average"
    """average: one generator. full: generator in training and discriminator as well, for `train --init`."""
    resolution: int | None = None
    """Side of the images, px: levels are added or removed."""
    grid: str | None = None
    """Height,width of the lowest level, px: 4,6 makes 3:2 images of networks for square ones."""
    channels: int | None = None
    """Of the images: 1, 3 or 4."""
    labels: int | None = None
    """Number of classes, for networks without labels."""
    overwrite: bool = False
    """Replace a file that is there already."""
    json: bool = False
    """Print one JSON document."""

    def run(self) -> int:
        """Write the snapshot; 0."""
        if self.out.suffix != ".safetensors":
            raise UserError(f"OUT: {shown(self.out)} is not valid; a name that ends with .safetensors")
        check_free("out", [self.out], self.overwrite)
        grid = self._grid()
        from styleloom.snapshot import write_snapshot  # late: torch takes seconds to import
        from styleloom.surgery import Change, operate

        given = self._read()
        made = operate(given, Change(self.labels, self.channels, grid, self.resolution))
        info = dict(made.info)
        info["converted"] = {"file": _name(given), "sha256": given.sha256}
        write_snapshot(self.out, made.generator, made.experiment, made.raw, made.discriminator, **info)
        _note_licence(info)
        if self.json:
            print_json({"file": str(self.out), "networks": _networks(made), **info})
            return 0
        say(f"{shown(self.out)}: {made.experiment.name}, {', '.join(_networks(made))}")
        changes: list[dict[str, Any]] = info.get("surgery", [])
        for change in changes[len(given.info.get("surgery", [])) :]:
            new = f"; {len(change['fresh'])} tensors are fresh" if change["fresh"] else ""
            say(f"{change['field']}: {value_text(change['from'])} -> {value_text(change['to'])}{new}")
        return 0

    def _grid(self) -> tuple[int, ...] | None:
        if self.grid is None:
            return None
        sides = self.grid.split(",")
        if len(sides) != 2 or not all(side.strip().isdecimal() for side in sides):
            raise UserError(f"--grid: {shown(self.grid)} is not valid; HEIGHT,WIDTH, for example 4,6")
        return tuple(int(side) for side in sides)

    def _read(self) -> Snapshot:
        """The snapshot to convert, with what --which and --keep ask for."""
        from styleloom.runs.initial import read_networks

        found = read_networks(self.file)
        if self.which == "raw":
            if found.raw is None:
                raise UserError(f"--which raw: {shown(self.file)} does not hold the generator in training")
            origin = found.info.get("origin")
            changed = {"origin": {**origin, "network": "G"}} if isinstance(origin, dict) else {}
            info = found.info | changed
            found = replace(found, generator=found.raw, info=info)
        return found if self.keep == "full" else replace(found, raw=None, discriminator=None)


def _name(snapshot: Snapshot) -> str | None:
    return None if snapshot.path is None else snapshot.path.name


def _networks(snapshot: Snapshot) -> list[str]:
    """What a snapshot holds, in words."""
    there = {
        "generator": True,
        "generator in training": snapshot.raw,
        "discriminator": snapshot.discriminator,
    }
    return [name for name, network in there.items() if network is not None]


def _note_licence(info: dict[str, Any]) -> None:
    """Log under whose licence the weights stay."""
    origin = info.get("origin")
    if isinstance(origin, dict):
        licence = origin.get("licence") or "a licence that the file does not tell"
        logger.warning(f"the weights stay under the licence of their origin: {shown(licence)}")
