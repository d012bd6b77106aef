"""Does bfloat16 learn as well as float32? Writes results/precision.md.

    python studies/precision.py --kimg 40 --seeds 0 1 2

The same training in both precisions, several seeds each; the sliced Wasserstein distance (SWD) of the EMA of
the generator to held-out real images after the same number of images. bfloat16 passes when its mean is
not worse than float32's by more than the spread between seeds.
"""

from __future__ import annotations

import datetime
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import torch
import tyro

sys.path.insert(0, str(Path(__file__).parent))

from styleloom import presets
from styleloom.atomic import write_text
from styleloom.config.experiment import Precision
from styleloom.data.dataset import open_dataset
from styleloom.environment import describe_machine
from styleloom.runs.fit import run_swd
from styleloom.training.trainer import Trainer

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")


@dataclass
class PrecisionStudy:
    """Train in both precisions and compare."""

    preset: str = "demo"
    """What to train, on the embedded emoji."""
    kimg: float = 40.0
    """Thousands of images per training."""
    points: int = 4
    """Measurements of each training, the last at the end."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One training each, in each precision."""
    threads: int = 1
    """CPU threads per training."""
    at_once: int = 2
    """Trainings at the same time."""
    out: Path = Path("results/precision.md")
    """The report."""


@dataclass(frozen=True)
class Outcome:
    """One training: SWD after each of some numbers of images, and its time."""

    precision: Precision
    seed: int
    swd: dict[float, float]
    seconds: float


def train(options: PrecisionStudy, precision: Precision, seed: int) -> Outcome:
    """One training with its measurements."""
    torch.set_num_threads(options.threads)
    experiment = replace(presets.get(options.preset), precision=precision, seed=seed)
    trainer = Trainer(experiment, open_dataset("emoji", experiment.resolution))
    swd: dict[float, float] = {}
    began = time.monotonic()
    for point in range(1, options.points + 1):
        kimg = options.kimg * point / options.points
        while trainer.images_seen < kimg * 1000:
            trainer.step()
        swd[kimg] = run_swd(trainer, len(trainer.inputs.evaluation_set)).average
        print(f"{precision} seed {seed}: {kimg:g} kimg, SWD {swd[kimg]:.1f}", file=sys.stderr, flush=True)
    return Outcome(precision, seed, swd, time.monotonic() - began)


def report(options: PrecisionStudy, outcomes: list[Outcome]) -> str:
    """The outcomes as a page."""
    experiment = presets.get(options.preset)
    kimgs = list(outcomes[0].swd)
    lines = [
        "# Does bfloat16 learn as well as float32?",
        "",
        f"{datetime.date.today().isoformat()}; {describe_machine(torch.device('cpu'))}; "
        f"preset `{options.preset}` ({experiment.resolution} px, batch {int(experiment.batch.base)}), "
        f"embedded emoji, {experiment.data.held_out} images held out; "
        f"{options.threads} thread(s) per training, {options.at_once} trainings at once.",
        "",
        "Sliced Wasserstein distance of the averaged generator to the held-out images; lower is better.",
        "",
        f"| precision | seed | {' | '.join(f'{k:g} kimg' for k in kimgs)} | seconds |",
        f"|---|---|{'---|' * len(kimgs)}---|",
    ]
    for o in outcomes:
        cells = " | ".join(f"{o.swd[k]:.1f}" for k in kimgs)
        lines.append(f"| {o.precision} | {o.seed} | {cells} | {o.seconds:.0f} |")
    means = {
        p: [statistics.mean(o.swd[k] for o in outcomes if o.precision == p) for k in kimgs]
        for p in PRECISIONS
    }
    for p in PRECISIONS:
        lines.append(f"| **{p}** | mean | {' | '.join(f'**{m:.1f}**' for m in means[p])} | |")
    ends = {p: [o.swd[kimgs[-1]] for o in outcomes if o.precision == p] for p in PRECISIONS}
    spread = max(statistics.stdev(values) if len(values) > 1 else 0.0 for values in ends.values())
    difference = means["bf16"][-1] - means["fp32"][-1]
    passes = difference <= spread
    lines += [
        "",
        f"At the end bf16 is at {means['bf16'][-1]:.1f} and fp32 at {means['fp32'][-1]:.1f}: a difference of "
        f"{difference:+.1f}, where seeds of one precision differ by {spread:.1f} (standard deviation). "
        + (
            "bf16 learns as well: it is the default on processors that have it."
            if passes
            else "bf16 learns worse: it must not be the default."
        ),
        "",
        f"Command: `python studies/precision.py --preset {options.preset} --kimg {options.kimg:g} "
        f"--seeds {' '.join(map(str, options.seeds))}`.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    chosen = tyro.cli(PrecisionStudy)
    jobs: list[tuple[Precision, int]] = [(p, s) for s in chosen.seeds for p in PRECISIONS]
    with ProcessPoolExecutor(chosen.at_once, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(train, chosen, p, s) for p, s in jobs]
        results = sorted((f.result() for f in futures), key=lambda o: (o.precision, o.seed))
    page = report(chosen, results)
    write_text(chosen.out, page)
    print(page)
