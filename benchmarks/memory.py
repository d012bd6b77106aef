"""Peak memory as `styleloom plan` predicts it, next to what trainings then take, each in its own process.

    python benchmarks/memory.py
    python benchmarks/memory.py --cases stylegan2-f:64:8:0:bf16

A case is PRESET:RESOLUTION:BATCH:MICRO_BATCH:PRECISION, with 0 for no micro-batches. The training takes three
steps on noise, the first and the last of which run all phases. On the CPU memory is the most that the process
had resident, as stats.jsonl has it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

sys.path.insert(0, str(Path(__file__).parent))

from publishing import Published, publish
from styleloom import presets
from styleloom.allocator import keep_large_blocks
from styleloom.config import Experiment, apply_overrides
from styleloom.environment import describe_machine
from styleloom.planning.memory import predict
from styleloom.planning.noise_images import noise_images
from styleloom.precision import resolve_device
from styleloom.runs.fit import peak_memory_gib
from styleloom.training.trainer import Trainer

CASES = (
    "demo:32:32:0:fp32",
    "demo:32:128:0:bf16",
    "demo:128:16:0:fp32",
    "emoji-64:32:16:0:fp32",
    "emoji-64:128:16:0:bf16",
    "portraits-64:64:32:0:bf16",
    "portraits-64:64:32:8:bf16",
    "stylegan2-f:16:16:0:bf16",
    "stylegan2-f:16:16:0:fp32",
    "stylegan2-f:32:16:0:fp32",
    "stylegan-f:16:16:0:fp32",
    "progan:16:16:0:bf16",
    "msg-stylegan:16:8:0:fp32",
)
COUNT = 64
"""Images of noise."""


def experiment_of(case: str) -> Experiment:
    """The experiment of a case; a growing one stands at full resolution from the start."""
    preset, resolution, batch, micro, precision = case.split(":")
    changes = [f"resolution={resolution}", f"batch={batch}", f"micro_batch={micro}", f"precision={precision}"]
    experiment = presets.get(preset)
    if experiment.growth.mode == "progressive":
        changes += [f"growth.initial_resolution={resolution}"]
    return apply_overrides(experiment, [*changes, "total_kimg=1", "data.held_out=0", "run.swd_images=0"])


def measured(case: str, device: str) -> float:
    """GiB that three steps took, of this process."""
    keep_large_blocks()
    experiment = experiment_of(case)
    trainer = Trainer(experiment, noise_images(experiment, COUNT), device)
    for _ in range(3):
        trainer.step()
        trainer.step_count %= 2  # the first and the third step run the lazy phases
    found = peak_memory_gib(trainer.device)
    assert found is not None
    return found


@dataclass
class MemoryBenchmark(Published):
    """Compare predicted with measured memory."""

    cases: tuple[str, ...] = CASES
    """PRESET:RESOLUTION:BATCH:MICRO_BATCH:PRECISION."""
    only: str | None = None
    """Measure this case in this process, and print its GiB."""

    def run(self) -> dict[str, Any]:
        """Measure all cases; the document that is printed."""
        device = resolve_device(self.device)
        rows = []
        for case in self.cases:
            command = [sys.executable, __file__, "--only", case, "--device", device.type]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            gib = float(done.stdout.strip().splitlines()[-1])
            experiment = experiment_of(case)
            guess = predict(experiment, device.type, COUNT * image_bytes(experiment)).total / 2**30
            rows.append({"case": case, "predicted_gib": guess, "measured_gib": gib, "ratio": guess / gib})
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
        worst = max(abs(row["ratio"] - 1) for row in rows)
        return {"benchmark": "memory", "machine": describe_machine(device), "rows": rows, "worst": worst}


def image_bytes(experiment: Experiment) -> int:
    """Bytes of one decoded image."""
    height, width = experiment.generator.size
    return height * width * experiment.generator.channels


def show(document: dict[str, Any]) -> None:
    """Print the rows."""
    for row in document["rows"]:
        print(
            f"{row['case']:34} {row['predicted_gib']:6.2f} {row['measured_gib']:6.2f} GiB  {row['ratio']:.2f}"
        )
    print(f"worst: {document['worst']:.1%}")


def main() -> None:
    """Parse the command line and measure."""
    benchmark = tyro.cli(MemoryBenchmark)
    if benchmark.only is not None:
        print(measured(benchmark.only, benchmark.device))
        return
    publish("memory", benchmark.run(), benchmark.save, benchmark.json, show)


if __name__ == "__main__":
    torch.set_num_threads(min(torch.get_num_threads(), 2))
    main()
