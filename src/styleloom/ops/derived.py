"""What follows from weights alone, kept while they stay: casts, turned kernels, sums of squares.

A generator that makes image after image would form them anew for each, which takes as long as all its small
layers. They are kept for weights that somebody called `constant`, and where no derivative is asked for.
Nothing is kept in training: optimizers change weights in ways that PyTorch does not record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from styleloom.ops.tracing import traced

_KEPT: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
"""Of each constant tensor: its version and place in memory, and what was made of it."""


def constant(network: nn.Module) -> None:
    """Say that the parameters of `network` stay as they are. One that is changed in place all the same, but
    for changes through `.data`, is noticed."""
    for parameter in network.parameters():
        _KEPT[parameter] = (_stamp(parameter), {})


def _stamp(w: Tensor) -> tuple[int, int]:
    return 0 if w.is_inference() else w._version, w.data_ptr()


def derived(w: Tensor, what: Any, make: Callable[[Tensor], Tensor]) -> Tensor:
    """`make(w)`, or what it gave before.

    Args:
        w: weights, or what was derived of them.
        what: stands for `make` among all that is derived of `w`.
        make: pure; its result is not to be overwritten.
    """
    if torch.is_grad_enabled() or w.requires_grad or w not in _KEPT or traced():
        return make(w)
    stamp, made = _KEPT[w]
    if stamp != _stamp(w):
        made = {}
        _KEPT[w] = (_stamp(w), made)
    if what not in made:
        with torch.inference_mode(False), torch.no_grad():
            made[what] = make(w)
        if made[what] is not w:
            _KEPT[made[what]] = (_stamp(made[what]), {})
    return made[what]
