"""StyleGAN's files of layers, reals and the schedule."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import torch
from torch import Tensor

from styleloom.data.reals import fade, mirror, to_signed
from styleloom.layers.equalized import EqualizedConv, EqualizedDense
from styleloom.layers.growing import down2, up2
from styleloom.layers.noise import NoiseInput
from styleloom.layers.pixel_norm import pixel_norm
from styleloom.networks.stylegan import adaptive_instance_norm, blur, modulate
from styleloom.ops.bias_act import bias_act
from styleloom.ops.conv_layer import ConvSettings, Resample
from styleloom.ops.instance_norm import instance_norm, instance_norm_reference
from styleloom.weights import stylegan_tf
from styleloom.weights.tables import Layout, conv_hwio, dense_io

from . import progan_cases
from .golden_file import Case, GoldenFile
from .network_cases import slow_references

# ---- layers


class Layers:
    """One file of elementary operations: each method computes outputs whose names begin like it."""

    def __init__(self, file: GoldenFile) -> None:
        self.file, self.x = file, file.inputs["x"]

    def params(self, name: str) -> dict[str, Tensor]:
        return self.file.tensors(f"param/{name}/")

    def number(self, name: str, word: str, default: float) -> float:
        """The number that follows `word` in the file's remark on an output."""
        remark = self.file.meta["outputs"].get(name, "")
        found = re.search(rf"\b{word} (sqrt\()?([\d.e-]+)", remark)
        return default if not found else float(found[2]) ** (0.5 if found[1] else 1)

    def blur(self, name: str) -> list[Tensor]:
        digits = re.findall(r"\d+", name)[0]
        taps = tuple(float(digit) for digit in digits)
        x = self.file.inputs["x_odd" if "odd" in name else "x"]
        if "dx" in name:
            return self.gradients(lambda x: blur(x, taps))
        gain = sum(taps) ** 2 if "unnormalised" in name else 1.0
        results = [blur(x, taps) * gain]
        with slow_references():
            return [*results, blur(x, taps) * gain]

    def gradients(self, function: Callable[[Tensor], Tensor]) -> list[Tensor]:
        x = self.x.clone().requires_grad_()
        return list(torch.autograd.grad((function(x) * self.file.inputs["dy"]).sum(), [x]))

    def scale(self, name: str) -> list[Tensor]:
        factor = int(re.findall(r"\d+", name)[0])
        remark = self.file.meta["outputs"].get(name, "")
        x = next((v for key, v in self.file.inputs.items() if key in re.findall(r"x_\w+", remark)), self.x)
        for _ in range(factor.bit_length() - 1):
            x = up2(x) if name.startswith("up") else down2(x)
        return [x]

    def norm(self, name: str) -> list[Tensor]:
        if name.startswith("pixel"):
            return [pixel_norm(self.file.inputs["x2" if "2d" in name else "x"])]
        return [instance_norm(self.x), instance_norm_reference(self.x)]

    def style(self, name: str) -> list[Tensor]:
        params, w = self.params(name), self.file.inputs["w"]
        affine = EqualizedDense(w.shape[1], 2 * self.x.shape[1])
        affine.load_state_dict(
            {"weight": dense_io(params["StyleMod/weight"]), "bias": params["StyleMod/bias"]}
        )
        return [(adaptive_instance_norm if "instance" in name else modulate)(self.x, affine(w))]

    def noise(self, name: str) -> list[Tensor]:
        noise, strength = self.file.inputs["noise"], self.params(name)["Noise/weight"]
        layer = NoiseInput((noise.shape[2], noise.shape[3]), len(strength))
        layer.load_state_dict({"strength": strength, "fixed": noise})
        scaled = layer(len(self.x), "fixed")
        assert scaled is not None
        return [self.x + scaled]

    def dense(self, name: str) -> list[Tensor]:
        params, x = self.params(name), self.file.inputs["x2"]
        gain, multiplier = self.number(name, "gain", 1.0), self.number(name, "lrmul", 1.0)
        num_in, num_out = params["weight"].shape
        layer = EqualizedDense(num_in, num_out, weight_gain=gain, lr_multiplier=multiplier)
        layer.load_state_dict({"weight": dense_io(params["weight"]), "bias": params["bias"]})
        return [layer(x)]

    def conv(self, name: str) -> list[Tensor]:
        params = self.params(name)
        kernel, _, num_in, num_out = params["weight"].shape
        resample: Resample = "up" if "up" in name else "down" if "down" in name else "none"
        layout: Layout = conv_hwio
        if name == "conv_up_fused":
            layout = stylegan_tf.turned_conv_hwio
        # without equalization the gain belongs to the initialisation
        gain = math.sqrt(num_in * kernel**2) if "nowscale" in name else self.number(name, "gain", 2**0.5)
        bias = "bias" in params
        settings = ConvSettings(resample=resample, taps=(1, 1))
        layer = EqualizedConv(num_in, num_out, kernel, settings, weight_gain=gain, bias=bias)
        layer.load_state_dict(
            {"weight": layout(params["weight"]), **({"bias": params["bias"]} if bias else {})}
        )
        with slow_references():
            slow = layer(self.x)
        return [layer(self.x), slow]

    def leaky_relu(self, name: str) -> list[Tensor]:
        def function(x: Tensor) -> Tensor:
            return bias_act(x, None, "lrelu", gain=1.0)

        return self.gradients(function) if name.endswith("dx") else [function(self.x)]


LAYERS: dict[str, Callable[[Layers, str], list[Tensor]]] = {
    r"blur_\d+(_odd|_unnormalised|_dx)?": Layers.blur,
    r"(up|down)scale\d+": Layers.scale,
    r"pixel_norm(_2d)?|instance_norm": Layers.norm,
    r"(instance_norm_)?style_mod": Layers.style,
    "apply_noise": Layers.noise,
    r"dense\w*": Layers.dense,
    r"conv\w*": Layers.conv,
    r"leaky_relu(_dx)?": Layers.leaky_relu,
}
"""Which method computes an output, by its name."""


def layer_cases(file: GoldenFile) -> list[Case]:
    """Every recorded operation."""

    def run(name: str) -> dict[str, list[Tensor]]:
        (method,) = (method for pattern, method in LAYERS.items() if re.fullmatch(pattern, name))
        return {name: method(Layers(file), name)}

    return [Case(name, (name,), lambda name=name: run(name)) for name in file.outputs]


# ---- reals


def process_reals_cases(file: GoldenFile) -> list[Case]:
    """Range, mirror and fade, in this order."""

    def run(name: str, lod: str, mirrored: bool) -> dict[str, list[Tensor]]:
        stored = file.inputs[f"images_lod{lod}"]
        assert torch.equal(stored, stored.round()), "images are 8-bit values"
        images = to_signed(stored.to(torch.uint8))
        if mirrored:
            images = mirror(images, file.inputs["mirror_draws"] >= 0.5)
        return {name: [fade(images, 1 - float(lod) % 1)]}

    cases = []
    for name in file.outputs:
        match = re.fullmatch(r"lod(\d+(?:\.\d+)?)(_mirror)?", name)
        assert match, f"output not understood: {name}"
        cases.append(Case(name, (name,), lambda n=name, lod=match[1], m=bool(match[2]): run(n, lod, m)))
    return cases


# ---- schedule

TICK_KIMG = {4: 160, 8: 140, 16: 120, 32: 100, 64: 80, 128: 60, 256: 40, 512: 30, 1024: 20}
"""The official default: longer ticks than ProGAN's from 512 px on; the rest of the function is the same."""


def schedule_cases(file: GoldenFile) -> list[Case]:
    """Level of detail, learning rates, batches and ticks by images seen."""
    for spec in file.meta["cases"].values():
        spec["kwargs"].setdefault("tick_kimg_dict", TICK_KIMG)
    return progan_cases.schedule_cases(file)
