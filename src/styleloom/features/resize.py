"""What images go through before a feature network sees them: three channels, and the network's own size.

The resize rule is part of a network's identity: another rule gives other numbers (Parmar et al., "On Aliased
Resizing and Surprising Subtleties in GAN Evaluation", CVPR 2022).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from styleloom.errors import UserError, nearest, quoted

TF1_BILINEAR = "tf1-bilinear"
ANTIALIASED_BILINEAR = "antialiased-bilinear"


def as_rgb(images: Tensor) -> Tensor:
    """[N, 1 or 3, H, W] to [N, 3, H, W]: grey is repeated as red, green and blue. Any dtype.

    The one place where grey images become colour images for metrics. Raises UserError for other channels.
    """
    channels = images.shape[1] if images.ndim == 4 else None
    if channels not in (1, 3):
        raise UserError(
            f"images of shape {tuple(images.shape)}: feature networks take [N, C, H, W] with C = 1 (grey) or "
            "3 (RGB)"
        )
    return images.expand(-1, 3, -1, -1) if channels == 1 else images


def check_layers(network: str, asked: Sequence[str], offered: Iterable[str]) -> None:
    """Raises UserError when `network` does not offer one of the layers asked for."""
    offered = list(offered)
    for layer in asked:
        if layer not in offered:
            hint = nearest(layer, offered)
            raise UserError(f"{network}: no layer {quoted(layer)}, {hint}choose from {', '.join(offered)}")


def tf1_bilinear(images: Tensor, side: int) -> Tensor:
    """[N, 3, H, W] to [N, 3, side, side] as TensorFlow 1 does: `resize_bilinear` with align_corners=False.

    Output pixel i reads source coordinate i * in / out: there is no offset of half a pixel and no filter
    against aliasing. Neighbours beyond the edge are the edge. uint8 becomes float32; floating images keep
    their dtype.
    """
    low, high, fraction = _tf1_taps(images.shape[2], side, images.device)
    upper, lower = (_floating(images.index_select(2, index)) for index in (low, high))
    rows = torch.lerp(upper, lower, fraction.to(upper.dtype)[:, None])
    low, high, fraction = _tf1_taps(images.shape[3], side, images.device)
    return torch.lerp(rows.index_select(3, low), rows.index_select(3, high), fraction.to(rows.dtype))


def tf1_bilinear_reference(images: Tensor, side: int) -> Tensor:
    """`tf1_bilinear`, one pixel at a time."""
    images = _floating(images)
    height, width = images.shape[2:]
    result = images.new_empty(*images.shape[:2], side, side)
    for i in range(side):
        y = i * height / side
        top, bottom = int(y), min(int(y) + 1, height - 1)
        for j in range(side):
            x = j * width / side
            left, right = int(x), min(int(x) + 1, width - 1)
            upper = images[:, :, top, left] * (1 - x % 1) + images[:, :, top, right] * (x % 1)
            lower = images[:, :, bottom, left] * (1 - x % 1) + images[:, :, bottom, right] * (x % 1)
            result[:, :, i, j] = upper * (1 - y % 1) + lower * (y % 1)
    return result


def antialiased_bilinear(images: Tensor, side: int) -> Tensor:
    """[N, 3, H, W] to [N, 3, side, side] by a triangle filter as wide as the reduction, pixel centres at 1/2.

    Pillow's bilinear resize without its rounding. uint8 becomes float32; floating images keep their dtype.
    """
    return F.interpolate(
        _floating(images), (side, side), mode="bilinear", align_corners=False, antialias=True
    )


def _tf1_taps(size: int, side: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each output pixel along one axis: the two source pixels, and the weight of the second, float32."""
    # In float32, as TensorFlow computes the coordinate.
    coordinate = np.arange(side, dtype=np.float32) * (np.float32(size) / np.float32(side))
    low = np.minimum(np.floor(coordinate).astype(np.int64), size - 1)
    high = np.minimum(low + 1, size - 1)
    low_index, high_index, fraction = (torch.from_numpy(a).to(device) for a in (low, high, coordinate - low))
    return low_index, high_index, fraction.to(torch.float32)


def _floating(images: Tensor) -> Tensor:
    return images if images.is_floating_point() else images.to(torch.float32)
