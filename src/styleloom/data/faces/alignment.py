"""Where a face is cut out of a photograph, and how (Karras et al. 2018, Appendix C; FFHQ's published script).

The square of a face follows from eyes and mouth: it is level with the line between the eyes, corrected by the
line from eyes to mouth, and as large as the longer of 4 times the distance of the eyes and 3.6 times that of
eyes and mouth. Where it reaches beyond the photograph, the photograph is continued by reflection, which is
blurred and fades to its median colour towards the edges.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from styleloom.data.pixels import PixelArray

Points: TypeAlias = NDArray[np.floating]
"""Places in a photograph, x and y, px: [N, 2]; the middle of its first pixel is (0, 0)."""

Align: TypeAlias = Literal["ffhq", "celeba-hq"]

_BORDER, _PADDING, _BLUR = 0.1, 0.3, 0.02  # of the side of the square
_LEAST_BORDER = 3  # px


@dataclass(frozen=True)
class Rule:
    """What one data set does.

    Args:
        offset: added to the middles of eyes and mouth, px.
        enlarge: whether a small part of a photograph is enlarged before it is warped.
        precision: of its numbers.
    """

    offset: float = 0.0
    enlarge: bool = False
    precision: type = np.float64


RULES: dict[Align, Rule] = {"ffhq": Rule(), "celeba-hq": Rule(offset=0.5, enlarge=True, precision=np.float32)}
"""By name. CelebA-HQ's own images add differences that were published with it, which are not in here."""


def square_of(landmarks: Points, rule: Rule, level: bool = True, shift: Points | None = None) -> Points:
    """Corners [4, 2] of a face's square: upper left, lower left, lower right, upper right.

    Args:
        landmarks: [68, 2] in dlib's order, or [5, 2]: left eye, right eye, nose, left and right corner of
            the mouth, left as it is seen in the photograph.
        rule: of a data set.
        level: whether the square turns with the face.
        shift: of the centre, [2], in sides of the square.
    """
    landmarks = landmarks.astype(rule.precision)
    if len(landmarks) == 68:
        left, right = landmarks[36:42].mean(0), landmarks[42:48].mean(0)
        mouth = (landmarks[48] + landmarks[54]) * 0.5 + rule.offset
    else:
        left, right = landmarks[0], landmarks[1]
        mouth = (landmarks[3] + landmarks[4]) * 0.5 + rule.offset
    eyes = (left + right) * 0.5 + rule.offset
    across, down = right - left, mouth - eyes
    turned = np.array([-1, 1], landmarks.dtype)
    x = across - np.flipud(down) * turned if level else np.array([1, 0], landmarks.dtype)
    x = x / np.hypot(*x) * max(np.hypot(*across) * 2.0, np.hypot(*down) * 1.8)
    y = np.flipud(x) * turned
    centre = eyes + down * 0.1
    if shift is not None:
        centre = centre + np.hypot(*x) * 2 * shift
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def side_of(square: Points) -> float:
    """Side of a square, px."""
    return float(np.hypot(*(square[3] - square[0])))


@dataclass
class _Cut:
    """A photograph on its way: the image, the square in it, the square's side; and what was done, by name."""

    image: Image.Image
    square: Points
    side: float
    done: dict[str, object] = field(default_factory=dict)


def aligned(
    photograph: Image.Image,
    square: Points,
    size: int,
    warp_size: int = 0,
    rule: Rule | None = None,
    pad: bool = True,
) -> tuple[PixelArray, dict[str, object]]:
    """The face in a square, uint8 [3, size, size], and what was done on the way, for comparison.

    Args:
        photograph: RGB.
        square: corners as `square_of` gives them.
        size: side of the result, px.
        warp_size: side to which the square is warped before it is reduced; 0 for 4 times `size`, as FFHQ.
        rule: of a data set; FFHQ's by default.
        pad: whether the photograph is continued beyond its edges; otherwise there is black.
    """
    warp_size, rule = warp_size or 4 * size, rule or RULES["ffhq"]
    cut = _Cut(photograph, square.copy(), side_of(square))
    border = _shrink_and_crop(cut, size)
    if rule.enlarge:
        _enlarge(cut, size)
    if pad:
        _pad(cut, border)
    corners = (cut.square + 0.5).flatten()
    cut.done["corners"] = corners
    image = cut.image.transform(
        (warp_size, warp_size), Image.Transform.QUAD, corners.tolist(), Image.Resampling.BILINEAR
    )
    if size < warp_size:
        image = image.resize((size, size), Image.Resampling.LANCZOS)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1)), cut.done


def _box(square: Points) -> tuple[int, int, int, int]:
    low, high = np.floor(square.min(0)), np.ceil(square.max(0))
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _shrink_and_crop(cut: _Cut, size: int) -> int:
    """Reduce a photograph that is much larger than needed, and keep what surrounds the square; the border."""
    shrink = int(np.floor(cut.side / size * 0.5))
    if shrink > 1:
        width, height = (int(np.rint(side / shrink)) for side in cut.image.size)
        cut.image = cut.image.resize((width, height), Image.Resampling.LANCZOS)
        cut.square /= shrink
        cut.side /= shrink
        cut.done["shrink"] = (width, height)
    border = max(int(np.rint(cut.side * _BORDER)), _LEAST_BORDER)
    left, top, right, bottom = _box(cut.square)
    width, height = cut.image.size
    box = (
        max(left - border, 0),
        max(top - border, 0),
        min(right + border, width),
        min(bottom + border, height),
    )
    if box[2] - box[0] < width or box[3] - box[1] < height:
        cut.image = cut.image.crop(box)
        cut.square -= box[:2]
        cut.done["crop"] = box
    return border


def _enlarge(cut: _Cut, size: int) -> None:
    factor = int(np.exp2(np.ceil(np.log2(size / cut.side))))
    if factor > 1:
        width, height = cut.image.size
        cut.image = cut.image.resize((width * factor, height * factor), Image.Resampling.LANCZOS)
        cut.square *= factor
        cut.side *= factor
        cut.done["enlarge"] = cut.image.size


def _pad(cut: _Cut, border: int) -> None:
    """Continue the photograph by its blurred reflection where the square comes close to an edge."""
    left, top, right, bottom = _box(cut.square)
    width, height = cut.image.size
    needed = (
        max(border - left, 0),
        max(border - top, 0),
        max(right - width + border, 0),
        max(bottom - height + border, 0),
    )
    if max(needed) <= border - 4:
        return
    from scipy import ndimage  # late: SciPy takes time to import

    pad = np.maximum(needed, int(np.rint(cut.side * _PADDING)))
    pixels = np.asarray(cut.image, np.float32)
    pixels = np.pad(pixels, ((pad[1], pad[3]), (pad[0], pad[2]), (0, 0)), "reflect")
    rows, columns = pixels.shape[:2]
    y, x, _ = np.ogrid[:rows, :columns, :1]
    mask = np.maximum(
        1.0 - np.minimum(np.float32(x) / pad[0], np.float32(columns - 1 - x) / pad[2]),
        1.0 - np.minimum(np.float32(y) / pad[1], np.float32(rows - 1 - y) / pad[3]),
    )
    blur = cut.side * _BLUR
    blurred = ndimage.gaussian_filter(pixels, [blur, blur, 0])
    pixels += (blurred - pixels) * np.clip(mask * 3.0 + 1.0, 0.0, 1.0)
    pixels += (np.median(pixels, axis=(0, 1)) - pixels) * np.clip(mask, 0.0, 1.0)
    cut.image = Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
    cut.square += pad[:2]
    cut.done |= {"pad": tuple(int(n) for n in pad), "blur": blur}
