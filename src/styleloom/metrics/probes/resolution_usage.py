"""What each resolution adds to the images of a skip generator (StyleGAN2 section 4.2, Fig. 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from styleloom.errors import UserError
from styleloom.sampling import Sampler


@torch.no_grad()
def rgb_moments(sampler: Sampler, seeds: Sequence[int], labels: Tensor | None = None) -> Tensor:
    """Moments of the values of every toRGB layer over a block of seeds.

    Values are those that the layer puts out, in its own resolution, before they are added to the upsampled
    image of the levels below. No truncation.

    Args:
        sampler: a generator of the skip architecture.
        seeds: one w each; the figure has 1024.
        labels: [N, K], for generators that take them.

    Returns:
        float64 [levels, C, 3] on the CPU, levels low to high: number of values, their sum, the sum of their
        squares. Moments of several blocks add up.

    Raises UserError for another architecture.
    """
    layers = rgb_layers(sampler)
    found: dict[nn.Module, Tensor] = {}

    def record(layer: nn.Module, _: Any, rgb: Tensor) -> None:
        values = rgb.detach().cpu().double().transpose(0, 1).flatten(1)  # [C, N H W]
        count = torch.full((len(values),), float(values.shape[1]), dtype=torch.float64)
        found[layer] = torch.stack([count, values.sum(1), values.square().sum(1)], 1)

    hooks = [layer.register_forward_hook(record) for layer in layers]
    try:
        z, maps = sampler.draw(seeds)
        sampler.generator.synthesis(sampler.generator.mapping(z, labels), sampler.growth, maps)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack([found[layer] for layer in layers])


def rgb_layers(sampler: Sampler) -> list[nn.Module]:
    """The toRGB layers whose outputs add up to the image, low to high. Raises UserError where none do."""
    cfg = sampler.experiment.generator
    if not cfg.sums_levels:
        raise UserError(
            f"resolution usage: images of this {cfg.family} generator are no sum over resolutions; valid: "
            "generators of StyleGAN2's skip architecture"
        )
    blocks = sampler.generator.synthesis_network.blocks
    assert isinstance(blocks, nn.ModuleList)
    layers = [block.to_rgb for block in blocks]
    assert all(isinstance(layer, nn.Module) for layer in layers)
    return layers  # type: ignore[return-value]


def resolution_usage(moments: Tensor, sides: Sequence[int]) -> dict[int, float]:
    """Share of each resolution in the sum over resolutions of toRGB's standard deviation.

    The variance is taken about each channel's own mean, so that a constant colour counts for nothing, and
    averaged over channels; the deviation is its root. The paper leaves open how values are pooled, and
    whether they are upsampled first.

    Args:
        moments: of `rgb_moments`, summed over blocks.
        sides: nominal side of each level, px, low to high.

    Returns:
        Side -> percent; they sum to 100.

    Raises UserError where no layer's output varies.
    """
    count, total, squares = moments.unbind(2)
    variances = (squares / count - (total / count).square()).clamp(min=0)
    deviations = variances.mean(1).sqrt()
    if not deviations.sum() > 0:
        raise UserError(
            "toRGB: the outputs of all levels are constant or not finite; there is nothing to share"
        )
    shares = 100 * deviations / deviations.sum()
    return dict(zip(sides, shares.tolist(), strict=True))
