"""ProGAN (Karras et al. 2018): the setting of its results, and those that its authors published later.

All are for CelebA-HQ at 1024 x 1024 px, mirrored. Other data take the same preset at another resolution.
"""

from __future__ import annotations

from dataclasses import replace

from styleloom.config.experiment import (
    Adam,
    ByImages,
    ByResolution,
    DataOptions,
    Experiment,
    GradientPenalty,
    Growth,
    PathLength,
)
from styleloom.config.networks import MinibatchStd, ProGANDiscriminator, ProGANGenerator
from styleloom.presets.schedules import GROWING_BATCH, PROGAN_RATE, for_devices, per_device

PAPER = "ProGAN (Karras et al. 2018)"

# WGAN-GP of appendix A.1: two-sided, lambda 10, target 1, drift 0.001.
WGAN_GP = GradientPenalty(kind="two-sided", gamma=10, every=1, target=1)
DRIFT = 0.001

RAMP = ByImages.parse("0:0,40:1")
"""Of the learning rate in the original runs, whatever the data."""

# The authors' preset v1 for 1 GPU, with which the paper's results were made: phases of 800 kimg, minibatch
# standard deviation over up to 16 images, the generator averaged by 0.999 per step, and a learning rate that
# rises over the first 40 kimg. What was published later has no such ramp.
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

# The authors' later presets: phases of 600 kimg, groups of 4, batch and learning rate by resolution.
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
    experiment.name: experiment for experiment in (PROGAN, PROGAN_1GPU, PROGAN_2GPU, PROGAN_4GPU, PROGAN_8GPU)
}
