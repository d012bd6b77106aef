"""Pictures of latents, one at a time: only layers above the lowest one that changed are computed again."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from styleloom.errors import UserError
from styleloom.interactive.bending import Bend, bent
from styleloom.latents import Latents
from styleloom.networks.stages import Features, MapsOrMode, Stage, stages_of
from styleloom.sampling import Sampler

LINES = 4
"""Of how many owners features are kept."""

KEPT_ELEMENTS = 2**22
"""Feature maps with more numbers are not kept: 8 MB in half precision, 64 maps of 256 px."""

PREVIEW_SEC = 0.05
"""What a preview may take, of which there are at least 8 a second with all that is around it."""

EASE = 0.3
"""How much a new measurement counts in the average time of a stage."""


@dataclass
class _Kept:
    """A stage's result, and all that it was made from."""

    ws: Tensor
    noise: Sequence[Tensor | str | None]
    bends: tuple[Bend, ...]
    features: Features

    def of(self, ws: Tensor, noise: Sequence[Tensor | str | None], bends: tuple[Bend, ...]) -> bool:
        same = len(noise) == len(self.noise) and all(a is b for a, b in zip(noise, self.noise, strict=True))
        return same and bends == self.bends and torch.equal(ws, self.ws)


class Engine:
    """Pictures of a sampler's latents, in its precision, as fast as may be.

    A picture is what `Sampler.render` makes, up to rounding, as it goes through the network alone (a
    sampler's passes have a fixed number of images); `exact` gives the sampler's bits. Not for several threads
    at a time.

    Args:
        sampler: the generator.
    """

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler
        self.stages = stages_of(sampler.generator, sampler.growth)
        self.seconds: list[float | None] = [None] * len(self.stages)
        self._lines: OrderedDict[str, list[_Kept]] = OrderedDict()

    @property
    def sides(self) -> list[int]:
        """Levels with an image, px, low to high: what previews may show."""
        return [stage.side for stage in self.stages if stage.kind in ("rgb", "whole")]

    @property
    def bendable(self) -> list[int]:
        """Levels whose feature maps can be bent, px."""
        return [stage.side for stage in self.stages if stage.kind == "conv"]

    def preview_side(self, budget_sec: float = PREVIEW_SEC) -> int:
        """The highest level whose picture takes no longer, as stages took so far; the lowest at least."""
        total, best = 0.0, self.sides[0]
        for stage, seconds in zip(self.stages, self.seconds, strict=True):
            total += seconds or 0.0
            if stage.kind in ("rgb", "whole") and total <= budget_sec:
                best = stage.side
        return best

    @torch.no_grad()
    def picture(
        self, latents: Latents, bends: Sequence[Bend] = (), side: int | None = None, owner: str = ""
    ) -> Tensor:
        """The image [C, H, W], about [-1, 1], of latents of one image.

        Args:
            latents: N = 1.
            bends: in the order in which they take place.
            side: for a preview, one of `sides`: the image of that level; None for the whole.
            owner: whose features are kept: pictures of one owner are usually alike.
        """
        ws, noise = self._inputs(latents)
        self.check_bends(bends)
        line = self._lines.pop(owner, [])
        self._lines[owner] = line
        while len(self._lines) > LINES:
            self._lines.popitem(last=False)
        features = self._run(line, ws, noise, tuple(bends), side)
        assert features.image is not None
        return features.image[0]

    def _run(
        self, line: list[_Kept], ws: Tensor, noise: MapsOrMode, bends: tuple[Bend, ...], side: int | None
    ) -> Features:
        """All stages up to the image of `side`; those that `line` has are not run."""
        features, changed = Features(), False
        for at, stage in enumerate(self.stages):
            rows = ws[:, list(stage.styles)]
            maps = [noise if isinstance(noise, str) else noise[i] for i in stage.noises]
            own = tuple(bend for bend in bends if bend.side == stage.side and stage.kind == "conv")
            if not changed and at < len(line) and line[at].of(rows, maps, own):
                features = line[at].features
            else:
                changed = True
                del line[at:]
                features = self._timed(at, stage, features, ws, noise, own)
                x = features.x
                if len(line) == at and (x is None or x.numel() <= KEPT_ELEMENTS):
                    line.append(_Kept(rows, maps, own, features))
            if stage.kind == "rgb" and stage.side == side:
                break
        return features

    def _timed(
        self,
        at: int,
        stage: Stage,
        features: Features,
        ws: Tensor,
        noise: MapsOrMode,
        bends: tuple[Bend, ...],
    ) -> Features:
        began = time.perf_counter()
        made = with_bends(stage.run(features, ws, noise), bends)
        seconds, before = time.perf_counter() - began, self.seconds[at]
        self.seconds[at] = seconds if before is None else before + EASE * (seconds - before)
        return made

    @torch.no_grad()
    def exact(self, latents: Latents, bends: Sequence[Bend] = ()) -> Tensor:
        """The image [C, H, W] in a sampler's own pass: without bends the bits of `Sampler.render`."""
        self.check_bends(bends)
        if not bends:
            return self.sampler.render(latents)[0]
        count = self.sampler.images_per_pass
        ws, noise = self._inputs(latents)
        features, ws = Features(), ws.expand(count, -1, -1)
        for stage in self.stages:
            own = tuple(bend for bend in bends if bend.side == stage.side and stage.kind == "conv")
            features = with_bends(stage.run(features, ws, noise), own)
        assert features.image is not None
        return features.image[0]

    def check_bends(self, bends: Sequence[Bend]) -> None:
        """Raise UserError for levels that cannot be bent."""
        sides = self.bendable
        for bend in bends:
            if bend.side not in sides:
                valid = f"one of {', '.join(map(str, sides))}" if sides else "none for this generator"
                raise UserError(f"bend: the level of {bend.side} px is not valid; {valid}")

    def _inputs(self, latents: Latents) -> tuple[Tensor, MapsOrMode]:
        """ws [1, L, W] and noise, on the generator's device."""
        generator = self.sampler.generator
        device = generator.w_avg.device
        values, labels = latents.values.to(device), latents.labels
        if latents.space == "z":
            values = generator.mapping(values, None if labels is None else labels.to(device))
        noise: MapsOrMode = "none"
        if latents.noise is not None:
            noise = [t.to(device) for t in latents.noise]
        return values, noise


def with_bends(features: Features, bends: Sequence[Bend]) -> Features:
    """Features after operations on their maps."""
    x = features.x
    for bend in bends:
        assert x is not None
        x = bent(x, bend)
    return replace(features, x=x)
