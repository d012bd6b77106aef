"""The algorithm once more, as plainly as possible: what a trainer is compared with."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleloom.config import Experiment
from styleloom.data.reals import to_signed
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.training.trainer import Trainer
from tiny import opened


class PlainAdam:
    """Adam as its paper has it (algorithm 1), with the correction of StyleGAN2 section 3.1.

    As in TensorFlow, one count of steps for all parameters, and zeros where a loss does not reach one.
    """

    def __init__(self, net: nn.Module, experiment: Experiment, every: int) -> None:
        self.c = every / (every + 1) if every > 1 else 1
        self.x = experiment
        self.net = net
        self.m = {name: torch.zeros_like(p) for name, p in net.named_parameters()}
        self.v = {name: torch.zeros_like(p) for name, p in net.named_parameters()}
        self.t = 0

    @torch.no_grad()
    def step(self, loss: Tensor) -> None:
        names, parameters = zip(*self.net.named_parameters(), strict=True)
        with torch.enable_grad():
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        beta1, beta2 = self.x.adam.beta1**self.c, self.x.adam.beta2**self.c
        rms = self.x.optimizer == "rmsprop"
        self.t += 1
        for name, p, found in zip(names, parameters, gradients, strict=True):
            g = torch.zeros_like(p) if found is None else found
            self.m[name] = beta1 * self.m[name] + (1 - beta1) * g
            self.v[name] = beta2 * self.v[name] + (1 - beta2) * g * g
            m = self.m[name] / (1 - beta1**self.t)
            v = self.v[name] if rms else self.v[name] / (1 - beta2**self.t)
            p -= self.x.learning_rate.base * self.c * m / (v.sqrt() + self.x.adam.epsilon)


Draw = tuple[Tensor, Tensor, list[int]]


class Plain:
    """Karras et al.'s training step for a batch in one pass, without any of styleloom.training."""

    def __init__(self, experiment: Experiment, reals: Any) -> None:
        self.x = experiment
        self.reals = reals
        torch.manual_seed(experiment.seed)
        self.draws = torch.Generator().manual_seed(experiment.seed + 1)
        self.g, self.d = build_generator(experiment.generator), build_discriminator(experiment.discriminator)
        self.ema = {name: t.clone() for name, t in self.g.state_dict().items()}
        self.adam_g = PlainAdam(self.g, experiment, experiment.g_regularizer.every)
        self.adam_d = PlainAdam(self.d, experiment, experiment.d_regularizer.every)
        self.path_mean = torch.zeros(())
        self.pairs = experiment.loss == "relativistic-pairing"
        self.count = 0

    def latents(self, n: int, unit: int = 4, labels: bool = False) -> Draw:
        """z of either style, and for each sample the layer at which the second begins."""
        layers = self.x.generator.num_ws
        z, z2 = torch.randn(2, n, self.x.generator.z_dim, generator=self.draws)
        units = max(n // unit, 1)
        coins = torch.rand(units, generator=self.draws)
        cuts = torch.randint(1, layers, (units,), generator=self.draws)
        chosen = [
            int(cuts[i % units]) if coins[i % units] < self.x.style_mixing else layers for i in range(n)
        ]
        if labels:  # G's labels: those of random training images, here without labels
            torch.randint(self.reals.count, (n,), generator=self.draws)
        return z, z2, chosen

    def styles(self, draw: Draw) -> Tensor:
        z, z2, cuts = draw
        w, w2 = self.g.mapping_network(z), self.g.mapping_network(z2)
        with torch.no_grad():
            beta = self.x.generator.w_avg_beta
            self.g.w_avg.copy_(beta * self.g.w_avg + (1 - beta) * w.mean(0))
        rows = [
            torch.stack([w[i] if layer < cuts[i] else w2[i] for layer in range(self.x.generator.num_ws)])
            for i in range(len(z))
        ]
        return torch.stack(rows)

    def step(self, batch: int) -> None:
        reals = self.reals(self.count, batch)
        draw = self.latents(batch) if self.x.shared_latents else None
        turns = {
            "g": lambda: self.train_g(batch, reals, draw),
            "average": lambda: self.average(batch),
            "d": lambda: self.train_d(batch, reals, draw),
        }
        for turn in {
            "g-first": ("g", "average", "d"),
            "d-first": ("average", "d", "g"),
            "average-last": ("d", "g", "average"),
        }[self.x.step_order]:
            turns[turn]()
        self.count += 1

    def train_g(self, batch: int, reals: Tensor, draw: Draw | None) -> None:
        path = self.x.g_regularizer
        draw = draw or self.latents(batch, labels=not self.pairs)  # a pair has the label of its real
        logits = self.d(self.g.synthesis(self.styles(draw)))
        if self.pairs:
            logits = logits - self.d(reals)
        loss = F.softplus(-logits).mean()
        if path.every == 1 and path.weight:
            loss = loss + self.path_length(batch)
        self.adam_g.step(loss)
        if path.every > 1 and self.count % path.every == 0 and path.weight:
            self.adam_g.step(self.path_length(batch) * path.every)

    def path_length(self, batch: int) -> Tensor:
        path = self.x.g_regularizer
        draw = self.latents(batch // path.batch_shrink, unit=4 // path.batch_shrink, labels=True)
        ws = self.styles(draw)
        images = self.g.synthesis(ws)
        y = torch.randn_like(images)
        lengths = []
        for i in range(len(images)):
            value = (images[i] * y[i]).sum() / math.sqrt(images.shape[2] * images.shape[3])
            (jacobian,) = torch.autograd.grad(value, ws, create_graph=True)
            lengths.append(jacobian[i].square().sum(1).mean().sqrt())
        mean = torch.stack(lengths).mean()
        a = self.path_mean + path.decay * (mean - self.path_mean)
        self.path_mean = a.detach()
        return torch.stack([(length - a) ** 2 for length in lengths]).mean() * path.weight

    def average(self, batch: int) -> None:
        beta = 0.5 ** (batch / (self.x.ema_half_life_kimg * 1000))
        parameters = dict(self.g.named_parameters())
        for name, t in self.g.state_dict().items():
            averaged = beta * self.ema[name] + (1 - beta) * t
            self.ema[name] = averaged if name in parameters else t.clone()

    def train_d(self, batch: int, reals: Tensor, draw: Draw | None) -> None:
        draw = draw or self.latents(batch)
        with torch.no_grad():
            fakes = self.g.synthesis(self.styles(draw))
        penalty = self.x.d_regularizer
        if self.pairs:
            loss = F.softplus(-(self.d(reals) - self.d(fakes))).mean()
        else:
            loss = F.softplus(self.d(fakes)).mean() + F.softplus(-self.d(reals)).mean()
        if penalty.every == 1 and penalty.gamma:
            loss = loss + self.penalty(reals, fakes)
        self.adam_d.step(loss)
        if penalty.every > 1 and penalty.gamma and self.count % penalty.every == 0:
            if penalty.r2_gamma:  # the same latents with other noise; the average of w has seen them
                w_avg = self.g.w_avg.clone()
                with torch.no_grad():
                    fakes = self.g.synthesis(self.styles(draw))
                self.g.w_avg.copy_(w_avg)
            self.adam_d.step(self.penalty(reals, fakes) * penalty.every)

    def penalty(self, reals: Tensor, fakes: Tensor) -> Tensor:
        cfg = self.x.d_regularizer

        def squares(images: Tensor) -> Tensor:
            inputs = images.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(self.d(inputs).sum(), inputs, create_graph=True)
            return gradient.square().sum((1, 2, 3))

        if cfg.kind == "zero-centred":
            found = squares(reals).mean() * cfg.gamma / 2
            return found + squares(fakes).mean() * cfg.r2_gamma / 2 if cfg.r2_gamma else found
        u = torch.rand(len(reals))[:, None, None, None]
        excess = squares(reals + u * (fakes - reals)).sqrt() - cfg.target
        if cfg.kind == "one-sided":
            excess = excess.clamp(min=0)
        return (excess**2).mean() * cfg.gamma / cfg.target**2


class Reals:
    """The batches that a trainer's loader will give."""

    def __init__(self, archive: Path, experiment: Experiment) -> None:
        other = Trainer(experiment, opened(archive), "cpu")
        self.count = len(other.inputs.train_set)
        self.loader = other.inputs.loader

    def __call__(self, step: int, batch: int) -> Tensor:
        assert self.loader.position == step * batch
        return to_signed(self.loader.next(batch).images)
