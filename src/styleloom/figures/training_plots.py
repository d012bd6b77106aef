"""Plots of trainings: what a run recorded, and what is measured of its snapshots."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from styleloom.errors import UserError, quoted, shown
from styleloom.figures.figure import Job, Plot
from styleloom.figures.plots import Panel, Series
from styleloom.metrics.probes.resolution_usage import resolution_usage, rgb_moments
from styleloom.metrics.probes.stability import changes, images_at
from styleloom.runs.metrics import PREFIX
from styleloom.runs.records import images_seen_of

KIMG = "images shown to D, thousands"
UNITS = {"hours": 3600.0, "minutes": 60.0, "seconds": 1.0}
METRICS = "kid5k_lite0,ppl_wend10k_lite0"
"""That show what StyleGAN's Figure 9 does, without downloads."""

Line = Mapping[str, Any]


def _lines(job: Job) -> Sequence[Sequence[Line]]:
    """What each run recorded at its ticks."""
    found = [
        [line for line in run.stats.read() if None not in (line.get("kimg"), line.get("sec_total"))]
        for run in job.runs
    ]
    for run, lines in zip(job.runs, found, strict=True):
        if not lines:
            raise UserError(f"{shown(run.path)}: has no statistics (stats.jsonl)")
    return found


def _of(lines: Sequence[Line], field: str) -> list[Line]:
    return [line for line in lines if line.get(field) is not None]


# ---- ProGAN


def distance_over_time(job: Job) -> Plot:
    """Sliced Wasserstein distance against images and against time, and images against time (ProGAN Figure
    4): of a run that grew and one that did not, or any others."""
    runs = _lines(job)
    field = job.options["metric"]
    for run, lines in zip(job.runs, runs, strict=True):
        if not _of(lines, field):
            raise UserError(
                f"--metric: {quoted(field)}: not recorded by {shown(run.path)}; {recorded(lines)}"
            )
    named = list(zip(job.names, runs, strict=True))
    found = [(name, _of(lines, field)) for name, lines in named]
    by_images = [Series(n, [p["kimg"] for p in ls], [p[field] for p in ls]) for n, ls in found]
    longest = max(ls[-1]["sec_total"] for _, ls in found)
    unit = next((name for name, sec in UNITS.items() if longest >= sec), "seconds")
    sec = UNITS[unit]
    by_time = [Series(n, [p["sec_total"] / sec for p in ls], [p[field] for p in ls]) for n, ls in found]
    speed = [Series(n, [p["sec_total"] / sec for p in ls], [p["kimg"] for p in ls]) for n, ls in named]
    what = label_of(field)
    return Plot(
        [
            Panel(KIMG, what, by_images, title="(a) by images"),
            Panel(unit, what, by_time, title="(b) by time"),
            Panel(unit, KIMG, speed, title="(c) speed"),
        ]
    )


def recorded(lines: Sequence[Line]) -> str:
    """What there is to choose from, in words."""
    fields = sorted({name for line in lines for name in line if line.get(name) is not None})
    valid = [name for name in fields if name.startswith(PREFIX) or name == "swd"]
    return f"valid: {', '.join(valid)}" if valid else "its lines have no metrics (see `run.metrics`)"


def label_of(field: str) -> str:
    """What a field is called on an axis."""
    return "sliced Wasserstein distance ×1000" if field == "swd" else field.removeprefix(PREFIX)


# ---- StyleGAN


QUALITY = ("fid", "kid", "fd", "swd")
"""Beginnings of the metrics of the first panel of StyleGAN's Figure 9; the second has path lengths."""


def metrics_in_training(job: Job) -> Plot:
    """Distance to real images and path length during training (StyleGAN Figure 9): as the runs recorded them,
    or as `evaluate RUN --json` measured them."""
    scores = job.options["scores"]
    if scores is None:
        named = [(name, [dict(line) for line in ls]) for name, ls in zip(job.names, _lines(job), strict=True)]
    else:
        if len(job.runs) != 1:
            raise UserError(f"--scores: of one run, {len(job.runs)} given")
        named = [(job.names[0], scored(Path(scores)))]
    fields = list(dict.fromkeys(f for _, ls in named for line in ls for f in line if _is_metric(f, line)))
    wanted = job.options["metric"]
    fields = [f for f in fields if wanted in (None, f, f.removeprefix(PREFIX))]
    if not fields:
        raise UserError(
            f"{job.figure.name}: {'no metrics' if wanted is None else quoted(wanted) + ' not'} recorded; "
            f"train with --set run.metrics={METRICS}, or measure the snapshots with `styleloom evaluate RUN "
            f"--metrics {METRICS} --json` and give what it prints as --scores FILE"
        )
    fields.sort(key=lambda f: not f.removeprefix(PREFIX).startswith(QUALITY))
    panels = []
    for field in fields:
        found = [(name, _of(ls, field)) for name, ls in named]
        series = [Series(n, [p["kimg"] for p in ls], [p[field] for p in ls]) for n, ls in found if ls]
        panels.append(Panel(KIMG, label_of(field), series, marks=_full_size(found)))
    return Plot(panels)


def _is_metric(field: str, line: Line) -> bool:
    return (field.startswith(PREFIX) or field == "swd") and line.get(field) is not None


def _full_size(found: Sequence[tuple[str, Sequence[Line]]]) -> list[float]:
    """Where growing runs reached full resolution: the dashed line."""
    marks = []
    for _, lines in found:
        for before, after in pairwise(lines):
            if before.get("level") is not None and after.get("level") is None:
                marks.append(after["kimg"])
    return marks


def scored(path: Path) -> list[dict[str, Any]]:
    """The evaluations of a run's snapshots, as lines of statistics have them. Raises UserError for another
    file."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        lines = []
        for entry in document["snapshots"]:
            line = {
                "kimg": entry["subject"]["info"]["images_seen"] / 1000,
                "level": entry["subject"]["level"],
            }
            for metric in entry["metrics"].values():
                line |= {PREFIX + name: value["mean"] for name, value in metric.get("values", {}).items()}
            lines.append(line)
    except OSError as error:
        raise UserError(f"--scores: cannot read {shown(path)}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"--scores: {shown(path)}: not what `styleloom evaluate RUN --json` prints ({quoted(str(error))})"
        ) from error
    return sorted(lines, key=lambda line: line["kimg"])


# ---- MSG-GAN and StyleGAN2: of snapshots


def _kimg(path: Path) -> float:
    return (images_seen_of(path) or 0) / 1000


def stability(job: Job) -> Plot:
    """How much the images of fixed latents change from snapshot to snapshot, by resolution (MSG-GAN Figure
    6)."""
    seeds = job.own_seeds()
    panels = []
    for run, name in zip(job.runs, job.names, strict=True):
        paths = run.snapshots()
        if len(paths) < 2:
            raise UserError(f"{shown(run.path)}: has {len(paths)} snapshots; at least 2, to compare")
        points: dict[int, list[tuple[float, float]]] = {}
        before = None
        for i, path in enumerate(paths):
            job.progress(f"snapshots of {name}", i, len(paths))
            sampler = job.open(path)
            after = images_at(sampler, seeds, job.label(sampler, len(seeds)))
            for side, change in changes(before or {}, after).items():
                points.setdefault(side, []).append((_kimg(path), change))
            before = after
        series = [Series(f"{side} px", *_unzipped(points[side])) for side in sorted(points)]
        if not series:
            raise UserError(f"{shown(run.path)}: no two snapshots one after the other have the same size")
        panels.append(Panel(KIMG, "mean squared error", series, title=name, log_y=_positive(series)))
    return Plot(panels)


def _positive(series: Sequence[Series]) -> bool:
    return all(y > 0 for one in series for y in one.y)


def _unzipped(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def usage(job: Job) -> Plot:
    """What each resolution adds to the images, in shares, during training (StyleGAN2 Figure 8)."""
    seeds = job.own_seeds()
    panels = []
    for run, name in zip(job.runs, job.names, strict=True):
        paths = run.snapshots()
        shares: list[dict[int, float]] = []
        for i, path in enumerate(paths):
            job.progress(f"snapshots of {name}", i, len(paths))
            sampler = job.open(path)
            size = sampler.images_per_pass
            moments = 0
            for start in range(0, len(seeds), size):
                own = seeds[start : start + size]
                moments = moments + rgb_moments(sampler, own, job.label(sampler, len(own)))
            assert not isinstance(moments, int)
            shares.append(resolution_usage(moments, sampler.experiment.generator.sides))
        xs = [_kimg(path) for path in paths]
        series = [Series(f"{side} px", xs, [share[side] for share in shares]) for side in shares[0]]
        panels.append(Panel(KIMG, "share of toRGB's deviation, %", series, "shares", title=name))
    return Plot(panels)
