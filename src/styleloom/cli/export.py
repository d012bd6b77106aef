"""`styleloom export`: a trained generator in the format of another program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from styleloom.cli.report import print_json, say
from styleloom.cli.wanted_images import refuse_given
from styleloom.errors import shown
from styleloom.export.targets import TARGETS, Options, check_place, export
from styleloom.snapshot_names import find_snapshot


@dataclass
class Export:
    """Write a trained generator in the format of another program.

    onnx, pt2: a folder of graphs for any number of images: generator (z, psi, class to image), mapping (z,
    class to ws) and synthesis (ws to image), each run and compared with the sampler before it is kept.
    browser: a folder to put on any static web server; its page draws images without a network.
    hub: a folder with the snapshot, its description and a card, for `styleloom push`.
    tf-pickle, rosinality: a file (.pkl, .pt) in the layout of another code, with the networks in training
    where the snapshot or the file keeps them.
    """

    snapshot: tyro.conf.Positional[str]
    """A snapshot-*.safetensors, a run directory (its best snapshot, else the newest), a file of another code
    (*.pkl, *.pt, *.pth), hf://owner/name, or an embedded model: portraits-64."""
    out: tyro.conf.Positional[Path]
    """The folder or file to write."""
    to: Literal["tf-pickle", "rosinality", "onnx", "pt2", "browser", "hub"]
    """The format."""
    noise: Literal["fixed", "input", "none"] = "fixed"
    """onnx, pt2. fixed: the maps stored with the network are in the graph. input: the graph takes a map for
    each noise input. none."""
    half: bool = False
    """onnx, browser: keep weights as float16, which halves the file; the arithmetic stays float32."""
    runtime: Path | None = None
    """browser: the folder of the npm package onnxruntime-web. Default: the one in the user's cache, which npm
    fills at the first time."""
    license: str | None = None
    """hub: of the weights, for the card: cc-by-4.0, say. Default: that of the code they were converted from,
    or unknown."""
    evaluation: tuple[Path, ...] = ()
    """hub: what `styleloom evaluate SNAPSHOT --json` printed, for the card."""
    overwrite: bool = False
    """Replace files that are there already."""
    json: bool = False
    """Print one JSON document."""

    def run(self) -> int:
        """Write the export; 0."""
        target = TARGETS[self.to]
        names = Options.__dataclass_fields__
        refuse_given(self, [n for n in names if n not in target.options], f"with --to {self.to}")
        check_place(self.out, target, self.overwrite)
        path = find_snapshot(self.snapshot)
        from styleloom.runs.initial import read_networks  # late: torch takes seconds to import
        from styleloom.snapshot import read_snapshot

        snapshot = read_networks(path) if target.trained else read_snapshot(path)
        options = Options(**{name: getattr(self, name) for name in names})
        record = export(snapshot, self.out, self.to, options, self.overwrite)
        if self.json:
            print_json({"out": str(self.out), **record})
        else:
            for line in _lines(self.out, record):
                say(line)
        return 0


def _lines(out: Path, record: dict[str, Any]) -> list[str]:
    """What a reader wants to know of an export."""
    graphs = record.get("graphs", {})
    lines = [
        f"{shown(out / graph['file'])}: {', '.join(graph['inputs'])} to {graph['output']}, "
        f"{graph['bytes'] / 1e6:.1f} MB, {graph['latency_ms']:.3g} ms an image, "
        f"differs by {max(graph['max_difference'].values()):.1g} at most"
        for graph in graphs.values()
    ]
    if "bytes" in record:
        lines.append(f"{shown(out)}: {record['bytes'] / 1e6:.1f} MB")
    return [*lines, f"written: {shown(out)}"]
