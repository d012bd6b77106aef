"""ProGAN's files: networks at every recorded level of detail, losses, schedule."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from styleloom.config import ByResolution, Growth
from styleloom.config.growth import lod_at, resolution_at
from styleloom.networks.assembly import StyleGenerator, Trunk
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.training.losses import discriminator_loss, generator_loss, label_loss, wgan_drift
from styleloom.training.regularizers import between, wgan_gradient_penalty, zero_centred_penalty
from styleloom.types import GrowthState
from styleloom.weights import progan_tf
from styleloom.weights.tables import fill, locate

from .golden_file import Case, GoldenFile
from .network_cases import slow_references
from .training_cases import stored_layout


def generator_of(kwargs: Mapping[str, Any], params: Mapping[str, Tensor]) -> StyleGenerator:
    """The generator of the TensorFlow code, with its weights."""
    cfg = progan_tf.generator_config(kwargs)
    generator = build_generator(cfg)
    fill(progan_tf.generator_table(cfg), params, generator)
    return generator


def discriminator_of(kwargs: Mapping[str, Any], params: Mapping[str, Tensor]) -> Trunk:
    """The discriminator of the TensorFlow code, with its weights."""
    cfg = progan_tf.discriminator_config(kwargs)
    discriminator = build_discriminator(cfg)
    fill(progan_tf.discriminator_table(cfg), params, discriminator)
    return discriminator


# ---- level of detail


def growth_at_lod(lod: float, resolution: int) -> GrowthState:
    """Our name for a level of detail: level 0 is 4x4."""
    whole = math.floor(lod)
    return GrowthState(resolution.bit_length() - 3 - whole, 1 - (lod - whole))


def at_active_level(images: Tensor, lod: float) -> Tensor:
    """Images of full resolution at the resolution that counts; the authors' networks average within."""
    return F.avg_pool2d(images, 2 ** math.floor(lod))


def _cases_by_lod(
    file: GoldenFile, run: Callable[[float, Callable[[str], str]], dict[str, list[Tensor]]]
) -> list[Case]:
    """A case for each level; `run` takes the level and what names an output at that level."""
    outputs: dict[str, list[str]] = {}
    for output in file.outputs:
        match = re.fullmatch(r"\w+_lod(\d+(?:\.\d+)?)", output)
        assert match, f"output not understood: {output}"
        outputs.setdefault(match[1], []).append(output)
    assert sorted(map(float, outputs)) == sorted(map(float, file.meta["lods"])), "levels and outputs differ"
    return [
        Case(f"lod{lod}", tuple(names), lambda lod=lod: run(float(lod), lambda what: f"{what}_lod{lod}"))
        for lod, names in outputs.items()
    ]


# ---- networks


def generator_cases(file: GoldenFile) -> list[Case]:
    """Images at every recorded level."""

    @torch.no_grad()
    def run(lod: float, name: Callable[[str], str]) -> dict[str, list[Tensor]]:
        generator = generator_of(file.meta["kwargs"], file.params)
        z, label = file.inputs["latents"], file.label("labels")
        growth = growth_at_lod(lod, generator.resolution)
        fast = generator(z, label, growth=growth)
        with slow_references():
            slow = generator(z, label, growth=growth)
        return {name("images"): [fast, slow]}

    return _cases_by_lod(file, run)


def discriminator_cases(file: GoldenFile) -> list[Case]:
    """Scores, and class logits where there are labels, at every recorded level."""

    @torch.no_grad()
    def run(lod: float, name: Callable[[str], str]) -> dict[str, list[Tensor]]:
        discriminator = discriminator_of(file.meta["kwargs"], file.params)
        images = file.inputs["images"]
        growth = growth_at_lod(lod, images.shape[2])
        both = [discriminator(at_active_level(images, lod), growth=growth)]
        with slow_references():
            both.append(discriminator(at_active_level(images, lod), growth=growth))
        if not file.meta["kwargs"].get("label_size", 0):
            return {name("scores"): [logits[:, None] for logits in both]}
        return {
            name("scores"): [logits[:, :1] for logits in both],
            name("labels"): [logits[:, 1:] for logits in both],
        }

    return _cases_by_lod(file, run)


# ---- losses


class Critic(NamedTuple):
    """What the discriminator says of images."""

    scores: Tensor
    classes: Tensor | None


class Pair:
    """The two networks of a file of losses, its inputs, and the level at which it was recorded."""

    def __init__(self, file: GoldenFile) -> None:
        self.file = file
        g_kwargs, d_kwargs = file.meta["G_kwargs"], file.meta["D_kwargs"]
        self.g_table = progan_tf.generator_table(progan_tf.generator_config(g_kwargs))
        self.d_table = progan_tf.discriminator_table(progan_tf.discriminator_config(d_kwargs))
        self.generator = generator_of(g_kwargs, file.tensors("param/G/"))
        self.discriminator = discriminator_of(d_kwargs, file.tensors("param/D/"))
        lod = file.meta["lod"]
        self.growth = growth_at_lod(lod, self.generator.resolution)
        self.reals = at_active_level(file.inputs["reals"], lod)
        self.gradient_scale = 0.5 ** math.floor(lod)
        """Recorded gradients are those by pixels of full resolution."""

    def fakes(self, labels: str) -> Tensor:
        images = self.generator(self.file.inputs["latents"], self.file.label(labels), growth=self.growth)
        assert isinstance(images, Tensor)
        return images

    def critic(self, images: Tensor) -> Critic:
        logits = self.discriminator(images, growth=self.growth)
        return Critic(logits, None) if logits.ndim == 1 else Critic(logits[:, 0], logits[:, 1:])

    def scores(self, images: Any, label: Tensor | None = None) -> Tensor:
        """As penalties see the discriminator."""
        return self.critic(images).scores

    def label_penalty(self, critic: Critic, labels: str) -> Tensor:
        label = self.file.label(labels)
        assert critic.classes is not None
        assert label is not None
        return label_loss(critic.classes, label)


Values = dict[str, Tensor]
"""By the recorded name: loss, rec/real_scores, ..."""


def _generator_loss(pair: Pair, options: dict[str, Any]) -> Values:
    critic = pair.critic(pair.fakes("gen_labels"))
    loss = generator_loss("wgan", critic.scores)[:, None]
    weight = options.pop("cond_weight", 1.0)
    if critic.classes is None:
        return {"loss": loss}
    # The official sum of [N, 1] and [N] is [N, N]; its mean is the sum of the means.
    return {"loss": loss + weight * pair.label_penalty(critic, "gen_labels")}


def _discriminator_loss(pair: Pair, options: dict[str, Any]) -> Values:
    weight, target = options.pop("wgan_lambda", 10.0), options.pop("wgan_target", 1.0)
    epsilon, cond_weight = options.pop("wgan_epsilon", 0.001), options.pop("cond_weight", 1.0)
    reals, fakes = pair.reals, pair.fakes("labels")
    real, fake = pair.critic(reals), pair.critic(fakes)
    u = pair.file.inputs["mixing_factors"].flatten()
    scale = pair.gradient_scale
    mixed = reals + (fakes - reals) * u[:, None, None, None]
    column = discriminator_loss("wgan", real.scores, fake.scores) + wgan_drift(real.scores, epsilon)
    row = wgan_gradient_penalty(pair.scores, between(reals, fakes, u), weight, target, gradient_scale=scale)
    values = {
        "rec/real_scores": real.scores[:, None],
        "rec/fake_scores": fake.scores[:, None],
        "rec/mixed_scores": pair.scores(mixed)[:, None],
        "rec/mixed_norms": zero_centred_penalty(pair.scores, mixed, 2.0, gradient_scale=scale).sqrt(),
        "rec/epsilon_penalty": wgan_drift(real.scores, 1.0)[:, None],
    }
    if real.classes is not None:
        of_reals, of_fakes = pair.label_penalty(real, "labels"), pair.label_penalty(fake, "labels")
        row = row + cond_weight * (of_reals + of_fakes)
        values |= {"rec/label_penalty_reals": of_reals, "rec/label_penalty_fakes": of_fakes}
    return {"loss": column[:, None] + row, **values}


LOSSES: dict[str, Callable[[Pair, dict[str, Any]], Values]] = {
    "progressive_growing_of_gans loss.G_wgan_acgan": _generator_loss,
    "progressive_growing_of_gans loss.D_wgangp_acgan": _discriminator_loss,
}


def loss_cases(file: GoldenFile) -> list[Case]:
    """Values and gradients of both losses."""

    def run(tag: str, outputs: tuple[str, ...]) -> Mapping[str, list[Tensor]]:
        spec, pair = file.meta["cases"][tag], Pair(file)
        options = dict(spec["kwargs"])
        evaluate = LOSSES[spec["function"]]
        values = evaluate(pair, options)
        assert not options, f"arguments without effect: {options}"
        of_generator = evaluate is _generator_loss
        network = pair.generator if of_generator else pair.discriminator
        results = {}
        for output in outputs:
            kind, _, variable = output.removeprefix(f"{tag}/").partition("/")
            if kind != "grad_loss":
                results[output] = [values[output.removeprefix(f"{tag}/")]]
                continue
            place = locate(pair.g_table if of_generator else pair.d_table, variable)
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


# ---- schedule

TICK_KIMG = ByResolution(
    160,
    ((4, 160), (8, 140), (16, 120), (32, 100), (64, 80), (128, 60), (256, 40), (512, 20), (1024, 10)),
)
"""The official default."""


def schedule_cases(file: GoldenFile) -> list[Case]:
    """Level of detail, learning rates, batches and ticks by images seen."""

    def table(kwargs: dict[str, Any], name: str, default: ByResolution) -> ByResolution:
        rows = kwargs.pop(f"{name}_dict", dict(default.at))
        return ByResolution(
            kwargs.pop(f"{name}_base", default.base), tuple((int(side), v) for side, v in rows.items())
        )

    def batch(by_side: ByResolution, largest: Mapping[str, int], gpus: int, side: int) -> float:
        """The batch at `side`: a multiple of the number of GPUs, no more than they hold."""
        whole = by_side(side) // gpus * gpus
        return min(whole, largest[str(side)] * gpus) if str(side) in largest else whole

    def run(tag: str, outputs: tuple[str, ...]) -> dict[str, list[Tensor]]:
        spec = file.meta["cases"][tag]
        kwargs, resolution, gpus = dict(spec["kwargs"]), spec["resolution"], spec["num_gpus"]
        growth = Growth(
            "progressive",
            kwargs.pop("lod_initial_resolution", 4),
            kwargs.pop("lod_training_kimg", 600.0),
            kwargs.pop("lod_transition_kimg", 600.0),
        )
        batches, largest = (
            table(kwargs, "minibatch", ByResolution(16)),
            kwargs.pop("max_minibatch_per_gpu", {}),
        )
        tables = {
            "G_lrate": table(kwargs, "G_lrate", ByResolution(0.001)),
            "D_lrate": table(kwargs, "D_lrate", ByResolution(0.001)),
            "tick_kimg": table(kwargs, "tick_kimg", TICK_KIMG),
        }
        assert not kwargs, f"arguments without effect: {kwargs}"
        lods = [lod_at(seen, growth, resolution) for seen in file.inputs[tag].tolist()]
        sides = [resolution_at(lod, resolution) for lod in lods]
        values: dict[str, list[float]] = {name: [at(side) for side in sides] for name, at in tables.items()}
        values |= {"lod": lods, "resolution": [float(side) for side in sides]}
        values["minibatch"] = [batch(batches, largest, gpus, side) for side in sides]
        return {
            output: [torch.tensor(values[output.removeprefix(f"{tag}/")], dtype=torch.float64)]
            for output in outputs
        }

    cases = []
    for tag in file.meta["cases"]:
        outputs = tuple(name for name in file.outputs if name.startswith(f"{tag}/"))
        cases.append(Case(tag, outputs, lambda tag=tag, outputs=outputs: run(tag, outputs)))
    return cases
