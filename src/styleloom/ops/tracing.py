"""Whether a graph is being recorded or a function transformed."""

from __future__ import annotations

import torch


def traced() -> bool:
    """Whether torch.compile, torch.export or a transform of torch.func (vmap, jvp, grad) sees this call.

    They support PyTorch's own operations, but neither our autograd functions, nor caches, nor code that
    depends on the batch size. Operations then take a plain path, whose values differ by rounding alone.
    """
    return torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack() is not None  # pyright: ignore[reportAttributeAccessIssue]
