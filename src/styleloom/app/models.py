"""The generators that the page shows, by name."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from styleloom import hub
from styleloom.blending import Blend, blend
from styleloom.config.experiment import Precision
from styleloom.directions.direction_set import Directions, load_directions
from styleloom.directions.shipped import shipped_directions
from styleloom.errors import UserError, quoted, shown
from styleloom.interactive.engine import Engine
from styleloom.interactive.making import Maker, Recent, named
from styleloom.interactive.recipe import Recipe
from styleloom.names import embedded_name
from styleloom.pretrained import EMBEDDED_MODELS
from styleloom.sampling import Sampler
from styleloom.snapshot import Snapshot, read_snapshot
from styleloom.snapshot_names import find_snapshot

BLENDS = 2
"""Swaps with another model of which networks are kept."""


@dataclass
class Model:
    """One generator.

    Args:
        name: in links.
        given: as the command line takes it.
        snapshot: what was read.
        sampler: its generator.
        maker, engine: latents and pictures of recipes.
    """

    name: str
    given: str
    snapshot: Snapshot
    sampler: Sampler
    maker: Maker
    engine: Engine
    exact: Sampler | None = None
    """The generator in float32, where somebody asked for it."""
    swapped: Recent = field(default_factory=lambda: Recent(BLENDS))


class Models:
    """All of them. What makes pictures is to be called from one thread.

    Args:
        given: snapshots, run directories, embedded models, addresses.
        directions: files for `edit`.
        device, precision: of all.
    """

    def __init__(
        self, given: Sequence[str], directions: Sequence[Path], device: str, precision: Precision
    ) -> None:
        self.device = device
        self.precision: Precision = precision
        sets = [load_directions(path) for path in directions]
        self._models: dict[str, Model] = {}
        self._loading = threading.Lock()
        for text in given:
            model = self._opened(text, sets)
            self._models[model.name] = model

    def __iter__(self):
        return iter(self._models.values())

    @property
    def names(self) -> list[str]:
        """In the order in which they were given."""
        return list(self._models)

    def named(self, name: str) -> Model:
        """The model of a recipe's `model` or `other`; the first for no name."""
        if not name:
            return next(iter(self))
        if name not in self._models:
            raise UserError(f"model: {quoted(name)} does not exist; valid: {', '.join(self._models)}")
        return self._models[name]

    def others(self, model: Model) -> list[str]:
        """Models whose layers fit into `model`."""
        from styleloom.blending import check_fits

        found = []
        for other in self:
            try:
                check_fits(model.snapshot, other.snapshot)
            except UserError:
                continue
            found += [] if other is model else [other.name]
        return found

    def engine(self, recipe: Recipe) -> Engine:
        """What makes the picture: the model's, or that of two models in one."""
        model = self.named(recipe.model)
        if recipe.swap is None or not recipe.other:
            return model.engine
        other = self.named(recipe.other)
        key = (recipe.swap, other.name)
        return model.swapped.get(key, lambda: self._swapped(model, other, recipe.swap or 0))

    def float32(self, model: Model) -> Sampler:
        """The generator of a model in float32."""
        with self._loading:
            if model.exact is None:
                own = read_snapshot(model.snapshot.path or find_snapshot(model.given))
                model.exact = Sampler.of(own, self.device, "fp32")
        return model.exact

    def _opened(self, text: str, sets: Sequence[Directions]) -> Model:
        snapshot = read_snapshot(find_snapshot(text))
        sampler = Sampler.of(snapshot, self.device, self.precision)
        own = [found for found in sets if _fits(found, sampler)]
        shipped = shipped_directions(sampler.snapshot_sha256)
        own += [] if shipped is None else [shipped]
        maker = Maker(sampler, named(own))
        return Model(self._name(text), text, snapshot, sampler, maker, Engine(sampler))

    def _name(self, text: str) -> str:
        """A name that is not taken, from the last part of what was given."""
        name = embedded_name(text, EMBEDDED_MODELS) or text.rstrip("/").rsplit("/", 1)[-1]
        name = name.removesuffix(".safetensors") or "model"
        if name in self._models:
            raise UserError(f"{shown(text)}: another model is called {quoted(name)} already; rename one")
        if hub.is_address(text):
            return name.split("@")[0]
        return name

    def _swapped(self, model: Model, other: Model, side: int) -> Engine:
        mixed = blend(model.snapshot, other.snapshot, Blend(side))
        return Engine(Sampler.of(mixed, self.device, self.precision))


def _fits(directions: Directions, sampler: Sampler) -> bool:
    try:
        directions.check_fits(sampler.generator, sampler.snapshot_sha256)
    except UserError:
        return False
    return True
