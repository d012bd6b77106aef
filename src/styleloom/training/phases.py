"""The four phases of a training step. Each adds the gradients of one micro-batch to `.grad` and returns
statistics.

G main and D main compute the objectives of the two networks; G path length and D penalty compute the
regularizers of every k-th step. A loss is summed over the samples of a micro-batch and divided by the size of
the whole batch, so that gradients of micro-batches add up to the gradient of the mean over the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from styleloom.config.experiment import Experiment, GradientPenalty
from styleloom.config.schedules import constant
from styleloom.training import adversaries, losses, regularizers, signals
from styleloom.training.adversaries import Adversaries, split_outputs
from styleloom.training.inputs import Latents, Reals
from styleloom.training.regularizers import like, scales
from styleloom.types import Images

Stats = dict[str, Tensor]


@dataclass
class StepContext:
    """What the phases of one step share.

    Args:
        experiment: with the present value of every number that depends on images seen.
        nets: both networks at the present growth.
        batch: images of the step on all processes; this one passes its share in `parts` micro-batches.
        reals: that the discriminator sees.
        shared_latents: of the fakes of both networks' updates, where they share them.
        d_latents: of the fakes of D's main phase; a penalty on fakes uses them again.
        reached: parameters that got a gradient in the last main phase.
        stats: of the phases that ran: once the gradients of a phase have been exchanged
            (`Trainer._exchange`), means over the whole batch, the same on all processes.
        unshared: of the phases that ran since the last exchange: means over this process's share.
    """

    experiment: Experiment
    nets: Adversaries
    batch: int
    parts: int
    reals: Reals
    shared_latents: Latents | None
    d_latents: Latents | None = None
    reached: list[nn.Parameter] = field(default_factory=list)
    stats: Stats = field(default_factory=dict)
    unshared: list[Stats] = field(default_factory=list)


def generator_main(
    nets: Adversaries, experiment: Experiment, latents: Latents, batch: int, reals: Reals | None = None
) -> Stats:
    """G's objective: the adversarial loss of fakes, and their label loss where D classifies.

    Args:
        batch: images of the whole step, of which `latents` are a micro-batch.
        reals: needed by relativistic losses.
    """
    ws, w_mean = nets.mixed_ws(latents)
    images = nets.synthesis(ws, nets.growth, "random")
    logits, classes = split_outputs(nets.discriminate_once(images, latents.label))
    real_logits = None
    if losses.compares_with_reals(experiment.loss):
        assert reals is not None
        with torch.no_grad():
            real_logits, _ = split_outputs(nets.discriminate_once(reals.images, reals.label))
    loss = losses.generator_loss(experiment.loss, logits, real_logits)
    total, stats = loss, {"loss_g": loss.detach().mean(), "w_mean": w_mean}
    if classes is not None and experiment.label_weight > 0:
        label_loss = losses.label_loss(classes, latents.label)
        total = loss + label_loss * experiment.label_weight
        stats["label_loss_g"] = label_loss.detach().mean()
    (total.sum() / batch).backward()
    return stats


def generator_path_length(
    nets: Adversaries,
    experiment: Experiment,
    latents: Latents,
    batch: int,
    mean: Tensor,
    over_all: Callable[[Tensor], Tensor] | None = None,
) -> Stats:
    """Path length regularization times its interval k (StyleGAN2 section 3.2).

    Args:
        batch: images of this phase on all processes, which has fewer than the step.
        mean: running mean of the path length before this step.
        over_all: the mean of a number over all processes, where there are several.
    """
    cfg = experiment.g_regularizer
    ws, w_mean = nets.mixed_ws(latents)
    ws = ws.requires_grad_() if ws.is_leaf else ws
    images = nets.g.synthesis(ws, nets.growth)
    y = like(images, [nets.share.randn_like(x) for x in scales(images)])
    lengths = regularizers.path_lengths(images, ws, y)
    overall = None if over_all is None else over_all(lengths.detach().mean())
    penalty, updated = regularizers.path_length_penalty(lengths, mean, cfg.decay, cfg.weight, overall)
    (penalty.sum() * (cfg.every / batch)).backward()
    return {
        "path_length": lengths.detach().mean(),
        "path_penalty": penalty.detach().mean(),
        "path_mean": updated,
        "w_mean": w_mean,
    }


def discriminator_main(
    nets: Adversaries, experiment: Experiment, latents: Latents, reals: Reals, batch: int
) -> Stats:
    """D's objective: adversarial loss + drift + label loss + the penalty, where it belongs to every step.

    Fakes carry no gradient to G.
    """
    fakes, w_mean = nets.fakes(latents)
    group = experiment.discriminator.minibatch_std.group_size
    outputs = adversaries.pair_logits(
        nets.discriminate_once, reals.images, fakes, reals.label, latents.label, group
    )
    (real_logits, real_classes), (fake_logits, fake_classes) = map(split_outputs, outputs)
    loss = losses.discriminator_loss(experiment.loss, real_logits, fake_logits)
    total = loss
    stats = {
        "w_mean": w_mean,
        "loss_d": loss.detach().mean(),
        "logits_real": real_logits.detach().mean(),
        "logits_fake": fake_logits.detach().mean(),
        "sign_real": real_logits.detach().sign().mean(),
        **signals.distances(reals.images, "real"),
        **signals.distances(fakes, "fake"),
    }
    if experiment.drift > 0:
        total = total + losses.wgan_drift(real_logits, experiment.drift)
    if real_classes is not None and fake_classes is not None and experiment.label_weight > 0:
        label_loss = losses.label_loss(real_classes, reals.label)
        label_loss = label_loss + losses.label_loss(fake_classes, latents.label)
        total = total + label_loss * experiment.label_weight
        stats["label_loss_d"] = label_loss.detach().mean()
    if experiment.d_regularizer.every == 1 and experiment.d_regularizer.active:
        penalty = gradient_penalties(nets, experiment.d_regularizer, reals, fakes, latents.label)
        total = total + penalty
        stats["d_penalty"] = penalty.detach().mean()
    (total.sum() / batch).backward()
    return stats


def discriminator_penalty(
    nets: Adversaries, experiment: Experiment, latents: Latents, reals: Reals, batch: int
) -> Stats:
    """The lazy penalty on the reals of the main phase, times its interval k (StyleGAN2 section 3.1)."""
    cfg = experiment.d_regularizer
    fakes = nets.fakes(latents)[0] if regularizers.needs_fakes(cfg) else None
    penalty = gradient_penalties(nets, cfg, reals, fakes, latents.label)
    (penalty.sum() * (cfg.every / batch)).backward()
    return {"d_penalty": penalty.detach().mean()}


def gradient_penalties(
    nets: Adversaries, cfg: GradientPenalty, reals: Reals, fakes: Images | None, fake_label: Tensor
) -> Tensor:
    """R1 and R2, or WGAN-GP, as `cfg` says, per sample: [N].

    Interpolation factors of WGAN-GP come from torch's global generator.

    Args:
        fakes: may be None where `regularizers.needs_fakes` says no.
    """
    d, scale = nets.discriminate, nets.gradient_scale
    gamma, r2_gamma = constant(cfg.gamma), constant(cfg.r2_gamma)
    if cfg.kind == "zero-centred":
        parts = []
        if gamma > 0:
            parts.append(regularizers.zero_centred_penalty(d, reals.images, gamma, reals.label, scale))
        if r2_gamma > 0:
            assert fakes is not None
            parts.append(regularizers.zero_centred_penalty(d, fakes, r2_gamma, fake_label, scale))
        return torch.stack(parts).sum(0)
    assert fakes is not None
    first = scales(reals.images)[0]
    images = regularizers.between(reals.images, fakes, nets.share.rand((len(first),), first.device))
    one_sided = cfg.kind == "one-sided"
    return regularizers.wgan_gradient_penalty(d, images, gamma, cfg.target, reals.label, scale, one_sided)
