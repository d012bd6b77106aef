"""Devices and precisions, by name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
import torch

from every import every
from styleloom import precision
from styleloom.errors import UserError
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.precision import (
    cpu_has_bf16,
    full_precision,
    resolve_device,
    resolve_precision,
    set_precision,
)
from tiny import tiny

CPU = torch.device("cpu")


def test_the_cpu_is_always_there() -> None:
    assert resolve_device("cpu") == CPU
    assert resolve_device("cpu:0").type == "cpu"


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto(cuda: bool, mps: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert resolve_device("auto").type == expected


@every(
    ("name", "message"),
    [
        ("gpu", "device: 'gpu' is not valid, .*choose from auto, cpu, cuda, mps"),
        ("cdua", "did you mean 'cuda'"),
        ("", "device: '' is not valid"),
        ("auto:1", "device: 'auto:1' is not valid"),
        ("cpu:x", "device: 'cpu:x' is not valid"),
        ("cpu:", "device: 'cpu:' is not valid"),
        ("cpu:1", "device: 'cpu:1' is not available; this machine has cpu:0 to cpu:0"),
        ("cuda", "device: 'cuda' is not available on this machine; available: cpu"),
        ("cuda:1", "device: 'cuda:1' is not available on this machine"),
    ],
)
def test_devices_that_are_not_there(name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError, match=message):
        resolve_device(name)


def test_a_second_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(UserError, match="'cuda:2' is not available; this machine has cuda:0 to cuda:1"):
        resolve_device("cuda:2")


def test_auto_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_precision("auto", CPU) == ("bf16" if cpu_has_bf16() else "fp32")
    for has, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(precision, "cpu_has_bf16", lambda has=has: has)
        assert resolve_precision("auto", CPU) == expected
    assert resolve_precision("auto", torch.device("cuda")) == "tf32"
    assert resolve_precision("auto", torch.device("mps")) == "fp32"


def test_precision_is_taken_as_asked() -> None:
    for name in ("fp32", "bf16"):
        assert resolve_precision(name, CPU) == name
    assert resolve_precision("tf32", torch.device("cuda")) == "tf32"
    with pytest.raises(
        UserError, match="precision: tf32 needs a CUDA device, this is cpu; valid: auto, fp32"
    ):
        resolve_precision("tf32", CPU)
    with pytest.raises(UserError, match="precision: 'fp16' is not valid, did you mean 'bf16'"):
        resolve_precision("fp16", CPU)  # type: ignore[arg-type]


def test_bf16_is_close_to_fp32() -> None:
    g, d = build_generator(tiny().generator), build_discriminator(tiny().discriminator)
    z = torch.randn(4, 16)
    with torch.no_grad():
        exact = g(z, noise="fixed")
        logits = d(exact)
        set_precision("bf16", CPU, g, d)
        rounded = g(z, noise="fixed")
        assert rounded.dtype == torch.float32
        assert 0 < (rounded - exact).abs().max() < 0.05 * exact.abs().max()
        assert (d(exact) - logits).abs().max() < 0.05 * logits.abs().max() + 0.01
        set_precision("fp32", CPU, g, d)
        assert torch.equal(g(z, noise="fixed"), exact)


# ---- the process's TF32 switches


@pytest.fixture
def switches() -> Iterator[Callable[..., tuple[bool, bool]]]:
    """Sets both switches where it is given values, of products and of convolutions; returns what they are."""

    def now(*values: bool) -> tuple[bool, bool]:
        if values:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = values
        return bool(torch.backends.cuda.matmul.allow_tf32), bool(torch.backends.cudnn.allow_tf32)

    before = now()
    yield now
    now(*before)


STATES = [(False, False), (True, False), (False, True), (True, True)]


def test_precision_sets_the_switches_of_cuda(switches: Callable[..., tuple[bool, bool]]) -> None:
    """tf32 and bf16 allow TF32 for what stays float32, fp32 forbids it; on the CPU nothing is set."""
    for state in STATES:
        for name, allowed in (("tf32", True), ("bf16", True), ("fp32", False)):
            switches(*state)
            set_precision(name, torch.device("cuda"))
            assert switches() == (allowed, allowed)
        for name in ("bf16", "fp32"):
            switches(*state)
            set_precision(name, CPU)
            assert switches() == state


def test_full_precision_is_without_tf32_and_puts_all_back(
    switches: Callable[..., tuple[bool, bool]],
) -> None:
    """Also when what is computed fails."""
    trunk = build_discriminator(tiny().discriminator)
    for state in STATES:
        for dtype in (torch.bfloat16, torch.float32):
            for fails in (False, True):
                switches(*state)
                trunk.trunk_dtype = dtype
                with contextlib.suppress(ZeroDivisionError), full_precision(trunk):
                    assert switches() == (False, False)
                    assert trunk.trunk_dtype == torch.float32
                    if fails:
                        raise ZeroDivisionError
                assert switches() == state
                assert trunk.trunk_dtype == dtype
