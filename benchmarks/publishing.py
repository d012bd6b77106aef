"""How a benchmark prints what it measured, and keeps it in benchmarks/results."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from styleloom.cli.report import print_json

RESULTS = Path(__file__).parent / "results"


@dataclass
class Published:
    """The flags of benchmarks that compare variants on a device."""

    device: str = "auto"
    """auto, cpu, cuda."""
    json: bool = False
    """Print one JSON document."""
    save: bool = False
    """Write it under benchmarks/results, too."""


def ratio_spread(plain: Sequence[float], ours: Sequence[float]) -> list[float]:
    """The least and the largest of how many times as long plain took, over the rounds."""
    ratios = [a / b for a, b in zip(plain, ours, strict=True)]
    return [min(ratios), max(ratios)]


def record(name: str, document: dict[str, Any]) -> Path:
    """Add a dated document to results/NAME.jsonl."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.jsonl"
    line = {"date": datetime.date.today().isoformat()} | document
    with open(path, "a") as file:
        file.write(json.dumps(line) + "\n")
    return path


def publish(
    name: str, document: dict[str, Any], save: bool, as_json: bool, show: Callable[[dict[str, Any]], None]
) -> None:
    """Keep a document if asked to, and print it, as JSON or by `show`."""
    if save:
        record(name, document)
    if as_json:
        print_json(document)
    else:
        show(document)
