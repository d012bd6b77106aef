"""Which phases call the compiled networks. `test_trainer.py` compiles in earnest, for minutes."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from styleloom.networks.assembly import SynthesisTrunk
from styleloom.training.trainer import Trainer
from tiny import make_archive, opened, tiny


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Calls of the networks that were given to torch.compile: all, and those of what it returned."""
    counted: Counter[str] = Counter()

    def fake_compile(network: nn.Module) -> Callable[..., Any]:
        name = "G" if isinstance(network, SynthesisTrunk) else "D"
        network.register_forward_hook(lambda *_: counted.update([name]))

        def compiled(*args: Any, **kwargs: Any) -> Any:
            counted[f"compiled {name}"] += 1
            return network(*args, **kwargs)

        return compiled

    monkeypatch.setattr(torch, "compile", fake_compile)
    return counted


def test_compiled_networks_serve_the_phases_without_second_derivatives(
    calls: Counter[str], tmp_path: Path
) -> None:
    """Both main phases call what torch.compile returns; path length and R1 call the networks themselves."""

    def step(trainer: Trainer) -> Counter[str]:
        calls.clear()
        trainer.step()
        return calls

    dataset = opened(make_archive(tmp_path))
    regularized = ("g_regularizer.every=2", "d_regularizer.every=2")
    with contextlib.closing(Trainer(tiny("compile=first-order", *regularized), dataset, "cpu")) as trainer:
        assert step(trainer) == {"compiled G": 2, "G": 3, "compiled D": 2, "D": 3}  # with both regularizers
        assert step(trainer) == {"compiled G": 2, "G": 2, "compiled D": 2, "D": 2}  # without
    with contextlib.closing(Trainer(tiny("compile=none"), dataset, "cpu")) as trainer:
        assert not step(trainer)
