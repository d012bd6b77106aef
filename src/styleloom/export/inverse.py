"""Our weights under another code's names and in its layouts: a name table read backwards."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from styleloom.weights import rosinality
from styleloom.weights.tables import (
    Layout,
    Table,
    conv_hwio,
    dense_io,
    locate,
    same,
    scalar,
    without_one,
)

INVERSE: dict[Layout, Layout] = {
    same: same,
    scalar: same,
    dense_io: lambda x: x.t(),
    conv_hwio: lambda x: x.permute(2, 3, 1, 0),
    without_one: lambda x: x + 1,
    rosinality.batched_conv: lambda x: x[None],
    rosinality.batched_flipped: lambda x: x.flip(2, 3)[None],
    rosinality.one_strength: lambda x: x[None],
    rosinality.rgb_bias: lambda x: x.view(1, -1, 1, 1),
}
"""What turns our value into a stored one, by what turns the stored one into ours."""


def inverted(table: Table, state: Mapping[str, Tensor], sides: Sequence[int]) -> dict[str, Tensor]:
    """Every tensor of our state dict `state` under a name and in the layout of `table`'s source.

    Args:
        table: of the same network.
        state: of our network.
        sides: of its levels, px, which fill the field `side` of names.
    """
    found: dict[str, Tensor] = {}
    done: set[str] = set()
    # Names without numbers first: 4x4/Conv, which a rule of {side}x{side}/Conv0 would make 4x4/Conv0.
    for rule in sorted(table.rules, key=lambda rule: "{" in rule.source):
        fields = set(re.findall(r"{(\w+)}", rule.source))
        numbers: Sequence[int] = sides if "side" in fields else range(len(state) if fields else 1)
        for number in numbers if rule.target is not None else ():
            name = rule.source.format(**dict.fromkeys(fields, number))
            place = locate(table, name)
            if place is None or place.target is None or place.target not in state or place.target in done:
                continue
            found[name] = INVERSE[place.layout](state[place.target]).contiguous()
            done.add(place.target)
    missing = [name for name in state if name not in done]
    assert not missing, f"{table.source}: no name for {missing}"
    return found


def weights_of(network: torch.nn.Module) -> dict[str, Tensor]:
    """Its state dict, on the CPU."""
    return {name: t.detach().cpu() for name, t in network.state_dict().items()}
