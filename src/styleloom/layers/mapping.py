"""The mapping network f: Z -> W (StyleGAN section 2), and how the authors' codes feed labels to it."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from styleloom.config.networks import Mapping
from styleloom.layers.equalized import EqualizedDense
from styleloom.layers.pixel_norm import pixel_norm
from styleloom.ops.bias_act import ActivationSettings


class MappingNetwork(nn.Module):
    """z [N, Z] and label [N, K] to w [N, W].

    Args:
        config: depth, width, learning-rate multiplier, label input.
        z_dim, w_dim, label_dim: sizes; z_dim 0 maps the label alone.
        weight_gain, act_gain: of the dense layers, as in `EqualizedDense`; None for the activation's own.
    """

    def __init__(
        self,
        config: Mapping,
        z_dim: int,
        w_dim: int,
        label_dim: int,
        weight_gain: float = 1.0,
        act_gain: float | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.z_dim, self.label_dim = z_dim, label_dim
        self.label_weight: nn.Parameter | None = None
        self.label_embedding: EqualizedDense | None = None
        num_in = z_dim
        if label_dim and config.labels == "concat":
            self.label_weight = nn.Parameter(torch.randn(label_dim, z_dim))
            num_in += z_dim
        elif label_dim and config.labels == "join":
            num_in += label_dim
        elif label_dim:
            embedded = z_dim if config.labels == "embed-z" else w_dim
            self.label_embedding = EqualizedDense(label_dim, embedded)
            num_in += embedded
        widths = [num_in, *[config.width] * (config.layers - 1), w_dim] if config.layers else [num_in]
        settings = ActivationSettings(config.activation, act_gain)
        self.layers = nn.ModuleList(
            EqualizedDense(a, b, settings, weight_gain, config.lr_multiplier)
            for a, b in itertools.pairwise(widths)
        )

    def forward(self, z: Tensor | None, label: Tensor | None = None) -> Tensor:
        """z [N, Z] ~ N(0, 1), label [N, K] (one-hot or soft) -> w [N, W]."""
        parts = [z] if z is not None and self.z_dim else []
        if self.label_weight is not None and label is not None:
            parts.append(label @ self.label_weight)
        if self.config.labels == "join" and self.label_dim and label is not None:
            parts.append(label.to(z.dtype) if z is not None else label)
        if self.label_embedding is not None and label is not None:
            # z and the embedding are normalised separately, as in the authors' PyTorch code.
            parts = [pixel_norm(p) for p in parts] if self.config.normalize_z else parts
            parts.append(pixel_norm(self.label_embedding(label)))
            x = torch.cat(parts, 1)
        else:
            x = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
            x = pixel_norm(x) if self.config.normalize_z else x
        for layer in self.layers:
            x = layer(x)
        return x
