"""MSG-GAN (Karnewar and Wang 2020): Tables 1 to 5, MSG-ProGAN and MSG-StyleGAN.

FFHQ and CelebA-HQ have 1024 x 1024 px, the data of Table 1 256 x 256. A run is as long as its row took to
reach its best FID; the authors' code trains on to 25,000 kimg. The batch is that of the MSG-StyleGAN code for
the row's number of GPUs; nobody has published MSG-ProGAN's, so it has the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from styleloom.config import Adam, ByResolution, DataOptions, Experiment, GradientPenalty, PathLength
from styleloom.config.msg import CONNECTED, Connections
from styleloom.config.networks import (
    MinibatchStd,
    MSGProGANDiscriminator,
    MSGProGANGenerator,
    MSGStyleGANDiscriminator,
    MSGStyleGANGenerator,
)
from styleloom.presets.progan import DRIFT, WGAN_GP
from styleloom.presets.schedules import MSG_BATCH

PAPER = "MSG-GAN (Karnewar and Wang 2020)"

MIRRORED, AS_IS = DataOptions(mirror="horizontal"), DataOptions(mirror="none")


def _row(config: Experiment, name: str, place: str, **changes: Any) -> Experiment:
    return replace(config, name=f"msg-{name}", source=f"{PAPER}, {place}", **changes)


def _discriminator(config: Experiment, name: str, place: str, **changes: Any) -> Experiment:
    """`config` with fields of its discriminator changed."""
    return _row(config, name, place, discriminator=replace(config.discriminator, **changes))


# ---- FFHQ, with the best way of combining for each (section 4)

# WGAN-GP over all scales. The optimizer is Adam(0, 0.99) as in the authors' codes, which is RMSprop with bias
# correction.
PROGAN_FFHQ = Experiment(
    name="msg-progan",
    source=f"{PAPER}, Table 2, MSG-ProGAN, FFHQ",
    generator=MSGProGANGenerator(resolution=1024, pixel_norm="3x3"),
    discriminator=MSGProGANDiscriminator(resolution=1024, combine="simple", from_rgb_activation="linear"),
    loss="wgan",
    d_regularizer=WGAN_GP,
    g_regularizer=PathLength(weight=0, every=1),
    drift=DRIFT,
    style_mixing=0,
    adam=Adam(beta1=0.0, beta2=0.99, epsilon=1e-8),
    learning_rate=ByResolution(0.003),
    batch=ByResolution(MSG_BATCH[4]),
    step_order="d-first",
    total_kimg=6_000,
    ema_half_life_kimg=10,
    data=MIRRORED,
)

# StyleGAN's configuration E with a pyramid; R1 is averaged over scales.
STYLEGAN_FFHQ = _row(
    PROGAN_FFHQ,
    "stylegan",
    "Table 2, MSG-StyleGAN, FFHQ",
    generator=MSGStyleGANGenerator(resolution=1024),
    discriminator=MSGStyleGANDiscriminator(resolution=1024, combine="cat_lin"),
    loss="nonsaturating",
    d_regularizer=GradientPenalty(kind="zero-centred", gamma=10, every=1),
    drift=0,
    total_kimg=9_600,
)


# ---- Tables 1 and 2: other data, on the row's number of GPUs


def _on(
    config: Experiment, name: str, place: str, px: int, gpus: int, total_kimg: float, data: DataOptions
) -> Experiment:
    return _row(
        config.with_data(resolution=px),
        name,
        place,
        batch=ByResolution(MSG_BATCH[gpus]),
        total_kimg=total_kimg,
        data=data,
    )


# The authors' list of data sets to mirror has neither Flowers nor Churches. Here Flowers are mirrored, as
# faces are, and Churches are not, as LSUN is not.
PROGAN_FLOWERS = _on(
    PROGAN_FFHQ, "progan-flowers", "Table 1, MSG-ProGAN, Oxford Flowers", 256, 1, 1_700, MIRRORED
)
STYLEGAN_FLOWERS = _on(
    STYLEGAN_FFHQ, "stylegan-flowers", "Table 1, MSG-StyleGAN, Oxford Flowers", 256, 2, 1_600, MIRRORED
)
PROGAN_INDIAN_CELEBS = _on(
    PROGAN_FFHQ, "progan-indian-celebs", "Table 1, MSG-ProGAN, Indian Celebs", 256, 2, 2_000, MIRRORED
)
STYLEGAN_INDIAN_CELEBS = _on(
    STYLEGAN_FFHQ, "stylegan-indian-celebs", "Table 1, MSG-StyleGAN, Indian Celebs", 256, 4, 1_000, MIRRORED
)
STYLEGAN_CHURCHES = _on(
    STYLEGAN_FFHQ, "stylegan-churches", "Table 1, MSG-StyleGAN, LSUN Churches", 256, 8, 24_000, AS_IS
)
PROGAN_CELEBAHQ = _on(
    PROGAN_FFHQ, "progan-celebahq", "Table 2, MSG-ProGAN, CelebA-HQ", 1024, 8, 3_200, MIRRORED
)
STYLEGAN_CELEBAHQ = _on(
    STYLEGAN_FFHQ, "stylegan-celebahq", "Table 2, MSG-StyleGAN, CelebA-HQ", 1024, 8, 11_000, MIRRORED
)

# Section 6.2 and Table 3 name no GPUs; we take 8. Nor do they say whether CIFAR-10 is mirrored: here it is
# not.
PROGAN_CELEBA = _on(PROGAN_FFHQ, "progan-celeba", "section 6.2, CelebA at 128 px", 128, 8, 28_000, MIRRORED)
PROGAN_BEDROOM = _on(
    PROGAN_FFHQ, "progan-bedroom", "section 6.2, LSUN Bedroom at 128 px", 128, 8, 150_000, AS_IS
)

# ---- Table 3: learning rates

TABLE_3 = tuple(
    replace(
        _on(
            PROGAN_FFHQ,
            f"progan-cifar10-lr-{rate:g}",
            f"Table 3, CIFAR-10, learning rate {rate:g}",
            32,
            8,
            12_000,
            AS_IS,
        ),
        learning_rate=ByResolution(rate),
    )
    for rate in (0.001, 0.003, 0.005, 0.01)
)


# ---- Table 4: which levels connect generator and discriminator


def _connected(connections: Connections) -> Experiment:
    return _row(
        PROGAN_FFHQ,
        f"progan-{connections}",
        f"Table 4, MSG-ProGAN, FFHQ, {connections}",
        generator=replace(PROGAN_FFHQ.generator, connections=connections),
        discriminator=replace(PROGAN_FFHQ.discriminator, connections=connections),
    )


TABLE_4 = tuple(_connected(connections) for connections in CONNECTED)


# ---- Table 5: how RGB joins the features. The best of each are the base rows.

TABLE_5 = (
    _discriminator(PROGAN_FFHQ, "progan-lin-cat", "Table 5, MSG-ProGAN, FFHQ, lin_cat", combine="lin_cat"),
    _discriminator(PROGAN_FFHQ, "progan-cat-lin", "Table 5, MSG-ProGAN, FFHQ, cat_lin", combine="cat_lin"),
    _discriminator(STYLEGAN_FFHQ, "stylegan-simple", "Table 5, MSG-StyleGAN, FFHQ, simple", combine="simple"),
    _discriminator(
        STYLEGAN_FFHQ, "stylegan-lin-cat", "Table 5, MSG-StyleGAN, FFHQ, lin_cat", combine="lin_cat"
    ),
)


# ---- As the text has it, where the authors' code differs; and the authors' earlier code

# RMSprop with alpha 0.99 (section 3.1 names the optimizer and its rate alone).
PROGAN_RMSPROP = _row(
    PROGAN_FFHQ, "progan-rmsprop", "section 3.1, MSG-ProGAN, RMSprop, FFHQ", optimizer="rmsprop"
)
STYLEGAN_RMSPROP = _row(
    STYLEGAN_FFHQ,
    "stylegan-rmsprop",
    "section 3.1, MSG-StyleGAN, RMSprop, FFHQ",
    optimizer="rmsprop",
)

# As the text has MSG-StyleGAN, where the code differs: "1-sided GP" is R1 there, and the discriminator has
# StyleGAN's filters, an activated fromRGB and pooling before the activation. The text gives it ProGAN's,
# which is Table 7 (appendix 6.1); RGB joins by cat_lin, as in all headline results (section 4).
STYLEGAN_PAPER = _row(
    STYLEGAN_RMSPROP,
    "stylegan-paper",
    "section 3.1 and appendix 6.1, MSG-StyleGAN as worded, FFHQ",
    discriminator=replace(PROGAN_FFHQ.discriminator, combine="cat_lin"),
    d_regularizer=GradientPenalty(kind="one-sided", gamma=10, every=1, target=1),
)

# The authors' PyTorch code, older than the paper: relativistic hinge loss without penalty, RGB joined by
# lin_cat, one minibatch standard deviation over the whole batch, gain sqrt(2) in every layer, one draw of z
# for both networks' updates, and the update of the EMA after the generator's. In that code the
# features that RGB is concatenated with have half as many channels as here; `weights/bmsg.py` reproduces that
# exactly.
WHOLE_BATCH = 4096
"""Larger than the batch, so that the whole batch is one group."""

PROGAN_BMSG = _row(
    PROGAN_FFHQ,
    "progan-bmsg",
    "authors' earlier PyTorch code, FFHQ",
    generator=replace(PROGAN_FFHQ.generator, gain="sqrt2"),
    discriminator=replace(
        PROGAN_FFHQ.discriminator,
        combine="lin_cat",
        minibatch_std=MinibatchStd(group_size=WHOLE_BATCH),
        minibatch_std_at="lowest",
        pooling="after",
        gain="sqrt2",
    ),
    loss="relativistic-hinge",
    d_regularizer=GradientPenalty(gamma=0, every=1),
    drift=0,
    batch=ByResolution(20),
    step_order="average-last",
    shared_latents=True,
    ema_beta=0.999,
)

PRESETS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        PROGAN_FFHQ,
        PROGAN_CELEBAHQ,
        PROGAN_FLOWERS,
        PROGAN_INDIAN_CELEBS,
        PROGAN_CELEBA,
        PROGAN_BEDROOM,
        STYLEGAN_FFHQ,
        STYLEGAN_CELEBAHQ,
        STYLEGAN_FLOWERS,
        STYLEGAN_INDIAN_CELEBS,
        STYLEGAN_CHURCHES,
        *TABLE_3,
        *TABLE_4,
        *TABLE_5,
        PROGAN_RMSPROP,
        PROGAN_BMSG,
        STYLEGAN_RMSPROP,
        STYLEGAN_PAPER,
    )
}
