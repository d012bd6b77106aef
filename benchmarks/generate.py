"""Latency and images/s of generation, next to grouped convolution with per-sample weights.

    python benchmarks/generate.py --resolutions 256 1024 --batches 1 4

styleloom in each precision against plain.py's grouped variant in NCHW float32, as public PyTorch code
generates; the same allocator settings hold for both, and variants take turns.
"""

from __future__ import annotations

import contextlib
import gc
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

sys.path.insert(0, str(Path(__file__).parent))

from plain import make_plain, plain_operations
from publishing import Published, publish, ratio_spread
from styleloom import presets
from styleloom.allocator import keep_large_blocks
from styleloom.config.experiment import Precision
from styleloom.environment import describe_machine
from styleloom.networks.build import build_generator
from styleloom.ops.derived import constant
from styleloom.precision import resolve_device, set_precision


@dataclass
class GenerateTime(Published):
    """Time generation of preset networks."""

    preset: str = "stylegan2-f"
    """Whose generator."""
    resolutions: tuple[int, ...] = (256, 1024)
    """Sides, px."""
    batches: tuple[int, ...] = (1, 4)
    """Images at once."""
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    """What to compare with the grouped variant."""
    rounds: int = 5
    """Measurements of each variant."""

    def run(self) -> dict[str, Any]:
        """Measure; the document that is printed."""
        keep_large_blocks()
        device = resolve_device(self.device)
        cases = [self._case(r, b, device) for r in self.resolutions for b in self.batches]
        return {
            "benchmark": "generate",
            "preset": self.preset,
            "machine": describe_machine(device),
            "rounds": self.rounds,
            "cases": cases,
        }

    def _case(self, resolution: int, batch: int, device: torch.device) -> dict[str, Any]:
        cfg = presets.get(self.preset).with_data(resolution=resolution).generator
        networks: dict[str, tuple[Any, bool, Precision]] = {}
        kinds: list[tuple[str, Precision]] = [("grouped", "fp32"), *((p, p) for p in self.precisions)]
        for name, precision in kinds:
            torch.manual_seed(0)
            g = build_generator(cfg).to(device).eval().requires_grad_(False)
            set_precision(precision, device, g)
            if name != "grouped":
                constant(g)  # as samplers do
            networks[name] = (make_plain(g) if name == "grouped" else g, name == "grouped", precision)
        times: dict[str, list[float]] = {name: [] for name in networks}
        z = torch.randn(batch, cfg.z_dim, device=device)
        for index in range(self.rounds + 1):
            for name, (g, plain, precision) in networks.items():
                set_precision(precision, device, *([] if plain else [g]))
                gc.collect()
                with torch.inference_mode(), plain_operations(True) if plain else contextlib.nullcontext():
                    began = time.perf_counter()
                    g(z, truncation=0.7)
                    if device.type == "cuda":
                        torch.cuda.synchronize(device)
                    seconds = time.perf_counter() - began
                if index:
                    times[name].append(seconds)
        grouped = times["grouped"]
        medians = {name: statistics.median(t) for name, t in times.items()}
        return {
            "resolution": resolution,
            "batch": batch,
            "latency_sec": medians,
            "images_per_sec": {name: batch / t for name, t in medians.items()},
            "ratio": {name: medians["grouped"] / medians[name] for name in self.precisions},
            "ratio_spread": {name: ratio_spread(grouped, times[name]) for name in self.precisions},
        }


def show(document: dict[str, Any]) -> None:
    """The document as a table."""
    print(f"{document['preset']}; {document['machine']}")
    for case in document["cases"]:
        rates = "  ".join(f"{n} {v:.2f}/s" for n, v in case["images_per_sec"].items())
        ratios = "  ".join(
            f"{n} {v:.2f}x ({case['ratio_spread'][n][0]:.2f} to {case['ratio_spread'][n][1]:.2f})"
            for n, v in case["ratio"].items()
        )
        print(f"{case['resolution']:5d} px, batch {case['batch']}: {rates}   to grouped: {ratios}")


if __name__ == "__main__":
    options = tyro.cli(GenerateTime)
    publish("generate", options.run(), options.save, options.json, show)
