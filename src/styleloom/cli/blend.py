"""`styleloom blend`: a snapshot with coarse layers of one generator and fine layers of another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from styleloom.cli.report import print_json, say
from styleloom.cli.sheets import check_free
from styleloom.errors import UserError, shown
from styleloom.snapshot_names import find_snapshot


@dataclass
class BlendTwo:
    """Make a generator whose coarse layers are those of A and whose fine layers are those of B."""

    a: tyro.conf.Positional[str]
    """A: its layers below --at px, its mapping network and average style. A snapshot, a run, a file of
    another code (*.pkl, *.pt, *.pth), hf://owner/name, or an embedded model."""
    b: tyro.conf.Positional[str]
    """B: its layers from --at px on."""
    at: int
    """The first level, px, that is B's."""
    mode: Literal["swap", "fade"] = "swap"
    """swap: each level is of one of them. fade: the weights of all levels are mixed, smoothly around --at."""
    width: float = 1.0
    """Width of the fade, in levels."""
    out: Path = Path("blend.safetensors")
    """The new snapshot."""
    overwrite: bool = False
    """Replace a file that is there already."""
    json: bool = False
    """Print one JSON document."""

    def run(self) -> int:
        """Write the snapshot; 0."""
        if self.out.suffix != ".safetensors":
            raise UserError(f"--out: {shown(self.out)} is not valid; a name that ends with .safetensors")
        check_free("out", [self.out], self.overwrite)
        paths = [find_snapshot(given) for given in (self.a, self.b)]
        from styleloom.blending import Blend, blend  # late: torch takes seconds to import
        from styleloom.snapshot import read_snapshot, write_snapshot

        how = Blend(self.at, self.mode, self.width)
        a, b = (read_snapshot(path) for path in paths)
        blended = blend(a, b, how)
        write_snapshot(self.out, blended.generator, blended.experiment, **blended.info)
        parts = blended.info["blend"]["part_of_b"]
        if self.json:
            print_json({"file": str(self.out), **blended.info})
        else:
            told = ", ".join(f"{side} px {part:.3g}" for side, part in parts.items())
            say(f"{shown(self.out)}: part of B by level: {told}")
        return 0
