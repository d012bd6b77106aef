"""Progressive growing (ProGAN section 2, Fig. 2): how a new level fades in, at the active resolution alone.

The authors' networks always make and read images of full resolution, in which each pixel of the active level
is repeated. Ours make and read images of the active level's own size. Penalties on image gradients are
therefore scaled in training (`gradient_scale`), so that their values are those of the authors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from styleloom.errors import UserError
from styleloom.types import GrowthState


def up2(x: Tensor) -> Tensor:
    """Each pixel repeated 2 x 2: [N, C, H, W] -> [N, C, 2H, 2W]. RGB fades this way in every paper."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def repeat_to(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images [N, C, H, W] at `size`, height and width in px, a multiple of theirs, by repeating pixels."""
    return images if tuple(images.shape[2:]) == tuple(size) else F.interpolate(images, size, mode="nearest")


def down2(x: Tensor) -> Tensor:
    """Mean of 2 x 2 pixels: [N, C, H, W] -> [N, C, H/2, W/2]."""
    return F.avg_pool2d(x, 2)


def active(growth: GrowthState | None, levels: int) -> GrowthState:
    """`growth`, or the full resolution for None. Raises UserError for a level that is not there."""
    if growth is None:
        return GrowthState(levels - 1, 1.0)
    if (
        not 0 <= growth.level < levels
        or not 0 <= growth.alpha <= 1
        or (growth.level == 0 and growth.alpha < 1)
    ):
        raise UserError(
            f"growth: {growth} is not valid, level 0 to {levels - 1}, alpha 0 to 1 (1 at level 0)"
        )
    return growth


def fade_rgb(lower: Callable[[], Tensor], image: Tensor, alpha: float) -> Tensor:
    """The generator's side: alpha image + (1 - alpha) up2(lower image), [N, C, H, W].

    Args:
        lower: makes the image of the level below; called only when alpha is below 1.
    """
    return image if alpha == 1 else torch.lerp(up2(lower()), image, alpha)


def grown_features(
    images: Tensor,
    growth: GrowthState,
    from_rgb: Sequence[Callable[[Tensor], Tensor]],
    blocks: Sequence[Callable[[Tensor], Tensor]],
) -> Tensor:
    """The discriminator's side: images of the active level to features of the lowest.

    Args:
        images: [N, C, H, W] in [-1, 1].
        growth: where the network stands.
        from_rgb: for each level, low to high.
        blocks: `blocks[i]` leads from level i + 1 to level i.
    """
    x = from_rgb[growth.level](images)
    for level in range(growth.level, 0, -1):
        x = blocks[level - 1](x)
        if level == growth.level and growth.alpha < 1:
            x = torch.lerp(from_rgb[level - 1](down2(images)), x, growth.alpha)
    return x
