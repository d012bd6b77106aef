"""Settings of our own, not the papers': small enough for a laptop's CPU.

R1's weight falls with the resolution: 10 suits 1024 x 1024 px and would outweigh the loss at 32 x 32.
"""

from __future__ import annotations

from dataclasses import replace

from styleloom.config import ByResolution, DataOptions, Experiment, GradientPenalty, PathLength, RunOptions
from styleloom.config.networks import FeatureMaps, Mapping
from styleloom.presets.stylegan2 import F_FFHQ

DEMO = replace(
    F_FFHQ.with_data(resolution=32),
    name="demo",
    source="StyleGAN2 configuration F, narrow, for the embedded emoji at 32 x 32 px",
    d_regularizer=GradientPenalty(gamma=1.0, every=16),
    g_regularizer=PathLength(weight=2.0, every=4),
    learning_rate=ByResolution(0.0025),
    batch=ByResolution(16),
    total_kimg=400,
    ema_half_life_kimg=5,
    data=DataOptions(mirror="horizontal", held_out=256),
    run=RunOptions(
        tick_kimg=ByResolution(4), sample_every=4, snapshot_every=10, state_every=5, swd_images=256
    ),
)
DEMO = replace(
    DEMO,
    generator=replace(
        DEMO.generator, z_dim=128, w_dim=128, features=FeatureMaps(base=512, max=128), mapping=Mapping(4, 128)
    ),
    discriminator=replace(DEMO.discriminator, features=FeatureMaps(base=512, max=128)),
)

# The model that ships with the package: wider, at the emoji's own 64 x 64 px. It is trained on all of them
# but those held out to measure it.
EMOJI_64 = replace(
    DEMO.with_data(resolution=64),
    name="emoji-64",
    source="StyleGAN2 configuration F, narrow, for the embedded emoji at 64 x 64 px",
    d_regularizer=replace(DEMO.d_regularizer, gamma=2.0),
    total_kimg=2000,
    ema_half_life_kimg=10,
    run=replace(DEMO.run, snapshot_every=5),
)
EMOJI_64 = replace(
    EMOJI_64,
    generator=replace(EMOJI_64.generator, features=FeatureMaps(base=1024, max=256)),
    discriminator=replace(EMOJI_64.discriminator, features=FeatureMaps(base=1024, max=256)),
)

PRESETS: dict[str, Experiment] = {experiment.name: experiment for experiment in (DEMO, EMOJI_64)}
