"""Files of elementary operations: each of ours by its fast path and by its slow reference."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, get_args
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from styleloom.config.networks import Activation
from styleloom.layers.equalized import EqualizedConv, EqualizedDense
from styleloom.layers.minibatch_std import minibatch_std
from styleloom.ops import conv_layer as conv_layer_module
from styleloom.ops import upfirdn
from styleloom.ops.bias_act import ActivationSettings, bias_act
from styleloom.ops.conv_layer import ConvSettings, Resample
from styleloom.ops.modulated_conv import ModulatedSettings, modulated_layer, modulated_layer_reference
from styleloom.ops.resample_conv import (
    downsample_conv2d,
    downsample_conv2d_reference,
    upsample_conv2d,
    upsample_conv2d_reference,
)
from styleloom.ops.upfirdn import (
    Taps,
    downsample2d,
    filter2d,
    upfirdn2d,
    upfirdn2d_reference,
    upsample2d,
)
from styleloom.weights.tables import conv_hwio, dense_io

from .golden_file import Case, GoldenFile


def both_filters(function: Callable[[], Tensor]) -> list[Tensor]:
    """`function` with the fast filter and with the slow one."""
    fast = function()
    with mock.patch.object(upfirdn, "upfirdn2d", upfirdn2d_reference):
        return [fast, function()]


# ---- activations


def bias_act_cases(file: GoldenFile) -> list[Case]:
    """Values, first and second derivatives of every activation."""
    parts = ("", "_dx", "_db", "_d2x", "_2d_nobias")

    def run(spec: dict[str, Any]) -> dict[str, list[Tensor]]:
        x = file.inputs["x"].requires_grad_()
        bias = file.inputs["b"].requires_grad_()
        options = (spec["act"], spec["alpha"], spec["gain"])
        y = bias_act(x, bias, *options)
        dx, db = torch.autograd.grad((y * file.inputs["dy"]).sum(), [x, bias], create_graph=True)
        d2x = torch.zeros_like(x)
        if dx.requires_grad:
            total = (dx * file.inputs["ddx"]).sum()
            (d2x,) = torch.autograd.grad(total, [x], allow_unused=True, materialize_grads=True)
        flat = bias_act(file.inputs["x2d"], None, *options)
        return {spec["out"] + part: [ours] for part, ours in zip(parts, (y, dx, db, d2x, flat), strict=True)}

    return [
        Case(spec["out"], tuple(spec["out"] + part for part in parts), lambda spec=spec: run(spec))
        for spec in file.meta["subcases"]
    ]


# ---- resampling


def _taps(file: GoldenFile, name: str, factor: int) -> Taps:
    """The kernel that a subcase names; no kernel is a box as wide as the factor."""
    taps = file.meta["kernels"][name]
    if taps is None:
        return (1,) * factor
    if isinstance(taps, str):
        return tuple(tuple(row) for row in file.inputs[name].tolist())
    return tuple(taps)


def resample_cases(file: GoldenFile) -> list[Case]:
    """Filtering, up- and downsampling."""
    functions = {"upsample_2d": upsample2d, "downsample_2d": downsample2d, "filter_2d": filter2d}

    def run(spec: dict[str, Any]) -> dict[str, list[Tensor]]:
        x, taps = file.inputs[spec["x"]], _taps(file, spec["kernel"], spec.get("factor", 1))
        options = {name: spec[name] for name in ("factor", "gain") if name in spec}
        return {spec["out"]: both_filters(lambda: functions[spec["op"]](x, taps, **options))}

    return [Case(spec["out"], (spec["out"],), lambda spec=spec: run(spec)) for spec in file.meta["subcases"]]


def resample_conv_cases(file: GoldenFile) -> list[Case]:
    """Convolution with a change of resolution."""
    functions = {
        "upsample_conv_2d": (upsample_conv2d, upsample_conv2d_reference),
        "conv_downsample_2d": (downsample_conv2d, downsample_conv2d_reference),
    }
    stated = re.search(r"factor (\d+)", file.meta["function"])

    def run(spec: dict[str, Any]) -> dict[str, list[Tensor]]:
        factor = spec.get("factor", int(stated.group(1)) if stated else 2)
        x, w = file.inputs[spec["x"]], conv_hwio(file.inputs[spec["w"]])
        options = (_taps(file, spec["kernel"], factor), factor, spec.get("gain", 1.0))
        return {spec["out"]: [function(x, w, *options) for function in functions[spec["op"]]]}

    return [Case(spec["out"], (spec["out"],), lambda spec=spec: run(spec)) for spec in file.meta["subcases"]]


def upfirdn_cases(file: GoldenFile) -> list[Case]:
    """The general operation; stored images are [N, H, W, C]."""

    def run(spec: dict[str, Any]) -> dict[str, list[Tensor]]:
        x = file.inputs[spec.get("x", "x")].permute(0, 3, 1, 2)
        up, down = (spec["upx"], spec["upy"]), (spec["downx"], spec["downy"])
        pad = (spec["padx0"], spec["padx1"], spec["pady0"], spec["pady1"])
        kernel = file.inputs[spec["kernel"]]
        ours = [f(x, kernel, up, down, pad) for f in (upfirdn2d, upfirdn2d_reference)]
        return {spec["out"]: [y.permute(0, 2, 3, 1) for y in ours]}

    return [Case(spec["out"], (spec["out"],), lambda spec=spec: run(spec)) for spec in file.meta["subcases"]]


# ---- layers


def modulated_conv_cases(file: GoldenFile) -> list[Case]:
    """Modulated convolution, without noise, bias and activation."""

    def run(spec: dict[str, Any]) -> dict[str, list[Tensor]]:
        params = file.tensors(f"param/{spec['out']}/")
        x, y = file.inputs["x"], file.inputs["y"]
        w = conv_hwio(params["weight"])
        affine = EqualizedDense(y.shape[1], w.shape[1])
        affine.load_state_dict({"weight": dense_io(params["mod_weight"]), "bias": params["mod_bias"]})
        assert w.shape[0] == spec["fmaps"]
        assert w.shape[2] == spec["kernel"]
        taps = spec["resample_kernel"]
        resample: Resample = "up" if spec["up"] else "down" if spec["down"] else "none"
        settings = ModulatedSettings(
            resample=resample,
            taps=(1, 1) if taps is None else tuple(taps),
            normalization="demodulation" if spec["demodulate"] else "none",
        )
        bias, scale = torch.zeros(w.shape[0]), spec["gain"] / w[0].numel() ** 0.5 * spec["lrmul"]
        layers = (modulated_layer, modulated_layer_reference)
        return {spec["out"]: [layer(x, w, affine(y) + 1, bias, scale, settings) for layer in layers]}

    return [Case(spec["out"], (spec["out"],), lambda spec=spec: run(spec)) for spec in file.meta["subcases"]]


def minibatch_std_cases(file: GoldenFile) -> list[Case]:
    """Minibatch standard deviation: the additional channels."""

    def run(spec: dict[str, Any]) -> dict[str, list[Tensor]]:
        options = (spec["group_size"], spec["num_new_features"])
        return {spec["out"]: [minibatch_std(file.inputs[spec["x"]], *options)]}

    return [Case(spec["out"], (spec["out"],), lambda spec=spec: run(spec)) for spec in file.meta["subcases"]]


def _number(remark: str, name: str) -> float:
    found = re.search(rf"\b{name} ([\d.e-]+)", remark)
    return float(found.group(1)) if found else 1.0


def _activation(remark: str) -> Activation:
    for act in get_args(Activation):
        if act in re.findall(r"\w+", remark):
            return act
    return "linear"


def layer_cases(file: GoldenFile) -> list[Case]:
    """Dense, convolution and bias layers, described in words; repeating and averaging pixels."""

    def dense(weight: Tensor, remark: str) -> Tensor:
        gain, multiplier = _number(remark, "gain"), _number(remark, "lrmul")
        if "use_wscale False" in remark:  # the gain then belongs to the initialisation
            gain = weight.shape[0] ** 0.5
        num_in, num_out = weight.shape
        settings = ActivationSettings(_activation(remark))
        layer = EqualizedDense(num_in, num_out, settings, gain, multiplier, bias=False)
        layer.load_state_dict({"weight": dense_io(weight)})
        fits = [x for x in file.inputs.values() if x[0].numel() == weight.shape[0]]
        assert len(fits) == 1, remark
        return layer(fits[0].flatten(1))

    def convolution(weight: Tensor, remark: str) -> list[Tensor]:
        words = re.findall(r"\w+", remark)
        resample: Resample = "up" if "up" in words else "down" if "down" in words else "none"
        taps = re.search(r"kernel (\d+)", remark)
        kernel, _, num_in, num_out = weight.shape
        settings = ConvSettings(
            _activation(remark),
            resample=resample,
            taps=tuple(map(float, taps.group(1))) if taps else (1, 1),
        )
        gain = _number(remark, "gain") * _number(remark, "lrmul")
        layer = EqualizedConv(num_in, num_out, kernel, settings, gain, bias=False)
        layer.load_state_dict({"weight": conv_hwio(weight)})
        with mock.patch.object(conv_layer_module, "convolve", conv_layer_module.convolve_reference):
            slow = layer(file.inputs["x"])
        return [layer(file.inputs["x"]), slow]

    def run(name: str, remark: str) -> dict[str, list[Tensor]]:
        params = file.tensors(f"param/{name}/")
        if "bias" in params:
            x = next(x for key, x in file.inputs.items() if key in re.findall(r"\w+", remark))
            return {name: [bias_act(x, params["bias"] * _number(remark, "lrmul"), _activation(remark))]}
        if params["weight"].ndim == 2:
            return {name: [dense(params["weight"], remark)]}
        return {name: convolution(params["weight"], remark)}

    def naive(name: str) -> dict[str, list[Tensor]]:
        """Repeating pixels is upsampling with a box; averaging them is downsampling with one."""
        factor, x = int(name.partition("sample")[2]), file.inputs["x"]
        box = (1,) * factor
        if "upsample" in name:
            repeated = F.interpolate(x, scale_factor=factor, mode="nearest")
            return {name: [*both_filters(lambda: upsample2d(x, box, factor)), repeated]}
        averaged = F.avg_pool2d(x, factor)
        return {name: [*both_filters(lambda: downsample2d(x, box, factor)), averaged]}

    described = [
        Case(name, (name,), lambda name=name, remark=remark: run(name, remark))
        for name, remark in file.meta["subcases"].items()
    ]
    naives = [name for name in file.outputs if re.fullmatch(r"naive_(up|down)sample\d+", name)]
    return [*described, *(Case(name, (name,), lambda name=name: naive(name)) for name in naives)]
