"""The training algorithm (StyleGAN2 appendix B). One step:

    G main -> every k steps G path length -> average of G -> D main -> every k steps D penalty

or in one of the other orders in `TURNS`. A regularizer of every step is part of the main loss. Growing
networks work on the active level alone; their optimizers start anew where a fade begins or ends (ProGAN
appendix A.1), so that all parameters of a level have taken as many steps. Each phase runs
over micro-batches whose gradients add up. Everything drawn at random comes from three sources that a state
records: torch's global generators (weights, noise maps, y), `draws` (latents, style mixing)
and the loader's position. A Trainer therefore owns torch's global random state while it runs.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from styleloom.config import Experiment
from styleloom.config.checks import within
from styleloom.config.experiment import StepOrder
from styleloom.config.growth import active_ws, lod_at, phase_at, resolution_at, unfinished_growth
from styleloom.config.schedules import at, constant
from styleloom.data import reals
from styleloom.data.dataset import PRELOAD_BUDGET_BYTES, ImageDataset
from styleloom.data.loader import Loader
from styleloom.errors import UserError, shown
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.precision import resolve_device, resolve_precision, set_precision
from styleloom.training import phases
from styleloom.training.cutoffs import draw_cutoffs
from styleloom.training.ema import ema_beta, update_ema
from styleloom.training.health import DivergedError
from styleloom.training.losses import compares_with_reals
from styleloom.training.optim import build_optimizer, fill_gradients, set_rates, with_gradient
from styleloom.training.phases import Bound, Latents, Reals, Stats
from styleloom.training.state import restore, state_of
from styleloom.types import GrowthState

logger = logging.getLogger(__name__)

TURNS: dict[StepOrder, tuple[str, ...]] = {
    "g-first": ("g", "average", "d"),
    "d-first": ("average", "d", "g"),
    "average-last": ("d", "g", "average"),
}
"""Whose turn it is: generator, averaged generator, discriminator."""

MAX_CACHE_GIB = 2**20
"""More memory than any machine has."""


@dataclass(frozen=True)
class Moment:
    """What the turns of one step share.

    Args:
        experiment: with the present value of every number by images seen.
        batch: images; `parts` micro-batches.
        reals: that the discriminator sees.
        latents: of both networks' fakes, where they share them.
    """

    experiment: Experiment
    bound: Bound
    batch: int
    parts: int
    reals: Reals
    latents: Latents | None


class Trainer:
    """Networks, optimizers, data and counters of one training.

    Args:
        experiment: what to train. Its "auto" precision is resolved here, for good.
        dataset: images of the experiment's resolution and channels.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        workers: threads that decode images ahead.
        cache_gib: memory for decoded images; and as much again for those of a level of a growing run.
    """

    def __init__(
        self,
        experiment: Experiment,
        dataset: ImageDataset,
        device: str = "auto",
        workers: int = 1,
        cache_gib: float = PRELOAD_BUDGET_BYTES / 2**30,
    ) -> None:
        check_data(experiment, dataset)
        within("cache_gib", cache_gib, 0, MAX_CACHE_GIB)
        self.device = resolve_device(device)
        self.experiment = replace(experiment, precision=resolve_precision(experiment.precision, self.device))
        self.dataset = dataset
        self.cache_bytes = int(cache_gib * 2**30)
        dataset.preload(self.cache_bytes)
        held_out = experiment.data.held_out
        self.train_set, self.evaluation_set = dataset.split(held_out) if held_out else (dataset, dataset)
        self.workers = workers
        self.step_count = 0
        self.images_seen = 0
        self.growth_phase = self._phase_now()
        self.loader = self._open_loader(0)

        torch.manual_seed(experiment.seed)
        self.draws = torch.Generator().manual_seed(experiment.seed + 1)
        self.g = build_generator(experiment.generator).to(self.device)
        self.d = build_discriminator(experiment.discriminator).to(self.device)
        set_precision(self.experiment.precision, self.device, self.g, self.d)
        self.ema = copy.deepcopy(self.g).eval().requires_grad_(False)
        self._synthesis: nn.Module = self.g.synthesis_network
        self._logits: nn.Module = self.d
        if experiment.compile == "first-order":
            self._synthesis = torch.compile(self.g.synthesis_network)  # type: ignore[assignment]
            self._logits = torch.compile(self.d)  # type: ignore[assignment]
        self.opt_g = self._optimizer(self.g, experiment.g_regularizer.every)
        self.opt_d = self._optimizer(self.d, experiment.d_regularizer.every)

        self.path_mean = torch.zeros((), device=self.device)
        self.skipped = {"g": 0, "d": 0}
        self.skipped_in_a_row: dict[str, int] = {"g": 0, "g_path": 0, "d": 0, "d_penalty": 0}

    def _optimizer(self, network: nn.Module, every: int) -> torch.optim.Optimizer:
        experiment = at(self.experiment, 0)
        rate = self._learning_rate(experiment, 0)
        return build_optimizer(experiment.optimizer, network.parameters(), rate, experiment.adam, every)

    def _learning_rate(self, now: Experiment, images_seen: int) -> float:
        return now.learning_rate(self.current_resolution(images_seen)) * constant(now.learning_rate_factor)

    def current_resolution(self, images_seen: int) -> int:
        """Resolution for schedule tables, px."""
        lod = lod_at(images_seen, self.experiment.growth, self.experiment.resolution)
        return resolution_at(lod, self.experiment.resolution)

    @property
    def growth(self) -> GrowthState | None:
        """Where a growing run stands; None at full resolution, or without growth."""
        return unfinished_growth(self.experiment, self.images_seen)

    # One step -----------------------------------------------------------------------------------------

    def step(self) -> Stats:
        """One update of each network. Returns the statistics of every phase that ran.

        Raises UserError when an image cannot be read, before anything has changed, and DivergedError after
        the step when `run.max_skipped` updates of a kind in a row had to be left out.
        """
        self._follow_growth()
        now = self._moment()
        self._set_rates(now.experiment)
        turns = {"g": self._train_g, "average": self._average, "d": self._train_d}
        stats: Stats = {}
        for turn in TURNS[now.experiment.step_order]:
            stats |= turns[turn](now)
        self.step_count += 1
        self.images_seen += now.batch
        self._check_skipped()
        return stats

    def _moment(self) -> Moment:
        """What the next step works with."""
        experiment = at(self.experiment, self.images_seen)
        resolution = self.current_resolution(self.images_seen)
        batch = int(experiment.batch(resolution))
        scale = resolution / experiment.resolution
        bound = Bound(self.g, self.d, self.growth, self._synthesis, self._logits, scale)
        reals = self._reals(batch)
        shared = self._latents(batch, bound, reals.label) if experiment.shared_latents else None
        return Moment(experiment, bound, batch, self._parts(batch), reals, shared)

    def _train_g(self, now: Moment) -> Stats:
        experiment, bound, batch, parts = now.experiment, now.bound, now.batch, now.parts
        reals = now.reals if compares_with_reals(experiment.loss) else None
        self._only(self.g)
        latents = now.latents or self._latents(batch, bound)
        stats = self._phase(
            parts,
            lambda k: phases.generator_main(
                bound, experiment, latents.part(k, parts), batch, reals and reals.part(k, parts)
            ),
        )
        path = experiment.g_regularizer
        if path.weight == 0 or self.step_count % path.every:
            return stats | self._update(self.opt_g, self.g, "g")
        if path.every == 1:  # in the main loss: the gradients add up to one update
            return stats | self._path_length(now) | self._update(self.opt_g, self.g, "g")
        used = with_gradient(self.g)
        stats |= self._update(self.opt_g, self.g, "g") | self._path_length(now)
        fill_gradients(used)
        return stats | self._update(self.opt_g, self.g, "g", "_path")

    def _average(self, now: Moment) -> Stats:
        beta, half_life = now.experiment.ema_beta, constant(now.experiment.ema_half_life_kimg)
        update_ema(self.ema, self.g, ema_beta(now.batch, half_life) if beta is None else beta)
        return {}

    def _train_d(self, now: Moment) -> Stats:
        experiment, bound, batch, parts, images = now.experiment, now.bound, now.batch, now.parts, now.reals
        self._only(self.d)
        latents = now.latents or self._latents(batch, bound, images.label)

        def phase(run: Callable[..., Stats]) -> Stats:
            return self._phase(
                parts,
                lambda k: run(bound, experiment, latents.part(k, parts), images.part(k, parts), batch),
            )

        stats, used = phase(phases.discriminator_main), with_gradient(self.d)
        stats |= self._update(self.opt_d, self.d, "d")
        penalty = experiment.d_regularizer
        if penalty.every > 1 and penalty.active and self.step_count % penalty.every == 0:
            stats |= phase(phases.discriminator_penalty)
            fill_gradients(used)
            stats |= self._update(self.opt_d, self.d, "d", "_penalty")
        return stats

    def _parts(self, batch: int) -> int:
        """Micro-batches of a step."""
        return batch // min(self.experiment.micro_batch or batch, batch)

    def _phase_now(self) -> tuple[int, int]:
        return phase_at(self.images_seen, self.experiment.growth, self.experiment.resolution)

    def _follow_growth(self) -> None:
        """Where a fade begins or ends: forget the optimizers' moments, read images of the new level."""
        phase = self._phase_now()
        if phase == self.growth_phase:
            return
        changed = phase[0] != self.growth_phase[0]
        self.growth_phase = phase
        for optimizer, _ in self.optimizers().values():
            optimizer.state.clear()
        if changed:
            position = self.loader.position
            self.loader.close()
            self.loader = self._open_loader(position)

    def _path_length(self, now: Moment) -> Stats:
        """Each micro-batch enters the running mean as a GPU of the authors' does; then they are averaged."""
        experiment, bound, batch = now.experiment, now.bound, now.batch
        size = max(batch // experiment.g_regularizer.batch_shrink, 1)
        latents, mean = self._latents(size, bound, shrink=batch // size), self.path_mean
        parts = next(count for count in range(min(now.parts, size), size + 1) if size % count == 0)
        stats = self._phase(
            parts,
            lambda k: phases.generator_path_length(bound, experiment, latents.part(k, parts), size, mean),
        )
        if bool(torch.isfinite(stats["path_mean"])):  # else the mean would stay NaN for good
            self.path_mean = stats["path_mean"]
        return stats

    def _phase(self, parts: int, run: Callable[[int], Stats]) -> Stats:
        """Run a phase over its micro-batches; the mean of their statistics."""
        results = [run(k) for k in range(parts)]
        stats = {name: torch.stack([r[name] for r in results]).mean(0) for name in results[0]}
        if "w_mean" in stats:
            self.g.update_w_avg(stats.pop("w_mean"))
        return stats

    def _update(
        self, optimizer: torch.optim.Optimizer, network: nn.Module, name: str, suffix: str = ""
    ) -> Stats:
        """One optimizer step, left out when a gradient is not finite."""
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if bool(torch.isfinite(norm)):
            optimizer.step()
            self.skipped_in_a_row[name + suffix] = 0
        else:
            self.skipped[name] += 1
            self.skipped_in_a_row[name + suffix] += 1
        optimizer.zero_grad(set_to_none=True)
        return {f"grad_norm_{name}{suffix}": norm}

    def _check_skipped(self) -> None:
        for kind, count in self.skipped_in_a_row.items():
            if count >= self.experiment.run.max_skipped:
                self.skipped_in_a_row[kind] = 0  # whoever continues has as many attempts again
                raise DivergedError(
                    f"{count} updates ({kind}) in a row were skipped: their gradients are infinite or NaN, "
                    "as with a learning rate that is too high"
                )

    def _only(self, network: nn.Module) -> None:
        """Let gradients reach this network alone."""
        self.g.requires_grad_(network is self.g)
        self.d.requires_grad_(network is self.d)

    def _set_rates(self, now: Experiment) -> None:
        rate = self._learning_rate(now, self.images_seen)
        set_rates(self.opt_g, now.optimizer, rate, now.adam, now.g_regularizer.every)
        set_rates(self.opt_d, now.optimizer, rate, now.adam, now.d_regularizer.every)

    # Random input --------------------------------------------------------------------------------------

    def _latents(self, count: int, bound: Bound, labels: Tensor | None = None, shrink: int = 1) -> Latents:
        """Latents of `count` fakes; labels of random training images unless given.

        Args:
            shrink: how many times fewer they are than the batch: so many fewer share one draw of mixing.
        """
        experiment, cfg = self.experiment, self.experiment.generator
        z, z2 = torch.randn(2, count, cfg.z_dim, generator=self.draws).to(self.device)
        cutoffs = draw_cutoffs(
            count,
            cfg.num_ws,
            experiment.style_mixing,
            self.draws,
            active_ws(bound.growth, cfg.num_ws),
            max(int(experiment.style_mixing_unit(self.current_resolution(self.images_seen))) // shrink, 1),
        )
        if labels is None:
            chosen = torch.randint(len(self.train_set), (count,), generator=self.draws)
            found = self.train_set.labels(chosen.numpy()) if cfg.label_dim else torch.zeros(count, 0)
            labels = torch.as_tensor(found)
        return Latents(z, z2, cutoffs, labels.to(self.device))

    def _open_loader(self, position: int) -> Loader:
        """Images of the active level; the sequence of samples does not depend on it."""
        mirror = self.experiment.data.mirror == "horizontal"
        side = self.current_resolution(self.images_seen)
        level = self.train_set.at(side, self.cache_bytes)
        if side < self.experiment.resolution and not level.keeps_images:
            logger.warning(
                f"the images of {side} px take more than {self.cache_bytes / 2**30:g} GiB, each is "
                "decoded from full size whenever it is needed; --cache-gib raises the limit"
            )
        return Loader(level, self.experiment.seed, mirror, self.workers, position)

    def _reals(self, batch: int) -> Reals:
        cfg, growth = self.experiment.generator, self.growth
        loaded = self.loader.next(batch)
        labels = loaded.labels[:, : cfg.label_dim].to(self.device)  # none when they are not used
        images = reals.to_signed(loaded.images.to(self.device))
        if growth is not None:
            return Reals(reals.fade(images, growth.alpha), labels)
        if cfg.pyramid_sides is not None:
            return Reals(reals.pyramid(images, cfg.pyramid_sides), labels)
        return Reals(images, labels)

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
        counters = document["counters"]
        self.step_count, self.images_seen = counters["step"], counters["images_seen"]
        self.growth_phase = tuple(counters.get("growth_phase", self._phase_now()))
        self.skipped = dict(counters["skipped"])
        rows = counters["skipped_in_a_row"]
        self.skipped_in_a_row = {kind: rows.get(kind, 0) for kind in self.skipped_in_a_row}
        self.loader.close()
        self.loader = self._open_loader(counters["loader_position"])

    def data_record(self) -> dict[str, Any]:
        """What identifies the data."""
        return {
            "path": self.dataset.path,
            "name": self.dataset.name,
            "fingerprint": self.dataset.fingerprint,
            "count": len(self.dataset),
        }

    def networks(self) -> dict[str, nn.Module]:
        """By the name that a state has for them."""
        return {"g": self.g, "d": self.d, "ema": self.ema}

    def optimizers(self) -> dict[str, tuple[torch.optim.Optimizer, nn.Module]]:
        """Each with its network, by the name that a state has for it."""
        kind = self.experiment.optimizer
        return {f"{kind}_g": (self.opt_g, self.g), f"{kind}_d": (self.opt_d, self.d)}

    def close(self) -> None:
        """Stop the loader's threads."""
        self.loader.close()


def check_data(experiment: Experiment, dataset: ImageDataset) -> None:
    """Raise UserError unless the images are of the experiment's shape and there are enough of them."""
    for name in ("resolution", "channels", "grid", "label_dim"):
        wanted, found = getattr(experiment.generator, name), getattr(dataset, name)
        unused_labels = name == "label_dim" and wanted == 0
        if wanted != found and not unused_labels:
            raise UserError(
                f"{shown(dataset.name)}: has {name} {found}, the experiment {wanted}; "
                f"train with --set {name}={_written(found)} or build another data set"
            )
    if len(dataset) <= experiment.data.held_out:
        raise UserError(
            f"data.held_out: {experiment.data.held_out} leaves nothing of {len(dataset)} images to train on"
        )


def _written(value: int | tuple[int, ...]) -> str:
    """A value as --set takes it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
