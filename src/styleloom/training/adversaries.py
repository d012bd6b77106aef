"""G and D as the phases of a step see them, and the one place that all images pass before D."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from styleloom.layers.share import WHOLE, Share
from styleloom.layers.style_mixing import mix
from styleloom.networks.assembly import StyleGenerator
from styleloom.training.inputs import Latents, to_device
from styleloom.training.regularizers import like, scales
from styleloom.types import GrowthState, Images, LogitFunction

ImageTransform = Callable[[Images], Images]


def unchanged(images: Images) -> Images:
    """The transformation that does nothing."""
    return images


@dataclass(frozen=True)
class Adversaries:
    """Both networks with the present growth bound to them, so that no loss ever sees it.

    Args:
        g, d: the networks, in training.
        growth: where they stand; None at full resolution.
        synthesis, logits: what the first-order phases call: the networks themselves, or compiled.
        gradient_scale: of penalties, see `regularizers.zero_centred_penalty`.
        before_d: what happens to images before D reads them, see `_outputs`.
        share: what this process has of the batch. What is drawn at random for samples is drawn by it.
    """

    g: StyleGenerator
    d: nn.Module
    growth: GrowthState | None
    synthesis: nn.Module
    logits: nn.Module
    gradient_scale: float = 1.0
    before_d: ImageTransform = unchanged
    share: Share = WHOLE

    def mixed_ws(self, latents: Latents) -> tuple[Tensor, Tensor]:
        """ws [N, L, W] with mixed styles, and the mean [W] of w of the first latents."""
        ws = self.g.mapping(latents.z, latents.label)
        mean = ws[:, 0].detach().mean(0)
        if (latents.cutoffs.numpy() < self.g.num_ws).any():
            ws2 = self.g.mapping(latents.z2, latents.label)
            ws = mix((ws, ws2), to_device(latents.cutoffs[:, None], ws.device))
        return ws, mean

    def fakes(self, latents: Latents) -> tuple[Images, Tensor]:
        """Images without a graph, and the mean [W] of w."""
        with torch.no_grad():
            ws, mean = self.mixed_ws(latents)
            return self.synthesis(ws, self.growth, "random"), mean

    def discriminate(self, images: Images, label: Tensor | None = None) -> Tensor:
        """Logits [N], through the network itself: differentiable twice."""
        return split_outputs(self._outputs(self.d, images, label))[0]

    def discriminate_once(self, images: Images, label: Tensor | None = None) -> Tensor:
        """Outputs for first-order phases: logits [N], or with class logits [N, 1 + K]."""
        return self._outputs(self.logits, images, label)

    def _outputs(self, network: nn.Module, images: Images, label: Tensor | None) -> Tensor:
        """Every image that D reads, real or fake, in every phase, passes through `before_d` here.

        A transformation (augmentation, blur) acts on the active level, or on a pyramid. It must be
        differentiable: G's gradients flow through it, and penalties are on the gradient with respect to the
        images before it. What it draws at random comes from torch's global generators, which states record.
        """
        return network(self.before_d(images), label, self.growth)


def split_outputs(outputs: Tensor) -> tuple[Tensor, Tensor | None]:
    """A discriminator's outputs to logits [N] and, where it classifies, class logits [N, K]."""
    return (outputs, None) if outputs.ndim == 1 else (outputs[:, 0], outputs[:, 1:])


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

    Args:
        group: samples in a group of minibatch standard deviation. Where N is no multiple of it there are two
            passes.
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
