"""The training algorithm (StyleGAN2 appendix B): `Trainer.step` reads as it does.

A regularizer of every step is part of the main loss. Growing networks work on the active level alone; their
optimizers start anew where a fade begins or ends (ProGAN appendix A.1), so that all parameters of a level
have taken as many steps. Each phase runs over micro-batches whose gradients add up. Processes that train
together have a share of the batch each, and exchange gradients and statistics once a phase. Everything drawn
at random comes from three sources that a state records: torch's global generators (weights, noise maps, y),
`inputs.draws` (latents, style mixing) and the loader's position. A Trainer therefore owns torch's global
random state while it runs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from styleloom.augmentation.control import Control
from styleloom.augmentation.draws import RandomDraws
from styleloom.augmentation.pipe import Pipe
from styleloom.augmentation.strengths import Strengths
from styleloom.config import Experiment
from styleloom.config.checks import within
from styleloom.config.experiment import StepOrder
from styleloom.config.growth import lod_at, phase_at, resolution_at, unfinished_growth
from styleloom.config.schedules import at, constant
from styleloom.data.dataset import PRELOAD_BUDGET_BYTES, ImageDataset
from styleloom.distributed import ALONE, Processes
from styleloom.layers.share import set_share
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.precision import resolve_device, resolve_precision, set_precision
from styleloom.training import phases
from styleloom.training.adversaries import Adversaries, ImageTransform, unchanged
from styleloom.training.clock import PhaseClock
from styleloom.training.ema import ema_beta, update_ema
from styleloom.training.exchange import Exchange, check_divisible
from styleloom.training.freezing import frozen_layers
from styleloom.training.health import refuse_divergence
from styleloom.training.inputs import Inputs, check_data
from styleloom.training.losses import PAIRED, compares_with_reals
from styleloom.training.optim import (
    build_optimizer,
    fill_gradients,
    set_rates,
    step_if_finite,
    with_gradient,
)
from styleloom.training.phases import Stats, StepContext
from styleloom.training.state import restore, state_of
from styleloom.types import GrowthState, Images

TURNS: dict[StepOrder, tuple[Literal["g", "ema", "d"], ...]] = {
    "g-first": ("g", "ema", "d"),
    "d-first": ("ema", "d", "g"),
    "average-last": ("d", "g", "ema"),
}
"""Order of the updates in a step: the generator's, its EMA's, the discriminator's.

g-first: update G, then its EMA, then D (StyleGAN2). d-first: update the EMA of G, then D, then G (ProGAN,
StyleGAN); the EMA therefore lags G by one update. average-last: update D, then G, then the EMA (BMSG-GAN).
"""

MAX_CACHE_GIB = 2**20
"""Upper bound of `cache_gib`: 1 PiB, more than any machine has."""


class Trainer:
    """Networks, optimizers, data and counters of one training.

    Args:
        experiment: what to train. Its "auto" precision is resolved here, for good.
        dataset: images of the experiment's resolution and channels.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        workers: threads that decode images ahead.
        cache_gib: memory for decoded images; and as much again for those of a level of a growing run.
        before_d: transformation of all images before D reads them, see `Adversaries`. Augmentation follows.
        processes: that train together. Each makes a Trainer of the same experiment and takes the same steps.
    """

    def __init__(
        self,
        experiment: Experiment,
        dataset: ImageDataset,
        device: str = "auto",
        workers: int = 1,
        cache_gib: float = PRELOAD_BUDGET_BYTES / 2**30,
        before_d: ImageTransform = unchanged,
        processes: Processes = ALONE,
    ) -> None:
        check_data(experiment, dataset)
        check_divisible(experiment, processes.size)
        within("cache_gib", cache_gib, 0, MAX_CACHE_GIB)
        self.device = resolve_device(device)
        self.experiment = replace(experiment, precision=resolve_precision(experiment.precision, self.device))
        self._before_d = before_d
        self.augment = Control(experiment.augment)
        self._transformations = Pipe(Strengths.of(experiment.augment.transformations))
        self.processes = processes
        self.exchange = Exchange(processes, experiment.gradient_exchange)
        self.step_count = 0
        self.images_seen = 0
        self.growth_phase = self.phase_now()
        side = self.current_resolution(0)
        cache_bytes = int(cache_gib * 2**30)
        self.inputs = Inputs(experiment, dataset, self.device, workers, cache_bytes, side, processes)
        self.clock = PhaseClock(self.device)

        torch.manual_seed(experiment.seed)
        self.g = build_generator(experiment.generator).to(self.device)
        self.d = build_discriminator(experiment.discriminator).to(self.device)
        set_precision(self.experiment.precision, self.device, self.g, self.d)
        self.ema = copy.deepcopy(self.g).eval().requires_grad_(False)
        set_share(self.g, self.inputs.share)
        self._synthesis: nn.Module = self.g.synthesis_network
        self._logits: nn.Module = self.d
        if experiment.compile == "first-order":
            self._synthesis = torch.compile(self.g.synthesis_network)  # type: ignore[assignment]
            self._logits = torch.compile(self.d)  # type: ignore[assignment]
        self._frozen = frozen_layers(self.g, self.d, experiment.freeze)
        self.opt_g = self._optimizer(self.g, experiment.g_regularizer.every)
        self.opt_d = self._optimizer(self.d, experiment.d_regularizer.every)

        self.init: dict[str, Any] | None = None  # where the first weights are from, if they were not fresh
        self.path_mean = torch.zeros((), device=self.device)
        self.skipped = {"g": 0, "d": 0}
        self.skipped_in_a_row: dict[str, int] = {"g": 0, "g_path": 0, "d": 0, "d_penalty": 0}

    def _optimizer(self, network: nn.Module, every: int) -> torch.optim.Optimizer:
        experiment = at(self.experiment, 0)
        rate = self._learning_rate(experiment)
        return build_optimizer(experiment.optimizer, network.parameters(), rate, experiment.adam, every)

    # One step -----------------------------------------------------------------------------------------

    def step(self) -> Stats:
        """One update of each network. Returns the statistics of every phase that ran.

        Raises UserError when an image cannot be read, before anything has changed, and DivergedError after
        the step when `run.max_skipped` updates of a kind in a row had to be left out.
        """
        now = self._begin_step()
        for turn in TURNS[now.experiment.step_order]:
            if turn == "g":
                self._g_main(now)
                self._g_path_length(now)  # every k steps
            elif turn == "ema":
                self._g_ema(now)
            else:
                self._d_main(now)
                self._d_penalty(now)  # every k steps
        return self._end_step(now)

    def _begin_step(self) -> StepContext:
        """Growth, learning rates, batch and reals of the next step."""
        self.clock.begin_step()
        self._follow_growth()
        experiment = at(self.experiment, self.images_seen)
        rate = self._learning_rate(experiment)
        for optimizer, every in (
            (self.opt_g, experiment.g_regularizer.every),
            (self.opt_d, experiment.d_regularizer.every),
        ):
            set_rates(optimizer, experiment.optimizer, rate, experiment.adam, every)
        resolution, growth = self.current_resolution(self.images_seen), self.growth
        batch = int(experiment.batch(resolution))
        scale = resolution / experiment.resolution
        nets = Adversaries(
            self.g, self.d, growth, self._synthesis, self._logits, scale, self.before_d, self.inputs.share
        )
        own = batch // self.processes.size
        with self.clock.data_wait():
            loaded = self.inputs.next(own)
        reals = self.inputs.reals(loaded, growth)
        shared = self.inputs.latents(batch, growth, reals.label) if experiment.shared_latents else None
        parts = own // min(experiment.micro_batch or own, own)
        return StepContext(experiment, nets, batch, parts, reals, shared)

    def _g_main(self, now: StepContext) -> None:
        """Update G by its adversarial loss, and by path length where that belongs to every step (k = 1)."""
        with self.clock.phase("g_main"):
            self._train_only(self.g)
            experiment, parts = now.experiment, now.parts
            reals = now.reals if compares_with_reals(experiment.loss) else None
            labels = now.reals.label if experiment.loss in PAIRED else None
            latents = now.shared_latents or self.inputs.latents(now.batch, now.nets.growth, labels)
            self._over_parts(
                now,
                parts,
                lambda k: phases.generator_main(
                    now.nets, experiment, latents.part(k, parts), now.batch, reals and reals.part(k, parts)
                ),
            )
            now.reached = with_gradient(self.g)
            path = experiment.g_regularizer
            if path.weight > 0 and path.every == 1:
                self._add_path_length(now)
            self._exchange(self.g, now)
            self._update("g", now)

    def _g_path_length(self, now: StepContext) -> None:
        """Every k > 1 steps, an update of G by path length regularization alone."""
        path = now.experiment.g_regularizer
        if path.weight == 0 or path.every == 1 or self.step_count % path.every:
            return
        with self.clock.phase("g_path_length"):
            self._add_path_length(now)
            self._exchange(self.g, now)
            fill_gradients(now.reached)
            self._update("g_path", now)

    def _g_ema(self, now: StepContext) -> None:
        """Move the EMA of G towards G."""
        with self.clock.phase("g_ema"):
            beta, half_life = now.experiment.ema_beta, constant(now.experiment.ema_half_life_kimg)
            update_ema(self.ema, self.g, ema_beta(now.batch, half_life) if beta is None else beta)

    def _d_main(self, now: StepContext) -> None:
        """Update D by its objective; `phases.discriminator_main` has all of its terms."""
        with self.clock.phase("d_main"):
            self._train_only(self.d)
            now.d_latents = now.shared_latents or self.inputs.latents(
                now.batch, now.nets.growth, now.reals.label
            )
            self._d_phase(now, phases.discriminator_main)
            now.reached = with_gradient(self.d)
            self._exchange(self.d, now)
            self._update("d", now)

    def _d_penalty(self, now: StepContext) -> None:
        """Every k > 1 steps, an update of D by its gradient penalty alone."""
        penalty = now.experiment.d_regularizer
        if not penalty.active or penalty.every == 1 or self.step_count % penalty.every:
            return
        with self.clock.phase("d_penalty"):
            self._d_phase(now, phases.discriminator_penalty)
            self._exchange(self.d, now)
            fill_gradients(now.reached)
            self._update("d_penalty", now)

    def _end_step(self, now: StepContext) -> Stats:
        """Count images and skipped updates. Here alone the host waits for the device."""
        norms = {kind: now.stats.get(f"grad_norm_{kind}") for kind in self.skipped_in_a_row}
        found = {kind: norm for kind, norm in norms.items() if norm is not None}
        finite = torch.isfinite(torch.stack(list(found.values()))).tolist()
        for kind, good in zip(found, finite, strict=True):
            self.skipped_in_a_row[kind] = 0 if good else self.skipped_in_a_row[kind] + 1
            self.skipped[kind[0]] += not good
        self.step_count += 1
        self.images_seen += now.batch
        self._steer_augmentation(now)
        self.clock.end_step()
        refuse_divergence(self)
        return now.stats

    def before_d(self, images: Images) -> Images:
        """What D reads of images: what the transformation of the caller and augmentation make of them."""
        return self._transformations(self._before_d(images), self.augment.p, RandomDraws(self.inputs.share))

    def _steer_augmentation(self, now: StepContext) -> None:
        """Adjust the probability of augmentation by the signs of D's outputs for reals."""
        if self.augment.steers:
            self.augment.report(float(now.stats["sign_real"]), now.batch)
            self.augment.end_step(self.step_count, now.batch)
        if self.experiment.augment.mode != "none":
            now.stats["augment_p"] = torch.tensor(self.augment.p)

    # Parts of the phases ------------------------------------------------------------------------------

    def _add_path_length(self, now: StepContext) -> None:
        """Gradients of path length regularization, and its running mean.

        Each micro-batch, which all processes share, computes its penalty against its own update of the
        running mean; the new mean averages them.
        """
        experiment, batch = now.experiment, now.batch
        size = max(batch // experiment.g_regularizer.batch_shrink, 1)
        latents = self.inputs.latents(size, now.nets.growth, shrink=batch // size)
        mean, own = self.path_mean, len(latents)
        over_all = None if self.processes.size == 1 else self.processes.mean
        parts = next(count for count in range(min(now.parts, own), own + 1) if own % count == 0)
        stats = self._over_parts(
            now,
            parts,
            lambda k: phases.generator_path_length(
                now.nets, experiment, latents.part(k, parts), size, mean, over_all
            ),
        )
        updated = stats["path_mean"]  # not finite: keep the old mean, as no update would mend a NaN
        self.path_mean = torch.where(torch.isfinite(updated), updated, mean)

    def _d_phase(self, now: StepContext, run: Callable[..., Stats]) -> None:
        """Gradients of one of D's phases."""
        latents, parts = now.d_latents, now.parts
        assert latents is not None
        self._over_parts(
            now,
            parts,
            lambda k: run(
                now.nets, now.experiment, latents.part(k, parts), now.reals.part(k, parts), now.batch
            ),
        )

    def _over_parts(self, now: StepContext, parts: int, run: Callable[[int], Stats]) -> Stats:
        """Run a phase over this process's micro-batches; the mean of their statistics, which is kept for the
        exchange."""
        results = [run(k) for k in range(parts)]
        stats = {name: torch.stack([r[name] for r in results]).mean(0) for name in results[0]}
        now.unshared.append(stats)
        return stats

    def _exchange(self, network: nn.Module, now: StepContext) -> None:
        """Add up the gradients of all processes, and average the statistics; the mean of w takes part."""
        found = [(name, value) for stats in now.unshared for name, value in stats.items()]
        means = self.exchange(network.parameters(), [value for _, value in found])
        now.unshared.clear()
        for (name, _), mean in zip(found, means, strict=True):
            if name == "w_mean":
                self.g.update_w_avg(mean)
            else:
                now.stats[name] = mean

    def _train_only(self, network: nn.Module) -> None:
        """Compute gradients of this network's parameters only, and of no frozen layer's."""
        self.g.requires_grad_(network is self.g)
        self.d.requires_grad_(network is self.d)
        for layer in self._frozen:
            layer.requires_grad_(False)

    def _update(self, kind: str, now: StepContext) -> None:
        """One optimizer step by the gradients of a phase, left out when one of them is not finite."""
        network, optimizer = (self.g, self.opt_g) if kind[0] == "g" else (self.d, self.opt_d)
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        step_if_finite(optimizer, norm)
        optimizer.zero_grad(set_to_none=True)
        now.stats[f"grad_norm_{kind}"] = norm

    # Numbers by images seen ---------------------------------------------------------------------------

    @property
    def growth(self) -> GrowthState | None:
        """Where a growing run stands; None at full resolution, or without growth."""
        return unfinished_growth(self.experiment, self.images_seen)

    def phase_now(self) -> tuple[int, int]:
        """(floor, ceiling) of the level of detail at the present images seen, see `growth.phase_at`."""
        return phase_at(self.images_seen, self.experiment.growth, self.experiment.resolution)

    def current_resolution(self, images_seen: int) -> int:
        """Resolution for schedule tables, px."""
        lod = lod_at(images_seen, self.experiment.growth, self.experiment.resolution)
        return resolution_at(lod, self.experiment.resolution)

    def _learning_rate(self, now: Experiment) -> float:
        return now.learning_rate(self.current_resolution(self.images_seen)) * constant(
            now.learning_rate_factor
        )

    def _follow_growth(self) -> None:
        """Where a fade begins or ends: clear the optimizers' moments; at a new level, load its images."""
        phase = self.phase_now()
        if phase == self.growth_phase:
            return
        changed = phase[0] != self.growth_phase[0]
        self.growth_phase = phase
        for optimizer, _ in self.optimizers().values():
            optimizer.state.clear()
        if changed:
            self.inputs.move(self.current_resolution(self.images_seen), self.inputs.loader.position)

    # State ------------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that the next step depends on: tensors, and a JSON document."""
        return state_of(self)

    def load_state(
        self, tensors: Mapping[str, Tensor], document: Mapping[str, Any], where: str = "state"
    ) -> None:
        """Continue from `state()`: the same steps follow, bit for bit on the same device and thread count.

        Args:
            where: what errors call the state.

        Raises UserError, before anything has changed, for a state that is damaged or of another network.
        """
        restore(self, tensors, document, where)

    def networks(self) -> dict[str, nn.Module]:
        """By the name that a state has for them."""
        return {"g": self.g, "d": self.d, "ema": self.ema}

    def optimizers(self) -> dict[str, tuple[torch.optim.Optimizer, nn.Module]]:
        """Each with its network, by the name that a state has for it."""
        kind = self.experiment.optimizer
        return {f"{kind}_g": (self.opt_g, self.g), f"{kind}_d": (self.opt_d, self.d)}

    def close(self) -> None:
        """Stop the loader's threads."""
        self.inputs.loader.close()
