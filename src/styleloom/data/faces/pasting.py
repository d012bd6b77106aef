"""An edited face back into the photograph that it was cut out of."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from styleloom.data.faces.alignment import Points, side_of
from styleloom.data.pixels import PixelArray, image_of

_FEATHER = 0.08  # of the square's side: how far the edge fades


def pasted(photograph: PixelArray, face: PixelArray, square: Points) -> PixelArray:
    """A photograph, uint8 [3, H, W], with a face, uint8 [3, S, S], in its square; edges fade.

    A square is mapped to a square, so the way back is an affine map. A face with more pixels than its square
    is reduced first, so that nothing is aliased.

    Args:
        photograph: upright, as it was when the face was aligned.
        face: aligned.
        square: corners [4, 2] as `square_of` gives them.
    """
    image = image_of(photograph)
    side = max(1, min(face.shape[-1], round(side_of(square))))
    small = image_of(face).resize((side, side), Image.Resampling.LANCZOS)
    corners = square.astype(np.float64) + 0.5
    across, down = (corners[3] - corners[0]) / side, (corners[1] - corners[0]) / side
    back = np.linalg.inv(np.stack([across, down], axis=1))
    origin = -back @ corners[0]
    affine = (*back[0], origin[0], *back[1], origin[1])
    mapped = small.transform(image.size, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
    mask = _faded(side).transform(image.size, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
    image.paste(mapped, (0, 0), mask)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def _faded(side: int) -> Image.Image:
    """White that fades to black at the edges."""
    margin = max(1, round(side * _FEATHER))
    mask = Image.new("L", (side, side), 0)
    mask.paste(255, (margin, margin, max(margin + 1, side - margin), max(margin + 1, side - margin)))
    return mask.filter(ImageFilter.GaussianBlur(margin / 3))
