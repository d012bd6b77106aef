"""Files of growing networks: every stored level of detail, at the active resolution.

Official generators repeat the pixels of the active level up to full resolution, and files keep every distinct
one; official discriminators take full resolution and average it down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from styleloom.networks.assembly import StyleGenerator, Trunk
from styleloom.networks.build import build_discriminator
from styleloom.types import GrowthState
from styleloom.weights import stylegan2_tf
from styleloom.weights.tables import fill

from .golden_file import Case, GoldenFile
from .network_cases import slow_references, tf_generator

BuildGenerator: TypeAlias = Callable[[Mapping[str, Any], Mapping[str, Tensor]], StyleGenerator]
BuildDiscriminator: TypeAlias = Callable[[Mapping[str, Any], Mapping[str, Tensor]], Trunk]
"""Keyword arguments of the official function, and its variables by name, to a network of ours."""


def growth_of(lod: float, resolution: int) -> GrowthState:
    """Where a network of `resolution` px stands at a level of detail."""
    return GrowthState(resolution.bit_length() - 3 - math.floor(lod), 1 - (lod - math.floor(lod)))


def lods_of(file: GoldenFile, prefix: str) -> dict[str, float]:
    """Outputs and their levels of detail: all that the file says it has."""
    lods = {name: float(name.removeprefix(prefix)) for name in file.outputs if name.startswith(prefix)}
    assert sorted(lods.values()) == sorted(map(float, file.meta["lods"]))
    return lods


def grown_generator_cases(file: GoldenFile, build: BuildGenerator) -> list[Case]:
    """w, and images at every level of detail; at 0 also without saying where the network stands."""

    def given() -> tuple[StyleGenerator, Tensor]:
        generator = build(file.meta["kwargs"], file.params)
        return generator, generator.mapping(file.inputs["latents"], file.label("labels"))

    @torch.no_grad()
    def images(name: str, lod: float) -> dict[str, list[Tensor]]:
        generator, ws = given()
        states = [growth_of(lod, generator.resolution), *([None] if lod == 0 else [])]
        results = [generator.synthesis(ws, growth, "fixed") for growth in states]
        with slow_references():
            results += [generator.synthesis(ws, growth, "fixed") for growth in states]
        assert all(isinstance(x, Tensor) for x in results)
        return {name: results}  # type: ignore[dict-item]

    cases = [
        Case(name, (name,), lambda name=name, lod=lod: images(name, lod))
        for name, lod in lods_of(file, "images_lod").items()
    ]
    return [*cases, Case("dlatents", ("dlatents",), lambda: {"dlatents": [given()[1]]})]


def grown_discriminator_cases(file: GoldenFile, build: BuildDiscriminator) -> list[Case]:
    """Scores of images of full resolution at every level of detail."""

    @torch.no_grad()
    def scores(name: str, lod: float) -> dict[str, list[Tensor]]:
        discriminator = build(file.meta["kwargs"], file.params)
        full, label = file.inputs["images"], file.label("labels")
        images = F.avg_pool2d(full, 2 ** math.floor(lod))
        states = [growth_of(lod, full.shape[2]), *([None] if lod == 0 else [])]
        results = [discriminator(images, label, growth) for growth in states]
        with slow_references():
            results += [discriminator(images, label, growth) for growth in states]
        return {name: [x[:, None] for x in results]}

    return [
        Case(name, (name,), lambda name=name, lod=lod: scores(name, lod))
        for name, lod in lods_of(file, "scores_lod").items()
    ]


# ---- StyleGAN2, configurations B to D


def _d_stylegan(kwargs: Mapping[str, Any], params: Mapping[str, Tensor]) -> Trunk:
    cfg = stylegan2_tf.discriminator_config(kwargs, "D_stylegan")
    discriminator = build_discriminator(cfg)
    fill(stylegan2_tf.discriminator_table(cfg), params, discriminator)
    return discriminator


def stylegan2_revised_generator_cases(file: GoldenFile) -> list[Case]:
    """`G_synthesis_stylegan_revised`."""
    return grown_generator_cases(file, tf_generator)


def stylegan2_growing_discriminator_cases(file: GoldenFile) -> list[Case]:
    """`D_stylegan`."""
    return grown_discriminator_cases(file, _d_stylegan)
