"""Files of PyTorch with plain state dicts: rosinality's checkpoints, BMSG-GAN's networks, and lucidrains'."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from styleloom.foreign.file import AVERAGE, D, ForeignNetwork, G, Recognised, Translated
from styleloom.foreign.pickles.records import Array, Record, plain
from styleloom.networks.assembly import StyleGenerator
from styleloom.weights import bmsg, rosinality
from styleloom.weights.shapes import count_of, shape_of
from styleloom.weights.tables import Layout, same, without_one

W_SAMPLES = 10_000
"""Latents whose mean w is taken where a file has no average."""


def _arrays(value: Any) -> dict[str, Array] | None:
    """A state dict; None for anything else."""
    if not isinstance(value, dict) or not value:
        return None
    if not all(isinstance(name, str) and isinstance(array, Array) for name, array in value.items()):
        return None
    return dict(value)


def _shapes(arrays: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}


# ---- rosinality

KEYS = {G: "g", D: "d", AVERAGE: "g_ema"}
"""Keys of its files by role."""


def _generator(own: ForeignNetwork, style_bias: Layout = without_one) -> Translated:
    """rosinality's Generator."""
    config = rosinality.generator_config(_shapes(own.arrays))

    def variables() -> dict[str, Tensor]:
        found = own.variables()
        found["latent_avg"] = found.get("latent_avg", torch.zeros(config.w_dim)).reshape(-1)
        return found

    finish = None if "latent_avg" in own.arrays else set_w_average
    return Translated(config, rosinality.generator_table(config, style_bias), variables, finish)


def _unrounded(state: Mapping[str, Array], given: Any) -> dict[str, Array]:
    """Biases of styles as they were before the layout rounded them, where the file has them and they are
    those of `state`; else none."""
    exact, names = _arrays(given), {name for name in state if name.endswith(rosinality.STYLE_BIAS)}
    if exact is None or exact.keys() != names:
        return {}
    kept = all(torch.equal(exact[name].tensor() + 1, state[name].tensor()) for name in names)
    return exact if kept else {}


@torch.no_grad()
def set_w_average(generator: nn.Module) -> None:
    """Take the mean of the w of `W_SAMPLES` latents, always the same, as the average."""
    assert isinstance(generator, StyleGenerator)
    z = torch.randn(W_SAMPLES, generator.z_dim, generator=torch.Generator().manual_seed(0))
    generator.w_avg.copy_(generator.mapping_network(z).mean(0))


def _discriminator(own: ForeignNetwork) -> Translated:
    """rosinality's Discriminator."""
    config = rosinality.discriminator_config(_shapes(own.arrays))
    return Translated(config, rosinality.discriminator_table(config))


def rosinality_checkpoint(value: Any) -> Recognised | None:
    """A checkpoint of training (g, d, g_ema) or a converted file (g_ema, latent_avg)."""
    if not isinstance(value, dict):
        return None
    states = {role: _arrays(value.get(key)) for role, key in KEYS.items()}
    generators = [s for role in (G, AVERAGE) if (s := states[role])]
    if not any("conv1.conv.modulation.weight" in state for state in generators):
        return None
    average, biases = value.get("latent_avg"), value.get(rosinality.STYLE_BIASES)
    networks = {}
    args = value.get("args")
    kwargs = plain(args.state) if isinstance(args, Record) and isinstance(args.state, dict) else {}
    for role, state in states.items():
        if not state:
            continue
        if role == D:
            networks[role] = ForeignNetwork(role, "Discriminator", kwargs, state, _discriminator)
            continue
        if isinstance(average, Array):
            state["latent_avg"] = average
        exact = _unrounded(state, biases.get(KEYS[role])) if isinstance(biases, dict) else {}
        translate = partial(_generator, style_bias=same) if exact else _generator
        networks[role] = ForeignNetwork(role, "Generator", kwargs, state | exact, translate)
    training = "g_optim" in value
    has_average = isinstance(average, Array)
    return Recognised(
        "rosinality, training" if training else "rosinality, converted",
        "rosinality/stylegan2-pytorch",
        None,
        networks,
        w_average="latent_avg" if has_average else f"none: the mean w of {W_SAMPLES} latents is taken",
        licence="MIT (code); converted weights stay under the licence of their origin",
    )


# ---- BMSG-GAN


def _bmsg_names(value: Any) -> dict[str, Array] | None:
    """A state dict without the marks of parallel modules."""
    arrays = _arrays(value)
    if arrays is None:
        return None
    return {re.sub(r"(^|\.)module\.", r"\1", name): array for name, array in arrays.items()}


def _equalized(arrays: Mapping[str, Array], name: str) -> bool:
    """Whether weights are near N(0, 1), as with equalized learning rate, rather than near He's scale."""
    weight = arrays[name].tensor()
    he = math.sqrt(2 / max(weight[0].numel(), 1))
    deviation = float(weight.double().pow(2).mean().sqrt())
    return not deviation < math.sqrt(he)


def _bmsg_generator(own: ForeignNetwork) -> Translated:
    config = bmsg.generator_config(own.kwargs)
    return Translated(config, bmsg.generator_table(config, own.kwargs["use_eql"]))


def _bmsg_discriminator(own: ForeignNetwork) -> Translated:
    config, equalized = bmsg.discriminator_config(own.kwargs), own.kwargs["use_eql"]
    table = bmsg.discriminator_table(config, equalized)
    return Translated(config, table, lambda: bmsg.joined(config, own.variables(), equalized))


def bmsg_network(value: Any) -> Recognised | None:
    """A generator, its average or a discriminator of BMSG-GAN: a bare state dict."""
    arrays = _bmsg_names(value)
    if arrays is None:
        return None
    shapes = _shapes(arrays)
    depth = count_of(shapes, r"layers\.\d+\.conv_1\.weight")
    if "rgb_converters.0.weight" in arrays and depth:
        size = shape_of(shapes, "layers.0.conv_1.weight", 4)[0]
        kwargs = {"depth": depth, "latent_size": size}
        kwargs["use_eql"] = "layers.0.conv_2.weight" in arrays and _equalized(
            arrays, "layers.0.conv_2.weight"
        )
        own = ForeignNetwork(AVERAGE, "Generator", kwargs, arrays, _bmsg_generator)
    elif "final_block.conv_1.weight" in arrays and depth:
        kwargs = {
            "depth": depth + 1,
            "feature_size": shape_of(shapes, "final_block.conv_1.weight", 4)[0],
            "use_eql": _equalized(arrays, "final_block.conv_1.weight"),
        }
        own = ForeignNetwork(D, "Discriminator", kwargs, arrays, _bmsg_discriminator)
    else:
        return None
    return Recognised(
        "bmsg-gan",
        "akanimax/BMSG-GAN",
        None,
        {own.role: own},
        facts={"equalized": "told from the scale of the weights, which names do not say"},
        w_average="none, this generator has no w",
        licence="MIT (code)",
    )


# ---- refused


def lucidrains(value: Any) -> Recognised | None:
    """A checkpoint of lucidrains' code, another architecture."""
    inner = value.get("GAN") if isinstance(value, dict) else None
    if not isinstance(inner, dict) or not any(
        isinstance(n, str) and n.startswith(("G.", "GE.")) for n in inner
    ):
        return None
    version = value.get("version")
    return Recognised(
        "lucidrains",
        "lucidrains/stylegan2-pytorch",
        version if isinstance(version, str) else None,
        refused=(
            "lucidrains' stylegan2-pytorch, whose generator is another architecture than the paper's (its "
            "styles, noise and RGB layers differ): its own code reads it"
        ),
        licence="MIT (code)",
    )


def optimizer(value: Any) -> Recognised | None:
    """The state of an optimizer alone."""
    if not isinstance(value, dict) or set(value) != {"state", "param_groups"}:
        return None
    return Recognised(
        "optimizer state",
        "PyTorch",
        refused="the state of an optimizer, without weights of a network; the networks lie in other files",
    )
