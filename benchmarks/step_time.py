"""Time and memory of each phase of a training step, next to a plain variant in the same run.

    python benchmarks/step_time.py --preset stylegan2-f --resolution 64 --batch 8
    python benchmarks/step_time.py --preset progan --resolution 256 --level 32 --batch 16

prints images/s of the phases that the preset runs (G main, G path length, D main with the penalty of every
step, lazy D penalty) and amortised over the lazy intervals, for styleloom in each precision and for the plain
variant of plain.py; the ratio to plain with its spread; peak memory; and the share of the machine's own peak
in a 3x3 convolution. Variants alternate, phase by phase, so that a slow minute of the machine affects all of
them; all use the same allocator settings. growing.py compares low levels with networks of that size.
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

from plain import make_plain, plain_operations
from publishing import Published, publish, ratio_spread
from styleloom import presets
from styleloom.allocator import keep_large_blocks
from styleloom.config import Experiment, apply_overrides
from styleloom.config.experiment import Precision
from styleloom.config.growth import active_ws
from styleloom.data import reals
from styleloom.environment import describe_machine
from styleloom.errors import UserError
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.precision import resolve_device, set_precision
from styleloom.runs.plan import phase_flops
from styleloom.training import phases
from styleloom.training.adversaries import Adversaries
from styleloom.training.inputs import Latents, Reals
from styleloom.training.losses import compares_with_reals
from styleloom.types import GrowthState

Times = dict[str, list[float]]
"""Seconds of each round, by phase."""


@dataclass
class StepTime(Published):
    """Time the phases of a training step."""

    preset: str = "stylegan2-f"
    """Whose networks and losses."""
    resolution: int | None = None
    """Side of the images, px; by default the preset's."""
    level: int | None = None
    """Side of the active level of a growing run, px; by default the full resolution."""
    batch: int | None = None
    """Images per step; by default the preset's at this level."""
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    """What to compare with plain float32."""
    rounds: int = 5
    """Measurements of each phase and variant."""
    threads: int | None = None
    """CPU threads; by default torch's own."""
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
        level = self.level or experiment.resolution
        batch = self.batch or int(experiment.batch(level))
        experiment = apply_overrides(experiment, [*self.overrides, f"batch={batch}"])
        growth = growth_of(experiment, level)
        weights = phase_weights(experiment)

        variants: list[Variant] = [Variant("plain", experiment, "fp32", device, growth, plain=True)]
        variants += [Variant(p, experiment, p, device, growth) for p in self.precisions]
        times, memory = self._measured(variants, list(weights), batch)
        work = step_flops(experiment.with_data(resolution=level))
        peaks = {p: convolution_peak(device, p) for p in self.precisions}
        document: dict[str, Any] = {
            "benchmark": "step_time",
            "preset": self.preset,
            "resolution": experiment.resolution,
            "level": level,
            "batch": batch,
            "machine": describe_machine(device),
            "rounds": self.rounds,
            "variants": {},
            "ratio_amortised": {},
            "ratio_spread": {},
        }
        for name, found in times.items():
            images = {p: batch / statistics.median(found[p]) for p in weights}
            images["amortised"] = batch / statistics.median(amortised(weights, found))
            entry: dict[str, Any] = {"images_per_sec": images, "peak_memory_gib": memory[name]}
            document["variants"][name] = entry
            if name == "plain":
                continue
            ratios = ratios_to(times["plain"], found, weights)
            document["ratio_amortised"][name] = ratios.pop("amortised")
            document["ratio_spread"][name] = ratios.pop("spread")
            entry["ratio"] = ratios
            entry["convolution_peak_gflops"] = peaks[name] / 1e9
            entry["share_of_peak"] = work * images["amortised"] / peaks[name]
        return document

    def _measured(
        self, variants: list[Variant], phases: list[str], batch: int
    ) -> tuple[dict[str, Times], dict[str, dict[str, float]]]:
        """Of each variant and phase the seconds of all rounds, and the peak memory in GiB."""
        times: dict[str, Times] = {v.name: {p: [] for p in phases} for v in variants}
        memory: dict[str, dict[str, float]] = {v.name: {} for v in variants}
        for index in range(self.rounds + 1):
            for phase in phases:
                for variant in variants:
                    seconds = variant.measure(phase, batch)
                    if index:  # the first round warms up
                        times[variant.name][phase].append(seconds)
                    else:
                        memory[variant.name][phase] = variant.peak_memory(phase, batch) / 2**30
        return times, memory


class Variant:
    """One arrangement of the computation: its networks, and how to run a phase."""

    def __init__(
        self,
        name: str,
        experiment: Experiment,
        precision: Precision,
        device: torch.device,
        growth: GrowthState | None = None,
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
        self.side = experiment.resolution if growth is None else experiment.generator.sides[growth.level]
        scale = self.side / experiment.resolution
        self.nets = Adversaries(g, d, growth, g.synthesis_network, d, scale)

    def measure(self, phase: str, batch: int) -> float:
        """Seconds of one phase with its backward pass."""
        run = self._prepare(phase, batch)
        set_precision(self.precision, self.device, self.nets.g, self.nets.d)
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
        for network in (self.nets.g, self.nets.d):
            network.zero_grad(set_to_none=True)
        return seconds

    def peak_memory(self, phase: str, batch: int) -> float:
        """Bytes of tensors at once in one phase, weights and optimizer left out."""
        if self.device.type == "cuda":
            before = torch.cuda.memory_allocated(self.device)
            self.measure(phase, batch)
            return torch.cuda.max_memory_allocated(self.device) - before
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as record:
            self.measure(phase, batch)
        return peak_of(record)

    def _prepare(self, phase: str, batch: int) -> Callable[[], object]:
        cfg, nets, experiment = self.experiment.generator, self.nets, self.experiment
        nets.g.requires_grad_(phase.startswith("g"))
        nets.d.requires_grad_(phase.startswith("d"))
        torch.manual_seed(1)

        def latents(n: int) -> Latents:
            z, z2 = torch.randn(2, n, cfg.z_dim, device=self.device)
            cut = active_ws(nets.growth, cfg.num_ws) // 2 if experiment.style_mixing else cfg.num_ws
            cutoffs = torch.full((n,), cut)
            return Latents(z, z2, cutoffs, torch.zeros(n, cfg.label_dim, device=self.device))

        images = torch.rand(batch, cfg.channels, *cfg.size_at(self.side), device=self.device) * 2 - 1
        label = torch.zeros(batch, cfg.label_dim, device=self.device)
        shown = Reals(
            images if cfg.pyramid_sides is None else reals.pyramid(images, cfg.pyramid_sides), label
        )
        if phase == "g_main":
            compared = shown if compares_with_reals(experiment.loss) else None
            return lambda: phases.generator_main(nets, experiment, latents(batch), batch, compared)
        if phase == "g_path_length":
            small = max(batch // experiment.g_regularizer.batch_shrink, 1)
            mean = torch.zeros((), device=self.device)
            return lambda: phases.generator_path_length(nets, experiment, latents(small), small, mean)
        run = phases.discriminator_main if phase == "d_main" else phases.discriminator_penalty
        return lambda: run(nets, experiment, latents(batch), shown, batch)


def peak_of(record: profile) -> float:
    """Highest sum of bytes allocated on the CPU since a profile began."""
    held = highest = 0
    for event in record.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            held += event.nbytes()  # pyright: ignore[reportAttributeAccessIssue]
            highest = max(highest, held)
    return highest


def growth_of(experiment: Experiment, level: int) -> GrowthState | None:
    """Where a growing run stands whose level of `level` px has faded in; None at full resolution.

    Raises:
        UserError: the experiment does not grow, or has no such level.
    """
    if level == experiment.resolution:
        return None
    sides = experiment.generator.sides
    lower = sides[1:-1] if experiment.growth.mode == "progressive" else ()  # no whole network has 4 px
    if level not in lower:
        valid = ", ".join(map(str, (*lower, experiment.resolution)))
        raise UserError(f"level: {level} is not valid for {experiment.name}, choose from {valid}")
    return GrowthState(sides.index(level), 1.0)


def phase_weights(experiment: Experiment) -> dict[str, float]:
    """The phases that `experiment` runs, and how often each runs per step."""
    path, penalty = experiment.g_regularizer, experiment.d_regularizer
    weights = {"g_main": 1.0}
    if path.weight > 0:
        weights["g_path_length"] = 1 / path.every
    weights["d_main"] = 1.0
    if penalty.active and penalty.every > 1:  # else it is part of the main phase
        weights["d_penalty"] = 1 / penalty.every
    return weights


def step_flops(experiment: Experiment) -> float:
    """Floating-point operations per image of a step at full resolution, about."""
    path, penalty, flops = experiment.g_regularizer, experiment.d_regularizer, phase_flops(experiment)
    total = flops["g_main"] + flops["d_main"]
    total += flops["g_path_length"] / path.every if path.weight > 0 else 0
    return total + (flops["d_penalty"] / penalty.every if penalty.active else 0)


def ratios_to(plain: Times, times: Times, weights: dict[str, float]) -> dict[str, Any]:
    """How many times faster than plain: each phase, `amortised`, and the `spread` of that over the rounds."""
    whole, total = amortised(weights, plain), amortised(weights, times)
    by_phase = {p: statistics.median(plain[p]) / statistics.median(times[p]) for p in weights}
    return by_phase | {
        "amortised": statistics.median(whole) / statistics.median(total),
        "spread": ratio_spread(whole, total),
    }


def amortised(weights: dict[str, float], times: Times) -> list[float]:
    """Seconds per step of each round."""
    rounds = zip(*(times[p] for p in weights), strict=True)
    return [sum(w * t for w, t in zip(weights.values(), row, strict=True)) for row in rounds]


def convolution_peak(device: torch.device, precision: Precision, channels: int = 512) -> float:
    """FLOP/s of a large 3x3 convolution, the machine's ceiling for these networks."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    side, batch = 32, 16 if device.type == "cpu" else 64
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
    level = "" if document["level"] == document["resolution"] else f", level of {document['level']} px"
    print(
        f"{document['preset']} {document['resolution']} px{level}, batch {document['batch']}; "
        f"{document['machine']}"
    )
    columns = document["variants"]["plain"]["images_per_sec"]
    print(f"{'variant':8s}" + "".join(f"{p:>16s}" for p in columns) + "   images/s (x plain)")
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


def main() -> None:
    """The command line."""
    options = tyro.cli(StepTime)
    publish("step_time", options.run(), options.save, options.json, show)


if __name__ == "__main__":
    main()
