"""Trained generators that come with the package, each with its experiment, statistics and grids beside it."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent

EMBEDDED_MODELS: dict[str, Path] = {
    path.parent.name: path for path in sorted(FOLDER.glob("*/snapshot.safetensors"))
}
"""Snapshots by name: all that `scripts/ship_model.py` has put here. `snapshot_names` says when a name means
one."""
