"""Files of whole networks, filled through the name tables of `styleloom.weights`."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from styleloom.layers import equalized
from styleloom.layers.style_mixing import mix
from styleloom.networks import stylegan2
from styleloom.networks.assembly import StyleGenerator, Trunk
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.ops import upfirdn
from styleloom.ops.conv_layer import conv_layer_reference
from styleloom.ops.modulated_conv import modulated_layer_reference
from styleloom.ops.upfirdn import upfirdn2d_reference
from styleloom.weights import stylegan2_ada, stylegan2_tf
from styleloom.weights.tables import fill

from .golden_file import Case, GoldenFile


@contextlib.contextmanager
def slow_references() -> Iterator[None]:
    """Every layer of the networks in its slow form."""
    with (
        mock.patch.object(stylegan2, "modulated_layer", modulated_layer_reference),
        mock.patch.object(equalized, "conv_layer", conv_layer_reference),
        mock.patch.object(upfirdn, "upfirdn2d", upfirdn2d_reference),
    ):
        yield


def tf_generator(kwargs: Mapping[str, Any], params: Mapping[str, Tensor]) -> StyleGenerator:
    """The generator of the TensorFlow code, with its weights."""
    cfg = stylegan2_tf.generator_config(kwargs)
    generator = build_generator(cfg)
    fill(stylegan2_tf.generator_table(cfg), params, generator)
    return generator


def tf_discriminator(kwargs: Mapping[str, Any], params: Mapping[str, Tensor]) -> Trunk:
    """The discriminator of the TensorFlow code, with its weights."""
    cfg = stylegan2_tf.discriminator_config(kwargs)
    discriminator = build_discriminator(cfg)
    fill(stylegan2_tf.discriminator_table(cfg), params, discriminator)
    return discriminator


def ada_generator(kwargs: Mapping[str, Any], params: Mapping[str, Tensor]) -> StyleGenerator:
    """The generator of the PyTorch port, with its weights."""
    cfg = stylegan2_ada.generator_config(kwargs)
    generator = build_generator(cfg)
    fill(stylegan2_ada.generator_table(cfg), params, generator)
    return generator


def ada_discriminator(kwargs: Mapping[str, Any], params: Mapping[str, Tensor]) -> Trunk:
    """The discriminator of the PyTorch port, with its weights."""
    cfg = stylegan2_ada.discriminator_config(kwargs)
    discriminator = build_discriminator(cfg)
    fill(stylegan2_ada.discriminator_table(cfg), params, discriminator)
    return discriminator


# ---- generators

OUTPUT = re.compile(
    r"(?P<what>dlatents|ws|images)(?P<how>_unfused|_nonoise)?"
    r"(?:_psi(?P<psi>-?\d+(?:_\d+)?))?(?:_cutoff(?P<cutoff>\d+))?"
)
"""The outputs of a generator are named after the settings of the call."""


@torch.no_grad()
def _generator_output(generator: StyleGenerator, z: Tensor, label: Tensor | None, name: str) -> list[Tensor]:
    settings = OUTPUT.fullmatch(name)
    assert settings, f"output not understood: {name}"
    psi = float((settings["psi"] or "1").replace("_", "."))
    layers = int(settings["cutoff"]) if settings["cutoff"] else None
    ws = generator.truncate(generator.mapping(z, label), psi, layers)
    if settings["what"] != "images":
        return [ws]
    noise = "none" if settings["how"] == "_nonoise" else "fixed"
    fast = generator.synthesis(ws, noise=noise)
    with slow_references():
        slow = generator.synthesis(ws, noise=noise)
    whole = generator(z, label, psi, layers, noise=noise)
    assert all(isinstance(images, Tensor) for images in (fast, slow, whole))
    return [fast, slow, whole]  # type: ignore[list-item]


def tf_generator_cases(file: GoldenFile) -> list[Case]:
    """w, and images with and without truncation."""

    def run(name: str) -> dict[str, list[Tensor]]:
        generator = tf_generator(file.meta["kwargs"], file.params)
        z, label = file.inputs["latents"], file.label("labels")
        return {name: _generator_output(generator, z, label, name)}

    return [Case(name, (name,), lambda name=name: run(name)) for name in file.outputs]


def ada_generator_cases(file: GoldenFile) -> list[Case]:
    """w, and images with and without noise and truncation."""

    def run(name: str) -> dict[str, list[Tensor]]:
        generator = ada_generator(file.meta["kwargs"], file.params)
        return {name: _generator_output(generator, file.inputs["z"], file.label("c"), name)}

    return [Case(name, (name,), lambda name=name: run(name)) for name in file.outputs]


def tf_generator_training_cases(file: GoldenFile) -> list[Case]:
    """Style mixing at given cuts, and one update of the running average of w."""

    @torch.no_grad()
    def mixed(cut: str) -> dict[str, list[Tensor]]:
        generator = tf_generator(file.meta["kwargs"], file.params)
        label = file.label("labels")
        ws, ws2 = (generator.mapping(file.inputs[name], label) for name in ("latents", "latents2"))
        ws = mix((ws, ws2), torch.full((len(ws), 1), int(cut)))
        fast = generator.synthesis(ws, noise="fixed")
        with slow_references():
            slow = generator.synthesis(ws, noise="fixed")
        assert isinstance(fast, Tensor)
        assert isinstance(slow, Tensor)
        return {f"dlatents_cut{cut}": [ws], f"images_cut{cut}": [fast, slow]}

    def average() -> dict[str, list[Tensor]]:
        generator = tf_generator(file.meta["kwargs"], file.params)
        ws = generator.mapping(file.inputs["latents"], file.label("labels"))
        generator.update_w_avg(ws[:, 0].mean(0))
        return {"dlatent_avg_after": [generator.w_avg]}

    cuts = [name.removeprefix("images_cut") for name in file.outputs if name.startswith("images_cut")]
    cases = [
        Case(f"cut{cut}", (f"dlatents_cut{cut}", f"images_cut{cut}"), lambda cut=cut: mixed(cut))
        for cut in cuts
    ]
    return [*cases, Case("average", ("dlatent_avg_after",), average)]


# ---- discriminators


@torch.no_grad()
def _logits(discriminator: Trunk, images: Tensor, label: Tensor | None) -> list[Tensor]:
    fast = discriminator(images, label)
    with slow_references():
        slow = discriminator(images, label)
    return [fast[:, None], slow[:, None]]


def tf_discriminator_cases(file: GoldenFile) -> list[Case]:
    """Scores of images."""

    def run() -> dict[str, list[Tensor]]:
        assert not file.meta.get("lods"), "this discriminator does not grow"
        discriminator = tf_discriminator(file.meta["kwargs"], file.params)
        return {"scores": _logits(discriminator, file.inputs["images"], file.label("labels"))}

    return [Case("scores", ("scores",), run)]


def ada_discriminator_cases(file: GoldenFile) -> list[Case]:
    """Logits of images."""

    def run() -> dict[str, list[Tensor]]:
        discriminator = ada_discriminator(file.meta["kwargs"], file.params)
        return {"logits": _logits(discriminator, file.inputs["images"], file.label("c"))}

    return [Case("logits", ("logits",), run)]
