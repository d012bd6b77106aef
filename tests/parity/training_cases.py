"""Files of losses, schedules, the averaged generator and the optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from styleloom.config import Adam, ByResolution, Growth, RunOptions
from styleloom.config.growth import lod_at, resolution_at
from styleloom.config.objective import Loss
from styleloom.networks.assembly import StyleGenerator, Trunk
from styleloom.training.ema import update_ema
from styleloom.training.losses import discriminator_loss, generator_loss, wgan_drift
from styleloom.training.optim import build_optimizer
from styleloom.training.regularizers import (
    between,
    path_length_penalty,
    path_lengths,
    wgan_gradient_penalty,
    zero_centred_penalty,
)
from styleloom.weights import stylegan2_tf
from styleloom.weights.tables import Layout, Table, locate

from .golden_file import Case, GoldenFile
from .network_cases import tf_discriminator, tf_generator

# ---- losses


class Pair:
    """The two networks of a file of losses, and its inputs."""

    def __init__(self, file: GoldenFile) -> None:
        self.file = file
        self.g_table = stylegan2_tf.generator_table(stylegan2_tf.generator_config(file.meta["G_kwargs"]))
        self.d_table = stylegan2_tf.discriminator_table(
            stylegan2_tf.discriminator_config(file.meta["D_kwargs"])
        )
        self.generator: StyleGenerator = tf_generator(file.meta["G_kwargs"], file.tensors("param/G/"))
        self.discriminator: Trunk = tf_discriminator(file.meta["D_kwargs"], file.tensors("param/D/"))

    def fakes(self, latents: str, labels: str) -> tuple[Tensor, Tensor]:
        """Images and the ws that they come from."""
        ws = self.generator.mapping(self.file.inputs[latents], self.file.label(labels))
        images = self.generator.synthesis(ws, noise="fixed")
        assert isinstance(images, Tensor)
        return images, ws

    def logits(self, images: Tensor, labels: str) -> Tensor:
        return self.discriminator(images, self.file.label(labels))


Values = dict[str, Tensor]
"""By the recorded name: loss, reg, rec/scores_real, ..."""


def _column(x: Tensor) -> Tensor:
    """The official per-sample losses and scores are [N, 1]."""
    return x[:, None]


def _generator_loss(name: Loss) -> Callable[[Pair, dict[str, Any], Any], Values]:
    def evaluate(pair: Pair, options: dict[str, Any], _: Any) -> Values:
        images, _ws = pair.fakes("latents", "gen_labels")
        return {"loss": _column(generator_loss(name, pair.logits(images, "gen_labels")))}

    return evaluate


def _path_length(pair: Pair, options: dict[str, Any], mean: Any) -> Values:
    shrink = options.pop("pl_minibatch_shrink", 2)
    decay, weight = options.pop("pl_decay", 0.01), options.pop("pl_weight", 2.0)
    images, ws = pair.fakes("latents", "gen_labels")
    loss = generator_loss("nonsaturating", pair.logits(images, "gen_labels"))
    noise = "pl_noise_full"
    if shrink > 1:
        noise = "pl_noise"
        images, ws = pair.fakes("pl_latents", "pl_labels")
        assert len(images) == len(loss) // shrink
    lengths = path_lengths(images, ws, pair.file.inputs[noise])
    before = torch.tensor(float(mean))
    penalty, after = path_length_penalty(lengths, before, decay, weight)
    return {
        "loss": _column(loss),
        "reg": penalty,
        "rec/pl_lengths": lengths,
        "rec/pl_penalty": path_length_penalty(lengths, before, decay, 1.0)[0],
        "pl_mean_after": after,
    }


def _discriminator_loss(
    name: Loss, penalty: Callable[[Pair, dict[str, Any], Tensor], Values] | None = None
) -> Callable[[Pair, dict[str, Any], Any], Values]:
    def evaluate(pair: Pair, options: dict[str, Any], _: Any) -> Values:
        fakes, _ws = pair.fakes("latents", "labels")
        real, fake = pair.logits(pair.file.inputs["reals"], "labels"), pair.logits(fakes, "labels")
        loss = discriminator_loss(name, real, fake)
        values = {"rec/scores_real": _column(real), "rec/scores_fake": _column(fake)}
        if name == "wgan":
            values["rec/epsilon_penalty"] = _column(wgan_drift(real, 1.0))
            loss = loss + wgan_drift(real, options.pop("wgan_epsilon", 0.001))
        extra = {} if penalty is None else penalty(pair, options, fakes)
        return {"loss": _column(loss), **values, **extra}

    return evaluate


def _r1(pair: Pair, options: dict[str, Any], fakes: Tensor) -> Values:
    return _zero_centred(pair, options, pair.file.inputs["reals"])


def _r2(pair: Pair, options: dict[str, Any], fakes: Tensor) -> Values:
    return _zero_centred(pair, options, fakes)


def _zero_centred(pair: Pair, options: dict[str, Any], images: Tensor) -> Values:
    label = pair.file.label("labels")
    gamma = options.pop("gamma", 10.0)
    return {
        "reg": zero_centred_penalty(pair.discriminator, images, gamma, label),
        "rec/gradient_penalty": zero_centred_penalty(pair.discriminator, images, 2.0, label),
    }


def _wgan_gp(pair: Pair, options: dict[str, Any], fakes: Tensor) -> Values:
    label, reals = pair.file.label("labels"), pair.file.inputs["reals"]
    u = pair.file.inputs["mixing_factors"].flatten()
    weight, target = options.pop("wgan_lambda", 10.0), options.pop("wgan_target", 1.0)
    mixed = reals + (fakes - reals) * u[:, None, None, None]
    return {
        "reg": wgan_gradient_penalty(pair.discriminator, between(reals, fakes, u), weight, target, label),
        "rec/scores_mixed": _column(pair.logits(mixed, "labels")),
        "rec/mixed_norms": zero_centred_penalty(pair.discriminator, mixed, 2.0, label).sqrt(),
    }


LOSSES: dict[str, Callable[[Pair, dict[str, Any], Any], Values]] = {
    "stylegan2 loss.G_logistic": _generator_loss("saturating"),
    "stylegan2 loss.G_logistic_ns": _generator_loss("nonsaturating"),
    "stylegan2 loss.G_wgan": _generator_loss("wgan"),
    "stylegan2 loss.G_logistic_ns_pathreg": _path_length,
    "stylegan2 loss.D_logistic": _discriminator_loss("nonsaturating"),
    "stylegan2 loss.D_logistic_r1": _discriminator_loss("nonsaturating", _r1),
    "stylegan2 loss.D_logistic_r2": _discriminator_loss("nonsaturating", _r2),
    "stylegan2 loss.D_wgan": _discriminator_loss("wgan"),
    "stylegan2 loss.D_wgan_gp": _discriminator_loss("wgan", _wgan_gp),
}


def loss_cases(file: GoldenFile) -> list[Case]:
    """Values and gradients of every loss."""

    def run(tag: str, outputs: tuple[str, ...]) -> Mapping[str, list[Tensor]]:
        spec, pair = file.meta["cases"][tag], Pair(file)
        options = dict(spec["kwargs"])
        values = LOSSES[spec["function"]](pair, options, spec["pl_mean_before"])
        assert not options, f"arguments without effect: {options}"
        of_generator = spec["function"].partition("loss.")[2].startswith("G_")
        network = pair.generator if of_generator else pair.discriminator
        results = {}
        for output in outputs:
            kind, _, variable = output.removeprefix(f"{tag}/").partition("/")
            if kind in ("grad_loss", "grad_reg"):
                value = values[kind.removeprefix("grad_")]
                table = pair.g_table if of_generator else pair.d_table
                results[output] = [_gradient(value, network, table, variable, file.outputs[output])]
            else:
                results[output] = [values[output.removeprefix(f"{tag}/")]]
        return results

    cases = []
    for tag in file.meta["cases"]:
        outputs = tuple(name for name in file.outputs if name.startswith(f"{tag}/"))
        cases.append(Case(tag, outputs, lambda tag=tag, outputs=outputs: run(tag, outputs)))
    return cases


def _gradient(value: Tensor, network: nn.Module, table: Table, variable: str, stored: Tensor) -> Tensor:
    """d mean(value) / d variable, in the layout of the stored variable."""
    place = locate(table, variable)
    assert place is not None
    assert place.target is not None
    parameter = network.get_parameter(place.target)
    (gradient,) = torch.autograd.grad(
        value.mean(), [parameter], retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return stored_layout(gradient, place.layout, stored)


def stored_layout(ours: Tensor, layout: Layout, stored: Tensor) -> Tensor:
    """`ours` arranged like `stored`, by numbering the elements: these layouts only permute them."""
    order = layout(torch.arange(stored.numel()).reshape(stored.shape))
    assert order.shape == ours.shape
    return torch.zeros(stored.numel()).index_put((order.flatten(),), ours.flatten()).reshape(stored.shape)


# ---- schedules

TICK_KIMG = RunOptions().tick_kimg


def schedule_cases(file: GoldenFile) -> list[Case]:
    """Level of detail, learning rates, batches and ticks by images seen."""

    def table(kwargs: dict[str, Any], name: str, suffix: str, default: ByResolution) -> ByResolution:
        rows = kwargs.pop(f"{name}_dict", dict(default.at))
        return ByResolution(
            kwargs.pop(f"{name}_{suffix}", default.base), tuple((int(side), v) for side, v in rows.items())
        )

    def run(tag: str, outputs: tuple[str, ...]) -> dict[str, list[Tensor]]:
        spec = file.meta["cases"][tag]
        kwargs, resolution = dict(spec["kwargs"]), spec["resolution"]
        initial = kwargs.pop("lod_initial_resolution", None)
        growth = Growth(
            "none" if initial is None else "progressive",
            resolution if initial is None else initial,
            kwargs.pop("lod_training_kimg", 600.0),
            kwargs.pop("lod_transition_kimg", 600.0),
        )
        tables = {
            "minibatch_size": table(kwargs, "minibatch_size", "base", ByResolution(32)),
            "minibatch_gpu": table(kwargs, "minibatch_gpu", "base", ByResolution(4)),
            "G_lrate": table(kwargs, "G_lrate", "base", ByResolution(0.002)),
            "D_lrate": table(kwargs, "D_lrate", "base", ByResolution(0.002)),
            "tick_kimg": table(kwargs, "tick_kimg", "base", TICK_KIMG),
        }
        assert not kwargs, f"arguments without effect: {kwargs}"
        lods = [lod_at(seen, growth, resolution) for seen in file.inputs[tag].tolist()]
        sides = [resolution_at(lod, resolution) for lod in lods]
        values = {"lod": lods, "resolution": sides}
        values |= {name: [by_side(side) for side in sides] for name, by_side in tables.items()}
        return {
            output: [torch.tensor(values[output.removeprefix(f"{tag}/")], dtype=torch.float64)]
            for output in outputs
        }

    cases = []
    for tag in file.meta["cases"]:
        outputs = tuple(name for name in file.outputs if name.startswith(f"{tag}/"))
        cases.append(Case(tag, outputs, lambda tag=tag, outputs=outputs: run(tag, outputs)))
    return cases


# ---- averaged generator


def moving_average_cases(file: GoldenFile) -> list[Case]:
    """One update of the averaged generator; variables that are not trained are copied."""

    def run() -> dict[str, list[Tensor]]:
        assert file.meta["beta_nontrainable"] == 0
        kwargs = file.meta["kwargs"]
        table = stylegan2_tf.generator_table(stylegan2_tf.generator_config(kwargs))
        source = tf_generator(kwargs, file.tensors("param/G/"))
        average = tf_generator(kwargs, file.tensors("param/Gs/"))
        places = {name: locate(table, name) for name in file.outputs}
        parameters = dict(average.named_parameters())
        trained = {name for name, place in places.items() if place and place.target in parameters}
        assert trained == set(file.meta["trainables"])
        update_ema(average, source, file.meta["beta"])
        state = average.state_dict()
        results = {}
        for name, place in places.items():
            assert place is not None
            if place.target is None:  # no variable of ours
                assert torch.equal(file.outputs[name], file.params[f"G/{name}"])
                results[name] = [file.params[f"G/{name}"]]
            else:
                results[name] = [stored_layout(state[place.target], place.layout, file.outputs[name])]
        return results

    return [Case("update", tuple(file.outputs), run)]


# ---- optimizer


def adam_cases(file: GoldenFile) -> list[Case]:
    """Trajectories under given gradients."""

    def run(tag: str) -> dict[str, list[Tensor]]:
        spec = file.meta["cases"][tag]
        x = nn.Parameter(file.inputs["x0"].clone())
        constants = Adam(spec["base_beta1"], spec["base_beta2"], spec["effective"]["epsilon"])
        every = spec["reg_interval"]
        lazy = 1 if every is None else every
        optimizer = build_optimizer("adam", [x], spec["base_learning_rate"], constants, lazy)
        (group,) = optimizer.param_groups
        effective = tuple(spec["effective"][name] for name in ("learning_rate", "beta1", "beta2"))
        torch.testing.assert_close((group["lr"], *group["betas"]), effective, rtol=1e-12, atol=0)
        steps = []
        for gradient in file.inputs["grads"]:
            x.grad = gradient.clone()
            optimizer.step()
            steps.append(x.detach().clone())
        return {tag: [torch.stack(steps)]}

    return [Case(tag, (tag,), lambda tag=tag: run(tag)) for tag in file.meta["cases"]]
