"""The loop around `Trainer.step`: ticks, pictures, snapshots, states, interruption."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from styleloom.config import Experiment
from styleloom.data.dataset import ImageDataset
from styleloom.diagnosis import Watch
from styleloom.errors import UserError
from styleloom.images import grid
from styleloom.layers.growing import repeat_to
from styleloom.metrics.descriptors import Patches
from styleloom.metrics.swd import SWD, sliced_wasserstein
from styleloom.runs import lock
from styleloom.runs.begin import resume, save_state, start
from styleloom.runs.directory import InTraining, RunDirectory
from styleloom.runs.events import EventWriter
from styleloom.runs.metrics import PREFIX, SWD_PX, RunMetrics, has_metrics, measured_or_reported
from styleloom.runs.pictures import sample_labels, samples, sheet_shape
from styleloom.runs.profile import recorded
from styleloom.runs.records import step_of
from styleloom.runs.sessions import record_session
from styleloom.runs.stopping import StopRequest
from styleloom.snapshot_names import BEST
from styleloom.training import signals
from styleloom.training.health import DivergedError, complaint
from styleloom.training.phases import Stats
from styleloom.training.trainer import Trainer

logger = logging.getLogger(__name__)

Report = Callable[[dict[str, Any]], None]


def fit(
    trainer: Trainer,
    run: RunDirectory,
    report: Report | None = None,
    max_minutes: float = math.inf,
    stop: StopRequest | None = None,
    profile_steps: int | None = None,
) -> bool:
    """Train until the experiment's `total_kimg`, a stop request or `max_minutes`.

    At the end a complete state and a snapshot are saved, unless the training has diverged: then the error
    says how to continue from an earlier state. Of processes that train together, the first one writes, and
    what one of them is asked or cannot do, such as to stop, all do after the same step.

    Args:
        report: called after every step with {"images_seen", "images_per_sec", "level"}, after every tick with
            the line of stats.jsonl, and during a measurement with {"measuring": (what, done, total), ...}.
        stop: set by SIGINT, SIGTERM and SIGHUP; a caller can set it to end the training, and read it
            afterwards.
        profile_steps: how many steps the profiler records, see `runs/profile.py`.

    Returns:
        Whether the experiment is complete.
    """
    stop = StopRequest() if stop is None else stop
    deadline = time.monotonic() + max_minutes * 60
    writes = trainer.processes.collects
    with contextlib.ExitStack() as undo:
        if writes:
            lock.lock(run.path)
            undo.callback(lock.unlock, run.path)
            record_session(run.path, trainer)
        undo.enter_context(stop)
        events = undo.enter_context(EventWriter(run.path if writes else None, trainer.images_seen))
        steps = profile_steps if writes else None
        after_step = undo.enter_context(recorded(trainer, run.path, steps))
        loop = _Loop(trainer, run, report or (lambda line: None), lambda: stop.requested, after_step)
        return _train(loop, events, deadline)


def _train(loop: _Loop, events: EventWriter, deadline: float) -> bool:
    trainer, processes = loop.trainer, loop.processes
    total = trainer.experiment.total_kimg * 1000
    if trainer.step_count == 0:
        loop.write(loop.pictures)
    while trainer.images_seen < total:
        try:
            loop.step()
        except DivergedError as error:
            if loop.sums:
                loop.tell(events, loop.record(loop.line(), with_state=False))
            told = way_back(loop.run, trainer.experiment, error) if processes.collects else ""
            raise DivergedError(processes.agree(told)) from error
        except UserError:  # between steps: everything is as after the last complete one
            if loop.sums:
                loop.tell(events, loop.tick(last=True))
            else:
                save_state(trainer, loop.run)
            raise
        done = trainer.images_seen >= total
        last = done or processes.any(loop.stopping() or time.monotonic() > deadline)
        if last or loop.due():
            loop.tell(events, loop.tick(last, done))
        if last:
            return done
    return True


def way_back(run: RunDirectory, experiment: Experiment, error: DivergedError) -> str:
    """The error of a diverged training, with the command that continues from its last healthy state."""
    state = run.healthy_state()
    if state is None:
        return f"{error}. No state of this run is healthy: start a new one with a lower learning rate"
    fp32 = (
        "" if experiment.precision == "fp32" else "; or in float32: --precision fp32 --allow-change precision"
    )
    return (
        f"{error}. Continue from step {step_of(state)}, the run's last healthy state, with a learning rate "
        f"LOWER than {experiment.learning_rate.base:g}: {run.command(state)} --set learning_rate=LOWER "
        f"--allow-change learning_rate; or with another gamma: --set d_regularizer.gamma=... --allow-change "
        f"d_regularizer.gamma{fp32}"
    )


class _Loop:
    """Clock and accumulated statistics between ticks."""

    def __init__(
        self,
        trainer: Trainer,
        run: RunDirectory,
        report: Report,
        stopping: Callable[[], bool] = lambda: False,
        after_step: Callable[[], None] = lambda: None,
    ) -> None:
        self.trainer, self.run, self.stopping, self.after_step = trainer, run, stopping, after_step
        self.processes = trainer.processes
        self._report = report
        self.sums: dict[str, list[Tensor]] = defaultdict(list)
        lines = self.processes.agree(run.stats.read() if self.processes.collects else [])
        self.ticks = max((line.get("tick", 0) for line in lines), default=-1) + 1
        self.metrics = RunMetrics(trainer, lines)
        known = lines if self.processes.agree((run.path / BEST).exists()) else []
        self.watch = Watch(trainer.experiment, lines, self.metrics.judge.score)
        self.best = min((self.metrics.judge.score(line) for line in known), default=math.inf)
        self.seconds_before = lines[-1].get("sec_total", 0.0) if lines else 0.0
        self.began = time.monotonic()
        self.images_before = trainer.images_seen
        self._reset()

    def _reset(self) -> None:
        self.tick_began, self.tick_images = time.monotonic(), self.trainer.images_seen
        self.tick_steps = self.trainer.step_count
        self.sums.clear()
        self.trainer.clock.reset()

    def report(self, line: dict[str, Any]) -> None:
        """Show a line. A closed terminal, as after SIGHUP, does not end the training."""
        with contextlib.suppress(OSError):
            self._report(line)

    def step(self) -> None:
        self.images_before = self.trainer.images_seen
        stats: Stats = self.trainer.step()
        self.after_step()
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
        """Whether images seen crossed a multiple of `ticks` ticks in the last step.

        It depends on images seen only, so that a resumed run has its ticks where an uninterrupted one has.
        """
        trainer = self.trainer
        resolution = trainer.current_resolution(trainer.images_seen)
        every = trainer.experiment.run.tick_kimg(resolution) * 1000 * ticks
        return trainer.images_seen // every > self.images_before // every

    def line(self) -> dict[str, Any]:
        """What stats.jsonl says of the steps since the last tick.

        Learning rates are those of the last step, with the correction for lazy regularization; the batch and
        the seconds of phases are means over steps.
        """
        trainer = self.trainer
        images, steps = trainer.images_seen - self.tick_images, trainer.step_count - self.tick_steps
        line: dict[str, Any] = {
            "tick": self.ticks,
            "step": trainer.step_count,
            "images_seen": trainer.images_seen,
            "kimg": trainer.images_seen / 1000,
            "images_per_sec": self.images_per_sec(),
            "sec_total": self.seconds_before + time.monotonic() - self.began,
            "lr_g": trainer.opt_g.param_groups[0]["lr"],
            "lr_d": trainer.opt_d.param_groups[0]["lr"],
            "batch": images / max(steps, 1),
            **trainer.clock.read(),
            "memory_gib": peak_memory_gib(trainer.device),
            "level": None if trainer.growth is None else trainer.growth.level,
            "alpha": None if trainer.growth is None else trainer.growth.alpha,
            "skipped_g": trainer.skipped["g"],
            "skipped_d": trainer.skipped["d"],
            **{name: _finite(value) for name, value in signals.at_a_tick(trainer).items()},
        }
        for name, values in sorted(self.sums.items()):
            line[name] = _finite(torch.stack([v.float() for v in values]).mean().item())
        return line | signals.overfitting(line)

    def tick(self, last: bool, complete: bool = False) -> dict[str, Any]:
        """Record statistics; save pictures, metrics, snapshot and state when they are due."""
        options = self.trainer.experiment.run
        line = self.line()
        if last or self.due(options.sample_every):
            self.write(self.pictures)
        if self.metrics.due(complete):
            line |= self.metrics.measure(self.measuring, self.stopping)
        if last or self.due(options.snapshot_every) or has_metrics(line):
            self.write(lambda: self.snapshot(line))
        return self.record(line, last or self.due(options.state_every))

    def write(self, what: Callable[[], object]) -> None:
        """Let the first process write; where it cannot, all raise its UserError."""
        with self.processes.together():
            if self.processes.collects:
                what()

    def record(self, line: dict[str, Any], with_state: bool) -> dict[str, Any]:
        """Append a line to stats.jsonl, save a state if asked to, and begin the next line."""
        self.write(lambda: self.run.stats.append(line))
        if with_state:
            save_state(self.trainer, self.run)
        self.report(line)
        for finding in self.watch.take(line):
            logger.warning(f"at {line['kimg']:g} kimg: {finding.sentence()}")
        self.ticks += 1
        self._reset()
        return line

    def tell(self, events: EventWriter, line: dict[str, Any]) -> None:
        """Write a line of stats.jsonl for TensorBoard."""
        self.write(lambda: events.write(line, self.trainer.images_seen))

    def pictures(self) -> None:
        """Save grids of images of fixed latents, from the generator and from its EMA."""
        trainer = self.trainer
        size = trainer.experiment.generator.size
        columns, rows = sheet_shape(size)
        name = f"{trainer.images_seen // 1000:06d}"
        psi = trainer.experiment.run.sample_truncation
        count = columns * rows
        label = sample_labels(trainer.inputs.evaluation_set, trainer.g.label_dim, count)
        for kind, generator in (("raw", trainer.g), ("ema", trainer.ema)):
            images = samples(generator, trainer.experiment, count, psi, trainer.growth, label)
            if images.shape[2:] != size:  # pictures of a growing run keep one size
                images = F.interpolate(images, size, mode="nearest")
            self.run.save_image(f"fakes-{kind}-{name}", grid(images, columns))

    def measuring(self, what: str, done: int, total: int) -> None:
        """Report the progress of a metric."""
        seen = self.trainer.images_seen
        self.report({"images_seen": seen, "images_per_sec": 0.0, "measuring": (what, done, total)})

    def snapshot(self, line: dict[str, Any]) -> None:
        """Save the EMA of the generator with the metrics in `line`, and measure SWD if `run.swd_images` > 0.

        The best snapshot is kept as well; it is one of full resolution.
        """
        trainer, options = self.trainer, self.trainer.experiment.run
        info: dict[str, Any] = {"images_seen": trainer.images_seen, "data": trainer.inputs.record()}
        info |= {name: value for name, value in line.items() if name.startswith(PREFIX)}
        if trainer.init is not None:
            info["init"] = trainer.init
        line["swd"] = None
        if options.swd_images and min(swd_reals(trainer).size) >= SWD_PX:
            missing = f"no sliced Wasserstein distance at {trainer.images_seen / 1000:g} kimg"
            distance = measured_or_reported(missing, lambda: run_swd(trainer, options.swd_images).average)
            if distance is not None:
                line["swd"] = info["swd"] = _finite(distance)
        wrong = complaint(trainer)
        if wrong is not None:
            info["complaint"] = wrong
        in_training: InTraining = (None, None)
        if options.keep == "full":
            in_training, info["path_mean"] = (trainer.g, trainer.d), float(trainer.path_mean)
        score = self.metrics.judge.score(line)
        if score < self.best:
            self.best = score
            self.run.save_best(trainer.ema, trainer.experiment, info, in_training)
        self.run.save_snapshot(trainer.ema, trainer.experiment, info, options.keep_snapshots, in_training)


def run_swd(trainer: Trainer, count: int) -> SWD:
    """Sliced Wasserstein distance of the generator's EMA to the run's evaluation images.

    In a growing run both have the size that `run.measure_at` says.
    """
    reals = swd_reals(trainer)
    count = min(count, len(reals))
    images = torch.from_numpy(reals.images(torch.arange(count).numpy()))
    label = sample_labels(reals, trainer.ema.label_dim, count)
    fakes = samples(trainer.ema, trainer.experiment, count, 1.0, trainer.growth, label)
    return sliced_wasserstein(images, repeat_to(fakes, reals.size), Patches(grid=reals.grid))


def swd_reals(trainer: Trainer) -> ImageDataset:
    """The evaluation images at the size that the run's own distance is measured at now."""
    if trainer.experiment.run.measure_at == "full":
        return trainer.inputs.evaluation_set
    return trainer.inputs.evaluation_set.at(trainer.current_resolution(trainer.images_seen))


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
