"""Pivotal tuning (Roich et al. 2021): the weights are tuned until a found latent makes its target.

"Pivotal Tuning for Latent-based Editing of Real Images", section 3.2 (the loss), 3.3 (locality), in the
numbers of the authors' code, except that it stops by default at a distance of 0.06.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from styleloom import arguments
from styleloom.config.checks import above, at_least
from styleloom.config.seeds import MAX_IMAGE_SEED
from styleloom.errors import UserError
from styleloom.latents import Latents, check_fits
from styleloom.networks.assembly import StyleGenerator, finest
from styleloom.projection.comparison import Comparison
from styleloom.projection.projector import Renders, check_targets
from styleloom.types import Noise, PerceptualDistance


@dataclass(frozen=True)
class Tuning:
    """How weights are tuned.

    Args:
        steps: of Adam, beta 0.9 and 0.999, over all weights of the synthesis network.
        learning_rate: of Adam.
        l2, perceptual: weights of the mean squared error and of the distance from the target.
        locality_every: steps between those with the locality term; 0 leaves it out, as the authors' code does
            unless told otherwise.
        locality_latents: latents of the term.
        locality_radius: how far they are from the pivot: the norm over all layers and components.
        locality_truncation: psi of the latents in whose directions they lie.
        locality_l2, locality_perceptual: weights in the term.
        stop_at: the distance from the target at which tuning ends early; None for never.
        seed: of the latents.

    Raises UserError for a value that is not valid.
    """

    steps: int = 350
    learning_rate: float = 3e-4
    l2: float = 1.0
    perceptual: float = 1.0
    locality_every: int = 1
    locality_latents: int = 1
    locality_radius: float = 30.0
    locality_truncation: float = 0.5
    locality_l2: float = 0.1
    locality_perceptual: float = 0.1
    stop_at: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        arguments.whole("steps", self.steps, 1)
        arguments.whole("locality_every", self.locality_every, 0)
        arguments.whole("locality_latents", self.locality_latents, 1)
        arguments.whole("seed", self.seed, 0, MAX_IMAGE_SEED)
        above("learning_rate", arguments.finite("learning_rate", self.learning_rate), 0)
        if self.stop_at is not None:
            arguments.finite("stop_at", self.stop_at)
        for name in ("l2", "perceptual", "locality_radius", "locality_l2", "locality_perceptual"):
            at_least(name, arguments.finite(name, getattr(self, name)), 0)


@dataclass(frozen=True)
class TuningStep:
    """What one step saw before it changed the weights."""

    loss: float
    l2: float
    distance: float
    locality: float


class Tuner:
    """A copy of a generator on its way to make one target from one latent, the pivot.

    Args:
        sampler: the generator, which stays as it is.
        target: [1, C, H, W] in [-1, 1].
        pivot: what was found for it, with its noise maps.
        distance: LPIPS in the paper.
        tuning: see `Tuning`.
        labels: [1, K], of the locality term's latents.

    Raises UserError for tensors that do not fit.
    """

    def __init__(
        self,
        sampler: Renders,
        target: Tensor,
        pivot: Latents,
        distance: PerceptualDistance,
        tuning: Tuning | None = None,
        labels: Tensor | None = None,
    ) -> None:
        check_targets(sampler, target)
        if len(target) != 1 or len(pivot) != 1:
            raise UserError(f"pivot: {len(pivot)} latents and {len(target)} targets; valid: one of each")
        check_fits(pivot, sampler, "pivot")
        self.original, self.growth = sampler.generator, sampler.growth
        device = self.original.w_avg.device
        self.tuning = tuning or Tuning()
        self.target, self.distance, self.labels = target.to(device), distance, labels
        self.comparison = Comparison(distance, self.target)
        self.pivot = pivot.values.to(device)
        self.noise: Noise = "none" if pivot.noise is None else [n.to(device) for n in pivot.noise]
        self.generator = copy.deepcopy(self.original)
        self.weights = list(self.generator.synthesis_network.parameters())
        for weight in self.weights:
            weight.requires_grad_()
        self.adam = torch.optim.Adam(self.weights, lr=self.tuning.learning_rate, betas=(0.9, 0.999))
        self.rng = torch.Generator().manual_seed(self.tuning.seed)
        self.history: list[TuningStep] = []

    def step(self, z: Tensor | None = None) -> bool:
        """One step of Adam; False where the target is near enough, and nothing was changed.

        Args:
            z: the latents of the locality term, [K, Z]; None draws them.
        """
        tuning, at = self.tuning, len(self.history)
        image = finest(self.generator.synthesis(self.pivot, self.growth, self.noise))
        l2 = (image - self.target).square().mean()
        distance = self.comparison(image).sum()
        loss = tuning.l2 * l2 + tuning.perceptual * distance
        if tuning.stop_at is not None and distance.item() <= tuning.stop_at:
            return False
        locality = loss.new_zeros(())
        if tuning.locality_every and at % tuning.locality_every == 0:
            locality = self.locality(self._z() if z is None else z)
        self.adam.zero_grad()
        (loss + locality).backward()
        self.adam.step()
        self.history.append(TuningStep(*(x.item() for x in (loss + locality, l2, distance, locality))))
        return True

    def _z(self) -> Tensor:
        return torch.randn(self.tuning.locality_latents, self.original.z_dim, generator=self.rng)

    def locality(self, z: Tensor) -> Tensor:
        """How far the copy's images near the pivot are from the original's: a number.

        The mean over `z` [K, Z] of both distances at the morphed codes, without noise. Gradients go through
        the copy's images alone.
        """
        tuning = self.tuning
        with torch.no_grad():
            labels = None if self.labels is None else self.labels.to(self.pivot).expand(len(z), -1)
            ws = self.original.mapping(z.to(self.pivot), labels)
            codes = morphed(
                self.pivot, self.original.truncate(ws, tuning.locality_truncation), tuning.locality_radius
            )
            before = finest(self.original.synthesis(codes, self.growth, "none"))
        after = finest(self.generator.synthesis(codes, self.growth, "none"))
        l2 = (after - before).square().mean((1, 2, 3))
        distance = Comparison(self.distance, before)(after)
        return (tuning.locality_l2 * l2 + tuning.locality_perceptual * distance).mean()

    @torch.no_grad()
    def distance_now(self, image: Tensor) -> float:
        """The distance of an image [1, C, H, W] from the target."""
        return self.comparison(image).item()

    def tuned(self) -> StyleGenerator:
        """The copy as it is now, in evaluation mode and without gradients."""
        self.adam.zero_grad()
        return copy.deepcopy(self.generator).eval().requires_grad_(False)


def morphed(pivot: Tensor, ws: Tensor, radius: float) -> Tensor:
    """The points [K, L, W] at distance `radius` from the pivot [1, L, W] towards ws [K, L, W] (section 3.3).

    The norm goes over layers and components together.
    """
    way = ws - pivot
    return pivot + radius * way / torch.linalg.vector_norm(way, dim=(1, 2), keepdim=True)
