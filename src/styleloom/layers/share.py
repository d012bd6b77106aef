"""What one of several processes has of a batch, and random numbers that their number does not change."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Share:
    """Every `count`-th sample of a batch, from `index` on.

    Slices of this kind keep the groups of minibatch standard deviation and the units of style mixing whole.
    Random numbers are drawn for the whole batch and the other shares' are dropped. So all processes draw the
    same from torch's generators, which stay in step, and a sample gets the numbers that it would get if one
    process had the whole batch.

    Args:
        index: which share, from 0.
        count: how many shares there are.
    """

    index: int = 0
    count: int = 1

    def of(self, whole: Tensor) -> Tensor:
        """This share of a tensor whose first dimension is the whole batch."""
        return whole if self.count == 1 else whole[self.index :: self.count]

    def randn(self, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """Normal numbers of `shape`, whose first dimension is this share's samples."""
        return self.of(torch.randn((shape[0] * self.count, *shape[1:]), device=device))

    def rand(self, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """Numbers uniform in [0, 1), as `randn`."""
        return self.of(torch.rand((shape[0] * self.count, *shape[1:]), device=device))

    def randn_like(self, x: Tensor) -> Tensor:
        """Normal numbers, laid out as `x` is, for this share's samples in `x`."""
        if self.count == 1:
            return torch.randn_like(x)
        size = (len(x) * self.count, *x.shape[1:])
        return self.of(torch.empty_strided(size, x.stride(), dtype=x.dtype, device=x.device).normal_())


WHOLE = Share()
"""The share of a process alone."""


class Sharing(nn.Module):
    """Base of layers that draw random numbers for each sample: they draw for `share`."""

    share: Share = WHOLE


def set_share(network: nn.Module, share: Share) -> None:
    """Make the layers of `network` draw for `share`."""
    for module in network.modules():
        if isinstance(module, Sharing):
            module.share = share
