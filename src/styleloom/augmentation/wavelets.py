"""The filters of the paper's appendix B, from the coefficients of two of Daubechies' wavelets.

Symlets of order 6 limit the bands of geometric transformations; those of order 2 divide the spectrum into the
four bands of the image filter.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

SYM6 = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)
"""Low-pass taps of the symlet of order 6 (Daubechies 1992, table 6.3)."""

SYM2 = (-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025)
"""Low-pass taps of the symlet of order 2."""

BANDS = 4
"""Bands of the image filter: up to 1/8, 1/4, 1/2 of the highest frequency, and the rest."""

POWERS = (10 / 13, 1 / 13, 1 / 13, 1 / 13)
"""Expected share of each band in the power of an image: 1/f spectra (appendix B)."""


@functools.cache
@torch.inference_mode(False)  # autograd refuses to save an inference tensor
def low_pass() -> Tensor:
    """The taps of `SYM6` with sum 1: float64 [12]."""
    taps = torch.tensor(SYM6, dtype=torch.float64, device="cpu")
    return taps / taps.sum()


@functools.cache
@torch.inference_mode(False)
def filter_bank() -> Tensor:
    """The filters of the bands, lowest frequencies first, which add up to a unit pulse: float64 [4, 43].

    The zero-phase pair h h* / 2 of low and high pass divides a band at its middle. Spread to every second
    tap, what lies below is divided again.
    """
    low = torch.tensor(SYM2, dtype=torch.float64, device="cpu")
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64, device="cpu")
    lower, upper = _squared(low), _squared(low * signs)
    bands = [torch.ones(1, dtype=torch.float64, device="cpu")]
    for _ in range(BANDS - 1):
        spread = [_convolved(_spread(band), lower) for band in bands]
        missing = (len(spread[0]) - len(upper)) // 2
        bands = [*spread, torch.nn.functional.pad(upper, (missing, missing))]
    return torch.stack(bands)


def _squared(taps: Tensor) -> Tensor:
    """The zero-phase filter whose response is half the square of that of `taps`."""
    return _convolved(taps, taps.flip(0)) / 2


def _spread(taps: Tensor) -> Tensor:
    """A zero between each two taps."""
    wide = taps.new_zeros(2 * len(taps) - 1)
    wide[::2] = taps
    return wide


def _convolved(a: Tensor, b: Tensor) -> Tensor:
    """The convolution, [len(a) + len(b) - 1]."""
    padded = torch.nn.functional.pad(a, (len(b) - 1, len(b) - 1))
    return padded.unfold(0, len(b), 1) @ b.flip(0)
