"""The four phases of a training step, each on one micro-batch: they add to `.grad` and return statistics.

G main: the adversarial loss of fakes. G path length and D R1: the regularizers, lazily. D main: the
adversarial loss of reals and fakes. Losses are sums over samples divided by the whole batch, so that
gradients of micro-batches add up to the gradient of the batch mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from styleloom.config.experiment import Experiment
from styleloom.networks.assembly import StyleGenerator
from styleloom.training import losses, regularizers
from styleloom.training.regularizers import like, scales
from styleloom.training.style_mixing import mix
from styleloom.types import GrowthState, Images, LogitFunction

Stats = dict[str, Tensor]


@dataclass(frozen=True)
class Latents:
    """What a batch of fakes is made from: z, z2 [N, Z], cutoffs [N] of style mixing, label [N, K]."""

    z: Tensor
    z2: Tensor
    cutoffs: Tensor
    label: Tensor

    def __len__(self) -> int:
        return len(self.z)

    def part(self, index: int, count: int) -> Latents:
        """Micro-batch `index` of `count`: every count-th sample."""
        return Latents(
            *(t[index::count] for t in (self.z, self.z2, self.cutoffs, self.label)),
        )


@dataclass(frozen=True)
class Bound:
    """Both networks with growth bound to them, so that no loss ever sees it.

    Args:
        g, d: the networks, in training.
        synthesis, logits: what the first-order phases call: the networks themselves, or compiled.
        growth: where they stand.
    """

    g: StyleGenerator
    d: nn.Module
    growth: GrowthState | None
    synthesis: nn.Module
    logits: nn.Module

    def mixed_ws(self, latents: Latents) -> tuple[Tensor, Tensor]:
        """ws [N, L, W] with mixed styles, and the mean [W] of w of the first latents."""
        ws = self.g.mapping(latents.z, latents.label)
        mean = ws[:, 0].detach().mean(0)
        if bool((latents.cutoffs < self.g.num_ws).any()):
            ws = mix(ws, self.g.mapping(latents.z2, latents.label), latents.cutoffs)
        return ws, mean

    def discriminate(self, images: Images, label: Tensor | None = None) -> Tensor:
        """Logits [N], through the network itself: differentiable twice."""
        return self.d(images, label, self.growth)

    def discriminate_once(self, images: Images, label: Tensor | None = None) -> Tensor:
        """Logits [N] for first-order phases."""
        return self.logits(images, label, self.growth)


def generator_main(bound: Bound, experiment: Experiment, latents: Latents, batch: int) -> Stats:
    """Non-saturating (or named) loss of the generator."""
    ws, w_mean = bound.mixed_ws(latents)
    logits = bound.discriminate_once(bound.synthesis(ws, bound.growth, "random"), latents.label)
    loss = losses.generator_loss(experiment.loss, logits)
    (loss.sum() / batch).backward()
    return {"loss_g": loss.detach().mean(), "w_mean": w_mean}


def generator_path_length(
    bound: Bound, experiment: Experiment, latents: Latents, batch: int, mean: Tensor
) -> Stats:
    """Path length regularization of a smaller batch, times its interval (StyleGAN2 section 3.2)."""
    cfg = experiment.g_regularizer
    ws, w_mean = bound.mixed_ws(latents)
    ws = ws.requires_grad_() if ws.is_leaf else ws
    images = bound.g.synthesis(ws, bound.growth)
    y = like(images, [torch.randn_like(x) for x in scales(images)])
    lengths = regularizers.path_lengths(images, ws, y)
    penalty, updated = regularizers.path_length_penalty(lengths, mean, cfg.decay, cfg.weight)
    (penalty.sum() * (cfg.every / batch)).backward()
    return {
        "path_length": lengths.detach().mean(),
        "path_penalty": penalty.detach().mean(),
        "path_mean": updated,
        "w_mean": w_mean,
    }


def discriminator_main(
    bound: Bound, experiment: Experiment, latents: Latents, reals: Images, label: Tensor, batch: int
) -> Stats:
    """The discriminator's loss; fakes carry no gradient."""
    with torch.no_grad():
        ws, w_mean = bound.mixed_ws(latents)
        fakes = bound.synthesis(ws, bound.growth, "random")
    group = experiment.discriminator.minibatch_std.group_size
    real_logits, fake_logits = pair_logits(bound.discriminate_once, reals, fakes, label, latents.label, group)
    loss = losses.discriminator_loss(experiment.loss, real_logits, fake_logits)
    total = loss
    stats = {"w_mean": w_mean}
    if experiment.d_regularizer.every == 1 and experiment.d_regularizer.gamma > 0:
        penalty = regularizers.zero_centred_penalty(
            bound.discriminate, reals, experiment.d_regularizer.gamma, label
        )
        total = loss + penalty
        stats["r1_penalty"] = penalty.detach().mean()
    (total.sum() / batch).backward()
    return stats | {
        "loss_d": loss.detach().mean(),
        "logits_real": real_logits.detach().mean(),
        "logits_fake": fake_logits.detach().mean(),
        "sign_real": real_logits.detach().sign().mean(),
    }


def discriminator_r1(bound: Bound, experiment: Experiment, reals: Images, label: Tensor, batch: int) -> Stats:
    """Lazy R1 on the reals of the main phase, times its interval (StyleGAN2 section 3.1)."""
    cfg = experiment.d_regularizer
    penalty = regularizers.zero_centred_penalty(bound.discriminate, reals, cfg.gamma, label)
    (penalty.sum() * (cfg.every / batch)).backward()
    return {"r1_penalty": penalty.detach().mean()}


def pair_logits_reference(
    discriminator: LogitFunction,
    reals: Images,
    fakes: Images,
    real_label: Tensor,
    fake_label: Tensor,
    group: int,
) -> tuple[Tensor, Tensor]:
    """Slow reference of `pair_logits`: two passes."""
    return discriminator(reals, real_label), discriminator(fakes, fake_label)


def pair_logits(
    discriminator: LogitFunction,
    reals: Images,
    fakes: Images,
    real_label: Tensor,
    fake_label: Tensor,
    group: int,
) -> tuple[Tensor, Tensor]:
    """Logits of reals and fakes, [N] each, in one pass that keeps them in separate groups.

    Minibatch standard deviation groups the samples i, i + M, i + 2M, ...: with reals and fakes arranged as
    [group, N / group] each and joined on the second axis, no group contains both.
    """
    n = len(real_label)
    group = max(group, 1)
    if n < group or n % group:
        return pair_logits_reference(discriminator, reals, fakes, real_label, fake_label, group)

    def join(a: Tensor, b: Tensor) -> Tensor:
        parts = [t.reshape(group, n // group, *t.shape[1:]) for t in (a, b)]
        return torch.cat(parts, 1).flatten(0, 1)

    pairs = zip(scales(reals), scales(fakes), strict=True)
    images = like(reals, [join(r, f) for r, f in pairs])
    logits = discriminator(images, join(real_label, fake_label)).reshape(group, 2, n // group)
    return logits[:, 0].flatten(), logits[:, 1].flatten()
