"""Another aspect: the middle of the lowest level stays where it was, with zeros around, or its edge is cut.

Zeros are what the first convolution saw beyond the border. So the middle of a picture stays nearly as it was,
and what is new continues its background: of 64 px portraits on a grid of 4 x 6, the middle half differed by
4% (root mean square, relative); with a repeated edge it was 19%. D does not look yet at what is new.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from styleloom.config import Experiment
from styleloom.surgery.networks import Networks


def changed(before: Experiment, grid: tuple[int, ...]) -> Experiment:
    """The experiment with another lowest level."""
    return before.with_data(grid=tuple(grid))


def generator(both: Networks, name: str) -> Tensor | None:
    """The input of the lowest level, and the middle of the stored noise maps."""
    if name.endswith(".noise.fixed"):
        fresh = both.fresh[name]
        return centred(both.given[name], both, fresh.shape[2] // both.after.grid[0], fresh)
    if name in ("synthesis_network.const", "synthesis_network.input.const"):
        return centred(both.given[name], both)
    if name.endswith(".input.dense.weight"):  # [C h w, W]
        was = both.given[name].t().unflatten(1, (-1, *both.before.grid))
        return centred(was, both).flatten(1).t()
    return None


def discriminator(both: Networks, name: str) -> Tensor | None:
    """The dense layer that reads the lowest level, [O, C h w]."""
    if name != "tail.dense.weight":
        return None
    was = both.given[name].unflatten(1, (-1, *both.before.grid)) * both.rescale(name)
    return centred(was, both).flatten(1)


def centred(was: Tensor, both: Networks, step: int = 1, ground: Tensor | None = None) -> Tensor:
    """Maps [N, C, h, w] on the new grid, or on that of a level that is `step` times as large.

    Args:
        ground: what is beyond them, [N, C, h', w']; None for zeros.
    """
    before: Sequence[int] = both.before.grid
    after: Sequence[int] = both.after.grid
    for axis, (old, new) in enumerate(zip(before, after, strict=True), 2):
        if new < old:
            was = was.narrow(axis, (old - new) // 2 * step, new * step)
    places = [max(new - old, 0) // 2 * step for old, new in zip(before, after, strict=True)]
    sizes = [new * step for new in after]
    (top, left), (height, width) = places, was.shape[2:]
    made = was.new_zeros(*was.shape[:2], *sizes) if ground is None else ground.clone()
    made[:, :, top : top + height, left : left + width] = was
    return made
