"""ProGAN (Karras et al. 2018): the settings of its results, and those that its authors published later.

CelebA-HQ has 1024 x 1024 px, LSUN 256 x 256, the ablation of section 6.1 128 x 128, CIFAR-10 32 x 32.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from styleloom.config import (
    Adam,
    ByImages,
    ByResolution,
    DataOptions,
    Experiment,
    GradientPenalty,
    Growth,
    PathLength,
)
from styleloom.config.networks import FeatureMaps, MinibatchStd, ProGANDiscriminator, ProGANGenerator
from styleloom.presets.schedules import GROWING_BATCH, PROGAN_RATE, for_devices, per_device

PAPER = "ProGAN (Karras et al. 2018)"

# WGAN-GP of appendix A.1: two-sided, lambda 10, target 1, drift 0.001.
WGAN_GP = GradientPenalty(kind="two-sided", gamma=10, every=1, target=1)
DRIFT = 0.001

RAMP = ByImages.parse("0:0,40:1")
"""How the learning rate rises over the first 40,000 images of the original runs, on all data sets."""

# The authors' preset v1 for 1 GPU, with which the paper's results were made: phases of 800 kimg, minibatch
# standard deviation over up to 16 images, an EMA of the generator with decay 0.999 per step, and a learning
# rate that rises over the first 40 kimg. What was published later has no such ramp.
PROGAN = Experiment(
    name="progan",
    source=f"{PAPER}, section 6.3, CelebA-HQ, 1 GPU",
    generator=ProGANGenerator(resolution=1024),
    discriminator=ProGANDiscriminator(resolution=1024, minibatch_std=MinibatchStd(group_size=16)),
    loss="wgan",
    d_regularizer=WGAN_GP,
    g_regularizer=PathLength(weight=0, every=1),
    drift=DRIFT,
    style_mixing=0,
    adam=Adam(beta1=0.0, beta2=0.99, epsilon=1e-8),
    learning_rate=ByResolution(0.001),
    learning_rate_factor=RAMP,
    batch=ByResolution(16, ((256, 14), (512, 6), (1024, 3))),
    step_order="d-first",
    total_kimg=19_000,
    ema_beta=0.999,
    growth=Growth("progressive", initial_resolution=4, stabilize_kimg=800, fade_kimg=800),
    data=DataOptions(mirror="horizontal"),
)

MIRRORED, AS_IS = DataOptions(mirror="horizontal"), DataOptions(mirror="none")


def _row(config: Experiment, name: str, place: str, **changes: Any) -> Experiment:
    return replace(config, name=f"progan-{name}", source=f"{PAPER}, {place}", **changes)


def _networks(config: Experiment, **changes: Any) -> dict[str, Any]:
    """Both networks of `config` with the same fields changed."""
    return {
        "generator": replace(config.generator, **changes),
        "discriminator": replace(config.discriminator, **changes),
    }


# ---- Section 6.4: LSUN, a network for each category

# One batch for all levels. Categories have 100,000 images, which are mirrored; bedroom and dog have more
# images, which are not.
LSUN = _row(
    PROGAN.with_data(resolution=256),
    "lsun",
    "section 6.4, LSUN, a category of 100,000 images",
    batch=ByResolution(16),
    total_kimg=20_000,
)
LSUN_BEDROOM = _row(LSUN, "lsun-bedroom", "section 6.4, LSUN Bedroom", data=AS_IS)
LSUN_DOG = _row(LSUN, "lsun-dog", "section 6.4, LSUN Dog", data=AS_IS)


# ---- Section 6.5: CIFAR-10

# Narrower networks, shorter phases, and 750 as the target of gradient norms. We do not know the length, nor
# whether images were mirrored: here the training is as long as that of CelebA-HQ, without mirroring.
_CIFAR10 = PROGAN.with_data(resolution=32)
CIFAR10 = _row(
    _CIFAR10,
    "cifar10",
    "section 6.5, CIFAR-10",
    generator=replace(_CIFAR10.generator, z_dim=128, features=FeatureMaps(base=4096, max=128)),
    discriminator=replace(_CIFAR10.discriminator, features=FeatureMaps(base=4096, max=128)),
    d_regularizer=replace(WGAN_GP, target=750),
    growth=replace(PROGAN.growth, stabilize_kimg=400, fade_kimg=400),
    data=AS_IS,
)


# ---- Section 6.1, Table 1: rows d to h at 128 x 128 px. Rows a to c and e* need layers and critic steps that
# are not here (PAPERS.md).


def _ablation(name: str, dataset: str, data: DataOptions) -> tuple[Experiment, ...]:
    """Rows d to h: each adds one thing to the row before."""

    def row(config: Experiment, letter: str, **changes: Any) -> Experiment:
        return _row(config, f"{letter}-{name}", f"Table 1, row {letter}, {dataset}", **changes)

    # Half the feature maps at 16 x 16 px, a quarter of them from 32 x 32 px on; 10 million images in all.
    base = replace(
        PROGAN.with_data(resolution=128),
        batch=ByResolution(16),
        growth=replace(PROGAN.growth, stabilize_kimg=600, fade_kimg=600),
        total_kimg=10_000,
        data=data,
    )
    base = replace(base, **_networks(base, features=FeatureMaps(base=2048), weights="he"))
    d = row(
        base,
        "d",
        generator=replace(base.generator, pixel_norm="none"),
        discriminator=replace(base.discriminator, minibatch_std=MinibatchStd(group_size=0)),
    )
    e = row(d, "e", discriminator=replace(d.discriminator, minibatch_std=MinibatchStd(group_size=16)))
    f = row(e, "f", **_networks(e, weights="equalized"))
    g = row(f, "g", generator=replace(f.generator, pixel_norm="every"))
    # "Converged": full width and longer; how much longer is not known to us, here as long as CelebA-HQ.
    h = row(g, "h", **_networks(g, features=PROGAN.generator.features), total_kimg=PROGAN.total_kimg)
    return d, e, f, g, h


TABLE_1 = (
    *_ablation("celeba", "CelebA", MIRRORED),
    *_ablation("bedroom", "LSUN Bedroom", AS_IS),
)


# ---- The authors' later presets

# Phases of 600 kimg, groups of 4, batch and learning rate by resolution.
PROGAN_8GPU = replace(
    PROGAN,
    name="progan-8gpu",
    source=f"{PAPER}, authors' later preset, 8 GPUs",
    discriminator=replace(PROGAN.discriminator, minibatch_std=MinibatchStd(group_size=4)),
    growth=replace(PROGAN.growth, stabilize_kimg=600, fade_kimg=600),
    learning_rate=PROGAN_RATE[8],
    learning_rate_factor=1.0,
    batch=GROWING_BATCH[8],
    style_mixing_unit=per_device(GROWING_BATCH[8], 8),
    total_kimg=12_000,
)


def _on(devices: int, name: str) -> Experiment:
    return replace(
        for_devices(PROGAN_8GPU, devices),
        name=f"progan-{name}",
        source=f"{PAPER}, authors' later preset, {name.replace('gpu', ' GPU')}{'s' * (devices > 1)}",
    )


PROGAN_1GPU, PROGAN_2GPU, PROGAN_4GPU = _on(1, "1gpu"), _on(2, "2gpu"), _on(4, "4gpu")

PRESETS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        PROGAN,
        LSUN,
        LSUN_BEDROOM,
        LSUN_DOG,
        CIFAR10,
        *TABLE_1,
        PROGAN_1GPU,
        PROGAN_2GPU,
        PROGAN_4GPU,
        PROGAN_8GPU,
    )
}
