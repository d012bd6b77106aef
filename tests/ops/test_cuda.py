"""The same comparisons on a CUDA device."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest
import torch

from styleloom.config.networks import Activation, StyleNormalization
from styleloom.ops.conv2d import conv2d, conv_transpose2d
from styleloom.ops.modulated_conv import ModulatedSettings, modulated_layer
from styleloom.ops.resample_conv import downsample_conv2d, upsample_conv2d
from styleloom.ops.upfirdn import downsample2d, filter2d, upsample2d

from .derivatives import derivatives, randn

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

TAPS = (1, 2, 4, 1)
FUNCTIONS = {
    "conv2d": lambda x, w: conv2d(x, w, None, 1, 1),
    "conv2d strided": lambda x, w: conv2d(x, w, None, 2, 0),
    "conv_transpose2d": lambda x, w: conv_transpose2d(x, w, 2),
    "upsample_conv2d": lambda x, w: upsample_conv2d(x, w, TAPS),
    "downsample_conv2d": lambda x, w: downsample_conv2d(x, w, TAPS),
    "upsample2d": lambda x, w: upsample2d(x, TAPS) * w.sum(),
    "downsample2d": lambda x, w: downsample2d(x, TAPS) * w.sum(),
    "filter2d": lambda x, w: filter2d(x, TAPS) * w.sum(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_agree_with_the_cpu(name: str) -> None:
    inputs = [randn(2, 3, 6, 5), randn(3, 3, 3, 3, seed=1)]
    here = derivatives(FUNCTIONS[name], inputs, 2)
    there = derivatives(FUNCTIONS[name], [t.cuda() for t in inputs], 2)
    for a, b in zip(here, there, strict=True):
        for x, y in zip(a, b, strict=True):
            assert y.device.type == "cuda"
            torch.testing.assert_close(y.cpu(), x, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("act", "normalization"), list(product(("lrelu", "swish"), get_args(StyleNormalization)))
)
def test_modulated_layer_agrees_with_the_cpu(act: Activation, normalization: StyleNormalization) -> None:
    inputs = [randn(2, 3, 4, 4), randn(2, 3, 3, 3, seed=1), randn(2, 3, seed=2), randn(2, seed=3)]

    settings = ModulatedSettings(act, 1.3, 2.0, "up", TAPS, normalization)

    def function(x: torch.Tensor, w: torch.Tensor, style: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return modulated_layer(x, w, style, b, 0.4, settings)

    here, there = (derivatives(function, [t.to(device) for t in inputs], 2) for device in ("cpu", "cuda"))
    for a, b in zip(here, there, strict=True):
        for x, y in zip(a, b, strict=True):
            torch.testing.assert_close(y.cpu(), x, rtol=1e-9, atol=1e-9)
