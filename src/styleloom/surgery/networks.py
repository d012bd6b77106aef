"""A network before and after a change, and which of its tensors are the same."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from torch import Tensor, nn

from styleloom.networks.assembly import DiscriminatorTrunk


class Networks:
    """A network before a change, and the one after it, whose tensors are being made.

    Args:
        old, new: the networks, of the same role.
        before, after: their configurations.
    """

    def __init__(self, old: nn.Module, new: nn.Module, before: Any, after: Any) -> None:
        self.old, self.new, self.before, self.after = old, new, before, after
        self.given: dict[str, Tensor] = old.state_dict()
        self.fresh: dict[str, Tensor] = {name: t.clone() for name, t in new.state_dict().items()}

    @cached_property
    def names(self) -> dict[str, str]:
        """Tensors that both have: their name in the new network, their name in the old one."""
        found = {name: self._old_name(name) for name in self.fresh}
        return {name: was for name, was in found.items() if was in self.given}

    @cached_property
    def levels(self) -> dict[str, int]:
        """The blocks of a new discriminator, and their levels: 1 at 8 px."""
        return _levels(self.new) if isinstance(self.new, DiscriminatorTrunk) else {}

    def _old_name(self, name: str) -> str | None:
        """What the old network calls a tensor: blocks of one level are the same, whatever their numbers."""
        if not isinstance(self.old, DiscriminatorTrunk):
            return name
        previous = {level: block for block, level in _levels(self.old).items()}
        block = ".".join(name.split(".")[:2])
        if block not in self.levels:
            return name
        level = self.levels[block]
        return previous[level] + name[len(block) :] if level in previous else None

    def was(self, name: str) -> Tensor | None:
        """The old tensor of that name, of whatever shape."""
        return self.given.get(self.names.get(name, ""))

    def scale(self, name: str, old: bool = False) -> float:
        """The factor at run time of the weights `name`, the old layer's or the new one's."""
        network, name = (self.old, self.names.get(name, name)) if old else (self.new, name)
        return float(getattr(network.get_submodule(name.rpartition(".")[0]), "scale", 1.0))

    def rescale(self, name: str) -> float:
        """What weights are multiplied by so that the new layer's factor does what the old one's did."""
        return self.scale(name, old=True) / self.scale(name)


def _levels(d: DiscriminatorTrunk) -> dict[str, int]:
    names = {module: name for name, module in d.named_modules()}
    blocks = [names[part] for part in d.from_image() if names[part].startswith("blocks.")]
    return {block: len(blocks) - i for i, block in enumerate(blocks)}
