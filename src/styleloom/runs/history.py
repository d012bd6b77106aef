"""All snapshots of a run: each measured, the best found, and how much images change from one to the next."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from styleloom.errors import UserError, shown
from styleloom.metrics.evaluation.cache import StatisticsCache
from styleloom.metrics.evaluation.measure import errors
from styleloom.metrics.evaluation.metric import Definition, HistoryMetric
from styleloom.metrics.evaluation.subject import Subject
from styleloom.metrics.evaluation.suite import Evaluation, primary_value
from styleloom.runs.directory import RunDirectory
from styleloom.snapshot_names import BEST

logger = logging.getLogger(__name__)


def evaluate_run(
    evaluation: Evaluation, run: RunDirectory, open_snapshot: Callable[[Path], Subject], repeats: int
) -> dict[str, Any]:
    """Measure every snapshot of a run: the numbered ones, and the best one where it is none of those.

    Args:
        evaluation: the metrics; stability (MSG-GAN Fig. 6) compares each snapshot with the one before.
        run: the run.
        open_snapshot: opens a snapshot as a subject of metrics, with the real images to compare with.
        repeats: how many times each snapshot is measured.

    Returns the JSON document, or an empty one on processes that do not collect: "snapshots" holds an
    evaluation of each, "best" the one with the best value of the first metric that says whether higher or
    lower is better, "stability" the changes by nominal side in px.
    """
    paths = run.snapshots()
    if (best_so_far := run.path / BEST).exists():
        paths.append(best_so_far)
    if not paths:
        raise UserError(f"{shown(run.path)}: has no snapshots (snapshot-*.safetensors) to measure")
    history = [(d, d.metric) for d in evaluation.definitions if isinstance(d.metric, HistoryMetric)]
    each = [d for d in evaluation.definitions if not isinstance(d.metric, HistoryMetric)]
    one = replace(evaluation, definitions=each)
    paths = _measurable(one, paths, open_snapshot)
    if not paths:
        raise UserError(f"{shown(run.path)}: none of its snapshots can be measured so")
    numbered = [path for path in paths if path.name != BEST]
    if history and len(numbered) < 2:
        raise UserError(f"{history[0][0].name}: needs two snapshots, {shown(run.path)} has {len(numbered)}")
    with contextlib.ExitStack() as stack:
        if one.cache.folder is None:  # nothing is to be kept; the reals are the same for all snapshots
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="styleloom-"))
            one.cache = StatisticsCache(Path(folder))
        documents = [one.run(open_snapshot(path), repeats) for path in paths]
    if not evaluation.processes.collects:
        return {}
    document: dict[str, Any] = {"run": str(run.path), "snapshots": documents}
    best = _best(each, documents, paths)
    if best is not None:
        document["best"] = best
    if history:
        document["stability"] = {
            d.name: _changes(d, metric, numbered, open_snapshot, evaluation) for d, metric in history
        }
    return document


def _best(
    definitions: Sequence[Definition], documents: Sequence[dict[str, Any]], paths: Sequence[Path]
) -> dict[str, Any] | None:
    """The best snapshot of full size by the first metric that says which values are better."""
    judge = next((d for d in definitions if d.metric.better is not None), None)
    if judge is None:
        return None
    sign = 1 if judge.metric.better == "lower" else -1
    grown = [
        (primary_value(document, judge.name), str(path))
        for document, path in zip(documents, paths, strict=True)
        if document["subject"]["level"] is None and judge.name not in errors(document)
    ]
    if not grown:
        return None
    value, snapshot = min(grown, key=lambda pair: sign * pair[0])
    return {"metric": judge.name, "snapshot": snapshot, "value": value}


def _measurable(
    evaluation: Evaluation, paths: Sequence[Path], open_snapshot: Callable[[Path], Subject]
) -> list[Path]:
    """Snapshots on which all metrics can be measured.

    Left out with a note are levels of a growing run that are too small, and files that cannot be read. The
    best snapshot is left out without a note where it is also one of the numbered ones. Whatever else cannot
    be measured is an error, raised before anything is measured.
    """
    found: list[Path] = []
    unread: dict[Path, UserError] = {}
    seen: set[Any] = set()
    for path in paths:
        try:
            subject = open_snapshot(path)
        except UserError as error:
            unread[path] = error
            continue
        images_seen = subject.record["info"].get("images_seen")
        if path.name == BEST and images_seen in seen:
            continue
        seen.add(images_seen)
        try:
            evaluation.check(subject)
        except UserError as error:
            if subject.record["level"] is None:
                raise
            logger.warning(f"{shown(path)} is left out: {error}")
            continue
        found.append(path)
    if len(unread) == len(paths):  # most likely the real images cannot be opened
        raise list(unread.values())[-1]
    for path, error in unread.items() if evaluation.processes.collects else ():
        logger.warning(f"{shown(path)} is left out: {error}")
    return found


def _changes(
    d: Definition,
    metric: HistoryMetric,
    paths: Sequence[Path],
    open_snapshot: Callable[[Path], Subject],
    evaluation: Evaluation,
) -> dict[str, Any]:
    """Changes of the images of `d.num` fixed latents between successive snapshots, by side."""
    seeds = [evaluation.seed * d.num + i for i in range(d.num)]
    rows: list[dict[str, Any]] = []
    before = None
    for number, path in enumerate(paths):
        subject = open_snapshot(path)
        images = subject.generated()
        after = metric.images(images.sampler, seeds, images.labels(seeds))
        if before is not None:
            change = {str(side): value for side, value in metric.changes(before, after).items()}
            rows.append({"from": str(paths[number - 1]), "to": str(path), "change": change})
        before = after
        evaluation.progress(d.name, number + 1, len(paths))
    return {"definition": d.metric.text, "seeds": seeds, "changes": rows}
