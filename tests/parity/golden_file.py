"""Golden files: reading them, their tolerances, and the comparison."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(os.environ.get("STYLELOOM_GOLDEN") or Path(__file__).parent / "golden")

REMARKS = (
    r" \(ref implementation\)| \(evaluation mode, float32\)|,? \(?factor \d+\)?"
    r"| \(same operation in .*\)|(?<=projector): .*|(?<= Adam) as used by .*"
)

Results: TypeAlias = Mapping[str, Sequence[Tensor]]
"""Ours for each output's name; several where more than one path computes it."""


@dataclass(frozen=True)
class Case:
    """One subcase of a file: the outputs that it accounts for, and how ours are computed."""

    name: str
    outputs: tuple[str, ...]
    run: Callable[[], Results]


class GoldenFile:
    """One file of recorded numbers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with np.load(path) as stored:
            self.arrays = {name: stored[name] for name in stored.files if name != "meta"}
            self.meta: dict[str, Any] = json.loads(str(stored["meta"]))

    def __repr__(self) -> str:
        return self.path.stem

    @property
    def function(self) -> str:
        """The official function, without remarks that the cases do not depend on or read for themselves."""
        return re.sub(REMARKS, "", self.meta["function"])

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Every array under `prefix`, by the rest of its name."""
        names = [name for name in self.arrays if name.startswith(prefix)]
        return {name.removeprefix(prefix): torch.tensor(self.arrays[name]) for name in names}

    @cached_property
    def params(self) -> dict[str, Tensor]:
        return self.tensors("param/")

    @cached_property
    def inputs(self) -> dict[str, Tensor]:
        return self.tensors("in/")

    @cached_property
    def outputs(self) -> dict[str, Tensor]:
        return self.tensors("out/")

    def label(self, name: str) -> Tensor | None:
        """Labels [N, K]; None where the network takes none."""
        labels = self.inputs[name]
        return labels if labels.shape[1] else None


# ---- tolerance


@dataclass(frozen=True)
class Bound:
    """What a difference may be: `limit`, or `limit` of the largest reference value."""

    limit: float
    relative: bool


def bound(text: str, output: str) -> Bound:
    """The bound that a file's tolerance text sets for `output`.

    The text is a list of limits. "for gradients" restricts one to gradients, and names of outputs one to
    them; the first limit is that of everything else.
    """
    clauses = re.split(r"[;,]\s*", text)
    relative = "relative" in clauses[0] or "max|reference|" in clauses[0]
    chosen = _limit(clauses[0])
    for clause in clauses[1:]:
        of_gradients = "for gradients" in clause and is_gradient(output)
        if of_gradients or re.search(rf"\b{re.escape(output)}\b", clause):
            chosen = _limit(clause)
    return Bound(chosen, relative)


def _limit(clause: str) -> float:
    numbers = re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?:e-?\d+)?(?![\w.])", clause)
    assert len(numbers) == 1, f"tolerance not understood: {clause!r}"
    return float(numbers[0])


def is_gradient(output: str) -> bool:
    return re.search(r"(^|/)grad(_\w+)?/", output) is not None


WORST: dict[str, tuple[float, str]] = {}
"""By function: the largest share of a tolerance that was used up, and where."""


def compare(file: GoldenFile, output: str, ours: Tensor) -> None:
    """Assert that ours agree with the recorded `output` within the file's tolerance."""
    reference = file.outputs[output]
    assert ours.shape == reference.shape, f"{output}: {list(ours.shape)} for {list(reference.shape)}"
    difference = (ours.detach().double() - reference.double()).abs().max().item()
    allowed = bound(file.meta["tolerance"], output)
    largest = reference.double().abs().max().item()
    limit = allowed.limit * (largest if allowed.relative else 1.0)
    ratio = difference / limit if limit else (0.0 if difference == 0 else float("inf"))
    if not ratio <= WORST.get(file.function, (-1.0, ""))[0]:
        WORST[file.function] = (ratio, f"{file.path.stem}: {output}")
    assert ratio <= 1, f"{output}: off by {difference:.3g}, allowed {limit:.3g}; values up to {largest:.3g}"
