"""VGG-16 as a feature network, and LPIPS, the perceptual distance on it.

Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (ICLR 2015),
configuration D. Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (CVPR
2018), section 3.1.
The weights are torchvision's, under its names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleloom.features.resize import TF1_BILINEAR, as_rgb, check_layers, tf1_bilinear
from styleloom.features.weights import load_frozen

SIDE = 224
"""Side of the images that the dense layers need, px."""

WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Output channels of the 3x3 convolutions of each stage; a 2x2 maximum pool follows each stage."""

TAPS = (3, 8, 15, 22, 29)
"""Positions of relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3 among the layers."""

NUM_FEATURES = 4096
UNIT_EPS = 1e-10
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of RGB in [0, 1], under which torchvision's weights were trained."""

LPIPS_SHIFT, LPIPS_SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""The same for RGB in [-1, 1], as rounded by the authors of LPIPS."""


def _convolutions() -> list[nn.Module]:
    """Convolution, ReLU, ..., pool, in torchvision's numbering."""
    layers: list[nn.Module] = []
    channels = 3
    for stage in WIDTHS:
        for width in stage:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return layers


def _standardised(x: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(x - mean) / std for each channel of [N, 3, H, W]."""
    return (x - x.new_tensor(mean)[:, None, None]) / x.new_tensor(std)[:, None, None]


class VGG16Features(nn.Module):
    """A `FeatureNetwork`: layer "fc2", the second dense layer after its ReLU. Dropout is off.

    Args:
        state: `features.N.*` and `classifier.{0,3,6}.*`, of which the last, to classes, is not used.
        sha256: hash of the file of `state`.

    Raises RuntimeError when `state` has other names or shapes.
    """

    def __init__(self, state: Mapping[str, Tensor], sha256: str) -> None:
        super().__init__()
        self._sha256 = sha256
        with torch.device("meta"):
            self.convolutions = nn.Sequential(*_convolutions())
            self.fc1 = nn.Linear(512 * (SIDE // 32) ** 2, NUM_FEATURES)
            self.fc2 = nn.Linear(NUM_FEATURES, NUM_FEATURES)
        names = {"features": "convolutions", "classifier.0": "fc1", "classifier.3": "fc2"}
        load_frozen(self, _renamed(state, names, unused="classifier.6"))

    @property
    def identity(self) -> dict[str, Any]:
        """What its numbers depend on."""
        return {
            "name": "vgg16",
            "weights": self._sha256,
            "resize": f"{TF1_BILINEAR} {SIDE}",
            "input": "(x / 255 - ImageNet mean) / ImageNet std",
        }

    @property
    def layers(self) -> Mapping[str, int]:
        """Layers and their number of features."""
        return {"fc2": NUM_FEATURES}

    @torch.inference_mode()
    def features(self, images_u8: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """uint8 [N, 1 or 3, H, W] of any size to float32 [N, D] for each of `layers`.

        Raises UserError for a layer that does not exist, and for other channels.
        """
        check_layers("vgg16", layers, self.layers)
        x = tf1_bilinear(as_rgb(images_u8).to(self.fc1.weight.device), SIDE) / 255
        x = self.convolutions(_standardised(x, IMAGENET_MEAN, IMAGENET_STD))
        fc2 = F.relu(self.fc2(F.relu(self.fc1(x.flatten(1)))))
        return dict.fromkeys(layers, fc2)


class LPIPSVGG(nn.Module):
    """A `PerceptualDistance`: LPIPS version 0.1 with VGG-16 and its learned heads.

    For each of five layers the features of every pixel are scaled to unit length, x / (|x| + 1e-10); the
    squared difference is weighted over channels by the layer's head, w >= 0, and averaged over pixels; layers
    add up (paper, equation 1). Images are not resized.

    Args:
        vgg: state of VGG-16 in torchvision's names; only the convolutions are used.
        heads: `lin{0..4}.model.1.weight`, each [1, C, 1, 1].
        vgg_sha256: hash of the file of `vgg`.
        heads_sha256: hash of the file of `heads`.

    Raises RuntimeError when a state has other names or shapes.
    """

    def __init__(
        self, vgg: Mapping[str, Tensor], heads: Mapping[str, Tensor], vgg_sha256: str, heads_sha256: str
    ) -> None:
        super().__init__()
        self._hashes = (vgg_sha256, heads_sha256)
        with torch.device("meta"):
            self.features = nn.ModuleList(_convolutions()[: TAPS[-1] + 1])
            self.heads = nn.ModuleList(nn.Conv2d(stage[-1], 1, 1, bias=False) for stage in WIDTHS)
        names = {f"lin{i}.model.1": f"heads.{i}" for i in range(len(WIDTHS))}
        trunk = _renamed(vgg, {"features": "features"}, unused="classifier")
        load_frozen(self, {**trunk, **_renamed(heads, names)})

    @property
    def identity(self) -> dict[str, Any]:
        """What its numbers depend on."""
        return {
            "name": "lpips-vgg",
            "weights": self._hashes[0],
            "heads": self._hashes[1],
            "resize": "none",
            "input": "(x - shift) / scale, x in [-1, 1], LPIPS v0.1",
        }

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Two batches, floating [N, 1 or 3, H, W] in [-1, 1], H and W >= 16, to [N] >= 0.

        Differentiable in both. Raises UserError for other channels.
        """
        return self.between(self.embed(a), self.embed(b))

    def embed(self, images: Tensor) -> list[Tensor]:
        """What `between` compares of images: the five taps, every pixel of unit length."""
        return [unit_length(tap) for tap in self.taps(images)]

    def between(self, a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
        """The distance [N] of images whose `embed` are given."""
        total = torch.zeros((), device=a[0].device)
        for head, tap_a, tap_b in zip(self.heads, a, b, strict=True):
            total = total + head((tap_a - tap_b).square()).mean((1, 2, 3))
        return total

    def taps(self, images: Tensor) -> list[Tensor]:
        """Floating [N, 1 or 3, H, W] in [-1, 1] to relu1_2, relu2_2, relu3_3, relu4_3, relu5_3."""
        dtype = next(self.parameters()).dtype
        x = _standardised(as_rgb(images).to(dtype), LPIPS_SHIFT, LPIPS_SCALE)
        taps: list[Tensor] = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in TAPS:
                taps.append(x)
        return taps


def unit_length(x: Tensor) -> Tensor:
    """x / (|x| + 1e-10) over the channels of [N, C, H, W]; its derivative is finite where all are zero."""
    # vector_norm has the derivative 0 at 0, where that of sqrt(sum of squares) is NaN.
    return x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + UNIT_EPS)


def _renamed(
    state: Mapping[str, Tensor], names: Mapping[str, str], unused: str | None = None
) -> dict[str, Tensor]:
    """`state` with the prefixes `names` of its names replaced, without the tensors whose prefix is
    `unused`."""
    result = {}
    for name, tensor in state.items():
        if unused is not None and name.startswith(f"{unused}."):
            continue
        old = next((old for old in names if name.startswith(f"{old}.")), None)
        result[name if old is None else names[old] + name.removeprefix(old)] = tensor
    return result
