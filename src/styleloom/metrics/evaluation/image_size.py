"""Sizes of images that are to be compared: one for all, on request by resizing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from styleloom.data.conversion import Filter
from styleloom.data.label_files import MAX_LISTED
from styleloom.errors import UserError, shown


@dataclass(frozen=True)
class Resize:
    """Brings images of other sizes to one, before anything else is done to them.

    Args:
        filter: Pillow's, which widens with the scale.
        size: height and width, px; None for that of most images of a set. Images of other proportions are
            refused: cropping is for `styleloom dataset build`.
    """

    filter: Filter
    size: tuple[int, int] | None = None

    def fits(self, size: tuple[int, int]) -> bool:
        """Whether images of `size` have these proportions, to within half a pixel of the result."""
        assert self.size is not None
        (height, width), (rows, columns) = size, self.size
        return 2 * abs(width * rows - height * columns) <= max(height, width)

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [C, h, w] -> [C, H, W]."""
        assert self.size is not None
        height, width = self.size
        if image.shape[1:] == (height, width):
            return image
        method = Image.Resampling[self.filter.upper()]
        planes = [Image.fromarray(plane).resize((width, height), method) for plane in image]
        return np.stack([np.asarray(plane) for plane in planes])


def common_size(
    origin: str, found: dict[str, tuple[int, int] | str], resize: Resize | None
) -> tuple[tuple[int, int], Resize | None]:
    """The size of most files, or that to which all are resized, and how.

    Raises UserError listing the files that differ, or cannot be resized, or are no images.
    """
    sizes = [size for size in found.values() if not isinstance(size, str)]
    common = max(set(sizes), key=sizes.count, default=(0, 0))
    how = None if resize is None else replace(resize, size=resize.size or common)
    size = common if how is None or how.size is None else how.size
    wrong = [
        f"{shown(name)}: {what if isinstance(what, str) else px(what)}"
        for name, what in found.items()
        if isinstance(what, str) or not (what == common if how is None else how.fits(what))
    ]
    if wrong:
        most = f"most are {px(common)}; " if sizes else ""
        rule = "all must be of one size" if how is None else f"all must have the proportions of {px(size)}"
        more = f"\n  ... and {len(wrong) - MAX_LISTED} more" if len(wrong) > MAX_LISTED else ""
        listing = "\n  ".join(wrong[:MAX_LISTED])
        raise UserError(
            f"{origin}: {len(wrong)} of {len(found)} images cannot be compared; {most}{rule}:\n"
            f"  {listing}{more}"
        )
    return size, how


def px(size: tuple[int, int] | None) -> str:
    """A size, height and width, in words."""
    height, width = size or (0, 0)
    return f"{width}x{height} px"


def resized(resize: Resize | None, count: int) -> dict[str, Any]:
    """For records: how many images were resized, and how; nothing where none was."""
    return {} if resize is None or not count else {"resize": {"filter": resize.filter, "count": count}}
