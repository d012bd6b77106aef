"""The four phases of a training step, each on one micro-batch: they add to `.grad` and return statistics.

G main: the adversarial loss of fakes. G path length and D penalty: the regularizers, lazily. D main: the
adversarial loss of reals and fakes. Losses are sums over samples divided by the whole batch, so that
gradients of micro-batches add up to the gradient of the batch mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from styleloom.config.experiment import Experiment
from styleloom.layers.style_mixing import mix
from styleloom.networks.assembly import StyleGenerator
from styleloom.training import losses, regularizers
from styleloom.training.regularizers import like, scales
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
class Reals:
    """Real images at the level and in the form that the discriminator reads, and their labels [N, K]."""

    images: Images
    label: Tensor

    def part(self, index: int, count: int) -> Reals:
        """Micro-batch `index` of `count`: every count-th sample."""
        images = [x[index::count] for x in scales(self.images)]
        return Reals(like(self.images, images), self.label[index::count])


@dataclass(frozen=True)
class Bound:
    """Both networks with growth bound to them, so that no loss ever sees it.

    Args:
        g, d: the networks, in training.
        synthesis, logits: what the first-order phases call: the networks themselves, or compiled.
        growth: where they stand.
        gradient_scale: of penalties, see `regularizers.zero_centred_penalty`.
    """

    g: StyleGenerator
    d: nn.Module
    growth: GrowthState | None
    synthesis: nn.Module
    logits: nn.Module
    gradient_scale: float = 1.0

    def mixed_ws(self, latents: Latents) -> tuple[Tensor, Tensor]:
        """ws [N, L, W] with mixed styles, and the mean [W] of w of the first latents."""
        ws = self.g.mapping(latents.z, latents.label)
        mean = ws[:, 0].detach().mean(0)
        if bool((latents.cutoffs < self.g.num_ws).any()):
            ws2 = self.g.mapping(latents.z2, latents.label)
            ws = mix((ws, ws2), latents.cutoffs[:, None])
        return ws, mean

    def fakes(self, latents: Latents) -> tuple[Images, Tensor]:
        """Images without a graph, and the mean [W] of w."""
        with torch.no_grad():
            ws, mean = self.mixed_ws(latents)
            return self.synthesis(ws, self.growth, "random"), mean

    def discriminate(self, images: Images, label: Tensor | None = None) -> Tensor:
        """Logits [N], through the network itself: differentiable twice."""
        return split_outputs(self.d(images, label, self.growth))[0]

    def discriminate_once(self, images: Images, label: Tensor | None = None) -> Tensor:
        """Outputs for first-order phases: logits [N], or with class logits [N, 1 + K]."""
        return self.logits(images, label, self.growth)


def split_outputs(outputs: Tensor) -> tuple[Tensor, Tensor | None]:
    """A discriminator's outputs to logits [N] and, where it classifies, class logits [N, K]."""
    return (outputs, None) if outputs.ndim == 1 else (outputs[:, 0], outputs[:, 1:])


def generator_main(
    bound: Bound, experiment: Experiment, latents: Latents, batch: int, reals: Reals | None = None
) -> Stats:
    """Non-saturating (or named) loss of the generator; relativistic ones need `reals`."""
    ws, w_mean = bound.mixed_ws(latents)
    images = bound.synthesis(ws, bound.growth, "random")
    logits, classes = split_outputs(bound.discriminate_once(images, latents.label))
    real_logits = None
    if losses.compares_with_reals(experiment.loss):
        assert reals is not None
        with torch.no_grad():
            real_logits, _ = split_outputs(bound.discriminate_once(reals.images, reals.label))
    loss = losses.generator_loss(experiment.loss, logits, real_logits)
    total, stats = loss, {"loss_g": loss.detach().mean(), "w_mean": w_mean}
    if classes is not None and experiment.label_weight > 0:
        label_loss = losses.label_loss(classes, latents.label)
        total = loss + label_loss * experiment.label_weight
        stats["label_loss_g"] = label_loss.detach().mean()
    (total.sum() / batch).backward()
    return stats


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
    bound: Bound, experiment: Experiment, latents: Latents, reals: Reals, batch: int
) -> Stats:
    """The discriminator's loss; fakes carry no gradient."""
    fakes, w_mean = bound.fakes(latents)
    group = experiment.discriminator.minibatch_std.group_size
    real_outputs, fake_outputs = pair_logits(
        bound.discriminate_once, reals.images, fakes, reals.label, latents.label, group
    )
    (real_logits, real_classes), (fake_logits, fake_classes) = map(
        split_outputs, (real_outputs, fake_outputs)
    )
    loss = losses.discriminator_loss(experiment.loss, real_logits, fake_logits)
    total = loss
    stats = {
        "w_mean": w_mean,
        "loss_d": loss.detach().mean(),
        "logits_real": real_logits.detach().mean(),
        "logits_fake": fake_logits.detach().mean(),
        "sign_real": real_logits.detach().sign().mean(),
    }
    if experiment.drift > 0:
        total = total + losses.wgan_drift(real_logits, experiment.drift)
    if real_classes is not None and fake_classes is not None and experiment.label_weight > 0:
        label_loss = losses.label_loss(real_classes, reals.label)
        label_loss = label_loss + losses.label_loss(fake_classes, latents.label)
        total = total + label_loss * experiment.label_weight
        stats["label_loss_d"] = label_loss.detach().mean()
    if experiment.d_regularizer.every == 1 and experiment.d_regularizer.active:
        penalty = _penalty(bound, experiment, fakes, latents, reals)
        total = total + penalty
        stats["d_penalty"] = penalty.detach().mean()
    (total.sum() / batch).backward()
    return stats


def discriminator_penalty(
    bound: Bound, experiment: Experiment, latents: Latents, reals: Reals, batch: int
) -> Stats:
    """The lazy penalty on the reals of the main phase, times its interval (StyleGAN2 section 3.1)."""
    cfg = experiment.d_regularizer
    fakes = bound.fakes(latents)[0] if regularizers.needs_fakes(cfg) else None
    penalty = _penalty(bound, experiment, fakes, latents, reals)
    (penalty.sum() * (cfg.every / batch)).backward()
    return {"d_penalty": penalty.detach().mean()}


def _penalty(
    bound: Bound, experiment: Experiment, fakes: Images | None, latents: Latents, reals: Reals
) -> Tensor:
    return regularizers.discriminator_penalty(
        experiment.d_regularizer,
        bound.discriminate,
        reals.images,
        fakes,
        reals.label,
        latents.label,
        bound.gradient_scale,
    )


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
    """Outputs for reals and fakes, [N] or [N, K] each, in one pass that keeps them in separate groups.

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
    outputs = discriminator(images, join(real_label, fake_label))
    outputs = outputs.reshape(group, 2, n // group, *outputs.shape[1:])
    return outputs[:, 0].flatten(0, 1), outputs[:, 1].flatten(0, 1)
