"""EfficientNet-Lite0 as a feature network and as a perceptual distance: small enough for the CPU.

Tan & Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (ICML 2019), Table 1, in
the variant Lite: no squeeze-and-excitation, ReLU6 for swish. Its numbers can be compared with each other,
never with published FIDs. Batch normalisation is folded into the convolutions when loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleloom.features.resize import ANTIALIASED_BILINEAR, antialiased_bilinear, as_rgb, check_layers
from styleloom.features.vgg import unit_length
from styleloom.features.weights import folded_batch_norm, load_frozen

SIDE = 224
"""Side of the images that features are taken of, px."""

NORM_EPS = 1e-3
"""Added to variances by batch normalisation."""

STEM, HEAD, NUM_CLASSES = 32, 1280, 1000


class Stage(NamedTuple):
    """A row of the paper's Table 1: blocks of one width; the first has the stride."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    width: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)

DISTANCE_STAGES = (1, 2, 3, 5, 7)
"""The last stage of each resolution, from 1/2 to 1/32 of the image; counted from 1."""

NORMS = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}
"""Batch normalisation that follows each convolution of a block, in the weights' names."""


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's padding "same": output ceil(size / stride).

    Where the padding is odd, the larger half goes below and to the right.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[N, C_in, H, W] to [N, C_out, ceil(H / stride), ceil(W / stride)]."""
        x = input
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return F.conv2d(x, self.weight, self.bias, padding=kernel // 2, groups=self.groups)
        down, right = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[2:])
        x = F.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))
        return F.conv2d(x, self.weight, self.bias, stride, groups=self.groups)


class InvertedBottleneck(nn.Module):
    """1x1 convolution to `expansion` times the channels, depthwise convolution, 1x1 to `width`. The input is
    added where it has the output's shape."""

    def __init__(self, channels: int, stage: Stage, stride: int) -> None:
        super().__init__()
        inner = channels * stage.expansion
        self.adds = stride == 1 and channels == stage.width
        self.expand = SameConv(channels, inner, 1) if stage.expansion > 1 else None
        self.depthwise = SameConv(inner, inner, stage.kernel, stride, groups=inner)
        self.project = SameConv(inner, stage.width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W] to [N, width, H / stride, W / stride]."""
        y = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        y = self.project(F.relu6(self.depthwise(y), inplace=True))
        return y + x if self.adds else y


class Lite0(nn.Module):
    """The network, for images of any size.

    Args:
        state: tensors as `_conv_stem.weight`, `_bn0.*`, `_blocks.N._expand_conv.weight`, `_blocks.N._bn0.*`;
            see `NORMS`.

    Raises KeyError or RuntimeError when `state` has other names or shapes.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        with torch.device("meta"):
            self.stem = SameConv(3, STEM, 3, stride=2)
            self.stages = nn.ModuleList()
            channels = STEM
            for stage in STAGES:
                blocks = nn.Sequential()
                for i in range(stage.blocks):
                    blocks.append(InvertedBottleneck(channels, stage, stage.stride if i == 0 else 1))
                    channels = stage.width
                self.stages.append(blocks)
            self.head = SameConv(channels, HEAD, 1)
            self.fc = nn.Linear(HEAD, NUM_CLASSES)
        load_frozen(self, self._folded(dict(state)))

    def _folded(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """`state` in our names, without batch normalisation."""
        sources = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
        blocks = [(name, m) for name, m in self.named_modules() if isinstance(m, InvertedBottleneck)]
        for number, (block_name, block) in enumerate(blocks):
            for name, _ in block.named_children():
                prefix = f"_blocks.{number}."
                sources[f"{block_name}.{name}"] = (f"{prefix}_{name}_conv", prefix + NORMS[name])
        for name, (conv, norm) in sources.items():
            state[f"{name}.weight"], state[f"{name}.bias"] = folded_batch_norm(state, conv, norm, NORM_EPS)
        state["fc.weight"], state["fc.bias"] = state.pop("_fc.weight"), state.pop("_fc.bias")
        return state

    def taps(self, image_255: Tensor) -> list[Tensor]:
        """Floating [N, 3, H, W] in 0..255 to the outputs of the seven stages, 1/2 to 1/32 of the size."""
        x = F.relu6(self.stem((image_255 - 127) / 128), inplace=True)
        taps: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            taps.append(x)
        return taps

    def pool(self, last_tap: Tensor) -> Tensor:
        """Output of the last stage [N, 320, H, W] to the mean of the head over pixels [N, 1280]."""
        return F.relu6(self.head(last_tap), inplace=True).mean((2, 3))


class _OnLite0(nn.Module):
    """What features and distance share: the network, and its identity.

    Args:
        state: see `Lite0`.
        sha256: hash of the file of `state`.
    """

    def __init__(self, state: Mapping[str, Tensor], sha256: str) -> None:
        super().__init__()
        self._sha256 = sha256
        self.network = Lite0(state)
        self.eval()

    def _identity(self, **others: Any) -> dict[str, Any]:
        return {
            "name": "efficientnet-lite0",
            "weights": self._sha256,
            "input": "(x - 127) / 128",
        } | others


class Lite0Features(_OnLite0):
    """A `FeatureNetwork`: layers "stage1" to "stage7", "pool" and "logits".

    A stage's features are the means of its output over pixels; "pool" that of the head, 1280; "logits" the
    1000 classes of ImageNet.

    Args:
        state: see `Lite0`.
        sha256: hash of the file of `state`.
    """

    @property
    def identity(self) -> dict[str, Any]:
        """What its numbers depend on."""
        return self._identity(resize=f"{ANTIALIASED_BILINEAR} {SIDE}")

    @property
    def layers(self) -> Mapping[str, int]:
        """Layers and their number of features."""
        stages = {f"stage{i}": stage.width for i, stage in enumerate(STAGES, 1)}
        return {**stages, "pool": HEAD, "logits": NUM_CLASSES}

    @torch.inference_mode()
    def features(self, images_u8: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """uint8 [N, 1 or 3, H, W] of any size to float32 [N, D] for each of `layers`.

        Raises UserError for a layer that does not exist, and for other channels.
        """
        check_layers("efficientnet-lite0", layers, self.layers)
        x = as_rgb(images_u8).to(self.network.fc.weight.device)
        taps = self.network.taps(antialiased_bilinear(x, SIDE))
        found = {f"stage{i}": tap.mean((2, 3)) for i, tap in enumerate(taps, 1) if f"stage{i}" in layers}
        if "pool" in layers or "logits" in layers:
            found["pool"] = self.network.pool(taps[-1])
            found["logits"] = self.network.fc(found["pool"])
        return {layer: found[layer] for layer in layers}


class Lite0Distance(_OnLite0):
    """A `PerceptualDistance`: LPIPS's formula on EfficientNet-Lite0, without learned heads.

    For each stage of `DISTANCE_STAGES` the features of every pixel are scaled to unit length,
    x / (|x| + 1e-10); the squared difference is summed over channels and averaged over pixels; stages add up
    with weight 1, so that the distance is at most 4 times their number. Images are not resized. The formula
    is that of Zhang et al. 2018, equation 1, but the scale is another: numbers can be compared with each
    other, not with LPIPS.

    Args:
        state: see `Lite0`.
        sha256: hash of the file of `state`.
    """

    @property
    def identity(self) -> dict[str, Any]:
        """What its numbers depend on."""
        return self._identity(resize="none", stages=list(DISTANCE_STAGES))

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Two batches, floating [N, 1 or 3, H, W] in [-1, 1], of any size, to [N] >= 0.

        Differentiable in both. Raises UserError for other channels.
        """
        return self.between(self.embed(a), self.embed(b))

    def embed(self, images: Tensor) -> list[Tensor]:
        """What `between` compares of images: the taps of `DISTANCE_STAGES`, every pixel of unit length."""
        x = as_rgb(images).to(self.network.fc.weight.dtype)
        taps = self.network.taps((x + 1) * 127.5)
        return [unit_length(taps[stage - 1]) for stage in DISTANCE_STAGES]

    def between(self, a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
        """The distance [N] of images whose `embed` are given."""
        total = torch.zeros((), device=a[0].device)
        for tap_a, tap_b in zip(a, b, strict=True):
            total = total + (tap_a - tap_b).square().sum(1).mean((1, 2))
        return total
