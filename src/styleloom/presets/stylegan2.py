"""StyleGAN2 (Karras et al. 2020): Table 1 for FFHQ and LSUN Car, the study of Table 2, the data of Table 3.

Each row is an earlier row with what the paper changes. FFHQ has 1024 x 1024 px and is mirrored, LSUN Car
has 512 x 512 (512 x 384 between black bars), the other LSUN categories have 256 x 256. Appendix B has the
training.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from styleloom.config import ByResolution, DataOptions, Experiment, Growth, PathLength
from styleloom.config.networks import (
    TABLE_2_ARCHITECTURES,
    Architecture,
    FeatureMaps,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
)
from styleloom.presets import stylegan
from styleloom.presets.schedules import STYLEGAN2_BATCH, STYLEGAN2_UNIT

PAPER = "StyleGAN2 (Karras et al. 2020)"


def _row(config: Experiment, name: str, place: str, **changes: Any) -> Experiment:
    return replace(config, name=f"stylegan2-{name}", source=f"{PAPER}, {place}", **changes)


def _networks(config: Experiment, **changes: Any) -> dict[str, Any]:
    """Both networks of `config` with the same fields changed."""
    return {
        "generator": replace(config.generator, **changes),
        "discriminator": replace(config.discriminator, **changes),
    }


# ---- Table 1

# A: StyleGAN in this paper's training: the generator first, one batch table for any number of devices.
A_FFHQ = _row(
    stylegan.F_FFHQ,
    "a",
    "Table 1, row A, FFHQ",
    step_order="g-first",
    batch=STYLEGAN2_BATCH,
    style_mixing_unit=STYLEGAN2_UNIT,
)

# A with the feature maps of F, which shows what size alone does.
A_LARGE = _row(
    A_FFHQ,
    "a-large",
    "Table 1, row A with large networks, FFHQ",
    **_networks(A_FFHQ, features=FeatureMaps(base=16384)),
)

# B: + weight demodulation, and everything else of the revised generator. It still grows.
B_FFHQ = _row(
    A_FFHQ,
    "b",
    "Table 1, row B, FFHQ",
    generator=StyleGAN2Generator(
        resolution=1024,
        architecture="growing",
        resample_filter=(1, 3, 3, 1),
        features=FeatureMaps(base=8192),
    ),
    discriminator=StyleGAN2Discriminator(
        resolution=1024,
        architecture="growing",
        resample_filter=(1, 3, 3, 1),
        features=FeatureMaps(base=8192),
    ),
)

# C: + lazy regularization: R1 every 16 steps. The generator has no penalty yet, but in the authors' code its
# learning rate already has the correction for one every 4 steps.
C_FFHQ = _row(
    B_FFHQ,
    "c",
    "Table 1, row C, FFHQ",
    d_regularizer=replace(B_FFHQ.d_regularizer, every=16),
    g_regularizer=PathLength(weight=0, decay=0.01, batch_shrink=2, every=4),
)

# D: + path length regularization, every 4 steps as in the authors' code; the paper says 8.
D_FFHQ = _row(C_FFHQ, "d", "Table 1, row D, FFHQ", g_regularizer=replace(C_FFHQ.g_regularizer, weight=2))

# E: no growing, skip generator, residual discriminator, so that one batch and one learning rate serve. gamma
# is 100 in this row of the table alone.
E_FFHQ = _row(
    D_FFHQ,
    "e",
    "Table 1, row E, FFHQ",
    generator=replace(D_FFHQ.generator, architecture="skip"),
    discriminator=replace(D_FFHQ.discriminator, architecture="resnet"),
    growth=Growth("none"),
    batch=ByResolution(32),
    style_mixing_unit=ByResolution(4),
    learning_rate=ByResolution(0.002),
    d_regularizer=replace(D_FFHQ.d_regularizer, gamma=100),
)

# F: twice the feature maps at 64 x 64 px and above, and gamma 10.
F_FFHQ = _row(
    E_FFHQ,
    "f",
    "Table 1, row F, FFHQ",
    **_networks(E_FFHQ, features=FeatureMaps(base=16384)),
    d_regularizer=replace(E_FFHQ.d_regularizer, gamma=10),
)

ROWS = (A_FFHQ, B_FFHQ, C_FFHQ, D_FFHQ, E_FFHQ, F_FFHQ)


def _lsun(config: Experiment, category: str, resolution: int, total_kimg: float, place: str) -> Experiment:
    """`config` for one category of LSUN, which is not mirrored."""
    return replace(
        config.with_data(resolution=resolution),
        name=f"{config.name}-{category}",
        source=f"{PAPER}, {place}, LSUN {category.capitalize()}",
        total_kimg=total_kimg,
        data=DataOptions(mirror="none"),
    )


CAR_ROWS = tuple(
    _lsun(
        row,
        "car",
        512,
        57_000,
        f"{'Tables 1 and 3' if letter in 'af' else 'Table 1'}, row {letter.upper()}",
    )
    for letter, row in zip("abcdef", ROWS, strict=True)
)
A_CAR, B_CAR, C_CAR, D_CAR, E_CAR, F_CAR = CAR_ROWS


# ---- Table 2: architectures, without growing, all with the gamma of row E


def _cell(config: Experiment, g: Architecture, d: Architecture, suffix: str, dataset: str) -> Experiment:
    """One cell: `config` with these architectures."""
    return _row(
        config,
        f"e-g-{g}-d-{d}{suffix}",
        f"Table 2, G {g}, D {d}, {dataset}",
        generator=replace(config.generator, architecture=g),
        discriminator=replace(config.discriminator, architecture=d),
    )


TABLE_2 = tuple(
    _cell(config, g, d, suffix, dataset)
    for config, suffix, dataset in ((E_FFHQ, "", "FFHQ"), (E_CAR, "-car", "LSUN Car"))
    for g in TABLE_2_ARCHITECTURES
    for d in TABLE_2_ARCHITECTURES
)


# ---- Table 3: rows A and F. gamma is 100 for Church and Horse, in both rows.


def _gamma(config: Experiment, gamma: float) -> Experiment:
    return replace(config, d_regularizer=replace(config.d_regularizer, gamma=gamma))


A_CAT = _lsun(A_FFHQ, "cat", 256, 88_000, "Table 3, row A")
A_CHURCH = _gamma(_lsun(A_FFHQ, "church", 256, 48_000, "Table 3, row A"), 100)
A_HORSE = _gamma(_lsun(A_FFHQ, "horse", 256, 100_000, "Table 3, row A"), 100)
F_CAT = _lsun(F_FFHQ, "cat", 256, 88_000, "Table 3, row F")
F_CHURCH = _gamma(_lsun(F_FFHQ, "church", 256, 48_000, "Table 3, row F"), 100)
F_HORSE = _gamma(_lsun(F_FFHQ, "horse", 256, 100_000, "Table 3, row F"), 100)

# The README of the authors' code trains Church for longer than Table 3.
F_CHURCH_88M = _row(F_CHURCH, "f-church-88m", "Table 3, row F, LSUN Church, 88M images", total_kimg=88_000)


# ---- What demodulation replaces (Fig. 2 and section 2.2), in configuration B, of which it is the last step

# Fig. 2c: each feature map is divided by its standard deviation.
B_EXPLICIT = _row(
    B_FFHQ,
    "b-explicit",
    "Fig. 2c, row B with explicit normalization, FFHQ",
    generator=replace(B_FFHQ.generator, normalization="explicit"),
)

# Section 2.2: normalization removed altogether, so that the effects of styles add up from layer to layer.
B_NO_NORMALIZATION = _row(
    B_FFHQ,
    "b-no-normalization",
    "section 2.2, row B without normalization, FFHQ",
    generator=replace(B_FFHQ.generator, normalization="none"),
)


# ---- As the text has it, where the authors' code differs

# Path length is regularized every 8 steps.
F_PAPER_LAZY8 = _row(
    F_FFHQ,
    "f-paper-lazy8",
    "Table 1, row F, FFHQ, text's interval 8",
    g_regularizer=replace(F_FFHQ.g_regularizer, every=8),
)

# A percentage of images is mixed, not of minibatches.
F_PAPER_MIXING = _row(
    F_FFHQ,
    "f-paper-mixing",
    "Table 1, row F, FFHQ, text's mixing",
    style_mixing_unit=ByResolution(1),
)

# The generator of C has no penalty; here its learning rate is not corrected for lazy regularization.
C_FULL_RATE = _row(
    C_FFHQ,
    "c-full-rate",
    "Table 1, row C, FFHQ, G's rate uncorrected",
    g_regularizer=replace(C_FFHQ.g_regularizer, every=1),
)

PRESETS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        *ROWS,
        A_LARGE,
        B_EXPLICIT,
        B_NO_NORMALIZATION,
        C_FULL_RATE,
        F_PAPER_LAZY8,
        F_PAPER_MIXING,
        *CAR_ROWS,
        A_CAT,
        F_CAT,
        A_CHURCH,
        F_CHURCH,
        F_CHURCH_88M,
        A_HORSE,
        F_HORSE,
        *TABLE_2,
    )
}
