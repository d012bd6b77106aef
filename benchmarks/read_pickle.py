"""Reading a pickle of other code's weights: time and memory beside reading the bytes alone.

The file is a synthetic one of about 300 MB in the layout of StyleGAN2's TensorFlow code. Each measurement is
the best of three in a process of its own, in turns; the file is in the cache of the
operating system.

python benchmarks/read_pickle.py
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro

from publishing import publish
from styleloom.environment import describe_machine
from styleloom.export.targets import Options
from styleloom.export.tf_pickle import export
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.presets import get
from styleloom.snapshot import Snapshot

PROGRAM = """
import gc, re, sys, time
from pathlib import Path
import styleloom.snapshot
from styleloom.foreign.reading import read_foreign

def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

path, seconds = Path(sys.argv[1]), []
Path("/proc/self/clear_refs").write_text("5")
before = peak()
for _ in range(3):
    kept = None
    gc.collect()
    began = time.perf_counter()
    kept = CODE
    seconds.append(time.perf_counter() - began)
print(min(seconds), peak() - before)
"""
"""Linux alone tells the peak of a process that can be set back."""

VARIANTS = {
    "bytes": "path.read_bytes()",
    "read_foreign": "read_foreign(path)",
    "read_snapshot": "styleloom.snapshot.read_snapshot(path)",
}
"""The bytes, the file as named arrays, and one of its generators as a network, with the hash of the file."""


@dataclass
class ReadPickle:
    """Time the reading of a pickle."""

    resolution: int = 256
    """Of the networks in the file; 256 makes about 300 MB."""
    rounds: int = 5
    """Measurements of each."""
    json: bool = False
    """Print one JSON document."""
    save: bool = False
    """Write it under benchmarks/results, too."""

    def run(self) -> dict[str, Any]:
        """Measure, and print the document."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "synthetic.pkl"
            self._write(path)
            size = path.stat().st_size
            rows: dict[str, list[tuple[float, int]]] = {name: [] for name in VARIANTS}
            for _ in range(self.rounds):
                for name, code in VARIANTS.items():
                    rows[name].append(_measured(code, path))
        medians = {name: statistics.median(row[0] for row in own) for name, own in rows.items()}
        document = {
            "benchmark": "read_pickle",
            "machine": describe_machine(torch.device("cpu")),
            "file_bytes": size,
            "seconds": medians,
            "times_as_long_as_bytes": {name: value / medians["bytes"] for name, value in medians.items()},
            "memory_per_file_size": {
                name: statistics.median(row[1] for row in own) / size for name, own in rows.items()
            },
        }
        publish("read_pickle", document, self.save, self.json, lambda d: print(json.dumps(d, indent=2)))
        return document

    def _write(self, path: Path) -> None:
        """Networks of StyleGAN2 F with fresh weights."""
        experiment = replace(get("stylegan2-f").with_data(resolution=self.resolution), name="synthetic")
        generator = build_generator(experiment.generator)
        discriminator = build_discriminator(experiment.discriminator)
        snapshot = Snapshot(generator, experiment, {}, raw=generator, discriminator=discriminator)
        export(snapshot, path, Options())


def _measured(code: str, path: Path) -> tuple[float, int]:
    """Seconds and peak memory of `code` in a process of its own."""
    words = [sys.executable, "-c", PROGRAM.replace("CODE", code), str(path)]
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    return float(printed[0]), int(printed[1])


if __name__ == "__main__":
    tyro.cli(ReadPickle).run()
