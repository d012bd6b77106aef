"""The machine and software on which a number was measured: device, threads, versions."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch

SETS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
"""Instruction sets that decide about speed; the names of virtual machines' processors say little."""


def describe_machine(device: torch.device) -> str:
    """Processor or accelerator, threads, versions of torch and Python, in one line."""
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    return f"{hardware(device)}, {torch.get_num_threads()} threads, {versions}"


def record(device: torch.device) -> dict[str, Any]:
    """What `describe_machine` says, as JSON, with the versions of the libraries that compute numbers."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {"python": platform.python_version()}
    for name in ("styleloom", "numpy", "scipy", "scikit-learn", "pillow"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    versions["torch"] = str(torch.__version__)  # with its build: 2.6.0+cu124
    return {
        "device": device.type,
        "hardware": hardware(device),
        "threads": torch.get_num_threads(),
        "versions": versions,
    }


def hardware(device: torch.device) -> str:
    """Name of the accelerator, or of the processor with its instruction sets."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = fields.get("flags", "").split()
    name = fields.get("model name", platform.machine())
    return f"{name} ({', '.join(s for s in SETS if s in flags)})"
