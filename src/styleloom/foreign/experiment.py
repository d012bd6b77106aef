"""The experiment of a foreign generator: its networks, and the training of its family by default."""

from __future__ import annotations

import math
from dataclasses import replace

from styleloom.config import Experiment
from styleloom.config.growth import Growth
from styleloom.config.networks import DiscriminatorConfig, GeneratorConfig
from styleloom.config.schedules import ByResolution
from styleloom.errors import UserError
from styleloom.foreign.file import D, ForeignFile
from styleloom.presets import FAMILY_DEFAULTS

BATCH = 32

SHAPE = ("resolution", "channels", "label_dim", "grid")


def experiment_of(file: ForeignFile, config: GeneratorConfig, lod: float) -> Experiment:
    """The experiment: what is not recorded is that of the family's default preset."""
    base = FAMILY_DEFAULTS[config.family]
    discriminator = _discriminator(file, config)
    shape = {name: getattr(config, name) for name in SHAPE}
    if discriminator is None:
        discriminator = replace(base.discriminator, **shape)
    growth = base.growth
    if not config.grows:
        growth = Growth()
    elif growth.mode == "progressive":
        lowest = 4 if lod else min(growth.initial_resolution, config.resolution)
        growth = replace(growth, initial_resolution=lowest)
    elif lod:
        growth = Growth("progressive", initial_resolution=4)
    group = discriminator.minibatch_std.group_size
    fits = group < 2 or group > BATCH or all(size % group == 0 for _, size in base.batch.named("batch"))
    return replace(
        base,
        name=file.inside.format,
        source=f"{file.inside.code}, {file.path.name}",
        generator=config,
        discriminator=discriminator,
        growth=growth,
        style_mixing=base.style_mixing if config.mixes_styles else 0.0,
        run=base.run if config.truncates else replace(base.run, sample_truncation=1.0),
        batch=base.batch if fits else ByResolution(group * math.ceil(BATCH / group)),
    )


def _discriminator(file: ForeignFile, config: GeneratorConfig) -> DiscriminatorConfig | None:
    """That of the file, where it has one that we have, too, and that fits the generator."""
    network = file.inside.networks.get(D)
    if network is None:
        return None
    try:
        found = network.translate(network).config
    except (UserError, TypeError, ValueError, LookupError, ArithmeticError):
        return None  # its weights, if asked for, say why
    fits = all(getattr(found, name) == getattr(config, name) for name in (*SHAPE, "pyramid_sides"))
    return found if fits else None  # type: ignore[return-value]


def images_seen_at(lod: float, experiment: Experiment) -> float | None:
    """The images after which the experiment's growth is at the level of detail `lod`; None at the end."""
    growth, levels = experiment.growth, int(math.log2(experiment.resolution)) - 2
    if lod <= 0 or growth.mode == "none":
        return None
    lod = min(lod, levels)
    phase = levels - math.ceil(lod)
    faded = math.ceil(lod) - lod
    return 1000 * (
        phase * (growth.stabilize_kimg + growth.fade_kimg)
        + (growth.stabilize_kimg + faded * growth.fade_kimg if faded else 0)
    )
