"""What tests of presets share: what a row changes, and numbers by resolution as in the papers' tables."""

from __future__ import annotations

from typing import Any

from styleloom import presets
from styleloom.config import ByResolution
from styleloom.config.serialize import differences

SIDES = (4, 8, 16, 32, 64, 128, 256, 512, 1024)


def changed(before: str, after: str) -> dict[str, Any]:
    """The new values of what the preset `after` changes in `before`, name and source left out."""
    pairs = differences(presets.get(before), presets.get(after))
    return {name: new for name, (_, new) in pairs.items() if name not in ("name", "source")}


def values(table: ByResolution, first: int = 4) -> list[float]:
    """Values at the resolutions of the papers, from `first` px on."""
    return [table(side) for side in SIDES if side >= first]
