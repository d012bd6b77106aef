"""Devices, and the arithmetic of the convolutions of generators and discriminators."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import torch
from torch import nn

from styleloom.config.checks import one_of
from styleloom.config.experiment import Precision
from styleloom.errors import UserError, nearest, quoted
from styleloom.networks.assembly import Trunk

DEVICES = ("auto", "cpu", "cuda", "mps")


def resolve_device(name: str) -> torch.device:
    """ "auto" is CUDA, else Apple's MPS, else the CPU. Raises UserError for a device that is not there."""
    kind, colon, number = name.partition(":")
    if kind not in DEVICES or (colon and (kind == "auto" or not number.isdecimal())):
        raise UserError(
            f"device: {quoted(name)} is not valid, {nearest(name, DEVICES)}choose from "
            f"{', '.join(DEVICES)}, cuda:1"
        )
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(k for k, there in available.items() if there))
    if not available[kind]:
        there = ", ".join(k for k, yes in available.items() if yes)
        raise UserError(f"device: {quoted(name)} is not available on this machine; available: {there}")
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if colon and int(number) >= count:
        raise UserError(
            f"device: {quoted(name)} is not available; this machine has {kind}:0 to {kind}:{count - 1}"
        )
    return torch.device(name)


def cpu_has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 natively (AVX-512 BF16 or AMX)."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def resolve_precision(precision: Precision, device: torch.device) -> Precision:
    """The precision that "auto" means on `device`; any other precision stays.

    CPU: bf16 where the processor has it natively, else fp32. CUDA: tf32. Others: fp32. The choice rests on
    measurements (results/precision.md). Raises UserError for tf32 without CUDA.
    """
    one_of("precision", precision, get_args(Precision))
    if precision == "tf32" and device.type != "cuda":
        raise UserError(
            f"precision: tf32 needs a CUDA device, this is {device.type}; valid: auto, fp32, bf16"
        )
    if precision != "auto":
        return precision
    if device.type == "cpu":
        return "bf16" if cpu_has_bf16() else "fp32"
    return "tf32" if device.type == "cuda" else "fp32"


def set_precision(precision: Precision, device: torch.device, *networks: nn.Module) -> None:
    """Apply a resolved precision to networks and, on CUDA, to the process's TF32 switches.

    The switches are on for tf32, and for bf16, whose remaining float32 products use TF32.
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    for network in networks:
        for module in network.modules():
            if isinstance(module, Trunk):
                module.trunk_dtype = dtype
    if device.type == "cuda":
        allowed = precision in ("tf32", "bf16")
        _allow_tf32(allowed, allowed)


@contextlib.contextmanager
def full_precision(*networks: nn.Module) -> Iterator[None]:
    """float32 in `networks`, and TF32 off in the process; afterwards all is as before.

    Metrics are computed in it: the steps of 1e-4 that PPL takes along a path vanish in lower precision, and a
    metric should not depend on the fastest arithmetic of a device.
    """
    trunks = [m for network in networks for m in network.modules() if isinstance(m, Trunk)]
    dtypes = [trunk.trunk_dtype for trunk in trunks]
    backends = torch.backends
    allowed = bool(backends.cuda.matmul.allow_tf32), bool(backends.cudnn.allow_tf32)
    try:
        for trunk in trunks:
            trunk.trunk_dtype = torch.float32
        _allow_tf32(False, False)
        yield
    finally:
        for trunk, dtype in zip(trunks, dtypes, strict=True):
            trunk.trunk_dtype = dtype
        _allow_tf32(*allowed)


def _allow_tf32(in_products: bool, in_convolutions: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = in_products
    torch.backends.cudnn.allow_tf32 = in_convolutions
