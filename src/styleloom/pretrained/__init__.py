"""Trained generators that come with the package, each with its experiment, statistics and grids beside it."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent

EMBEDDED_MODELS: dict[str, Path] = {"emoji-64": FOLDER / "emoji-64" / "snapshot.safetensors"}
"""Snapshots by name; `snapshot_names` says when a name means one."""
