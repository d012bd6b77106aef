"""The loop around `Trainer.step`: ticks, pictures, snapshots, states, interruption and resume."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from styleloom.config import Experiment, from_json
from styleloom.data.dataset import PRELOAD_BUDGET_BYTES, ImageDataset
from styleloom.data.reals import to_uint8
from styleloom.errors import UserError, note, shown
from styleloom.layers.growing import repeat_to
from styleloom.metrics.swd import SWD, sliced_wasserstein
from styleloom.networks.assembly import StyleGenerator
from styleloom.sampling import Sampler, grid
from styleloom.training.events import EventWriter
from styleloom.training.phases import Stats
from styleloom.training.run_dir import RunDirectory, check_changes
from styleloom.training.run_metrics import (
    PREFIX,
    SWD_PX,
    RunMetrics,
    attempt,
    check_distance,
    has_metrics,
)
from styleloom.training.trainer import Trainer
from styleloom.types import GrowthState

SHEET_PX = (1536, 1024)
"""Width and height that a sample grid may fill; 4 x 2 images at least, 16 x 8 at most."""

Report = Callable[[dict[str, Any]], None]


class StopRequest:
    """Turns Ctrl-C and SIGTERM into a request to save and end; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._previous[number] = signal.signal(number, self._handle)
            except ValueError:  # not the main thread: the caller's own handlers stay
                break
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True


def start(
    path: Path | str,
    experiment: Experiment,
    dataset: ImageDataset,
    device: str = "auto",
    workers: int = 1,
    cache_gib: float = PRELOAD_BUDGET_BYTES / 2**30,
) -> tuple[Trainer, RunDirectory]:
    """A new run with its first state, so that it can be resumed from the first moment."""
    RunDirectory(path).check_free()
    check_distance(experiment, dataset)
    trainer = Trainer(experiment, dataset, device, workers, cache_gib)
    _check_metrics(trainer)
    run = RunDirectory.create(path)
    try:
        columns, rows = sheet_shape(trainer.experiment.generator.size)
        first = trainer.dataset.images(torch.arange(min(columns * rows, len(dataset))).numpy())
        run.save_image("reals", grid(torch.from_numpy(first), columns))
        save_state(trainer, run)
        run.write_experiment(trainer.experiment, trainer.data_record())  # last: this makes it a run
    except BaseException:
        trainer.close()
        run.discard()
        raise
    return trainer, run


def resume(
    path: Path | str,
    dataset: ImageDataset,
    requested: Experiment | None = None,
    allowed: list[str] | None = None,
    device: str = "auto",
    workers: int = 1,
    cache_gib: float = PRELOAD_BUDGET_BYTES / 2**30,
) -> tuple[Trainer, RunDirectory]:
    """Continue a run from its latest complete state.

    Args:
        path: of the run.
        dataset: the same images as before.
        requested: the experiment to continue with; by default what experiment.json says. Differences from
            the state's are refused unless `allowed` names them ("data" allows other images).
        allowed: dotted names of fields that may differ.
    """
    run, allowed = RunDirectory(path), allowed or []
    written, _ = run.read_experiment()
    tensors, document = run.load_state()
    recorded = from_json(document["experiment"])
    check_changes(recorded, requested or written, allowed)
    check_distance(requested or written, dataset)
    trainer = Trainer(requested or written, dataset, device, workers, cache_gib)
    data = trainer.data_record()
    if data["fingerprint"] != document["data"]["fingerprint"] and "data" not in allowed:
        raise UserError(
            f"data: the run was trained on {document['data']['name']} ({document['data']['count']} images), "
            f"{data['name']} has other content; to continue with it add --allow-change data"
        )
    if trainer.device.type != document["counters"]["device"]:
        was = document["counters"]["device"]
        note(f"the run was on {shown(was)}, it continues on {trainer.device.type}: not bit for bit")
    _check_metrics(trainer)
    trainer.load_state(tensors, document)
    run.remove_partial_files()
    run.rewind_stats(trainer.step_count)
    run.write_experiment(trainer.experiment, data)
    return trainer, run


def _check_metrics(trainer: Trainer) -> None:
    """Raise UserError for what cannot be measured, before there is a run or a file of it changes."""
    try:
        RunMetrics(trainer, [])
    except UserError as error:
        trainer.close()
        raise UserError(f"{error}\n  other metrics: --metrics NAMES; none: --set run.metrics=") from error


def save_state(trainer: Trainer, run: RunDirectory) -> None:
    """Write everything that exact resume needs."""
    tensors, document = trainer.state()
    run.save_state(trainer.step_count, tensors, document, trainer.experiment.run.keep_states)


def fit(
    trainer: Trainer, run: RunDirectory, report: Report | None = None, max_minutes: float = math.inf
) -> bool:
    """Train until the experiment's `total_kimg`, a stop request or `max_minutes`.

    Whatever the reason, a complete state and a snapshot are saved at the end.

    Args:
        report: called after every step with {"images_seen", "images_per_sec"}, after every tick with the
            line of stats.jsonl besides.

    Returns:
        Whether the experiment is complete.
    """
    total = trainer.experiment.total_kimg * 1000
    deadline = time.monotonic() + max_minutes * 60
    with StopRequest() as stop, EventWriter(run.path, trainer.images_seen) as events:
        loop = _Loop(trainer, run, report or (lambda line: None), lambda: stop.requested)
        if trainer.step_count == 0:
            loop.pictures()
        while trainer.images_seen < total:
            try:
                loop.step()
            except UserError:  # between steps: everything is as after the last complete one
                if loop.sums:
                    events.write(loop.tick(last=True), trainer.images_seen)
                else:
                    save_state(trainer, run)
                raise
            done = trainer.images_seen >= total
            last = done or stop.requested or time.monotonic() > deadline
            if last or loop.due():
                events.write(loop.tick(last, done), trainer.images_seen)
            if last:
                return done
    return True


class _Loop:
    """Clock and accumulated statistics between ticks."""

    def __init__(
        self,
        trainer: Trainer,
        run: RunDirectory,
        report: Report,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.trainer, self.run, self.report, self.stopping = trainer, run, report, stopping
        self.sums: dict[str, list[Tensor]] = defaultdict(list)
        lines = run.read_stats()
        self.ticks = lines[-1]["tick"] + 1 if lines else 0
        self.metrics = RunMetrics(trainer, lines)
        self.best = min((self.metrics.judge.score(line) for line in lines), default=math.inf)
        self.seconds_before = lines[-1]["sec_total"] if lines else 0.0
        self.began = time.monotonic()
        self.images_before = trainer.images_seen
        self._reset()

    def _reset(self) -> None:
        self.tick_began, self.tick_images = time.monotonic(), self.trainer.images_seen
        self.sums.clear()

    def step(self) -> None:
        self.images_before = self.trainer.images_seen
        stats: Stats = self.trainer.step()
        for name, value in stats.items():
            self.sums[name].append(value)
        growth = self.trainer.growth
        self.report(
            {
                "images_seen": self.trainer.images_seen,
                "images_per_sec": self.images_per_sec(),
                "level": None if growth is None else growth.level,
            }
        )

    def images_per_sec(self) -> float:
        elapsed = time.monotonic() - self.tick_began
        return (self.trainer.images_seen - self.tick_images) / max(elapsed, 1e-9)

    def due(self, ticks: int = 1) -> bool:
        """Whether the last step crossed a multiple of so many ticks.

        A function of images seen alone, so that an interruption moves nothing.
        """
        trainer = self.trainer
        resolution = trainer.current_resolution(trainer.images_seen)
        every = trainer.experiment.run.tick_kimg(resolution) * 1000 * ticks
        return trainer.images_seen // every > self.images_before // every

    def tick(self, last: bool, complete: bool = False) -> dict[str, Any]:
        """Record statistics; save pictures, metrics, snapshot and state when they are due."""
        trainer, run, options = self.trainer, self.run, self.trainer.experiment.run
        line: dict[str, Any] = {
            "tick": self.ticks,
            "step": trainer.step_count,
            "images_seen": trainer.images_seen,
            "kimg": trainer.images_seen / 1000,
            "images_per_sec": self.images_per_sec(),
            "sec_total": self.seconds_before + time.monotonic() - self.began,
            "memory_gib": peak_memory_gib(trainer.device),
            "level": None if trainer.growth is None else trainer.growth.level,
            "alpha": None if trainer.growth is None else trainer.growth.alpha,
            "skipped_g": trainer.skipped["g"],
            "skipped_d": trainer.skipped["d"],
        }
        for name, values in sorted(self.sums.items()):
            line[name] = _finite(torch.stack([v.float() for v in values]).mean().item())
        if last or self.due(options.sample_every):
            self.pictures()
        if self.metrics.due(complete):
            line |= self.metrics.measure(self.measuring, self.stopping)
        if last or self.due(options.snapshot_every) or has_metrics(line):
            self.snapshot(line)
        run.append_stats(line)
        if last or self.due(options.state_every):
            save_state(trainer, run)
        self.report(line)
        self.ticks += 1
        self._reset()
        return line

    def pictures(self) -> None:
        """Grids at fixed latents, of the raw and of the averaged generator."""
        trainer = self.trainer
        size = trainer.experiment.generator.size
        columns, rows = sheet_shape(size)
        name = f"{trainer.images_seen // 1000:06d}"
        psi = trainer.experiment.run.sample_truncation
        for kind, generator in (("raw", trainer.g), ("ema", trainer.ema)):
            images = samples(generator, trainer.experiment, columns * rows, psi, trainer.growth)
            if images.shape[2:] != size:  # pictures of a growing run keep one size
                images = F.interpolate(images, size, mode="nearest")
            self.run.save_image(f"fakes-{kind}-{name}", grid(images, columns))

    def measuring(self, what: str, done: int, total: int) -> None:
        """Tell how far a metric is."""
        seen = self.trainer.images_seen
        self.report({"images_seen": seen, "images_per_sec": 0.0, "measuring": (what, done, total)})

    def snapshot(self, line: dict[str, Any]) -> None:
        """Save the averaged generator with what `line` says of it; with `swd_images`, measure that as well.

        The best one, among those of full size, is kept besides.
        """
        trainer, options = self.trainer, self.trainer.experiment.run
        info: dict[str, Any] = {"images_seen": trainer.images_seen, "data": trainer.data_record()}
        info |= {name: value for name, value in line.items() if name.startswith(PREFIX)}
        line["swd"] = None
        if options.swd_images and min(swd_reals(trainer).size) >= SWD_PX:
            missing = f"no sliced Wasserstein distance at {trainer.images_seen / 1000:g} kimg"
            distance = attempt(missing, lambda: run_swd(trainer, options.swd_images).average)
            if distance is not None:
                line["swd"] = info["swd"] = _finite(distance)
        score = self.metrics.judge.score(line)
        if score < self.best:
            self.best = score
            self.run.save_best(trainer.ema, trainer.experiment, info)
        self.run.save_snapshot(trainer.ema, trainer.experiment, info, options.keep_snapshots)


def sheet_shape(size: tuple[int, int]) -> tuple[int, int]:
    """Columns and rows of a sample grid for images of `size`, height and width in px."""
    columns, rows = SHEET_PX[0] // size[1], SHEET_PX[1] // size[0]
    return min(max(columns, 4), 16), min(max(rows, 2), 8)


def samples(
    generator: StyleGenerator,
    experiment: Experiment,
    count: int,
    psi: float = 1.0,
    growth: GrowthState | None = None,
) -> Tensor:
    """Images of seeds 0 to count-1, class i modulo the number of classes: uint8 [N, C, H, W] on the CPU.

    In a growing run they have the size of the active level.
    """
    dim = generator.label_dim
    sampler = Sampler(generator, experiment, growth)
    classes = [i % dim for i in range(count)] if dim else None
    return to_uint8(sampler.generate(range(count), psi, classes=classes)).cpu()


def run_swd(trainer: Trainer, count: int) -> SWD:
    """Sliced Wasserstein distance of the averaged generator to the run's evaluation images.

    In a growing run both have the size that `run.measure_at` says.
    """
    reals = swd_reals(trainer)
    count = min(count, len(reals))
    images = torch.from_numpy(reals.images(torch.arange(count).numpy()))
    fakes = samples(trainer.ema, trainer.experiment, count, growth=trainer.growth)
    return sliced_wasserstein(images, repeat_to(fakes, reals.size), grid=reals.grid)


def swd_reals(trainer: Trainer) -> ImageDataset:
    """The evaluation images at the size that the run's own distance is measured at now."""
    if trainer.experiment.run.measure_at == "full":
        return trainer.evaluation_set
    return trainer.evaluation_set.at(trainer.current_resolution(trainer.images_seen))


def peak_memory_gib(device: torch.device) -> float | None:
    """Peak memory of the device, on the CPU of the process, in GiB; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    if sys.platform == "win32":
        return None
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def _finite(value: float) -> float | None:
    """JSON knows no NaN."""
    return value if math.isfinite(value) else None


__all__ = ["Report", "StopRequest", "fit", "resume", "run_swd", "samples", "save_state", "start"]
