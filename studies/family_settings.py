"""The models of the family study: presets in miniature, and the options of the study."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from styleloom import presets
from styleloom.config import ByResolution, DataOptions, Experiment, FeatureMaps, RunOptions

DATA, RESOLUTION, HELD_OUT = "portraits", 32, 512
POINT_KIMG = 20
"""Thousands of images between two measurements of a training's distance."""
FEATURES = FeatureMaps(base=512, max=128)
LATENTS: dict[str, Any] = {"z_dim": 128, "w_dim": 128}
MAPPING: dict[str, Any] = {"layers": 4, "width": 128}
RUN = RunOptions(
    tick_kimg=ByResolution(4),
    sample_every=2,
    snapshot_every=POINT_KIMG // 4,
    state_every=1,
    keep_snapshots=1,
    swd_images=HELD_OUT,
)
START_PX, PHASE_KIMG = 8, 10
"""Growing models start at START_PX. Each level before the last, and each fade, takes PHASE_KIMG thousand
images."""
SHARED: dict[str, Any] = {
    "batch": ByResolution(16),
    "style_mixing_unit": ByResolution(4),  # as at the full resolution of the papers
    "ema_half_life_kimg": 5,
    "ema_beta": None,
    "data": DataOptions(held_out=HELD_OUT),
}


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


MINIATURES: dict[str, Miniature] = {
    "progan": Miniature(learning_rate=0.002, gamma=10),
    "stylegan-f": Miniature(learning_rate=0.003, gamma=1),
    "msg-progan": Miniature(learning_rate=0.003, gamma=10),
    "msg-stylegan": Miniature(learning_rate=0.003, gamma=1),
    "stylegan2-d": Miniature(learning_rate=0.0025, gamma=1),
    "stylegan2-f": Miniature(learning_rate=0.0025, gamma=1),
}
"""By preset."""

AUTHORS = {"msg-stylegan-authors": "msg-stylegan"}
"""Presets, by the model's name, with every constant of their authors but the numbers of feature maps and of
images. MSG-GAN's networks do not grow: so there is no schedule that a short training would have to change."""

MODELS = (*MINIATURES, *AUTHORS)


def experiment(name: str, kimg: float, seed: int) -> Experiment:
    """The settings of a model."""
    preset = presets.get(AUTHORS.get(name, name)).with_data(resolution=RESOLUTION)
    narrow = replace(
        preset,
        generator=replace(preset.generator, features=FEATURES),
        discriminator=replace(preset.discriminator, features=FEATURES),
        data=replace(preset.data, held_out=HELD_OUT),
        total_kimg=kimg,
        seed=seed,
        source="",
        run=RUN,
    )
    return narrow if name in AUTHORS else _miniature(narrow, MINIATURES[name])


def _miniature(preset: Experiment, own: Miniature) -> Experiment:
    mapping = getattr(preset.generator, "mapping", None)
    shape = LATENTS | ({} if mapping is None else {"mapping": replace(mapping, **MAPPING)})
    growth = preset.growth
    if growth.mode == "progressive":
        growth = replace(growth, initial_resolution=START_PX, stabilize_kimg=PHASE_KIMG, fade_kimg=PHASE_KIMG)
    return replace(
        preset,
        generator=_with(preset.generator, shape),
        learning_rate=ByResolution(own.learning_rate),
        d_regularizer=replace(preset.d_regularizer, gamma=own.gamma),
        growth=growth,
        **SHARED,
    )


def _with(config: Any, values: dict[str, Any]) -> Any:
    """`config` with those of `values` for which it has a field: ProGAN has no w and no mapping network."""
    names = {field.name for field in dataclasses.fields(config)}
    return replace(config, **{name: value for name, value in values.items() if name in names})


@dataclass
class FamilyStudy:
    """Train one model of each kind on the same data and compare."""

    only: tuple[str, ...] = MODELS
    """Which of them to train now."""
    kimg: float = 160.0
    """Thousands of images of each training; a training that was shorter goes on."""
    seed: int = 0
    """Of each training."""
    threads: int = 1
    """CPU threads."""
    repeats: int = 3
    """Measurements of each trained generator, each of other latents."""
    fresh: bool = False
    """Begin the trainings anew, whatever there is of them."""
    out: Path = Path("results/family-32.md")
    """The page; pictures and outcomes go to a folder of its name beside it."""
    runs: Path = Path("runs/family-32")
    """Where the trainings are, a run directory for each model."""

    @property
    def folder(self) -> Path:
        """Pictures and outcomes."""
        return self.out.with_suffix("")

    def experiment(self, name: str) -> Experiment:
        """The settings of one model."""
        return experiment(name, self.kimg, self.seed)
