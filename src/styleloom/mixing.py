"""Style mixing (StyleGAN section 3.1 and Figure 3): some layers of an image take the styles of another."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from styleloom import arguments
from styleloom.config.growth import active_ws
from styleloom.errors import UserError, nearest, quoted
from styleloom.latents import Latents, check_fits, join
from styleloom.sampling import Sampler

SIDES = {"coarse": (4, 8), "middle": (16, 32), "fine": (64, math.inf)}
"""Lowest and highest level of the layers that the paper calls so, px (Figure 3)."""


@dataclass(frozen=True)
class Layers:
    """Some of a generator's layers.

    Args:
        name: as it was given: "coarse", "0-6".
        indices: of their style inputs, from 0.
    """

    name: str
    indices: tuple[int, ...]


@dataclass(frozen=True)
class Block:
    """Rows of a figure that take the same styles.

    Args:
        rows: source A, one row of the figure each.
        layers: whose styles are source B's.
    """

    rows: Latents
    layers: Layers


def layers_named(sampler: Sampler, text: str) -> Layers:
    """The layers that `text` means: "coarse" (4 to 8 px), "middle" (16 to 32 px), "fine" (from 64 px), or
    indices of style inputs such as "0-6" or "3,5,7-9".

    The names go by the resolution of the convolutions, so they mean other indices in StyleGAN2 than in
    StyleGAN (coarse is 0-2 and 0-3). In a growing run levels that are not there yet have no layers.

    Raises UserError for other words, for layers that the generator lacks, and for one that cannot mix styles.
    """
    check_mixes(sampler)
    config, active = sampler.experiment.generator, active_ws(sampler.growth, sampler.generator.num_ws)
    valid = f"{', '.join(SIDES)}, or layers of 0 to {active - 1} such as 0-{active - 1}"
    if text in SIDES:
        low, high = SIDES[text]
        sides = [side for side in config.sides if low <= side <= high]
        found = [index for side in sides for index in config.styles_at(side) if index < active]
        if not found:
            raise UserError(
                f"styles: this generator of {sampler.resolution} px has no {text} layers, which begin at "
                f"{low} px; valid: {valid}"
            )
        return Layers(text, tuple(found))
    indices: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,4})(?:-(\d{1,4}))?\s*", part, re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if last < first or last >= active:
            hint = "" if match else nearest(part, SIDES)
            raise UserError(f"styles: {quoted(part)} is not valid, {hint}choose from {valid}")
        indices |= set(range(first, last + 1))
    return Layers(text, tuple(sorted(indices)))


def check_mixes(sampler: Sampler) -> None:
    """Raise UserError for a generator whose layers cannot take the styles of different latents."""
    if not sampler.experiment.generator.mixes_styles:
        raise UserError(
            f"styles: the {sampler.experiment.generator.family} generator of this experiment has no styles "
            "that could be mixed"
        )


def mixed(rows: Latents, columns: Latents, layers: Layers) -> Latents:
    """Every row with every column, row by row: the row's latent, with the column's styles in `layers`.

    Rows are the paper's source A, columns its source B: copying coarse styles brings pose and face shape from
    the column, fine styles its colours. Noise and label of a cell are the row's.

    Args:
        rows: A, in w.
        columns: B, of the same generator.
        layers: which styles are B's.
    """
    arguments.shape("columns", columns.values.shape, (None, *rows.values.shape[1:]), "as the rows")
    down = [row for row in range(len(rows)) for _ in range(len(columns))]
    across = list(range(len(columns))) * len(rows)
    ws = rows.values[down].clone()
    taken = list(layers.indices)
    ws[:, taken] = columns.values[across][:, taken]
    images = [
        {"row": rows.images[i], "column": columns.images[j], "styles": layers.name, "layers": taken}
        for i, j in zip(down, across, strict=True)
    ]
    return replace(rows[down], values=ws, document={**rows.document, "images": images})


def check_sources(sampler: Sampler, columns: Latents, blocks: Sequence[Block]) -> None:
    """Raise UserError unless `sampler` can mix all of these."""
    check_mixes(sampler)
    check_fits(columns, sampler, "columns")
    for block in blocks:
        check_fits(block.rows, sampler, "rows")
    if not (len(columns) and blocks and all(len(block.rows) for block in blocks)):
        raise UserError("mixing: rows, columns or styles are missing; valid: at least one of each")


def cells(columns: Latents, blocks: Sequence[Block]) -> Latents:
    """The latents of all mixed images, row by row of the figure, without its sources."""
    return join([mixed(block.rows, columns, block.layers) for block in blocks])


def figure(sampler: Sampler, columns: Latents, blocks: Sequence[Block]) -> Iterator[Tensor]:
    """The images of a figure such as StyleGAN's third, in tensors of several, row by row of 1 + len(columns).

    The first row is an empty (white) place and the columns, source B; each further row begins with its image
    of source A, beside which are its mixtures.

    Args:
        sampler: the generator.
        columns: source B, in w.
        blocks: source A, and which styles it takes from B; in the paper coarse, middle and fine ones.

    Raises UserError for latents of another generator, and for a generator that cannot mix styles.
    """
    check_sources(sampler, columns, blocks)

    def images() -> Iterator[Tensor]:
        top = sampler.render(columns)
        yield torch.cat([torch.ones_like(top[:1]), top])
        for block in blocks:
            left = sampler.render(block.rows)
            for i in range(len(block.rows)):
                mixtures = sampler.render(mixed(block.rows[i], columns, block.layers))
                yield torch.cat([left[i : i + 1], mixtures])

    return images()
