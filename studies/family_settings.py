"""The models of the family study: presets in miniature, and the options of the study."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from styleloom import presets
from styleloom.config import ByResolution, DataOptions, Experiment, FeatureMaps, RunOptions

DATA, RESOLUTION, HELD_OUT = "emoji", 32, 256
SHARED: dict[str, Any] = {
    "batch": ByResolution(16),
    "style_mixing_unit": ByResolution(4),  # as at the full resolution of the papers
    "ema_half_life_kimg": 5,
    "ema_beta": None,
    "data": DataOptions(mirror="horizontal", held_out=HELD_OUT),
}
NARROW: dict[str, Any] = {"features": FeatureMaps(base=512, max=128), "z_dim": 128, "w_dim": 128}
MAPPING: dict[str, Any] = {"layers": 4, "width": 128}
START_PX, PHASE = 8, 0.1
"""Growing models start at START_PX. Each level before the last, and each fade, takes the share PHASE of all
images: 8 px, fade to 16, 16 px, fade to 32, and 60 % on 32 px. 30 % of the images are below full resolution:
those of 8 px, of the fade to 16 px and of 16 px."""


@dataclass(frozen=True)
class Miniature:
    """What a model changes in its preset, besides the changes that all models share (`SHARED`).

    Args:
        learning_rate: of both networks, at every resolution.
        gamma: weight of the discriminator's penalty. R1 needs a smaller one at a lower resolution: 10 suits
            1024 px.
    """

    learning_rate: float
    gamma: float


MODELS: dict[str, Miniature] = {
    "progan": Miniature(learning_rate=0.001, gamma=10),
    "stylegan-f": Miniature(learning_rate=0.0015, gamma=1),
    "msg-progan": Miniature(learning_rate=0.001, gamma=10),
    "msg-stylegan": Miniature(learning_rate=0.0015, gamma=1),
    "stylegan2-d": Miniature(learning_rate=0.0025, gamma=1),
    "stylegan2-f": Miniature(learning_rate=0.0025, gamma=1),
}
"""By preset."""


def experiment(name: str, kimg: float, seed: int) -> Experiment:
    """The preset `name` in miniature."""
    preset, own = presets.get(name).with_data(resolution=RESOLUTION), MODELS[name]
    mapping = getattr(preset.generator, "mapping", None)
    shape = NARROW | ({} if mapping is None else {"mapping": replace(mapping, **MAPPING)})
    growth = preset.growth
    if growth.mode == "progressive":
        phase = PHASE * kimg
        growth = replace(growth, initial_resolution=START_PX, stabilize_kimg=phase, fade_kimg=phase)
    return replace(
        preset,
        generator=_with(preset.generator, shape),
        discriminator=_with(preset.discriminator, {"features": shape["features"]}),
        learning_rate=ByResolution(own.learning_rate),
        d_regularizer=replace(preset.d_regularizer, gamma=own.gamma),
        growth=growth,
        total_kimg=kimg,
        seed=seed,
        source="",
        run=RunOptions(),
        **SHARED,
    )


def _with(config: Any, values: dict[str, Any]) -> Any:
    """`config` with those of `values` for which it has a field: ProGAN has no w and no mapping network."""
    names = {field.name for field in dataclasses.fields(config)}
    return replace(config, **{name: value for name, value in values.items() if name in names})


@dataclass
class FamilyStudy:
    """Train one model of each kind on the same data and compare."""

    models: tuple[str, ...] = tuple(MODELS)
    """Which of them to train."""
    kimg: float = 36.0
    """Thousands of images of each training."""
    seed: int = 0
    """Of each training."""
    points: int = 8
    """Measurements of each training, the last at the end."""
    threads: int = 1
    """CPU threads per training."""
    at_once: int = 2
    """Trainings at the same time."""
    fresh: bool = False
    """Train every model anew, whatever has finished before."""
    out: Path = Path("results/family-32.md")
    """The page; pictures and outcomes go to a folder of its name beside it."""
    snapshots: Path = Path("runs/family-32")
    """Where the trained generators go, MODEL.safetensors; `studies/family_metrics.py` measures them."""

    @property
    def folder(self) -> Path:
        """Pictures and outcomes."""
        return self.out.with_suffix("")

    def experiment(self, name: str) -> Experiment:
        """The settings of one model."""
        return experiment(name, self.kimg, self.seed)
