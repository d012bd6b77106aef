"""StyleGAN2 (Karras et al. 2020): configurations E and F, Tables 1 to 3.

Each row is an earlier row with what the paper changes. FFHQ has 1024 x 1024 px and is mirrored, LSUN Car
has 512 x 512 (512 x 384 between black bars), the other LSUN categories have 256 x 256.
"""

from __future__ import annotations

from dataclasses import replace

from styleloom.config.experiment import (
    Adam,
    ByResolution,
    DataOptions,
    Experiment,
    GradientPenalty,
    PathLength,
)
from styleloom.config.networks import (
    TABLE_2_ARCHITECTURES,
    Architecture,
    FeatureMaps,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
)

PAPER = "StyleGAN2 (Karras et al. 2020)"

# Table 1, row E: no growing, skip generator, residual discriminator. Section 3.1 and appendix B: gamma is 100
# in configuration E. Path length is regularized every 4 steps as in the authors' code; the paper says 8.
E_FFHQ = Experiment(
    name="stylegan2-e",
    source=f"{PAPER}, Table 1, row E, FFHQ",
    generator=StyleGAN2Generator(
        resolution=1024, architecture="skip", resample_filter=(1, 3, 3, 1), features=FeatureMaps(base=8192)
    ),
    discriminator=StyleGAN2Discriminator(
        resolution=1024, architecture="resnet", resample_filter=(1, 3, 3, 1), features=FeatureMaps(base=8192)
    ),
    loss="nonsaturating",
    d_regularizer=GradientPenalty(gamma=100, every=16),
    g_regularizer=PathLength(weight=2, decay=0.01, batch_shrink=2, every=4),
    style_mixing=0.9,
    adam=Adam(beta1=0.0, beta2=0.99, epsilon=1e-8),
    learning_rate=ByResolution(0.002),
    batch=ByResolution(32),
    total_kimg=25_000,
    ema_half_life_kimg=10,
    data=DataOptions(mirror="horizontal"),
)

# Table 1, row F: twice the feature maps at 64 x 64 px and above, and gamma 10.
F_FFHQ = replace(
    E_FFHQ,
    name="stylegan2-f",
    source=f"{PAPER}, Table 1, row F, FFHQ",
    generator=replace(E_FFHQ.generator, features=FeatureMaps(base=16384)),
    discriminator=replace(E_FFHQ.discriminator, features=FeatureMaps(base=16384)),
    d_regularizer=replace(E_FFHQ.d_regularizer, gamma=10),
)

# Appendix B writes that path length is regularized every 8 steps.
F_PAPER_LAZY8 = replace(
    F_FFHQ,
    name="stylegan2-f-paper-lazy8",
    source=f"{PAPER}, Table 1, row F, FFHQ, with the lazy interval of the text",
    g_regularizer=replace(F_FFHQ.g_regularizer, every=8),
)


def _lsun(config: Experiment, category: str, resolution: int, total_kimg: float, place: str) -> Experiment:
    """`config` for one category of LSUN, which is not mirrored."""
    return replace(
        config.with_data(resolution=resolution),
        name=f"{config.name}-{category}",
        source=f"{PAPER}, {place}, LSUN {category.capitalize()}",
        total_kimg=total_kimg,
        data=DataOptions(mirror="none"),
    )


def _gamma(config: Experiment, gamma: float) -> Experiment:
    return replace(config, d_regularizer=replace(config.d_regularizer, gamma=gamma))


E_CAR = _lsun(E_FFHQ, "car", 512, 57_000, "Table 1, row E")

# Table 3. gamma is 100 for Church and Horse (appendix B).
F_CAR = _lsun(F_FFHQ, "car", 512, 57_000, "Tables 1 and 3, row F")
F_CAT = _lsun(F_FFHQ, "cat", 256, 88_000, "Table 3, row F")
F_CHURCH = _gamma(_lsun(F_FFHQ, "church", 256, 48_000, "Table 3, row F"), 100)
F_HORSE = _gamma(_lsun(F_FFHQ, "horse", 256, 100_000, "Table 3, row F"), 100)


def _cell(config: Experiment, g: Architecture, d: Architecture, suffix: str, dataset: str) -> Experiment:
    """One cell of Table 2: `config` with these architectures."""
    return replace(
        config,
        name=f"stylegan2-e-g-{g}-d-{d}{suffix}",
        source=f"{PAPER}, Table 2, G {g}, D {d}, {dataset}",
        generator=replace(config.generator, architecture=g),
        discriminator=replace(config.discriminator, architecture=d),
    )


TABLE_2 = tuple(
    _cell(config, g, d, suffix, dataset)
    for config, suffix, dataset in ((E_FFHQ, "", "FFHQ"), (E_CAR, "-car", "LSUN Car"))
    for g in TABLE_2_ARCHITECTURES
    for d in TABLE_2_ARCHITECTURES
)

PRESETS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        E_FFHQ,
        F_FFHQ,
        F_PAPER_LAZY8,
        E_CAR,
        F_CAR,
        F_CAT,
        F_CHURCH,
        F_HORSE,
        *TABLE_2,
    )
}
