"""What a foreign file is: its format, who wrote it, and the networks in it, named and not yet built."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from styleloom.config.networks import DiscriminatorConfig, GeneratorConfig
from styleloom.foreign.container import Contained
from styleloom.foreign.pickles.records import Array
from styleloom.weights.tables import Table

G, D, AVERAGE = "G", "D", "G_ema"
"""Roles: the trained generator, the discriminator, the average of the generator."""


@dataclass(frozen=True)
class Translated:
    """A network in our words.

    Args:
        config: ours.
        table: names of its variables.
        variables: as the table names them; None for the arrays of the file as they are.
        finish: what remains to be done to the network that was built.
    """

    config: GeneratorConfig | DiscriminatorConfig
    table: Table
    variables: Callable[[], dict[str, Tensor]] | None = None
    finish: Callable[[nn.Module], None] | None = None


@dataclass(frozen=True)
class ForeignNetwork:
    """One network of a file.

    Args:
        role: G, D or G_ema.
        function: what its code calls it: "G_main", "Generator".
        kwargs: its settings as recorded.
        arrays: its variables by name.
        translate: finds our configuration and names; raises UserError where we have no such network.
        lod: level of detail that growing has come to; 0 at full resolution.
        truncation: psi and number of layers (None: all) of the code's own run; None where it has none.
    """

    role: str
    function: str
    kwargs: Mapping[str, Any]
    arrays: Mapping[str, Array]
    translate: Callable[[ForeignNetwork], Translated]
    lod: float = 0.0
    truncation: tuple[float, int | None] | None = None

    @property
    def parameters(self) -> int:
        """Numbers in all arrays."""
        return sum(math.prod(array.shape) for array in self.arrays.values())

    def variables(self) -> dict[str, Tensor]:
        """All arrays, as float32."""
        return {name: array.tensor() for name, array in self.arrays.items()}


@dataclass(frozen=True)
class Recognised:
    """What the object of a file is.

    Args:
        format: a row of docs/weights.md.
        code: whose code wrote it.
        version: of its format, as recorded.
        networks: by role.
        refused: why none of them is read, and what would help; None where they are.
        facts: whatever else is recorded.
        w_average: where the average of w is.
        source_texts: programs inside, which the code that wrote the file would execute on reading it.
        licence: of the code, and of weights that its authors published; None where it is not known.
    """

    format: str
    code: str
    version: str | None = None
    networks: Mapping[str, ForeignNetwork] = field(default_factory=dict)
    refused: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    w_average: str = "none"
    licence: str | None = None
    source_texts: int = 0


@dataclass(frozen=True)
class ForeignFile:
    """A file of another code.

    Args:
        path: of the file.
        outside: how it is packed, and which names it has.
        inside: what it holds.
    """

    path: Path
    outside: Contained
    inside: Recognised
