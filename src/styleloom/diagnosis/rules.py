"""When a training is sick: a function a sickness, of measured numbers alone.

The bounds lie between trainings that were made sick on purpose (`tests/diagnosis`) and healthy ones, on the
side of the sick: a rule that is silent too long costs less than one that nobody believes any more.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from styleloom.config import Experiment
from styleloom.diagnosis.finding import Finding
from styleloom.diagnosis.signals import Signals
from styleloom.training.losses import discriminator_loss

ALIKE = 0.35
"""Distance between generated images, as a share of that between real ones, below which they are too alike."""

NEAREST = 0.3
"""The same of the nearest other image of a batch: a few modes, each with many images."""

OUT_OF_RANGE = 4.0
"""The same, above which generated images have left the range of the real ones."""

OVERFITTED = 0.6
"""Where held-out images' logits lie on the way from those of training images, 0, to generated ones, 1."""

SURE = 0.97
"""Mean sign of D's logits of training images above which it is sure of all of them."""

UNSTABLE = 1.4
"""Loss of D over that of one that knows nothing."""

GROWN = 1.5
"""Growth of a layer's weights within `QUICK_STEPS` steps."""

QUICK_STEPS = 2000

VANISHED, EXPLODED = 1 / 15, 100.0
"""A gradient's norm, over what it was when the level began."""

INDIFFERENT, FADED = 0.02, 0.15
"""Difference of mean logits, and relative one of D's loss to that of a D that knows nothing; its gradient's
norm over the first one."""

WITHOUT_EFFECT = 0.001
"""Gradient of a penalty over that of the loss beside it; where they have one gradient, value over value."""

DROWNING = 20.0
"""The same, above which the penalty leaves nothing of the loss, if its value also exceeds that of a D that
knows nothing."""

SKIPPED = 0.01
"""Share of updates left out."""

MEASUREMENTS = 8
"""Fewer measurements of a metric say nothing about progress."""

BETTER = 0.01
"""Relative change of a metric that counts as an improvement."""

NETWORKS = (("g", "generator"), ("d", "discriminator"))

LOWER_RATE = "a lower learning rate (--set learning_rate=...)"


def ignorant_loss(experiment: Experiment) -> float:
    """Loss of a discriminator whose logits are all 0; 0 for losses without a scale of their own."""
    zero = torch.zeros(1)
    return float(discriminator_loss(experiment.loss, zero, zero))


def mode_collapse(signals: Signals) -> Finding | None:
    """Generated images resemble each other far more than real ones do."""
    far, near = signals.ratio("distance_fake", "distance_real"), signals.ratio("nearest_fake", "nearest_real")
    if not signals.warm or far is None or near is None or (far > ALIKE and near > NEAREST):
        return None
    return Finding(
        "mode-collapse",
        "The generator makes few different images (mode collapse)",
        f"two of its images differ by {far:.0%} of what two real ones differ, the nearest of a batch by "
        f"{near:.0%}",
        f"going back to an earlier state (--state), {LOWER_RATE}, more of the gradient penalty "
        "(--set d_regularizer.gamma=...), a larger batch",
    )


def images_out_of_range(signals: Signals) -> Finding | None:
    """Generated images are far more contrasty than any real ones."""
    far = signals.ratio("distance_fake", "distance_real")
    if not signals.warm or far is None or far < OUT_OF_RANGE:
        return None
    return Finding(
        "images-out-of-range",
        "The generator's images have left the range of the real ones",
        f"two of its images differ by {far:.3g} times what two real ones differ",
        f"going back to an earlier state (--state) with {LOWER_RATE}, or less of the gradient penalty",
    )


def discriminator_overfitting(signals: Signals) -> Finding | None:
    """D knows the training images by heart: held-out ones look generated to it, or it is sure of each."""
    if not signals.warm:
        return None
    real, fake, other = (signals.now(f"logits_{kind}") for kind in ("real", "fake", "held_out"))
    sign, evidence = signals.now("sign_real"), ""
    if real is not None and fake is not None and other is not None and real - fake > 0.5:
        way = (real - other) / (real - fake)
        if way > OVERFITTED:
            evidence = (
                f"its logits are {real:.2f} for training images, {fake:.2f} for generated ones and "
                f"{other:.2f} for real ones that it never saw: {way:.0%} of the way to the generated"
            )
    elif sign is not None and sign > SURE:
        evidence = f"its logits are positive for {(1 + sign) / 2:.1%} of the training images"
    if not evidence:
        return None
    return Finding(
        "discriminator-overfitting",
        "The discriminator knows the training images by heart",
        evidence,
        "augmentation (--augment ada), more images, mirroring (--mirror on), more of the gradient penalty "
        "(--set d_regularizer.gamma=...), or stopping at the best snapshot",
    )


def unstable(signals: Signals) -> Finding | None:
    """D is worse than one that knows nothing, or weights grow fast: steps are too long."""
    evidence, ignorant, loss = [], ignorant_loss(signals.experiment), signals.now("loss_d")
    if ignorant and loss is not None and loss > UNSTABLE * ignorant and signals.steps > 20:
        evidence.append(
            f"the discriminator's loss is {loss:.3g}, one that knows nothing would have {ignorant:.3g}"
        )
    for name, network in NETWORKS:
        gain = signals.gain(f"weight_growth_{name}")
        if gain is not None and gain > GROWN and signals.steps <= QUICK_STEPS:
            evidence.append(
                f"weights of the {network} have grown by {gain - 1:.0%} in {signals.steps:,} steps"
            )
    if not evidence:
        return None
    return Finding(
        "learning-rate-too-high",
        "The training is unstable, as with a learning rate that is too high",
        "; ".join(evidence),
        f"{LOWER_RATE}: a third of the present {signals.lines[-1]['lr_d']:.3g}; or a larger batch",
    )


def gradients(signals: Signals) -> Finding | None:
    """The gradient of a network has all but vanished, or exploded, since its level began."""
    if not signals.warm:
        return None
    for name, network in NETWORKS:
        gain, now = signals.gain(f"grad_norm_{name}"), signals.now(f"grad_norm_{name}")
        if gain is None or now is None or VANISHED < gain < EXPLODED:
            continue
        vanished = gain <= VANISHED
        return Finding(
            "vanishing-gradients" if vanished else "exploding-gradients",
            f"The gradients of the {network} {'vanish' if vanished else 'explode'}",
            f"their norm is {now:.3g}, {gain:.2g} times what it was at first",
            f"{LOWER_RATE}, less of the gradient penalty, or another loss (--set loss=nonsaturating)"
            if vanished
            else f"going back to an earlier state (--state) with {LOWER_RATE}, or --precision fp32",
        )
    return None


def indifferent(signals: Signals) -> Finding | None:
    """D gives real and generated images the same logits, and no longer changes."""
    real, fake, loss = (signals.now(name) for name in ("logits_real", "logits_fake", "loss_d"))
    gain, ignorant = signals.gain("grad_norm_d"), ignorant_loss(signals.experiment)
    if not signals.warm or not ignorant or real is None or fake is None or loss is None or gain is None:
        return None
    if abs(real - fake) > INDIFFERENT or abs(loss / ignorant - 1) > INDIFFERENT or gain > FADED:
        return None
    return Finding(
        "indifferent-discriminator",
        "The discriminator has stopped telling real from generated images",
        f"mean logits of {real:.2g} and {fake:.2g}, a loss of {loss:.3f} where one that knows nothing has "
        f"{ignorant:.3f}, and a gradient {gain:.2g} times as long as at first",
        f"{LOWER_RATE}, or less of the gradient penalty",
    )


def penalty_share(signals: Signals) -> float | None:
    """D's gradient penalty beside its loss: gradients where they are apart, else values."""
    if signals.experiment.d_regularizer.every > 1:
        return signals.ratio("grad_norm_d_penalty", "grad_norm_d")
    share = signals.ratio("d_penalty", "loss_d")
    return None if share is None else abs(share)


def penalty_without_effect(signals: Signals) -> Finding | None:
    """A penalty that is so small beside the loss that it changes nothing."""
    if not signals.warm:
        return None
    share = penalty_share(signals)
    path = signals.ratio("grad_norm_g_path", "grad_norm_g")
    found = [
        (share, "The discriminator's gradient penalty", "d_regularizer.gamma"),
        (path, "Path length regularization", "g_regularizer.weight"),
    ]
    for value, what, field in found:
        if value is not None and value < WITHOUT_EFFECT:
            return Finding(
                "penalty-without-effect",
                f"{what} has no effect",
                f"it is {value:.2g} times the loss that it is to temper",
                f"more of it (--set {field}=...), or none at all, which is faster",
            )
    return None


def penalty_too_strong(signals: Signals) -> Finding | None:
    """A gradient penalty that leaves nothing of D's loss."""
    share, value, loss = penalty_share(signals), signals.now("d_penalty"), signals.now("loss_d")
    ignorant = ignorant_loss(signals.experiment)
    if not signals.warm or not ignorant or share is None or value is None or loss is None:
        return None
    if share < DROWNING or value < ignorant:
        return None
    return Finding(
        "penalty-too-strong",
        "The gradient penalty drowns the discriminator's loss",
        f"the penalty is {value:.3g}, the loss {loss:.3g}; its gradient is {share:.3g} times as long",
        "less of it: --set d_regularizer.gamma=... a tenth of what it is",
    )


def skipped_updates(signals: Signals) -> Finding | None:
    """Updates that were left out because their gradients were not finite."""
    window = signals.all[-5:]
    steps = window[-1]["step"] - (window[0]["step"] if len(signals.all) > len(window) else 0)
    counts = {}
    for name in ("skipped_g", "skipped_d"):
        before = window[0].get(name, 0) if len(signals.all) > len(window) else 0
        counts[name] = (window[-1].get(name) or 0) - (before or 0)
    if not steps or sum(counts.values()) <= SKIPPED * steps:
        return None
    return Finding(
        "skipped-updates",
        "Updates are skipped because gradients are infinite or NaN",
        f"{counts['skipped_g']} of the generator and {counts['skipped_d']} of the discriminator in the last "
        f"{steps:,} steps",
        f"--precision fp32, {LOWER_RATE}, or going back to an earlier state (--state)",
    )


def no_improvement(signals: Signals) -> Finding | None:
    """The metric that picks the best snapshot has not become better for the last half of its measurements."""
    lines = [line for line in signals.lines if "images_seen" in line]
    scores = [(line["images_seen"] / 1000, signals.score(line)) for line in lines]
    scores = [(kimg, score) for kimg, score in scores if math.isfinite(score)]
    if len(scores) < MEASUREMENTS:
        return None
    half = len(scores) // 2
    kimg, before = min(scores[:half], key=lambda pair: pair[1])
    after = min(score for _, score in scores[half:])
    if after < before - BETTER * abs(before):
        return None
    return Finding(
        "no-improvement",
        "The training no longer improves",
        f"the best value, {abs(before):.4g}, was measured at {kimg:g} kimg; none of {len(scores) - half} "
        f"measurements since {scores[half][0]:g} kimg is better by {BETTER:.0%}: {abs(after):.4g}",
        "stopping here (snapshot-best is kept); or a lower learning rate, more images, or --augment ada",
    )


RULES: tuple[Callable[[Signals], Finding | None], ...] = (
    skipped_updates,
    unstable,
    gradients,
    indifferent,
    images_out_of_range,
    mode_collapse,
    discriminator_overfitting,
    penalty_without_effect,
    penalty_too_strong,
    no_improvement,
)
"""All rules, the most urgent first."""
