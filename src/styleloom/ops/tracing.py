"""Whether a graph is being recorded or a function transformed."""

from __future__ import annotations

import torch


def traced() -> bool:
    """Whether torch.compile, torch.export or a transform of torch.func (vmap, jvp, grad) sees this call.

    They know the library's own operations, but not our autograd functions, nor caches and choices by the size
    of a batch. Operations then take a plain path with the same values but for rounding.
    """
    return torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack() is not None  # pyright: ignore[reportAttributeAccessIssue]
