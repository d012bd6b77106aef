"""The metrics that a run measures of itself, and which of its snapshots is the best."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from styleloom.config import Experiment
from styleloom.data.dataset import ImageDataset
from styleloom.distributed import StoppedError
from styleloom.errors import UserError, printable, shown
from styleloom.metrics.descriptors import MIN_IMAGES
from styleloom.metrics.evaluation.cache import StatisticsCache, cache_folder
from styleloom.metrics.evaluation.collect import FeatureNetworks
from styleloom.metrics.evaluation.definitions import parse_all
from styleloom.metrics.evaluation.measure import errors
from styleloom.metrics.evaluation.metric import Definition
from styleloom.metrics.evaluation.subject import RealImages, Subject
from styleloom.metrics.evaluation.suite import Evaluation
from styleloom.metrics.probes.full_size import measured_at
from styleloom.sampling import Sampler
from styleloom.training.trainer import Trainer
from styleloom.types import GrowthState

logger = logging.getLogger(__name__)

PREFIX = "metrics/"
"""Prefix of the fields of stats.jsonl that hold metrics."""

ERROR_PREFIX = "errors/"
"""Prefix of the standard errors of those metrics that have one."""

SWD_PX = 8
"""Smallest height or width, px, at which a run measures its own SWD: descriptors are 7 x 7 px."""

T = TypeVar("T")


@dataclass(frozen=True)
class Judge:
    """What makes one snapshot better than another.

    Args:
        field: of a line of stats.jsonl.
        sign: 1 where lower is better, -1 where higher is.
    """

    field: str
    sign: int = 1

    def score(self, line: Mapping[str, Any]) -> float:
        """Lower is better; infinity where the line has no value of full size."""
        value = line.get(self.field)
        if value is None or line.get("level") is not None:
            return math.inf
        return self.sign * float(value)


def judge_of(experiment: Experiment) -> Judge:
    """The first metric; the run's own sliced Wasserstein distance where none is measured."""
    if not experiment.run.metrics:
        return Judge("swd")
    (first,) = parse_all(experiment.run.metrics[0])
    return Judge(PREFIX + first.name, -1 if first.metric.better == "higher" else 1)


class RunMetrics:
    """Metrics of a training, against its own training images.

    Args:
        trainer: its EMA of G is measured. The random generators that it draws from stay as they are.
        lines: of stats.jsonl so far.

    Raises UserError for a metric that does not exist, cannot be measured in training, or lacks its weights.
    """

    def __init__(self, trainer: Trainer, lines: Sequence[Mapping[str, Any]]) -> None:
        options = trainer.experiment.run
        self.trainer = trainer
        self.definitions = check_metrics(options.metrics)
        self.judge = judge_of(trainer.experiment)
        self.every = options.metrics_kimg * 1000
        self.evaluation = Evaluation(
            self.definitions, FeatureNetworks(trainer.device), cache=StatisticsCache(cache_folder())
        )
        self.evaluation.check(self._subject(None))
        self._noted: set[str] = set()
        self.measured_at = max((line.get("images_seen", 0) for line in lines if has_metrics(line)), default=0)

    def due(self, complete: bool) -> bool:
        """Whether a multiple of `metrics_kimg` was crossed since the last measurement, or the run is over."""
        seen = self.trainer.images_seen
        crossed = seen // self.every > self.measured_at // self.every
        return bool(self.definitions) and seen > self.measured_at and (complete or crossed)

    def measure(
        self, progress: Callable[[str, int, int], None], stop: Callable[[], bool]
    ) -> dict[str, float]:
        """Every value and its standard error as fields of stats.jsonl. None if `stop` returns true meanwhile,
        and none on processes that do not collect; all share the work.

        A growing run is measured at the size that `run.measure_at` says. Statistics of real images come from
        the user's cache from the second time on.
        """

        processes = self.trainer.processes

        def report(what: str, done: int, total: int) -> None:
            if processes.size == 1 and stop():
                raise StoppedError
            progress(what, done, total)

        self.evaluation.progress = report
        self.evaluation.processes = replace(processes, interrupted=stop)
        when = f"at {self.trainer.images_seen / 1000:g} kimg"
        try:
            document = measured_or_reported(
                f"no metrics {when}", lambda: self.evaluation.run(self._subject(self.trainer.growth))
            )
        except StoppedError:
            return {}
        self.measured_at = self.trainer.images_seen
        if not document:
            return {}
        for name, reason in errors(document).items():
            logger.warning(f"no {name} {when}: {reason}")
        for name, entry in document["metrics"].items():
            if "note" in entry and name not in self._noted:
                self._noted.add(name)
                logger.info(f"{name}: {entry['note']}")
        found: dict[str, float] = {}
        for entry in document["metrics"].values():
            for label, value in entry["values"].items():
                found[PREFIX + label] = value["mean"]
                if value["standard_errors"][0] is not None:
                    found[ERROR_PREFIX + label] = value["standard_errors"][0]
        return found

    def _subject(self, growth: GrowthState | None) -> Subject:
        """The EMA of the generator as it is now, and the training images at the size of its images."""
        trainer, experiment = self.trainer, self.trainer.experiment
        sampler = measured_at(Sampler(trainer.ema, experiment, growth), experiment.run.measure_at)
        reals = trainer.inputs.train_set.at(sampler.resolution, trainer.inputs.cache_bytes)
        return Subject(
            "the averaged generator",
            {"kind": "training", "images_seen": trainer.images_seen},
            sampler,
            RealImages(reals, experiment.data.mirror == "horizontal"),
        )


def measured_or_reported(what_is_missing: str, measure: Callable[[], T]) -> T | None:
    """measure(), or None where it fails for whatever reason: the failure is logged, and the training goes
    on."""
    try:
        return measure()
    except StoppedError:
        raise
    except Exception as error:
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        logger.warning(f"{what_is_missing}: {printable(reason)}")
        return None


def check_distance(experiment: Experiment, dataset: ImageDataset) -> None:
    """Raise UserError where a run's own sliced Wasserstein distance could not be measured."""
    asked = experiment.run.swd_images
    available = experiment.data.held_out or len(dataset)
    height, width = experiment.generator.size
    problem = ""
    if not asked:
        return
    if asked < MIN_IMAGES:
        problem = f"run.swd_images: {asked} is not valid; valid: {MIN_IMAGES} or more"
    elif available < MIN_IMAGES:
        held_out = experiment.data.held_out
        what = f"data.held_out is {held_out}" if held_out else f"{shown(dataset.name)} has {available}"
        problem = f"run.swd_images: needs {MIN_IMAGES} images to compare with, {what}; valid: more images"
    elif min(height, width) < SWD_PX:
        problem = (
            f"run.swd_images: images of {width}x{height} px are too small to be compared; valid: {SWD_PX} px "
            "or more a side"
        )
    if problem:
        raise UserError(f"{problem}, or no distance, with --set run.swd_images=0")


def check_metrics(names: Sequence[str]) -> tuple[Definition, ...]:
    """The metrics of a run. Raises UserError for one that does not exist or that training cannot measure."""
    definitions = parse_all(",".join(names)) if names else ()
    for d in definitions:
        if not d.metric.in_training:
            raise UserError(
                f"run.metrics: {d.name} cannot be measured in training; measure it afterwards with "
                "`styleloom evaluate`"
            )
    if definitions and definitions[0].metric.better is None:
        raise UserError(
            f"run.metrics: {definitions[0].name} does not say which values are better; the first metric "
            "picks the best snapshot, name another one first"
        )
    return definitions


def has_metrics(line: Mapping[str, Any]) -> bool:
    """Whether a line of stats.jsonl holds metrics."""
    return any(name.startswith(PREFIX) for name in line)
