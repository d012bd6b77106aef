"""From a recipe to latents: w of seeds and noise maps are kept, the rest costs next to nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from styleloom.directions.direction_set import Directions
from styleloom.directions.editing import edited
from styleloom.errors import UserError, quoted
from styleloom.interactive.recipe import RANGES, Recipe
from styleloom.latents import Latents, check_fits
from styleloom.mixing import check_mixes, layers_named
from styleloom.sampling import Sampler

T = TypeVar("T")

KEPT = 64
"""w of so many seeds, and noise maps of so many, are kept."""


class Recent:
    """The last `size` values that were asked for, by key."""

    def __init__(self, size: int = KEPT) -> None:
        self._size = size
        self._values: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of `key`, made where it is not there."""
        if key not in self._values:
            self._values[key] = make()
        self._values.move_to_end(key)
        if len(self._values) > self._size:
            self._values.popitem(last=False)
        return self._values[key]


@dataclass(frozen=True)
class Named:
    """A direction under the name that recipes call it by.

    Args:
        directions: the set.
        name: in the set.
    """

    directions: Directions
    name: str


class Maker:
    """Latents of recipes, for one sampler.

    Args:
        sampler: the generator.
        directions: what `edit` may name.
        find: latents by the names that recipes have for them; raises UserError for a name that is none.
    """

    def __init__(
        self,
        sampler: Sampler,
        directions: Mapping[str, Named] | None = None,
        find: Callable[[str], Latents] | None = None,
    ) -> None:
        self.sampler = sampler
        self.directions = dict(directions or {})
        self.find = find
        self._styles = Recent()
        self._noises = Recent(16)

    def latents(self, recipe: Recipe) -> Latents:
        """The latents [1] of a recipe: those of `Sampler.latents` where it is plain, bit for bit.

        Raises UserError for what this generator does not take.
        """
        base = self._base(recipe, recipe.seed) if not recipe.latent else self._found(recipe)
        values = base.values
        for seed, mix in recipe.sources:
            values = self._mixed(values, self._base(recipe, seed).values, mix)
        latents = replace(base, values=values, noise=self._noise(recipe, base))
        for name, strength in recipe.edits:
            direction = self._direction(name)
            latents = edited(latents, direction.directions, direction.name, [strength])
        document = {"snapshot_sha256": self.sampler.snapshot_sha256, "images": [{"recipe": recipe.text()}]}
        return replace(latents, document=document)

    def _base(self, recipe: Recipe, seed: int) -> Latents:
        """The latent of a seed, truncated, without noise."""
        key = (seed, recipe.label)
        full = self._styles.get(key, lambda: self.sampler.latents([seed], classes=recipe.label, noise="none"))
        return replace(full, values=self._truncated(full.values, recipe))

    def _found(self, recipe: Recipe) -> Latents:
        """Latents that are kept under a name."""
        if self.find is None:
            raise UserError(f"latent: {quoted(recipe.latent)} is kept nowhere here; give a picture or a file")
        latents = self.find(recipe.latent)
        check_fits(latents, self.sampler)
        return replace(latents, values=self._truncated(latents.values, recipe))

    def _truncated(self, values: Tensor, recipe: Recipe) -> Tensor:
        generator = self.sampler.generator
        if self.sampler.space == "z":  # or refuse
            generator.truncate(torch.zeros(1, generator.num_ws, 1), recipe.truncation, recipe.psi_layers)
            return values
        device = generator.w_avg.device
        return generator.truncate(values.to(device), recipe.truncation, recipe.psi_layers).cpu()

    def _mixed(self, a: Tensor, b: Tensor, mix: Sequence[float]) -> Tensor:
        """`a` with a part of `b` in coarse, middle and fine layers; 1 is `b` itself."""
        check_mixes(self.sampler)
        parts = torch.zeros(a.shape[1])
        for name, part in zip(RANGES, mix, strict=True):
            if part:
                parts[list(self.layers(name))] = part
        return torch.lerp(a, b, parts[:, None])

    def layers(self, name: str) -> tuple[int, ...]:
        """Style inputs of a range; none where the generator is too small to have it."""
        try:
            return layers_named(self.sampler, name).indices
        except UserError:
            return ()

    def _noise(self, recipe: Recipe, base: Latents) -> tuple[Tensor, ...] | None:
        """The maps that a recipe wants: the same tensors each time."""
        if recipe.noise == "none":
            return None
        if recipe.noise == "random" and recipe.noise_seed is None and recipe.latent:
            return self._stronger(base.noise, recipe.strength, recipe.latent)
        own = recipe.seed if recipe.noise_seed is None else recipe.noise_seed
        key = recipe.noise if recipe.noise == "fixed" else own
        like = replace(base, noise=None)
        maps = self._noises.get(
            (key, 1.0), lambda: self.sampler.with_noise(like, "fixed" if key == "fixed" else own).noise
        )
        return self._stronger(maps, recipe.strength, key)

    def _stronger(
        self, maps: tuple[Tensor, ...] | None, strength: float, key: Hashable
    ) -> tuple[Tensor, ...] | None:
        if maps is None or strength == 1:
            return maps
        return self._noises.get((key, strength), lambda: tuple(strength * t for t in maps))

    def _direction(self, name: str) -> Named:
        if name not in self.directions:
            names = ", ".join(self.directions) or "none: there are no directions for this model"
            raise UserError(f"edit: {quoted(name)} does not exist; valid: {names}")
        return self.directions[name]


def named(sets: Sequence[Directions]) -> dict[str, Named]:
    """All directions of several sets by name; of one that comes twice the first."""
    found: dict[str, Named] = {}
    for directions in sets:
        for name in directions.names:
            found.setdefault(name, Named(directions, name))
    return found
