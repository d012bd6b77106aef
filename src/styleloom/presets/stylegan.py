"""StyleGAN (Karras et al. 2019): Table 1 for FFHQ and CelebA-HQ, LSUN, and the studies of Tables 2 to 4.

Each row is an earlier row with what the paper changes. FFHQ and CelebA-HQ have 1024 x 1024 px and are
mirrored; LSUN Car has 512 x 512 (512 x 384 between black bars), Bedroom and Cat 256 x 256, not mirrored.
Appendix C has the training.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from styleloom.config import ByResolution, DataOptions, Experiment, GradientPenalty
from styleloom.config.networks import Mapping, StyleGANDiscriminator, StyleGANGenerator
from styleloom.presets.progan import DRIFT, PROGAN_8GPU, WGAN_GP
from styleloom.presets.schedules import capped

PAPER = "StyleGAN (Karras et al. 2019)"


def _row(config: Experiment, name: str, place: str, **changes: Any) -> Experiment:
    return replace(config, name=f"stylegan-{name}", source=f"{PAPER}, {place}", **changes)


def _generator(config: Experiment, name: str, place: str, **changes: Any) -> Experiment:
    """`config` with fields of its generator changed."""
    return _row(config, name, place, generator=replace(config.generator, **changes))


# ---- Table 1, FFHQ

# A: ProGAN as its authors train it on 8 GPUs, but with an EMA whose half-life is 10,000 images.
A_FFHQ = _row(PROGAN_8GPU, "a", "Table 1, row A, FFHQ", ema_beta=None, ema_half_life_kimg=10)

# B: binomial filters, growth from 8 x 8 px, a longer training, non-saturating loss with R1. No styles yet.
B_FFHQ = _row(
    A_FFHQ,
    "b",
    "Table 1, row B, FFHQ",
    generator=StyleGANGenerator(
        resolution=1024,
        mapping=Mapping(layers=0),
        styles="none",
        input="w",
        noise="none",
        normalization=("pixel",),
    ),
    discriminator=StyleGANDiscriminator(resolution=1024),
    loss="nonsaturating",
    d_regularizer=GradientPenalty(kind="zero-centred", gamma=10, every=1),
    drift=0,
    growth=replace(A_FFHQ.growth, initial_resolution=8),
    total_kimg=25_000,
)

# C: + mapping network and AdaIN. The authors' code feeds w to the input layer; see C_PAPER.
C_FFHQ = _generator(
    B_FFHQ,
    "c",
    "Table 1, row C, FFHQ",
    mapping=Mapping(layers=8),
    styles="adain",
    normalization=("instance",),
)

# D: + a learned constant instead of the input layer.
D_FFHQ = _generator(C_FFHQ, "d", "Table 1, row D, FFHQ", input="constant")

# E: + noise.
E_FFHQ = _generator(D_FFHQ, "e", "Table 1, row E, FFHQ", noise="per-channel")

# F: + mixing of styles.
F_FFHQ = _row(E_FFHQ, "f", "Table 1, row F, FFHQ", style_mixing=0.9)

ROWS = (A_FFHQ, B_FFHQ, C_FFHQ, D_FFHQ, E_FFHQ, F_FFHQ)


# ---- Table 1, CelebA-HQ

# Rows B to F keep WGAN-GP, and no learning rate is above 0.002. The length is 25,000 kimg, as in the authors'
# code; the text says so for FFHQ alone.
WGAN_GP_CHANGES: dict[str, Any] = {
    "loss": "wgan",
    "d_regularizer": WGAN_GP,
    "drift": DRIFT,
    "learning_rate": capped(B_FFHQ.learning_rate, 0.002),
}

CELEBAHQ_ROWS = (
    _row(A_FFHQ, "a-celebahq", "Table 1, row A, CelebA-HQ"),
    *(
        _row(row, f"{letter}-celebahq", f"Table 1, row {letter.upper()}, CelebA-HQ", **WGAN_GP_CHANGES)
        for letter, row in zip("bcdef", ROWS[1:], strict=True)
    ),
)
F_CELEBAHQ_12M = _row(
    CELEBAHQ_ROWS[-1], "f-celebahq-12m", "Table 1, row F, CelebA-HQ, 12M images", total_kimg=12_000
)


# ---- LSUN, configuration F (appendix E)


def _lsun(category: str, resolution: int, total_kimg: float) -> Experiment:
    return _row(
        F_FFHQ.with_data(resolution=resolution),
        f"f-{category}",
        f"Figs. 10 to 12, row F, LSUN {category.capitalize()}",
        total_kimg=total_kimg,
        data=DataOptions(mirror="none"),
    )


F_BEDROOM = _lsun("bedroom", 256, 70_000)
F_CAT = _lsun("cat", 256, 70_000)
F_CAR = _lsun("car", 512, 46_000)


# ---- Table 2: how often styles are mixed

TABLE_2 = tuple(
    _row(F_FFHQ, f"mixing-{percent}", f"Table 2, mixing {percent} %", style_mixing=percent / 100)
    for percent in (0, 50, 90, 100)
)


# ---- Tables 3 and 4: depth of the mapping network. Noise and mixing stay as in F.

TRADITIONAL_0 = _row(B_FFHQ, "traditional-0", "Tables 3 and 4, traditional 0")
TRADITIONAL_8 = _generator(B_FFHQ, "traditional-8", "Table 4, traditional 8", mapping=Mapping(layers=8))
STYLES = tuple(
    _generator(F_FFHQ, f"styles-{layers}", f"Table 4, style-based {layers}", mapping=Mapping(layers=layers))
    for layers in (0, 1, 2, 8)
)


# ---- As the text has it, where the authors' code differs

# In configuration C the input layer reads z, not w.
C_PAPER = _generator(C_FFHQ, "c-paper", "Table 1, row C, FFHQ, text's input", input="z")

# Filters directly after upsampling and before downsampling. Results differ at the border alone.
F_PAPER_BLUR = _row(
    F_FFHQ,
    "f-paper-blur",
    "Table 1, row F, FFHQ, text's filters",
    generator=replace(F_FFHQ.generator, blur_order="paper"),
    discriminator=replace(F_FFHQ.discriminator, blur_order="paper"),
)

# A percentage of images is mixed, not of minibatches.
F_PAPER_MIXING = _row(
    F_FFHQ,
    "f-paper-mixing",
    "Table 1, row F, FFHQ, text's mixing",
    style_mixing_unit=ByResolution(1),
)

PRESETS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        *ROWS,
        C_PAPER,
        F_PAPER_BLUR,
        F_PAPER_MIXING,
        *CELEBAHQ_ROWS,
        F_CELEBAHQ_12M,
        F_BEDROOM,
        F_CAT,
        F_CAR,
        *TABLE_2,
        TRADITIONAL_0,
        TRADITIONAL_8,
        *STYLES,
    )
}
