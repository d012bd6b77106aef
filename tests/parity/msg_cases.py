"""MSG-GAN's files: networks and losses of the TensorFlow code (MSG-StyleGAN) and of BMSG-GAN (MSG-ProGAN)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from styleloom.config.objective import Loss
from styleloom.networks.assembly import StyleGenerator, Trunk
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.training.losses import discriminator_loss, generator_loss, wgan_drift
from styleloom.training.regularizers import zero_centred_penalty
from styleloom.types import Images, Pyramid
from styleloom.weights import bmsg, msg_tf
from styleloom.weights.tables import Table, fill, locate

from .golden_file import Case, GoldenFile
from .network_cases import slow_references

Values = dict[str, Tensor]
"""By the recorded name: loss, rec/scores_real, ..."""


def tf_generator(kwargs: Mapping[str, Any], params: Mapping[str, Tensor]) -> tuple[StyleGenerator, Table]:
    """The generator of the TensorFlow code with its weights, and the table of their names."""
    cfg = msg_tf.generator_config(kwargs)
    generator, table = build_generator(cfg), msg_tf.generator_table(cfg, kwargs.get("fused_scale", "auto"))
    fill(table, params, generator)
    return generator, table


def tf_discriminator(kwargs: Mapping[str, Any], params: Mapping[str, Tensor]) -> tuple[Trunk, Table]:
    """The discriminator of the TensorFlow code with its weights, and the table of their names."""
    cfg = msg_tf.discriminator_config(kwargs)
    discriminator, table = build_discriminator(cfg), msg_tf.discriminator_table(cfg)
    fill(table, params, discriminator)
    return discriminator, table


def pyramid_in(tensors: Mapping[str, Tensor], prefix: str) -> Pyramid:
    """The images `prefix`4, `prefix`8, ... among `tensors`, low to high."""
    found = {int(name.removeprefix(prefix)): x for name, x in tensors.items() if name.startswith(prefix)}
    return tuple(found[side] for side in sorted(found))


def pyramid_of(images: Images) -> Pyramid:
    """Images that are a pyramid."""
    assert isinstance(images, tuple)
    return images


# ---- networks of the TensorFlow code

OUTPUT = re.compile(r"images_(?P<side>\d+)(?:_psi(?P<psi>-?\d+(?:\.\d+)?)_cutoff(?P<cutoff>\d+))?")
"""The outputs of a generator are named after the resolution and the settings of the call."""


def tf_generator_cases(file: GoldenFile) -> list[Case]:
    """w, and images of every resolution with and without truncation: a case for each setting."""

    @torch.no_grad()
    def images(psi: float, layers: int | None, outputs: dict[str, int]) -> dict[str, list[Tensor]]:
        generator, _ = tf_generator(file.meta["kwargs"], file.params)
        z, label = file.inputs["latents"], file.label("labels")
        results = [pyramid_of(generator(z, label, psi, layers, noise="fixed"))]
        with slow_references():
            results.append(pyramid_of(generator(z, label, psi, layers, noise="fixed")))
        assert all(sorted(outputs.values()) == [x.shape[2] for x in pyramid] for pyramid in results)
        return {
            name: [x for pyramid in results for x in pyramid if x.shape[2] == side]
            for name, side in outputs.items()
        }

    @torch.no_grad()
    def ws() -> dict[str, list[Tensor]]:
        generator, _ = tf_generator(file.meta["kwargs"], file.params)
        ours = generator.mapping(file.inputs["latents"], file.label("labels"))
        # Without styles the official w is not repeated for layers that do not read it.
        return {"dlatents": [ours[:, : file.outputs["dlatents"].shape[1]]]}

    calls: dict[tuple[float, int | None], dict[str, int]] = {}
    for name in file.outputs:
        if name == "dlatents":
            continue
        settings = OUTPUT.fullmatch(name)
        assert settings, f"output not understood: {name}"
        layers = int(settings["cutoff"]) if settings["cutoff"] else None
        calls.setdefault((float(settings["psi"] or 1), layers), {})[name] = int(settings["side"])
    return [
        Case("dlatents", ("dlatents",), ws),
        *(
            Case(f"psi{psi}_{layers}", tuple(outputs), lambda call=(psi, layers, outputs): images(*call))
            for (psi, layers), outputs in calls.items()
        ),
    ]


def tf_discriminator_cases(file: GoldenFile) -> list[Case]:
    """Scores of pyramids."""

    @torch.no_grad()
    def run() -> dict[str, list[Tensor]]:
        discriminator, _ = tf_discriminator(file.meta["kwargs"], file.params)
        images, label = pyramid_in(file.inputs, "images_"), file.label("labels")
        fast = discriminator(images, label)
        with slow_references():
            slow = discriminator(images, label)
        return {"scores": [fast[:, None], slow[:, None]]}

    return [Case("scores", ("scores",), run)]


# ---- losses


class Pair:
    """The two networks of a file of losses, its reals and fakes."""

    def __init__(self, file: GoldenFile) -> None:
        self.generator, self.g_table = tf_generator(file.meta["G_kwargs"], file.tensors("param/G/"))
        self.discriminator, self.d_table = tf_discriminator(file.meta["D_kwargs"], file.tensors("param/D/"))
        self.reals = pyramid_in(file.inputs, "reals_")
        self.fakes = self.generator(file.inputs["latents"], noise="fixed")


def _generator_loss(pair: Pair, options: dict[str, Any]) -> Values:
    return {"loss": generator_loss("nonsaturating", pair.discriminator(pair.fakes))[:, None]}


def _discriminator_loss(pair: Pair, options: dict[str, Any]) -> Values:
    r1, r2 = options.pop("r1_gamma", 10.0), options.pop("r2_gamma", 0.0)
    real, fake = pair.discriminator(pair.reals), pair.discriminator(pair.fakes)
    loss = discriminator_loss("nonsaturating", real, fake)
    values = {"rec/scores_real": real[:, None], "rec/scores_fake": fake[:, None]}
    for gamma, images, name in ((r1, pair.reals, "r1"), (r2, pair.fakes, "r2")):
        if gamma:
            # The official penalty is one number, the mean over samples too.
            penalty = zero_centred_penalty(pair.discriminator, images, 2.0).mean()
            loss = loss + penalty * (gamma / 2)
            values[f"rec/{name}_penalty"] = penalty
    return {"loss": loss[:, None], **values}


LOSSES: dict[str, Callable[[Pair, dict[str, Any]], Values]] = {
    "msg-stylegan-tf loss.G_logistic_nonsaturating": _generator_loss,
    "msg-stylegan-tf loss.D_logistic_simplegp": _discriminator_loss,
}


def tf_loss_cases(file: GoldenFile) -> list[Case]:
    """Values and gradients of the losses of the TensorFlow code."""

    def run(tag: str, outputs: tuple[str, ...]) -> dict[str, list[Tensor]]:
        spec, pair = file.meta["cases"][tag], Pair(file)
        options, evaluate = dict(spec["kwargs"]), LOSSES[spec["function"]]
        values = evaluate(pair, options)
        assert not options, f"arguments without effect: {options}"
        of_generator = evaluate is _generator_loss
        network, table = (
            (pair.generator, pair.g_table) if of_generator else (pair.discriminator, pair.d_table)
        )
        results = {}
        for output in outputs:
            kind, _, variable = output.removeprefix(f"{tag}/").partition("/")
            if kind == "grad_loss":
                stored = file.outputs[output]
                results[output] = [_gradient(values["loss"], network, table, {variable: stored}, variable)]
            else:
                results[output] = [values[output.removeprefix(f"{tag}/")]]
        return results

    cases = []
    for tag in file.meta["cases"]:
        outputs = tuple(name for name in file.outputs if name.startswith(f"{tag}/"))
        cases.append(Case(tag, outputs, lambda tag=tag, outputs=outputs: run(tag, outputs)))
    return cases


def _gradient(
    value: Tensor,
    network: nn.Module,
    table: Table,
    variables: Mapping[str, Tensor],
    wanted: str,
    prepare: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = dict,
) -> Tensor:
    """d mean(value) / d `wanted`, a stored variable: through our parameters and the layouts that fill them.

    Layouts may add constants and weigh values, as those of BMSG-GAN do, so long as they are affine: then the
    variables' values do not matter, but their shapes do.
    """
    leaves = {name: torch.zeros_like(x).requires_grad_() for name, x in variables.items()}
    targets, images = [], []
    for name, x in prepare(leaves).items():
        place = locate(table, name)
        assert place is not None
        if place.target is not None:
            targets.append(network.get_parameter(place.target))
            images.append(place.layout(x))
    gradients = torch.autograd.grad(
        value.mean(), targets, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    (result,) = torch.autograd.grad(images, [leaves[wanted]], gradients)
    return result


# ---- BMSG-GAN

BMSG_LOSSES: dict[str, Loss] = {
    "rahinge": "relativistic-hinge",
    "lsgan": "least-squares",
    "wgan_drift": "wgan",
}


class BMSGPair:
    """The two networks of a file, its reals and fakes."""

    def __init__(self, file: GoldenFile) -> None:
        kwargs = dict(file.meta["kwargs"])
        feature_size, latent_size = kwargs.pop("feature_size"), kwargs.pop("latent_size")
        g_cfg = bmsg.generator_config({**kwargs, "latent_size": latent_size})
        d_cfg = bmsg.discriminator_config({**kwargs, "feature_size": feature_size})
        self.variables = {"G": file.tensors("param/G/"), "D": file.tensors("param/D/")}
        self.networks = {"G": build_generator(g_cfg), "D": build_discriminator(d_cfg)}
        use_eql = kwargs.get("use_eql", True)
        self.tables = {
            "G": bmsg.generator_table(g_cfg, use_eql),
            "D": bmsg.discriminator_table(d_cfg, use_eql),
        }
        self.prepare: dict[str, Callable[[Mapping[str, Tensor]], dict[str, Tensor]]] = {
            "G": dict,
            "D": lambda variables: bmsg.joined(d_cfg, variables, use_eql),
        }
        for name, network in self.networks.items():
            fill(self.tables[name], self.prepare[name](self.variables[name]), network)
        self.reals = pyramid_in(file.inputs, "reals_")
        self.fakes = pyramid_of(self.networks["G"](file.inputs["latents"]))

    def losses(self, name: Loss, drift: float) -> Values:
        """Both networks' losses as that code has them, batch means."""
        real, fake = (self.networks["D"](images) for images in (self.reals, self.fakes))
        if name == "least-squares":  # of the batch means of the scores, unlike Mao et al.'s, of each
            real, fake = real.mean(), fake.mean()
        of_d = discriminator_loss(name, real, fake)
        if name == "wgan":
            of_d = of_d + wgan_drift(real, drift)
        return {"dis_loss": of_d.mean(), "gen_loss": generator_loss(name, fake, real).mean()}

    def gradient(self, value: Tensor, network: str, variable: str) -> Tensor:
        """d value / d variable of "G" or "D"."""
        variables = self.variables[network]
        if network == "G" or not re.match(r"rgb_to_features|final_converter", variable):
            variables = {variable: variables[variable]}
        table, prepare = self.tables[network], self.prepare[network]
        return _gradient(value, self.networks[network], table, variables, variable, prepare)


def bmsg_cases(file: GoldenFile) -> list[Case]:
    """Images, scores, and the values and gradients of each loss."""

    @torch.no_grad()
    def images() -> dict[str, list[Tensor]]:
        pair = BMSGPair(file)
        results = [pair.fakes]
        with slow_references():
            results.append(pyramid_of(pair.networks["G"](file.inputs["latents"])))
        return {f"images_{x.shape[2]}": [y[i] for y in results] for i, x in enumerate(results[0])}

    @torch.no_grad()
    def scores() -> dict[str, list[Tensor]]:
        pair = BMSGPair(file)
        inputs = {"scores_real": pair.reals, "scores_fake": pair.fakes}
        results = {name: [pair.networks["D"](x)] for name, x in inputs.items()}
        with slow_references():
            for name, x in inputs.items():
                results[name].append(pair.networks["D"](x))
        return results

    def loss(tag: str, outputs: tuple[str, ...]) -> dict[str, list[Tensor]]:
        pair = BMSGPair(file)
        values = pair.losses(BMSG_LOSSES[tag], file.meta["wgan_drift"])
        results = {}
        for output in outputs:
            kind, _, variable = output.removeprefix(f"{tag}/").partition("/")
            if kind in values:
                results[output] = [values[kind]]
            else:
                name = kind.removeprefix("grad_")
                network = "G" if name == "gen_loss" else "D"
                results[output] = [pair.gradient(values[name], network, variable)]
        return results

    groups: dict[str, list[str]] = {}
    for output in file.outputs:
        # rahinge/dis_loss and its like; images_4, scores_real
        group = output.partition("/" if "/" in output else "_")[0]
        groups.setdefault(group, []).append(output)
    run = {"images": images, "scores": scores}
    return [
        Case(name, tuple(outputs), run.get(name) or (lambda n=name, o=tuple(outputs): loss(n, o)))
        for name, outputs in groups.items()
    ]
