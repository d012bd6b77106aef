"""Inception-v3 as in the TensorFlow graph of 2015-12-05, the network of FID and of the inception score.

Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (CVPR 2016). The graph behind
published FIDs differs from later copies of Inception-v3: average pools leave padding out of the count, the
pool branch of the very last block takes the maximum, there are 1008 classes, and images enter by TensorFlow
1's bilinear resize. Parameters have torchvision's names. Batch normalisation is folded into the convolutions
when loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleloom.features.resize import TF1_BILINEAR, as_rgb, check_layers, tf1_bilinear
from styleloom.features.weights import folded_batch_norm, load_frozen

SIDE = 299
"""Side of the images that the network reads, px."""

NORM_EPS = 1e-3
"""Added to variances by batch normalisation."""

NUM_FEATURES = 2048
NUM_CLASSES = 1008


class ConvUnit(nn.Conv2d):
    """Convolution with batch normalisation folded in, then ReLU."""

    def forward(self, input: Tensor) -> Tensor:
        """[N, C_in, H, W] to [N, C_out, H', W']."""
        return F.relu_(super().forward(input))


def _average(x: Tensor) -> Tensor:
    """3x3 mean of stride 1; at the border over the pixels that exist."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class Block35(nn.Module):
    """35x35 px: branches of 1x1, 5x5, twice 3x3, and a pool (paper, Figure 5)."""

    def __init__(self, channels: int, pool_channels: int) -> None:
        super().__init__()
        self.branch1x1 = ConvUnit(channels, 64, 1)
        self.branch5x5_1 = ConvUnit(channels, 48, 1)
        self.branch5x5_2 = ConvUnit(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = ConvUnit(channels, 64, 1)
        self.branch3x3dbl_2 = ConvUnit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvUnit(96, 96, 3, padding=1)
        self.branch_pool = ConvUnit(channels, pool_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, 35, 35] to [N, 224 + pool_channels, 35, 35]."""
        branch5x5 = self.branch5x5_2(self.branch5x5_1(x))
        branch3x3 = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), branch5x5, branch3x3, self.branch_pool(_average(x))], 1)


class Reduction35(nn.Module):
    """35x35 to 17x17 px (paper, Figure 10)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3 = ConvUnit(channels, 384, 3, stride=2)
        self.branch3x3dbl_1 = ConvUnit(channels, 64, 1)
        self.branch3x3dbl_2 = ConvUnit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvUnit(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, 35, 35] to [N, 480 + C, 17, 17]."""
        branch3x3dbl = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), branch3x3dbl, F.max_pool2d(x, 3, stride=2)], 1)


class Block17(nn.Module):
    """17x17 px: 7x7 convolutions as 1x7 and 7x1 (paper, Figure 6), `width` channels inside the branches."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch1x1 = ConvUnit(768, 192, 1)
        self.branch7x7_1 = ConvUnit(768, width, 1)
        self.branch7x7_2 = ConvUnit(width, width, (1, 7), padding=(0, 3))
        self.branch7x7_3 = ConvUnit(width, 192, (7, 1), padding=(3, 0))
        self.branch7x7dbl_1 = ConvUnit(768, width, 1)
        self.branch7x7dbl_2 = ConvUnit(width, width, (7, 1), padding=(3, 0))
        self.branch7x7dbl_3 = ConvUnit(width, width, (1, 7), padding=(0, 3))
        self.branch7x7dbl_4 = ConvUnit(width, width, (7, 1), padding=(3, 0))
        self.branch7x7dbl_5 = ConvUnit(width, 192, (1, 7), padding=(0, 3))
        self.branch_pool = ConvUnit(768, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 768, 17, 17] to the same shape."""
        branch7x7 = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        branch7x7dbl = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        branch7x7dbl = self.branch7x7dbl_5(self.branch7x7dbl_4(branch7x7dbl))
        return torch.cat([self.branch1x1(x), branch7x7, branch7x7dbl, self.branch_pool(_average(x))], 1)


class Reduction17(nn.Module):
    """17x17 to 8x8 px."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1 = ConvUnit(768, 192, 1)
        self.branch3x3_2 = ConvUnit(192, 320, 3, stride=2)
        self.branch7x7x3_1 = ConvUnit(768, 192, 1)
        self.branch7x7x3_2 = ConvUnit(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = ConvUnit(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = ConvUnit(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 768, 17, 17] to [N, 1280, 8, 8]."""
        branch3x3 = self.branch3x3_2(self.branch3x3_1(x))
        branch7x7x3 = self.branch7x7x3_2(self.branch7x7x3_1(x))
        branch7x7x3 = self.branch7x7x3_4(self.branch7x7x3_3(branch7x7x3))
        return torch.cat([branch3x3, branch7x7x3, F.max_pool2d(x, 3, stride=2)], 1)


class Block8(nn.Module):
    """8x8 px: branches that end in 1x3 and 3x1 side by side (paper, Figure 7).

    Args:
        channels: of the input.
        max_pool: the pool branch takes the maximum instead of the mean.
    """

    def __init__(self, channels: int, max_pool: bool) -> None:
        super().__init__()
        self.max_pool = max_pool
        self.branch1x1 = ConvUnit(channels, 320, 1)
        self.branch3x3_1 = ConvUnit(channels, 384, 1)
        self.branch3x3_2a = ConvUnit(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = ConvUnit(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = ConvUnit(channels, 448, 1)
        self.branch3x3dbl_2 = ConvUnit(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = ConvUnit(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = ConvUnit(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = ConvUnit(channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, 8, 8] to [N, 2048, 8, 8]."""
        branch3x3 = self.branch3x3_1(x)
        branch3x3dbl = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, stride=1, padding=1) if self.max_pool else _average(x)
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch3x3_2a(branch3x3),
                self.branch3x3_2b(branch3x3),
                self.branch3x3dbl_3a(branch3x3dbl),
                self.branch3x3dbl_3b(branch3x3dbl),
                self.branch_pool(pooled),
            ],
            1,
        )


class InceptionV3(nn.Module):
    """The network, with random weights; parameters have torchvision's names."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvUnit(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = ConvUnit(32, 32, 3)
        self.Conv2d_2b_3x3 = ConvUnit(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = ConvUnit(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvUnit(80, 192, 3)
        self.Mixed_5b = Block35(192, pool_channels=32)
        self.Mixed_5c = Block35(256, pool_channels=64)
        self.Mixed_5d = Block35(288, pool_channels=64)
        self.Mixed_6a = Reduction35(288)
        self.Mixed_6b = Block17(width=128)
        self.Mixed_6c = Block17(width=160)
        self.Mixed_6d = Block17(width=160)
        self.Mixed_6e = Block17(width=192)
        self.Mixed_7a = Reduction17()
        self.Mixed_7b = Block8(1280, max_pool=False)
        self.Mixed_7c = Block8(2048, max_pool=True)
        self.fc = nn.Linear(NUM_FEATURES, NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised [N, 3, 299, 299] to the last block's output [N, 2048, 8, 8]."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_3b_1x1(F.max_pool2d(x, 3, stride=2))
        x = F.max_pool2d(self.Conv2d_4a_3x3(x), 3, stride=2)
        x = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))


class Inception2015(nn.Module):
    """A `FeatureNetwork`: layers "pool3", "logits" and "logits_unbiased".

    "pool3" is the mean of the last block over its 8x8 px. "logits" has the bias of the last layer and
    "logits_unbiased" has not: the inception score of published tables leaves it out.

    Args:
        state: torchvision's names: `X.conv.weight` and `X.bn.*` for each convolution, `fc.weight`, `fc.bias`.
        sha256: hash of the file of `state`.

    Raises KeyError or RuntimeError when `state` has other names or shapes.
    """

    def __init__(self, state: Mapping[str, Tensor], sha256: str) -> None:
        super().__init__()
        self._sha256 = sha256
        with torch.device("meta"):
            self.network = InceptionV3()
        load_frozen(self.network, self._folded(dict(state)))
        self.eval()

    def _folded(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        for name, module in self.network.named_modules():
            if isinstance(module, ConvUnit):
                weight, bias = folded_batch_norm(state, f"{name}.conv", f"{name}.bn", NORM_EPS)
                state[f"{name}.weight"], state[f"{name}.bias"] = weight, bias
        return state

    @property
    def identity(self) -> dict[str, Any]:
        """What its numbers depend on."""
        return {
            "name": "inception-2015",
            "weights": self._sha256,
            "resize": f"{TF1_BILINEAR} {SIDE}",
            "input": "(x - 128) / 128",
        }

    @property
    def layers(self) -> Mapping[str, int]:
        """Layers and their number of features."""
        return {"pool3": NUM_FEATURES, "logits": NUM_CLASSES, "logits_unbiased": NUM_CLASSES}

    @torch.inference_mode()
    def features(self, images_u8: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """uint8 [N, 1 or 3, H, W] of any size to float32 [N, D] for each of `layers`.

        Raises UserError for a layer that does not exist, and for other channels.
        """
        check_layers("inception-2015", layers, self.layers)
        fc = self.network.fc
        x = tf1_bilinear(as_rgb(images_u8).to(fc.weight.device), SIDE)
        found = {"pool3": self.network((x - 128) / 128).mean((2, 3))}
        if "logits" in layers or "logits_unbiased" in layers:
            found["logits_unbiased"] = F.linear(found["pool3"], fc.weight)
            found["logits"] = found["logits_unbiased"] + fc.bias
        return {layer: found[layer] for layer in layers}
