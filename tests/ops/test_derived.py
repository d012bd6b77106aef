"""What is kept of weights is what would be formed anew, also after they change."""

from __future__ import annotations

import torch
from torch import nn

from styleloom.ops.derived import derived
from styleloom.ops.modulated_conv import ModulatedSettings, modulated_layer
from styleloom.training.ema import update_ema


def squares(w: torch.Tensor) -> torch.Tensor:
    return w.square()


def test_kept_until_the_weights_change() -> None:
    w = torch.randn(3, 4)
    with torch.no_grad():
        first = derived(w, "squares", squares)
        assert derived(w, "squares", squares) is first
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
        trained = nn.Parameter(torch.randn(3))
        assert derived(trained, "squares", squares) is not derived(trained, "squares", squares)


def test_an_average_of_weights_is_seen_to_change() -> None:
    average, source = nn.BatchNorm1d(4).requires_grad_(False), nn.BatchNorm1d(4)
    with torch.no_grad():
        source.weight.add_(1)
        before = derived(average.weight, "squares", squares)
        update_ema(average, source, 0.5)
        after = derived(average.weight, "squares", squares)
    assert torch.equal(after, average.weight.square())
    assert not torch.equal(after, before)


def test_layers_give_the_same_bits_with_and_without() -> None:
    x, w = torch.randn(1, 8, 4, 4), torch.randn(6, 8, 3, 3)
    x, w = (t.contiguous(memory_format=torch.channels_last) for t in (x, w))
    style, bias = torch.rand(1, 8) + 0.5, torch.randn(6)
    for dtype in (torch.float32, torch.bfloat16):
        for settings in (ModulatedSettings(), ModulatedSettings(resample="up", taps=(1, 3, 3, 1))):
            given = (x.to(dtype), w, style, bias, 0.1, settings)
            with torch.no_grad():
                first, again = modulated_layer(*given), modulated_layer(*given)
            alone = modulated_layer(x.to(dtype), w.clone().requires_grad_(), style, bias, 0.1, settings)
            assert torch.equal(first, again)
            assert torch.equal(first, alone.detach())
