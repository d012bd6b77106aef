"""What is kept of weights is what would be formed anew, also after they change."""

from __future__ import annotations

import copy

import torch
from torch import nn

from styleloom.ops.derived import constant, derived
from styleloom.ops.modulated_conv import ModulatedSettings, modulated_layer


def squares(w: torch.Tensor) -> torch.Tensor:
    return w.square()


def test_kept_until_the_weights_change() -> None:
    network = nn.Linear(4, 3).requires_grad_(False)
    w = network.weight
    with torch.no_grad():
        assert derived(w, "squares", squares) is not derived(w, "squares", squares)
        constant(network)
        first = derived(w, "squares", squares)
        assert derived(w, "squares", squares) is first
        assert derived(first, "more", squares) is derived(first, "more", squares)
        assert torch.equal(derived(w, "more", lambda w: w + 1), w + 1)
        w.add_(1)
        assert torch.equal(derived(w, "squares", squares), w.square())
        w.data = torch.randn(3, 4)
        assert torch.equal(derived(w, "squares", squares), w.square())
    with torch.inference_mode():
        found = derived(w, "squares", squares)
        assert derived(w, "squares", squares) is found
        assert not found.is_inference()
    assert derived(w, "squares", squares) is not derived(w, "squares", squares)  # where graphs are recorded
    with torch.no_grad():
        copied = copy.deepcopy(network)
        assert derived(copied.weight, "squares", squares) is not derived(copied.weight, "squares", squares)


def test_layers_give_the_same_bits_with_and_without() -> None:
    network = nn.Conv2d(8, 6, 3).requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore
    constant(network)
    w = network.weight
    x = torch.randn(1, 8, 4, 4).contiguous(memory_format=torch.channels_last)
    style, bias = torch.rand(1, 8) + 0.5, torch.randn(6)
    for dtype in (torch.float32, torch.bfloat16):
        for settings in (ModulatedSettings(), ModulatedSettings(resample="up", taps=(1, 3, 3, 1))):
            given = (x.to(dtype), w, style, bias, 0.1, settings)
            with torch.no_grad():
                first, again = modulated_layer(*given), modulated_layer(*given)
            alone = modulated_layer(x.to(dtype), w.clone().requires_grad_(), style, bias, 0.1, settings)
            assert torch.equal(first, again)
            assert torch.equal(first, alone.detach())
