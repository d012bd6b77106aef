"""The file of the projector's parts: regularization and normalization of noise, w, schedules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from styleloom.networks.assembly import StyleGenerator
from styleloom.networks.build import build_generator
from styleloom.projection.latent_statistics import w_statistics
from styleloom.projection.noise_maps import (
    noise_autocorrelation,
    noise_autocorrelation_reference,
    normalize_,
)
from styleloom.projection.settings import Projection
from styleloom.weights import stylegan2_tf
from styleloom.weights.tables import locate

from .golden_file import Case, GoldenFile


def projector_cases(file: GoldenFile) -> list[Case]:
    """Each part by itself; the file has no whole run."""
    maps = sorted(file.inputs, key=lambda name: int(re.sub(r"\D", "", name)))
    weight = file.meta["regularize_noise_weight"]
    gradients = [f"grad/{name}" for name in maps]
    normalized = [f"normalized/{name}" for name in maps]

    def regularization() -> dict[str, list[Tensor]]:
        found: dict[str, list[Tensor]] = {"reg_loss_weighted": [], **{name: [] for name in gradients}}
        for function in (noise_autocorrelation, noise_autocorrelation_reference):
            own = [file.inputs[name].clone().requires_grad_() for name in maps]
            loss = weight * function(own).sum()
            found["reg_loss_weighted"].append(loss.detach())
            for name, gradient in zip(gradients, torch.autograd.grad(loss, own), strict=True):
                found[name].append(gradient)
        return found

    def normalization() -> dict[str, list[Tensor]]:
        own = [file.inputs[name].clone() for name in maps]
        normalize_(own)
        return {name: [n] for name, n in zip(normalized, own, strict=True)}

    def statistics() -> dict[str, list[Tensor]]:
        mean, deviation = w_statistics(_mapping_alone(file))
        return {"dlatent_avg": [mean[None, None]], "dlatent_std": [torch.tensor(deviation)]}

    def schedules() -> dict[str, list[Tensor]]:
        given = file.meta["schedule"]
        options = scheduled(given)
        steps = range(options.steps)
        scale = [given["dlatent_std"] * options.w_noise_scale(step) for step in steps]
        rates = [options.rate(step) for step in steps]
        return {"noise_strength": [torch.tensor(scale)], "learning_rate": [torch.tensor(rates)]}

    return [
        Case("regularization", ("reg_loss_weighted", *gradients), regularization),
        Case("normalization", tuple(normalized), normalization),
        Case("statistics", ("dlatent_avg", "dlatent_std"), statistics),
        Case("schedules", ("noise_strength", "learning_rate"), schedules),
    ]


def scheduled(given: Mapping[str, Any]) -> Projection:
    """Steps and ramps, from the names of the authors' code."""
    return Projection(
        steps=given["num_steps"],
        learning_rate=given["initial_learning_rate"],
        w_noise=given["initial_noise_factor"],
        ramp_up=given["lr_rampup_length"],
        ramp_down=given["lr_rampdown_length"],
        w_noise_ramp=given["noise_ramp_length"],
    )


def _mapping_alone(file: GoldenFile) -> StyleGenerator:
    """A generator with the file's mapping network; the file has no other weights."""
    cfg = stylegan2_tf.generator_config(file.meta["G_kwargs"])
    generator, table = build_generator(cfg), stylegan2_tf.generator_table(cfg)
    own = generator.state_dict()
    with torch.no_grad():
        for name, value in file.params.items():
            place = locate(table, name)
            assert place is not None
            assert place.target is not None
            own[place.target].copy_(place.layout(value))
    return generator
