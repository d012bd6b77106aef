"""What follows from weights alone, kept while they stay: casts, turned kernels, sums of squares.

A generator that makes image after image would form them anew for each, which takes as long as all its small
layers. They are kept where no derivative is asked for of the weights, until these are changed in place or go;
what is changed through `.data`, which PyTorch does not record, is not seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from styleloom.ops.tracing import traced

_KEPT: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def derived(w: Tensor, what: Any, make: Callable[[Tensor], Tensor]) -> Tensor:
    """`make(w)`, or what it gave before.

    Args:
        w: weights.
        what: stands for `make` among all that is derived of `w`.
        make: pure; its result is not to be overwritten.
    """
    if torch.is_grad_enabled() or w.requires_grad or traced() or w.is_inference():
        return make(w)
    stamp = (w._version, w.data_ptr())
    kept = _KEPT.get(w)
    if kept is None or kept[0] != stamp:
        kept = (stamp, {})
        _KEPT[w] = kept
    if what not in kept[1]:
        with torch.inference_mode(False), torch.no_grad():
            kept[1][what] = make(w)
    return kept[1][what]
