"""The comparison itself: how tolerance texts are read, and that it can fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from every import every

from .golden_file import Bound, GoldenFile, bound, compare

LOSSES = (
    "max abs difference <= 5e-5 * max|reference| for values, 3e-4 * max|reference| for gradients (float32)"
)


@every(
    ("text", "output", "expected"),
    [
        ("max abs difference <= 3e-5 * max|reference| (float32)", "images", Bound(3e-5, True)),
        ("max abs difference <= 1e-5 * max|reference|", "lazy16", Bound(1e-5, True)),
        ("1e-9", "config_f/lod", Bound(1e-9, False)),
        (LOSSES, "G_wgan/loss", Bound(5e-5, True)),
        (LOSSES, "D_r1/rec/gradient_penalty", Bound(5e-5, True)),
        (LOSSES, "D_r1/grad_reg/4x4/Conv/weight", Bound(3e-4, True)),
        ("a <= 3e-5 * max|reference| (float32), 3e-4 for gradients", "x/grad_d/w", Bound(3e-4, True)),
        ("a <= 1e-4 * max|reference|; lr and strength 1e-6 relative", "lr", Bound(1e-6, True)),
        ("a <= 1e-4 * max|reference|; lr and strength 1e-6 relative", "mean", Bound(1e-4, True)),
    ],
)
def test_bound(text: str, output: str, expected: Bound) -> None:
    assert bound(text, output) == expected


def test_tolerance_that_is_not_understood() -> None:
    with pytest.raises(AssertionError, match="not understood"):
        bound("as close as possible", "images")


@every("ours", [[2.0, 4.001], [2.0, float("nan")], [2.0], [[2.0, 4.0]]])
def test_compare_fails(tmp_path: Path, ours: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{compare.__module__}.WORST", {})
    meta = json.dumps({"function": "f", "tolerance": "max abs difference <= 1e-4 * max|reference|"})
    arrays: dict[str, Any] = {"out/y": np.array([2.0, 4.0], "f4"), "meta": np.array(meta)}
    np.savez(tmp_path / "a.npz", **arrays)
    file = GoldenFile(tmp_path / "a.npz")
    compare(file, "y", torch.tensor([2.0, 4.0003]))
    with pytest.raises(AssertionError, match="y: "):
        compare(file, "y", torch.tensor(ours))
