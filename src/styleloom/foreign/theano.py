"""Pickles of ProGAN's first code, in Theano: lists of parameters without names, under Python 2."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from styleloom.errors import UserError, quoted
from styleloom.foreign.file import AVERAGE, D, ForeignNetwork, G, Recognised, Translated
from styleloom.foreign.pickles.records import Array, Record, number, plain
from styleloom.weights import progan_tf

MODULE = "network.Network"
ROLES = (G, D, AVERAGE)

DROPPED = ("func", "use_gdrop", "mbstat_func", "mbstat_avg")
"""Settings that matter in training alone."""

OFF = ("use_batchnorm", "use_layernorm", "tanh_at_end", "mbdisc_kernels")
"""Settings of networks that the TensorFlow code has no more: they must be off."""

MINIBATCH_GROUP = 16
"""Of discriminators, as the authors' importer has it."""


def recognise(value: Any) -> Recognised | None:
    """The networks of a pickle; None for one of another kind."""
    parts = value if isinstance(value, (tuple, list)) else [value]
    if len(parts) != 3 or not all(isinstance(p, Record) and str(p.of) == MODULE for p in parts):
        return None
    if any(isinstance(part.state, dict) and "version" in part.state for part in parts):
        return None
    networks = {role: _network(role, part.state) for role, part in zip(ROLES, parts, strict=True)}
    return Recognised(
        "progan-theano",
        "tkarras/progressive_growing_of_gans (Theano)",
        None,
        networks,
        w_average="none, this generator has no w",
        licence="CC BY-NC 4.0 (code and published weights)",
    )


def _network(role: str, state: Any) -> ForeignNetwork:
    spec = state.get("build_func_spec") if isinstance(state, dict) else None
    values = state.get("param_values") if isinstance(state, dict) else None
    if not isinstance(spec, dict) or not isinstance(values, list):
        raise UserError(f"damaged, the network {role} has no build_func_spec or param_values")
    arrays: dict[str, Array] = {}
    for index, value in enumerate(values):
        if isinstance(value, (int, float)):
            value = number(float(value))
        if not isinstance(value, Array):
            raise UserError(f"damaged, parameter {index} of the network {role} is no array")
        arrays[f"param{index}"] = value
    settings = plain(spec)
    for name in OFF:
        if settings.get(name):
            raise UserError(f"{name} {quoted(settings[name])} is not supported, it must be off")
    function = str(settings.get("func"))
    kwargs = {name: v for name, v in settings.items() if name not in (*DROPPED, *OFF)} | {
        "fused_scale": False
    }
    if role == D:
        kwargs["mbstd_group_size"] = MINIBATCH_GROUP
    top = state.get("toplevel_params")
    lod = plain(top).get("cur_lod", 0.0) if isinstance(top, dict) else 0.0
    translate = _discriminator if role == D else _generator
    return ForeignNetwork(role, function, kwargs, arrays, translate, lod if 0 <= lod < 64 else 0.0)


def _layers(own: ForeignNetwork) -> list[tuple[Tensor, Tensor]]:
    """Weight, ready to use, and bias of every layer."""
    values = [array.tensor() for array in own.arrays.values()]
    if len(values) % 3 or any(scale.numel() != 1 for scale in values[1::3]):
        raise UserError(f"damaged, the parameters of {own.role} are not weight, scale and bias of each layer")
    return [(w * scale, b) for w, scale, b in zip(values[::3], values[1::3], values[2::3], strict=True)]


def _conv(weight: Tensor) -> Tensor:
    """[out, in, kh, kw] of a true convolution -> [kh, kw, in, out] of a correlation, stored equalized."""
    return weight.flip(2, 3).permute(2, 3, 1, 0) * math.sqrt(weight[0].numel() / 2)


def _rgb(weight: Tensor, gain: float) -> Tensor:
    """[in, out] -> [1, 1, in, out]."""
    return weight[None, None] * (math.sqrt(weight.shape[0]) / gain)


def _named(layers: list[tuple[Tensor, Tensor]], order: list[tuple[str, Any]], role: str) -> dict[str, Tensor]:
    if len(layers) != len(order):
        raise UserError(f"{role} has {len(layers)} layers, its settings ask for {len(order)}")
    variables: dict[str, Tensor] = {}
    for (weight, bias), (name, layout) in zip(layers, order, strict=True):
        try:
            variables[f"{name}/weight"], variables[f"{name}/bias"] = layout(weight), bias
        except (RuntimeError, IndexError, ValueError) as error:
            raise UserError(f"{name} of {role} has the shape {list(weight.shape)}") from error
    return variables


def _generator(own: ForeignNetwork) -> Translated:
    config = progan_tf.generator_config(own.kwargs)
    sides = config.sides

    def dense(weight: Tensor) -> Tensor:  # [C, in, 4, 4] -> [in, C 4 4]; its gain is sqrt(2) / 4
        flat = weight.permute(1, 0, 2, 3).flatten(1)
        return flat * (math.sqrt(flat.shape[0]) * 4 / math.sqrt(2))

    order: list[tuple[str, Any]] = [("4x4/Dense", dense), ("4x4/Conv", _conv)]
    order += [(f"{side}x{side}/{layer}", _conv) for side in sides[1:] for layer in ("Conv0", "Conv1")]
    order += [(f"ToRGB_lod{lod}", lambda w: _rgb(w, 1.0)) for lod in range(len(sides))]
    table = progan_tf.generator_table(config)
    return Translated(config, table, lambda: _named(_layers(own), order, own.role))


def _discriminator(own: ForeignNetwork) -> Translated:
    config = progan_tf.discriminator_config(own.kwargs)

    def dense(weight: Tensor) -> Tensor:  # a convolution of the whole grid [out, in, 4, 4] -> [in 4 4, out]
        return weight.flip(2, 3).flatten(1).t() * math.sqrt(weight[0].numel() / 2)

    def last(weight: Tensor) -> Tensor:
        return weight * math.sqrt(weight.shape[0])

    order: list[tuple[str, Any]] = []
    for lod, side in enumerate(reversed(config.sides)):
        order.append((f"FromRGB_lod{lod}", lambda w: _rgb(w, math.sqrt(2))))
        if side > 4:
            order += [(f"{side}x{side}/Conv0", _conv), (f"{side}x{side}/Conv1", _conv)]
    order += [("4x4/Conv", _conv), ("4x4/Dense0", dense), ("4x4/Dense1", last)]
    table = progan_tf.discriminator_table(config)
    return Translated(config, table, lambda: _named(_layers(own), order, own.role))
