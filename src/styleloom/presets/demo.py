"""Settings of our own, not the papers': small enough for a laptop's CPU.

R1's weight falls with the resolution: 10 suits 1024 x 1024 px and would outweigh the loss at 32 x 32.
"""

from __future__ import annotations

from dataclasses import replace

from styleloom.config import ByResolution, DataOptions, Experiment, GradientPenalty, PathLength, RunOptions
from styleloom.config.networks import FeatureMaps, Mapping
from styleloom.presets.stylegan2 import F_FFHQ

_MAPPING = Mapping(4, 128)


def narrow(resolution: int, features: FeatureMaps, mapping: Mapping = _MAPPING) -> Experiment:
    """Configuration F at a small resolution: few features, z and w of 128 numbers."""
    f = F_FFHQ.with_data(resolution=resolution)
    return replace(
        f,
        generator=replace(f.generator, z_dim=128, w_dim=128, features=features, mapping=mapping),
        discriminator=replace(f.discriminator, features=features),
    )


_RUN = RunOptions(tick_kimg=ByResolution(4), sample_every=4, snapshot_every=10, state_every=5, swd_images=256)

# A few minutes are a few thousand steps. Steps five times as long as configuration F's, a mapping network
# that learns faster, and an average that lags by a thousand images show more in that time; path length and
# style mixing would each cost a share of the steps. Portraits are not mirrored: a parting is on its side.
DEMO = replace(
    narrow(32, FeatureMaps(base=512, max=128), replace(_MAPPING, lr_multiplier=0.1)),
    name="demo",
    source="StyleGAN2 configuration F, narrow, for the embedded portraits at 32 x 32 px",
    d_regularizer=GradientPenalty(gamma=1.0, every=16),
    g_regularizer=PathLength(weight=0.0, every=4),
    style_mixing=0.0,
    learning_rate=ByResolution(0.01),
    batch=ByResolution(32),
    total_kimg=400,
    ema_half_life_kimg=1,
    data=DataOptions(mirror="none", held_out=640),  # leaves 4,000 portraits
    run=_RUN,
)

WIDE = narrow(64, FeatureMaps(base=1024, max=256))
"""The networks of the models at 64 px."""

# At the emoji's own 64 x 64 px. It is trained on all of them but those held out to measure it.
EMOJI_64 = replace(
    WIDE,
    name="emoji-64",
    source="StyleGAN2 configuration F, narrow, for the embedded emoji at 64 x 64 px",
    d_regularizer=GradientPenalty(gamma=2.0, every=16),
    g_regularizer=PathLength(weight=2.0, every=4),
    learning_rate=ByResolution(0.0025),
    batch=ByResolution(16),
    total_kimg=2000,
    ema_half_life_kimg=10,
    data=DataOptions(mirror="horizontal", held_out=256),
    run=replace(_RUN, snapshot_every=5),
)

# For portraits that scripts/make_portraits.mjs draws, tens of thousands for a good model. They are not
# mirrored: a parting or a wink is on its side.
PORTRAITS_64 = replace(
    EMOJI_64,
    name="portraits-64",
    source="StyleGAN2 configuration F, narrow, for portraits at 64 x 64 px",
    d_regularizer=GradientPenalty(gamma=1.0, every=16),
    total_kimg=4000,
    data=DataOptions(mirror="none", held_out=256),
    run=replace(_RUN, swd_images=0, keep_snapshots=4),
)

PRESETS: dict[str, Experiment] = {
    experiment.name: experiment for experiment in (DEMO, EMOJI_64, PORTRAITS_64)
}
