"""The projector of StyleGAN2's appendix D: latent and noise maps with which a generator makes a given image.

Several targets go through the networks together. Each has its own latent, maps and moments of Adam, the loss
is a sum over targets, and all see the same random draws: what is found for one does not depend, but for
rounding, on the others beside it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from styleloom import arguments
from styleloom.config.experiment import Experiment
from styleloom.errors import UserError
from styleloom.features.registry import load_distance
from styleloom.latents import Latents, RendersLatents, check_fits
from styleloom.networks.assembly import StyleGenerator, finest
from styleloom.projection.comparison import Comparison, distance_name
from styleloom.projection.latent_statistics import w_statistics
from styleloom.projection.noise_maps import noise_autocorrelation, normalize_
from styleloom.projection.settings import Projection
from styleloom.types import GrowthState, PerceptualDistance


class Renders(RendersLatents, Protocol):
    """What is projected into: a `Sampler`."""

    @property
    def generator(self) -> StyleGenerator:
        """In evaluation mode."""
        ...

    @property
    def experiment(self) -> Experiment:
        """What made it."""
        ...

    @property
    def growth(self) -> GrowthState | None:
        """None at full resolution."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Of its images, px."""
        ...

    def render(self, latents: Latents) -> Tensor:
        """Images of latents."""
        ...


def check_targets(sampler: Renders, targets: Tensor) -> None:
    """Raise UserError unless targets are [N, C, H, W] as the generator makes them, and it has a w."""
    if not sampler.experiment.generator.truncates:
        raise UserError(
            "snapshot: images are projected to w, but this generator has no styles; valid: a snapshot of one "
            "that has them"
        )
    expected = (None, sampler.experiment.generator.channels, *sampler.size)
    arguments.shape("targets", targets.shape, expected, "images as the generator makes them")
    if not targets.is_floating_point() or not targets.isfinite().all():
        raise UserError(f"targets: {targets.dtype} is not valid; finite floating-point numbers in [-1, 1]")


class Projector:
    """Images on their way into a generator: `step` by step, with all that was found so far in `latents`.

    Args:
        sampler: the generator, in the arithmetic in which its images are made. Its weights stay as they are.
        targets: [N, C, H, W] in [-1, 1].
        options: see `Projection`.
        distance: None for the first of `comparison.PREFERRED` whose weights are here.
        labels: [N, K], for generators that take labels: where in w each projection begins.
        start: where it begins instead, one latent for each target; its noise maps are optimised on.

    Raises UserError for a generator without w, and for tensors that do not fit it.
    """

    def __init__(
        self,
        sampler: Renders,
        targets: Tensor,
        options: Projection | None = None,
        distance: PerceptualDistance | None = None,
        labels: Tensor | None = None,
        start: Latents | None = None,
    ) -> None:
        check_targets(sampler, targets)
        if labels is not None:
            expected = (len(targets), sampler.label_dim)
            arguments.shape("labels", labels.shape, expected, "a label for each target")
        self.sampler, self.options = sampler, options or Projection()
        self.device = sampler.generator.w_avg.device
        self.labels = labels
        self.rng = torch.Generator().manual_seed(self.options.seed)
        self.steps_done = 0
        self.distances: list[Tensor] = []
        self.regularization: list[Tensor] = []
        distance = load_distance(distance_name(), self.device) if distance is None else distance
        self.comparison = Comparison(distance, targets.to(self.device))
        self.w, self.deviation = self._first_w(len(targets), start)
        self.maps = self._first_maps(len(targets), start)
        self.optimized = [n for n in self.maps if n.numel()] if self.options.noise == "optimize" else []
        for leaf in (self.w, *self.optimized):
            leaf.requires_grad_()
        self.adam = torch.optim.Adam([self.w, *self.optimized], betas=(0.9, 0.999), eps=1e-8)

    def _first_w(self, count: int, start: Latents | None) -> tuple[Tensor, Tensor]:
        """w [N, 1 or L, W], one for all layers or one for each, and the deviation [N, 1, 1] of its noise."""
        generator, each = self.sampler.generator, self.options.space == "w+"
        keys = [None] * count if self.labels is None else [tuple(label) for label in self.labels.tolist()]
        known: dict[Any, tuple[Tensor, float]] = {}
        for key in dict.fromkeys(keys):
            label = None if key is None else torch.tensor([key], device=self.device)
            known[key] = w_statistics(generator, self.options.w_samples, label)
        found = [known[key] for key in keys]
        deviation = torch.tensor([sigma for _, sigma in found], device=self.device)[:, None, None]
        if start is None:
            w = torch.stack([mean for mean, _ in found])[:, None]
        else:
            expected = (count, generator.num_ws, len(generator.w_avg))
            arguments.shape("start", start.values.shape, expected, "a latent in w for each target")
            check_fits(start, self.sampler, "start")
            w = start.values.to(self.device)
            if not each and not torch.equal(w, w[:, :1].expand_as(w)):
                raise UserError("start: has another w for each layer; valid with it: space w+")
            w = w if each else w[:, :1]
        return w.expand(-1, generator.num_ws if each else 1, -1).clone(), deviation

    def _first_maps(self, count: int, start: Latents | None) -> list[Tensor]:
        """Noise maps: those of `start`, the stored ones, or new ones, which all targets begin with."""
        if start is not None and start.noise is not None:
            maps = list(start.noise)
        elif self.options.noise == "fixed":
            sizes = self.sampler.noise_sizes
            stored = self.sampler.generator.synthesis_network.fixed_noise
            return [n[..., :h, :w].to(self.device) for n, (h, w) in zip(stored, sizes, strict=True)]
        else:
            maps = [torch.randn(1, 1, *size, generator=self.rng) for size in self.sampler.noise_sizes]
        return [n.to(self.device).expand(count, -1, -1, -1).clone() for n in maps]

    def step(self, draw: Tensor | None = None) -> Tensor:
        """One step of Adam; the distances [N] before it.

        Args:
            draw: the unit noise on w, [1 or N, 1 or L, W]; None draws it.
        """
        options = self.options
        if draw is None:
            draw = torch.randn(1, *self.w.shape[1:], generator=self.rng)
        noise = draw.to(self.w) * (self.deviation * options.w_noise_scale(self.steps_done))
        distances = self.comparison(self._synthesis(self.w + noise))
        loss = distances.sum()
        if self.optimized:
            regular = noise_autocorrelation(self.optimized, options.level_gain)
            self.regularization.append(regular.detach())
            loss = loss + options.noise_weight * regular.sum()
        leaves = [self.w, *self.optimized]
        for leaf, gradient in zip(leaves, torch.autograd.grad(loss, leaves), strict=True):
            leaf.grad = gradient
        self.adam.param_groups[0]["lr"] = options.rate(self.steps_done)
        self.adam.step()
        normalize_(self.optimized)
        self.steps_done += 1
        self.distances.append(distances.detach())
        return self.distances[-1]

    def _synthesis(self, w: Tensor) -> Tensor:
        generator = self.sampler.generator
        ws = w.expand(-1, generator.num_ws, -1)
        return finest(generator.synthesis(ws, self.sampler.growth, self.maps))

    @property
    def latents(self) -> Latents:
        """What was found so far, on the CPU: without noise on w, with the noise maps."""
        generator = self.sampler.generator
        values = self.w.detach().expand(-1, generator.num_ws, -1).cpu().clone()
        noise = tuple(n.detach().cpu().clone() for n in self.maps) or None
        labels = None if self.labels is None else self.labels.cpu()
        return Latents("w", values, noise, labels, self._document())

    def _document(self) -> dict[str, Any]:
        settings = dataclasses.asdict(self.options)
        record = settings | {"steps_done": self.steps_done, "distance": self.comparison.distance.identity}
        return {"snapshot_sha256": self.sampler.snapshot_sha256, "projection": record}

    @torch.no_grad()
    def distances_now(self, images: Tensor) -> Tensor:
        """The distances [N] of images [N, C, H, W] from the targets, on the CPU."""
        return self.comparison(images).cpu()


@dataclass(frozen=True)
class Projected:
    """What was found for each of N targets.

    Args:
        latents: to be kept, and rendered again.
        images: [N, C, H, W], the latents as the sampler renders them.
        distance: of the images from the targets, [N].
        history: the distance in each step, [steps, N], with the noise on w that the step had.
    """

    latents: Latents
    images: Tensor
    distance: Tensor
    history: Tensor


def project(
    sampler: Renders,
    targets: Tensor,
    options: Projection | None = None,
    distance: PerceptualDistance | None = None,
    labels: Tensor | None = None,
    start: Latents | None = None,
    watch: Callable[[Projector], None] | None = None,
) -> Projected:
    """Latents with which a generator makes `targets`, after all steps.

    Args:
        sampler, targets, options, distance, labels, start: as in `Projector`.
        watch: called after each step.
    """
    projector = Projector(sampler, targets, options, distance, labels, start)
    for _ in range(projector.options.steps):
        projector.step()
        if watch is not None:
            watch(projector)
    return projected(projector)


def projected(projector: Projector) -> Projected:
    """What a projector has found so far."""
    latents = projector.latents
    images = projector.sampler.render(latents)
    history = torch.stack(projector.distances).cpu() if projector.distances else torch.empty(0, len(images))
    now = projector.distances_now(images)
    return Projected(latents, images, now, history)
