from __future__ import annotations

from functools import partial
from itertools import product
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from every import every
from styleloom.config.networks import Activation
from styleloom.ops.conv_layer import (
    ConvSettings,
    Resample,
    conv_layer,
    conv_layer_reference,
    convolve,
    convolve_reference,
)

from .derivatives import assert_equal_derivatives, randn

RESAMPLE: tuple[Resample, ...] = get_args(Resample)
TAPS = (1, 3, 3, 1)


@every(("resample", "k", "bias"), product(RESAMPLE, (1, 3), (False, True)))
def test_convolve(resample: Resample, k: int, bias: bool) -> None:
    inputs = [randn(2, 3, 4, 6), randn(2, 3, k, k, seed=1), *([randn(2, seed=2)] if bias else [])]

    def run(function: object) -> object:
        def call(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
            return function(x, w, b, resample, TAPS)  # type: ignore[operator]

        return call

    assert_equal_derivatives(run(convolve), run(convolve_reference), inputs)  # type: ignore[arg-type]


@every(("act", "resample", "clamp"), product(get_args(Activation), RESAMPLE, (None, 0.6)))
def test_conv_layer(act: Activation, resample: Resample, clamp: float | None) -> None:
    """A gain other than the activation's own, as residual blocks have it."""
    inputs = [randn(2, 3, 4, 4), randn(2, 3, 3, 3, seed=1), randn(2, seed=2)]
    settings = ConvSettings(act, 1.3, clamp, resample, TAPS)
    fast, reference = (partial(f, scale=0.3, settings=settings) for f in (conv_layer, conv_layer_reference))
    assert_equal_derivatives(fast, reference, inputs)
    y = fast(*inputs)
    if clamp is not None:
        assert y.abs().max() == clamp


def test_conv_layer_without_bias() -> None:
    options = {"bias": None, "scale": 0.3, "settings": ConvSettings(gain=1.3, resample="down", taps=TAPS)}
    fast, reference = (partial(f, **options) for f in (conv_layer, conv_layer_reference))
    assert_equal_derivatives(fast, reference, [randn(2, 3, 4, 4), randn(2, 3, 1, 1, seed=1)])


def test_order_of_the_steps() -> None:
    """clamp(gain act(scale conv + bias)): bias before the activation, gain before the clamp."""
    x, w, b = randn(1, 2, 3, 3), randn(2, 2, 3, 3, seed=1), randn(2, seed=2)
    y = conv_layer(x, w, b, 0.5, ConvSettings("tanh", gain=1.5, clamp=1.0))
    expected = (1.5 * torch.tanh(0.5 * F.conv2d(x, w, padding=1) + b[:, None, None])).clamp(-1, 1)
    torch.testing.assert_close(y, expected)
