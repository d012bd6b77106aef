"""That the fast paths are taken: their results alone would be the same without them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from styleloom.ops.bias_act import RULES, add_noise
from styleloom.ops.conv2d import conv2d
from styleloom.ops.conv_layer import ConvSettings, conv_layer
from styleloom.ops.modulated_conv import ModulatedSettings, modulated_layer

from .derivatives import randn


class Operations(TorchDispatchMode):
    """Names of the library's operations that run within."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def operations(function: Callable[[], Tensor]) -> list[str]:
    """Names of the operations of one call, in order."""
    with Operations() as seen:
        function()
    return seen.names


def leaves(*shapes: tuple[int, ...]) -> list[Tensor]:
    """Parameters, so that the calls record a graph as in training."""
    return [randn(*shape, seed=i).requires_grad_() for i, shape in enumerate(shapes)]


def test_activations_overwrite_what_they_consume() -> None:
    """ReLU and leaky ReLU do, and the identity returns its input; the others make a new tensor."""
    for act, rule in RULES.items():
        x = randn(2, 3, 4, 4)
        expected = rule.function(x.clone(), rule.alpha)
        y = rule.consume(x)
        assert torch.equal(y, expected), act
        assert (y is x) == (act in ("linear", "relu", "lrelu")), act


def test_layers_overwrite_their_features() -> None:
    """No further tensor of the features' size for activation and noise, with or without a graph."""
    x, w, style, bias, noise = leaves((2, 3, 4, 4), (5, 3, 3, 3), (2, 3), (5,), (2, 1, 4, 4))

    def plain() -> Tensor:
        return conv_layer(x, w, bias, 0.3, ConvSettings("lrelu"))

    def modulated() -> Tensor:
        return modulated_layer(x, w, style, bias, 0.3, ModulatedSettings("lrelu"), noise)

    for layer in (plain, modulated):
        for recorded in (True, False):
            with torch.set_grad_enabled(recorded):
                names = operations(layer)
            assert "leaky_relu_" in names
            assert "leaky_relu" not in names
            assert ("add_" in names) == (layer is modulated)
    with torch.no_grad():
        features = randn(2, 3, 4, 4)
        expected = features + noise
        assert add_noise(features, noise) is features
        assert torch.equal(features, expected)


def test_a_1x1_layer_is_one_product_of_matrices() -> None:
    """toRGB reads its features once: per-sample weights, no scaled copy of x, no convolution."""
    x, wide, style, bias = leaves((2, 3, 4, 4), (5, 3, 3, 3), (2, 3), (5,))
    narrow = wide[:, :, :1, :1].detach()

    def names(w: Tensor, **settings: Any) -> list[str]:
        return operations(lambda: modulated_layer(x, w, style, bias, 0.3, ModulatedSettings(**settings)))

    for normalization in ("none", "demodulation"):
        found = names(narrow, normalization=normalization)
        assert found.count("baddbmm") == 1
        assert not any("conv" in name for name in found)
        assert any("conv" in name for name in names(wide, normalization=normalization))
    for other in ({"normalization": "explicit"}, {"resample": "up", "taps": (1, 3, 3, 1)}):
        assert "baddbmm" not in names(narrow, **other)


def test_weight_gradients_of_small_images_are_one_product() -> None:
    """In bfloat16, up to 8x8 px of output."""

    def names(side: int, stride: int, dtype: torch.dtype = torch.bfloat16) -> list[str]:
        x, w = (randn(*shape, dtype=dtype) for shape in ((2, 3, side, side), (5, 3, 3, 3)))
        y = conv2d(x, w.requires_grad_(), None, stride, 1 if stride == 1 else 0)
        return operations(lambda: torch.autograd.grad(y.sum(), w)[0])

    for side, stride, dtype, product in (
        (8, 1, torch.bfloat16, True),
        (9, 1, torch.bfloat16, False),
        (17, 2, torch.bfloat16, True),
        (19, 2, torch.bfloat16, False),
        (4, 1, torch.float32, False),
    ):
        found = names(side, stride, dtype)
        assert ("mm" in found, "convolution_backward" in found) == (product, not product), (side, stride)


def test_without_a_graph_no_autograd_function_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither under no_grad nor in a first-order backward pass: each would cost as much as a small layer."""
    x, w, style, bias = leaves((2, 3, 4, 4), (5, 3, 3, 3), (2, 3), (5,))

    def layer() -> Tensor:
        settings = ModulatedSettings("lrelu", resample="up", taps=(1, 3, 3, 1))
        return modulated_layer(x, w, style, bias, 0.3, settings)

    y = layer()

    def refuse(*arguments: object) -> None:
        raise AssertionError("an autograd function ran")

    monkeypatch.setattr(torch.autograd.Function, "apply", classmethod(refuse))
    y.sum().backward()
    with torch.no_grad():
        torch.testing.assert_close(layer(), y.detach())
    with pytest.raises(AssertionError, match="ran"):
        layer()


def test_energy_is_differentiated_in_one_pass() -> None:
    """The sum of squares of the demodulation: the only power is that of rsqrt, none of the weights."""
    x, w, style, bias = leaves((2, 3, 4, 4), (5, 3, 3, 3), (2, 3), (5,))
    y = modulated_layer(x.detach(), w, style.detach(), bias, 0.3, ModulatedSettings())
    assert operations(lambda: torch.autograd.grad(y.sum(), w)[0]).count("pow") == 1
