"""Evaluations: metrics by name, with repeats, and a record from which each can be done again."""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, get_args

from styleloom import environment
from styleloom.distributed import Processes
from styleloom.errors import UserError
from styleloom.metrics.classifiers.classifier import Classifier
from styleloom.metrics.evaluation.cache import StatisticsCache
from styleloom.metrics.evaluation.collect import Collector, FeatureNetworks, Progress
from styleloom.metrics.evaluation.image_sets import Choice, ImageSet, first_seed
from styleloom.metrics.evaluation.measure import Measure, UnmeasurableError, attempt, errors
from styleloom.metrics.evaluation.metric import Definition
from styleloom.metrics.evaluation.probe_metric import Probe, ProbeMetric
from styleloom.metrics.evaluation.set_metric import Plan, SetMetric
from styleloom.metrics.evaluation.statistics import RealStatistics
from styleloom.metrics.evaluation.subject import Subject
from styleloom.metrics.intervals import summarize
from styleloom.precision import full_precision
from styleloom.sampling import Sampler

FORMAT, VERSION = "styleloom-evaluation", 1


@dataclass
class Evaluation:
    """Metrics, and what is needed to measure them.

    Args:
        definitions: the metrics.
        networks: where features and distances come from.
        classifiers: of linear separability.
        cache: of statistics of real images.
        processes: that share the work.
        seed: of latents and subsets.
        batch: images at once; None for a batch that suits their size. It changes results by rounding alone.
        progress: told what is being done.
    """

    definitions: Sequence[Definition]
    networks: FeatureNetworks
    classifiers: Sequence[Classifier] = ()
    cache: StatisticsCache = field(default_factory=lambda: StatisticsCache(None))
    processes: Processes = field(default_factory=Processes)
    seed: int = 0
    batch: int | None = None
    progress: Progress = lambda what, done, total: None

    def run(self, subject: Subject, repeats: int = 1) -> dict[str, Any]:
        """Measure everything `repeats` times, each with latents of its own.

        Returns the evaluation as a JSON document; on processes that do not collect, an empty one. A metric
        that fails on the way, because of NaN, say, has no values there but an "error".

        Raises UserError, before anything is computed, for a metric that cannot be measured on this subject.
        """
        if repeats < 1 or (repeats > 1 and not subject.is_generator):
            valid = (
                "1 or more" if subject.is_generator else f"1, the images of {subject.name} are what they are"
            )
            raise UserError(f"repeats: {repeats} is not valid; valid: {valid}")
        plans = self.check(subject)
        began = time.monotonic()
        generator = [subject.source.generator] if isinstance(subject.source, Sampler) else []
        with contextlib.ExitStack() as open_files, full_precision(*generator):
            collector = Collector(self.networks, self.processes, self.batch, self.progress)
            reals = (
                None
                if subject.reals is None
                else RealStatistics(subject.reals, collector, self.cache, open_files)
            )
            measures = [self._repeat(subject, repeat, plans, collector, reals) for repeat in range(repeats)]
        if not self.processes.collects:
            return {}
        document = self._document(subject, len(measures), time.monotonic() - began)
        for d in self.definitions:
            entry = self._entry(d, [m[d.name] for m in measures])
            if d.name in plans:
                entry |= self._images_record(d, plans[d.name], reals)
            document["metrics"][d.name] = entry
        return document

    # ---- what can be measured

    def check(self, subject: Subject) -> dict[str, Plan]:
        """What is collected for each metric of sets, by name. Raises UserError for any metric that cannot be
        measured: too few images, sizes that differ, weights or classifiers that are not there."""
        plans = {
            d.name: d.metric.plan(d, subject) for d in self.definitions if isinstance(d.metric, SetMetric)
        }
        for d in self.definitions:
            d.metric.check(d, subject, self.networks, self.classifiers)
        return plans

    # ---- measuring

    def _repeat(
        self,
        subject: Subject,
        repeat: int,
        plans: Mapping[str, Plan],
        collector: Collector,
        reals: RealStatistics | None,
    ) -> dict[str, Measure]:
        """One measurement of every metric; empty on processes that do not collect."""
        seed = first_seed(self.seed, repeat)
        found: dict[str, Measure] = {}
        compared = [d for d in self.definitions if d.name in plans]
        for latents in sorted({d.latents for d in compared}):
            group = [d for d in compared if d.latents == latents]
            if reals is not None:
                for choice in get_args(Choice):
                    wants = [plans[d.name].reals for d in group if d.choice == choice]
                    reals.prepare(choice, {want for want in wants if want is not None})
            found |= self._compare(subject.images(seed, latents), group, plans, collector, reals, repeat)
        probes = [(d, d.metric) for d in self.definitions if isinstance(d.metric, ProbeMetric)]
        if probes:
            probe = Probe(subject.generated(seed), collector, self.classifiers)
            for d, metric in probes:
                measure = attempt(partial(metric.measure, probe, d))
                if measure is not None:
                    found[d.name] = measure
        return found

    def _compare(
        self,
        images: ImageSet,
        group: Sequence[Definition],
        plans: Mapping[str, Plan],
        collector: Collector,
        reals: RealStatistics | None,
        repeat: int,
    ) -> dict[str, Measure]:
        """All metrics of one set of images, in one pass over it."""
        found: dict[str, Measure] = {}
        with contextlib.ExitStack() as open_files:  # what is kept of fakes goes before the next repeat
            wants = {plans[d.name].fakes for d in group}
            try:
                fakes = collector.collect(images, wants, "generated images", open_files)
            except UnmeasurableError as error:
                return {d.name: Measure(failure=str(error)) for d in group}
            for d in group if self.processes.collects else []:
                plan = plans[d.name]
                theirs = None if plan.reals is None or reals is None else reals.get(d.choice, plan.reals)
                self.progress(d.name, 0, 1)
                measure = attempt(
                    partial(plan.metric.measure, d, theirs, fakes[plan.fakes], self.seed + repeat)
                )
                assert measure is not None
                found[d.name] = measure
        return found

    # ---- the record

    def _document(self, subject: Subject, repeats: int, seconds: float) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "subject": subject.record | {"images": subject.images().record()},
            "data": None if subject.reals is None else subject.reals.images("full").record(),
            "seed": self.seed,
            "repeats": repeats,
            "first_seeds": [first_seed(self.seed, repeat) for repeat in range(repeats)],
            "truncation": "none",
            "precision": "fp32",
            "batch": self.batch or "by size",
            "processes": self.processes.size,
            "environment": environment.record(self.networks.device),
            "networks": self.networks.identities(),
            "classifiers": [classifier.identity for classifier in self.classifiers],
            "seconds": round(seconds, 1),
            "metrics": {},
        }

    def _images_record(self, d: Definition, plan: Plan, reals: RealStatistics | None) -> dict[str, Any]:
        """What a metric looked at, and what its number suffers from."""
        used = plan.fakes.count // 2 if d.metric.pairs else plan.fakes.count
        record: dict[str, Any] = {} if d.num else {"num": used}
        if plan.reals is not None and reals is not None:
            record["reals"] = reals.record(d.choice, plan.reals)
        if note := plan.metric.note(plan, self.networks):
            record["note"] = note
        return record

    def _entry(self, d: Definition, measures: Sequence[Measure]) -> dict[str, Any]:
        """One metric: what it is, and its values over the repeats; "error" says why there are none."""
        entry: dict[str, Any] = {
            "definition": d.metric.text,
            **d.record(),
            "better": d.metric.better,
            "values": {},
        }
        failures = [m.failure for m in measures if m.failure]
        if failures:
            return entry | {"error": failures[0]}
        for label in measures[0].values:
            values = [m.values[label] for m in measures]
            errors = [m.errors.get(label) for m in measures]
            entry["values"][label] = asdict(summarize(values)) | {"each": values, "standard_errors": errors}
        details = [dict(m.details) for m in measures if m.details]
        return entry | ({"details": details} if details else {})


def primary_value(document: Mapping[str, Any], name: str) -> float:
    """The number that a metric is judged by: the first of its values, the mean over repeats. Raises
    UnmeasurableError where it has none."""
    if name in (found := errors(document)):
        raise UnmeasurableError(f"{name}: {found[name]}")
    values = document["metrics"][name]["values"]
    return float(next(iter(values.values()))["mean"])
