"""Files of landmarks: FFHQ's JSON, or names with points."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from styleloom.data.faces.alignment import Points
from styleloom.data.label_files import some
from styleloom.data.labels import same_name
from styleloom.errors import UserError, quoted, shown

_MAX_BYTES = 2**31
_COUNTS = (5, 68)
_EXPECTED = (
    'expected FFHQ\'s metadata {"0": {"in_the_wild": {"file_path": ..., "face_landmarks": [[x, y], ...]}}}, '
    'or {"name.jpg": [[x, y], ...]}, with 68 or 5 points, or a list of such lists for several faces'
)


def read_landmarks(path: Path, names: Sequence[str]) -> dict[str, list[Points]]:
    """The faces of each image in `names`.

    Raises UserError: not such a file, or images without landmarks, all named at once.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(f"landmarks {shown(path)}: larger than {_MAX_BYTES:,} bytes")
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"landmarks {shown(path)}: cannot be read ({error}); {_EXPECTED}") from error
    if not isinstance(content, dict):
        raise UserError(f"landmarks {shown(path)}: {_EXPECTED}")
    faces: dict[str, list[Points]] = {}
    problems: list[str] = []
    for key, value in content.items():
        try:
            name, found = _entry(key, value)
        except ValueError as error:
            problems.append(f"{quoted(key)}: {error}")
        else:
            faces.setdefault(same_name(name), []).extend(found)
    if problems:
        raise UserError(f"landmarks {shown(path)}: {some(problems)}; {_EXPECTED}")
    by_last: dict[str, list[str]] = {}
    for key in faces:
        by_last.setdefault(key.rpartition("/")[2], []).append(key)
    matched = {name: _of(same_name(name), faces, by_last) for name in names}
    missing = [shown(name) for name, found in matched.items() if not found]
    if missing:
        raise UserError(f"landmarks {shown(path)}: {len(missing)} images without landmarks: {some(missing)}")
    return matched


def _entry(key: str, value: Any) -> tuple[str, list[Points]]:
    """Name and faces of one entry. Raises ValueError."""
    if isinstance(value, Mapping):
        inner = value.get("in_the_wild", value)
        if not isinstance(inner, Mapping) or not isinstance(inner.get("file_path", key), str):
            raise ValueError("no file_path")
        return inner.get("file_path", key), [_points(inner.get("face_landmarks"))]
    if isinstance(value, list) and value and isinstance(value[0], list):
        nested = bool(value[0]) and isinstance(value[0][0], list)
        return key, [_points(one) for one in value] if nested else [_points(value)]
    raise ValueError("no points")


def _points(value: Any) -> Points:
    """Raises ValueError unless there are 5 or 68 places."""
    try:
        points = np.array(value, np.float64)
    except (TypeError, ValueError):
        raise ValueError("its points are no pairs of numbers") from None
    if (
        points.ndim != 2
        or points.shape[1] != 2
        or len(points) not in _COUNTS
        or not np.isfinite(points).all()
    ):
        raise ValueError(f"points of shape {list(points.shape)}; valid: 68 or 5 pairs of finite numbers")
    return points


def _of(name: str, faces: Mapping[str, list[Points]], by_last: Mapping[str, list[str]]) -> list[Points]:
    """By the whole name, or without the folders before it that the source leaves out or has in addition."""
    if name in faces:
        return faces[name]
    alike = by_last.get(name.rpartition("/")[2], [])
    ends = [key for key in alike if key.endswith(f"/{name}") or name.endswith(f"/{key}")]
    return faces[ends[0]] if len(ends) == 1 else []
