"""Time and memory of each phase of a training step, next to a plain variant in the same run.

    python benchmarks/step_time.py --preset stylegan2-f --resolution 64 --batch 8

prints images/s of the phases (G main, G path length, D main, D R1) and amortised over the lazy intervals, for
styleloom in each precision and for the plain variant of plain.py; the ratio to plain with its spread; peak
memory; and the share of the machine's own peak in a 3x3 convolution. Variants take turns, phase by phase, so
that a slow minute of the machine hits them alike; the same allocator settings hold for all.
"""

from __future__ import annotations

import contextlib
import gc
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import tyro
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).parent))

from machine import describe, publish
from plain import make_plain, plain_operations
from styleloom import presets
from styleloom.allocator import keep_large_blocks
from styleloom.config import Experiment, apply_overrides
from styleloom.config.experiment import Precision
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.precision import resolve_device, set_precision
from styleloom.training import phases
from styleloom.training.phases import Bound, Latents
from styleloom.training.plan import phase_flops

PHASES = ("g_main", "g_path_length", "d_main", "d_r1")


@dataclass
class StepTime:
    """Time the phases of a training step."""

    preset: str = "stylegan2-f"
    """Whose networks and losses."""
    resolution: int | None = None
    """Side of the images, px; by default the preset's."""
    batch: int | None = None
    """Images per step; by default the preset's."""
    device: str = "auto"
    """auto, cpu, cuda."""
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    """What to compare with plain float32."""
    rounds: int = 5
    """Measurements of each phase and variant."""
    threads: int | None = None
    """CPU threads; by default torch's own."""
    json: bool = False
    """Print one JSON document."""
    save: bool = False
    """Write it under benchmarks/results, too."""
    overrides: list[str] = field(default_factory=list)
    """FIELD=VALUE of the experiment."""

    def run(self) -> dict[str, Any]:
        """Measure; the document that is printed."""
        if self.threads:
            torch.set_num_threads(self.threads)
        device = resolve_device(self.device)
        keep_large_blocks()
        experiment = presets.get(self.preset)
        if self.resolution:
            experiment = experiment.with_data(resolution=self.resolution)
        experiment = apply_overrides(experiment, self.overrides)
        batch = self.batch or int(experiment.batch(experiment.resolution))
        experiment = apply_overrides(experiment, [f"batch={batch}"])

        variants: list[Variant] = [Variant("plain", experiment, "fp32", device, plain=True)]
        variants += [Variant(p, experiment, p, device) for p in self.precisions]
        times: dict[str, dict[str, list[float]]] = {v.name: {p: [] for p in PHASES} for v in variants}
        memory: dict[str, dict[str, float]] = {v.name: {} for v in variants}
        for index in range(self.rounds + 1):
            for phase in PHASES:
                for variant in variants:
                    seconds = variant.measure(phase, batch)
                    if index:  # the first round warms up
                        times[variant.name][phase].append(seconds)
                    else:
                        memory[variant.name][phase] = variant.peak_memory(phase, batch) / 2**30
        flops = phase_flops(experiment)
        peaks = {p: convolution_peak(device, p) for p in self.precisions}
        document: dict[str, Any] = {
            "benchmark": "step_time",
            "preset": self.preset,
            "resolution": experiment.resolution,
            "batch": batch,
            "machine": describe(device),
            "rounds": self.rounds,
            "variants": {},
            "ratio_amortised": {},
            "ratio_spread": {},
        }
        plain = amortised(experiment, times["plain"])
        for variant in variants:
            total = amortised(experiment, times[variant.name])
            images = {p: batch / statistics.median(times[variant.name][p]) for p in PHASES}
            entry: dict[str, Any] = {
                "images_per_sec": images | {"amortised": batch / statistics.median(total)},
                "peak_memory_gib": memory[variant.name],
            }
            document["variants"][variant.name] = entry
            if variant.name == "plain":
                continue
            ratios = [a / b for a, b in zip(plain, total, strict=True)]
            document["ratio_amortised"][variant.name] = statistics.median(plain) / statistics.median(total)
            document["ratio_spread"][variant.name] = [min(ratios), max(ratios)]
            entry["ratio"] = {
                p: statistics.median(times["plain"][p]) / statistics.median(times[variant.name][p])
                for p in PHASES
            }
            work = sum(flops[p] * weight(experiment, p) for p in PHASES)
            rate = work * entry["images_per_sec"]["amortised"]
            entry["convolution_peak_gflops"] = peaks[variant.name] / 1e9
            entry["share_of_peak"] = rate / peaks[variant.name]
        return document


class Variant:
    """One arrangement of the computation: its networks, and how to run a phase."""

    def __init__(
        self,
        name: str,
        experiment: Experiment,
        precision: Precision,
        device: torch.device,
        plain: bool = False,
    ) -> None:
        self.name, self.experiment, self.device, self.plain = name, experiment, device, plain
        torch.manual_seed(0)
        self.precision: Precision = precision
        g = build_generator(experiment.generator).to(device)
        d = build_discriminator(experiment.discriminator).to(device)
        set_precision(precision, device, g, d)
        if plain:
            make_plain(g)
            make_plain(d)
        self.bound = Bound(g, d, None, g.synthesis_network, d)

    def measure(self, phase: str, batch: int) -> float:
        """Seconds of one phase with its backward pass."""
        run = self._prepare(phase, batch)
        set_precision(self.precision, self.device, self.bound.g, self.bound.d)
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            torch.cuda.synchronize(self.device)
        with plain_operations() if self.plain else contextlib.nullcontext():
            began = time.perf_counter()
            run()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            seconds = time.perf_counter() - began
        for network in (self.bound.g, self.bound.d):
            network.zero_grad(set_to_none=True)
        return seconds

    def peak_memory(self, phase: str, batch: int) -> float:
        """Bytes of tensors at once in one phase, weights and optimizer left out."""
        if self.device.type == "cuda":
            before = torch.cuda.memory_allocated(self.device)
            self.measure(phase, batch)
            return torch.cuda.max_memory_allocated(self.device) - before
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            self.measure(phase, batch)
        return peak_of(record)

    def _prepare(self, phase: str, batch: int) -> Callable[[], object]:
        cfg, bound, experiment = self.experiment.generator, self.bound, self.experiment
        bound.g.requires_grad_(phase.startswith("g"))
        bound.d.requires_grad_(phase.startswith("d"))
        torch.manual_seed(1)

        def latents(n: int) -> Latents:
            z, z2 = torch.randn(2, n, cfg.z_dim, device=self.device)
            cutoffs = torch.full((n,), cfg.num_ws // 2)
            return Latents(z, z2, cutoffs, torch.zeros(n, cfg.label_dim, device=self.device))

        shape = (batch, cfg.channels, cfg.resolution, cfg.resolution)
        reals = torch.rand(shape, device=self.device) * 2 - 1
        label = torch.zeros(batch, cfg.label_dim, device=self.device)
        if phase == "g_main":
            return lambda: phases.generator_main(bound, experiment, latents(batch), batch)
        if phase == "g_path_length":
            small = max(batch // experiment.g_regularizer.batch_shrink, 1)
            mean = torch.zeros((), device=self.device)
            return lambda: phases.generator_path_length(bound, experiment, latents(small), small, mean)
        if phase == "d_main":
            return lambda: phases.discriminator_main(bound, experiment, latents(batch), reals, label, batch)
        return lambda: phases.discriminator_r1(bound, experiment, reals, label, batch)


def peak_of(record: profile) -> float:
    """Highest sum of bytes allocated on the CPU since a profile began."""
    held = highest = 0
    for event in record.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            held += event.nbytes()  # pyright: ignore[reportAttributeAccessIssue]
            highest = max(highest, held)
    return highest


def weight(experiment: Experiment, phase: str) -> float:
    """How often a phase runs per step."""
    if phase == "g_path_length":
        return 1 / experiment.g_regularizer.every if experiment.g_regularizer.weight else 0.0
    if phase == "d_r1":
        return 1 / experiment.d_regularizer.every if experiment.d_regularizer.gamma else 0.0
    return 1.0


def amortised(experiment: Experiment, times: dict[str, list[float]]) -> list[float]:
    """Seconds per step of each round."""
    rounds = zip(*(times[p] for p in PHASES), strict=True)
    return [sum(weight(experiment, p) * t for p, t in zip(PHASES, row, strict=True)) for row in rounds]


def convolution_peak(device: torch.device, precision: Precision) -> float:
    """FLOP/s of a large 3x3 convolution, the machine's ceiling for these networks."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    channels, side, batch = 512, 32, 16 if device.type == "cpu" else 64
    layout = torch.channels_last
    x = torch.randn(batch, channels, side, side, device=device, dtype=dtype).contiguous(memory_format=layout)
    w = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype).contiguous(memory_format=layout)
    best = float("inf")
    with torch.no_grad():
        for _ in range(6):
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            began = time.perf_counter()
            F.conv2d(x, w, padding=1)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            best = min(best, time.perf_counter() - began)
    return 2 * 9 * channels * channels * side * side * batch / best


def show(document: dict[str, Any]) -> None:
    """The document as a table."""
    print(
        f"{document['preset']} {document['resolution']} px, batch {document['batch']}; {document['machine']}"
    )
    print(f"{'variant':8s}" + "".join(f"{p:>16s}" for p in (*PHASES, "amortised")) + "   images/s (x plain)")
    for name, entry in document["variants"].items():
        cells = []
        for phase, rate in entry["images_per_sec"].items():
            ratio = entry.get("ratio", {}).get(phase)
            if phase == "amortised":
                ratio = document["ratio_amortised"].get(name)
            cells.append(f"{rate:8.2f}" + (f" {ratio:5.2f}x " if ratio else "        "))
        print(f"{name:8s}" + "".join(f"{c:>16s}" for c in cells))
    for name, entry in document["variants"].items():
        cells = "".join(f"{gib:10.2f}      " for gib in entry["peak_memory_gib"].values())
        print(f"{name:8s}{cells}  peak GiB")
    for name, (low, high) in document["ratio_spread"].items():
        entry = document["variants"][name]
        print(
            f"{name}: {document['ratio_amortised'][name]:.2f}x plain (rounds {low:.2f} to {high:.2f}), "
            f"{100 * entry['share_of_peak']:.0f} % of {entry['convolution_peak_gflops']:.0f} GFLOP/s"
        )


if __name__ == "__main__":
    options = tyro.cli(StepTime)
    publish("step_time", options.run(), options.save, options.json, show)
