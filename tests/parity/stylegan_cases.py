"""StyleGAN's files of networks, at every recorded level of detail, and of losses."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from styleloom.layers.style_mixing import mix
from styleloom.networks.assembly import StyleGenerator, Trunk
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.training.losses import discriminator_loss, generator_loss, wgan_drift
from styleloom.training.regularizers import between, wgan_gradient_penalty, zero_centred_penalty
from styleloom.weights import stylegan_tf
from styleloom.weights.tables import fill, locate

from .golden_file import Case, GoldenFile
from .growing_cases import grown_discriminator_cases, grown_generator_cases, growth_of
from .network_cases import slow_references
from .training_cases import stored_layout


def generator_of(kwargs: Mapping[str, Any], params: Mapping[str, Tensor]) -> StyleGenerator:
    """The generator of the TensorFlow code, with its weights."""
    cfg = stylegan_tf.generator_config(kwargs)
    generator = build_generator(cfg)
    fill(stylegan_tf.generator_table(cfg, kwargs.get("fused_scale", "auto")), params, generator)
    return generator


def discriminator_of(kwargs: Mapping[str, Any], params: Mapping[str, Tensor]) -> Trunk:
    """The discriminator of the TensorFlow code, with its weights."""
    cfg = stylegan_tf.discriminator_config(kwargs)
    discriminator = build_discriminator(cfg)
    fill(stylegan_tf.discriminator_table(cfg), params, discriminator)
    return discriminator


# ---- networks


def generator_cases(file: GoldenFile) -> list[Case]:
    """w, images at every level of detail, and at full resolution with truncation."""
    kwargs, z, label = file.meta["kwargs"], file.inputs["latents"], file.label("labels")

    @torch.no_grad()
    def truncated(name: str, psi: float, cutoff: int) -> dict[str, list[Tensor]]:
        generator = generator_of(kwargs, file.params)
        layers = min(cutoff, generator.num_ws)  # the official cut-off may lie beyond the last layer
        ws = generator.truncate(generator.mapping(z, label), psi, layers)
        images = [generator.synthesis(ws, noise="fixed"), generator(z, label, psi, layers, "fixed")]
        with slow_references():
            images.append(generator.synthesis(ws, noise="fixed"))
        return {name: images}  # type: ignore[dict-item]

    @torch.no_grad()
    def dlatents() -> dict[str, list[Tensor]]:
        """A traditional generator has one w in the official code; ours repeat it as for styles."""
        ws = generator_of(kwargs, file.params).mapping(z, label)
        return {"dlatents": [ws if kwargs.get("use_styles", True) else ws[:, :1]]}

    cases = [case for case in grown_generator_cases(file, generator_of) if case.name != "dlatents"]
    cases.append(Case("dlatents", ("dlatents",), dlatents))
    for name in file.outputs:
        match = re.fullmatch(r"images_psi(-?\d+(?:\.\d+)?)_cutoff(\d+)", name)
        if match:
            psi, cutoff = float(match[1]), int(match[2])
            cases.append(Case(name, (name,), lambda n=name, p=psi, c=cutoff: truncated(n, p, c)))
    return cases


def generator_training_cases(file: GoldenFile) -> list[Case]:
    """Style mixing at given cuts, and one update of the running average of w."""
    label = file.label("labels")

    @torch.no_grad()
    def mixed(name: str, cut: int) -> dict[str, list[Tensor]]:
        generator = generator_of(file.meta["kwargs"], file.params)
        ws, ws2 = (generator.mapping(file.inputs[name], label) for name in ("latents", "latents2"))
        ws = mix((ws, ws2), torch.full((len(ws), 1), cut))
        growth = growth_of(file.meta["lod"], generator.resolution)
        images = [generator.synthesis(ws, growth, "fixed")]
        with slow_references():
            images.append(generator.synthesis(ws, growth, "fixed"))
        return {name: images}  # type: ignore[dict-item]

    def average() -> dict[str, list[Tensor]]:
        generator = generator_of(file.meta["kwargs"], file.params)
        generator.update_w_avg(generator.mapping(file.inputs["latents"], label)[:, 0].mean(0))
        return {"dlatent_avg_after": [generator.w_avg]}

    cases = [Case("average", ("dlatent_avg_after",), average)]
    for name in file.outputs:
        match = re.fullmatch(r"images_cut(\d+)", name)
        if match:
            cases.append(Case(name, (name,), lambda n=name, cut=int(match[1]): mixed(n, cut)))
    return cases


def discriminator_cases(file: GoldenFile) -> list[Case]:
    """Scores of images of full resolution at every level of detail."""
    return grown_discriminator_cases(file, discriminator_of)


# ---- losses


class Pair:
    """The two networks of a file of losses, its inputs, and the level at which it was recorded."""

    def __init__(self, file: GoldenFile) -> None:
        self.file = file
        g_kwargs, d_kwargs = file.meta["G_kwargs"], file.meta["D_kwargs"]
        self.generator = generator_of(g_kwargs, file.tensors("param/G/"))
        self.discriminator = discriminator_of(d_kwargs, file.tensors("param/D/"))
        self.g_table = stylegan_tf.generator_table(
            stylegan_tf.generator_config(g_kwargs), g_kwargs.get("fused_scale", "auto")
        )
        self.d_table = stylegan_tf.discriminator_table(stylegan_tf.discriminator_config(d_kwargs))
        lod = file.meta["lod"]
        self.growth = growth_of(lod, self.generator.resolution)
        self.reals = F.avg_pool2d(file.inputs["reals"], 2 ** math.floor(lod))
        self.label = file.label("labels")
        self.gradient_scale = 0.5 ** math.floor(lod)
        """Recorded gradients are those by pixels of full resolution."""

    def fakes(self, labels: str) -> Tensor:
        z, label = self.file.inputs["latents"], self.file.label(labels)
        images = self.generator(z, label, noise="fixed", growth=self.growth)
        assert isinstance(images, Tensor)
        return images

    def logits(self, images: Any, label: Tensor | None) -> Tensor:
        """Also as penalties see the discriminator."""
        return self.discriminator(images, label, self.growth)

    def zero_centred(self, images: Tensor, gamma: float) -> Tensor:
        return zero_centred_penalty(self.logits, images, gamma, self.label, self.gradient_scale)


Values = dict[str, Tensor]
"""By the recorded name: loss, rec/scores_real, ..."""

Loss = Callable[[Pair, dict[str, Any]], Values]


def _generator_loss(name: Any) -> Loss:
    def evaluate(pair: Pair, options: dict[str, Any]) -> Values:
        logits = pair.logits(pair.fakes("gen_labels"), pair.file.label("gen_labels"))
        return {"loss": generator_loss(name, logits)[:, None]}

    return evaluate


Penalty = Callable[[Pair, dict[str, Any], Tensor], tuple[Tensor | None, Values]]
"""Options and fakes to the penalty [N], or None for none, and intermediates."""


def _discriminator_loss(name: Any, penalty: Penalty | None = None) -> Loss:
    def evaluate(pair: Pair, options: dict[str, Any]) -> Values:
        fakes = pair.fakes("labels")
        real, fake = pair.logits(pair.reals, pair.label), pair.logits(fakes, pair.label)
        loss = discriminator_loss(name, real, fake)
        values = {"rec/scores_real": real[:, None], "rec/scores_fake": fake[:, None]}
        if name == "wgan":
            values["rec/epsilon_penalty"] = wgan_drift(real, 1.0)[:, None]
            loss = loss + wgan_drift(real, options.pop("wgan_epsilon", 0.001))
        values["loss"] = loss[:, None]
        if penalty is not None:
            row, intermediates = penalty(pair, options, fakes)
            values |= intermediates
            # The official sum of [N, 1] and [N] is [N, N]; its mean is the sum of the means.
            values["loss"] = values["loss"] if row is None else values["loss"] + row
        return values

    return evaluate


def _towards_target(pair: Pair, options: dict[str, Any], fakes: Tensor) -> tuple[Tensor | None, Values]:
    """Gradient penalty between reals and fakes."""
    u = pair.file.inputs["mixing_factors"].flatten()
    weight, target = options.pop("wgan_lambda", 10.0), options.pop("wgan_target", 1.0)
    mixed = pair.reals + (fakes - pair.reals) * u[:, None, None, None]
    row = wgan_gradient_penalty(
        pair.logits, between(pair.reals, fakes, u), weight, target, pair.label, pair.gradient_scale
    )
    return row, {
        "rec/scores_mixed": pair.logits(mixed, pair.label)[:, None],
        "rec/mixed_norms": pair.zero_centred(mixed, 2.0).sqrt(),
    }


def _to_zero(pair: Pair, options: dict[str, Any], fakes: Tensor) -> tuple[Tensor | None, Values]:
    """R1 and R2; either is left out where its weight is 0."""
    weights = options.pop("r1_gamma", 10.0), options.pop("r2_gamma", 0.0)
    row, values = None, {}
    for name, gamma, images in zip(("r1", "r2"), weights, (pair.reals, fakes), strict=True):
        if gamma:
            values[f"rec/{name}_penalty"] = pair.zero_centred(images, 2.0)
            part = pair.zero_centred(images, gamma)
            row = part if row is None else row + part
    return row, values


LOSSES: dict[str, Loss] = {
    "stylegan loss.G_wgan": _generator_loss("wgan"),
    "stylegan loss.G_logistic_saturating": _generator_loss("saturating"),
    "stylegan loss.G_logistic_nonsaturating": _generator_loss("nonsaturating"),
    "stylegan loss.D_wgan": _discriminator_loss("wgan"),
    "stylegan loss.D_wgan_gp": _discriminator_loss("wgan", _towards_target),
    "stylegan loss.D_hinge": _discriminator_loss("hinge"),
    "stylegan loss.D_hinge_gp": _discriminator_loss("hinge", _towards_target),
    "stylegan loss.D_logistic": _discriminator_loss("nonsaturating"),
    "stylegan loss.D_logistic_simplegp": _discriminator_loss("nonsaturating", _to_zero),
}


def loss_cases(file: GoldenFile) -> list[Case]:
    """Values, intermediates and gradients of every loss."""

    def run(tag: str, outputs: tuple[str, ...]) -> Mapping[str, list[Tensor]]:
        spec, pair = file.meta["cases"][tag], Pair(file)
        options = dict(spec["kwargs"])
        values = LOSSES[spec["function"]](pair, options)
        assert not options, f"arguments without effect: {options}"
        of_generator = spec["function"].partition("loss.")[2].startswith("G_")
        network = pair.generator if of_generator else pair.discriminator
        results = {}
        for output in outputs:
            what = output.removeprefix(f"{tag}/")
            if not what.startswith("grad_loss/"):
                results[output] = [values[what]]
                continue
            place = locate(pair.g_table if of_generator else pair.d_table, what.removeprefix("grad_loss/"))
            assert place is not None
            assert place.target is not None
            (gradient,) = torch.autograd.grad(
                values["loss"].mean(),
                [network.get_parameter(place.target)],
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
            results[output] = [stored_layout(gradient, place.layout, file.outputs[output])]
        return results

    cases = []
    for tag in file.meta["cases"]:
        outputs = tuple(name for name in file.outputs if name.startswith(f"{tag}/"))
        cases.append(Case(tag, outputs, lambda tag=tag, outputs=outputs: run(tag, outputs)))
    return cases
