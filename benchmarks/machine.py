"""Where a number was measured, and where it is kept."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from styleloom.cli.report import print_json

RESULTS = Path(__file__).parent / "results"


def describe(device: torch.device) -> str:
    """Processor or accelerator, threads, torch version."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = _processor()
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    return f"{name}, {torch.get_num_threads()} threads, {versions}"


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


def _processor() -> str:
    """Model, and the instruction sets that decide: names alone say little on virtual machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = fields.get("flags", "").split()
    sets = [s for s in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if s in flags]
    return f"{fields.get('model name', platform.machine())} ({', '.join(sets)})"
