"""What each section of a report holds; None where a run has nothing to show."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from styleloom.config.serialize import differences, flatten
from styleloom.report import words
from styleloom.report.charts import Chart, render
from styleloom.report.curves import MACHINE, TRAINING, charts, metric_charts, metric_names
from styleloom.report.html import Child, Html, join, table, tag
from styleloom.report.record import Picture, RunRecord
from styleloom.runs.metrics import PREFIX

MAX_PICTURES = 14
"""Sheets of a run that a report holds; of more, some are left out evenly."""

SHEET_PX = 1024
"""Wider sheets are reduced to this."""


def key(number: int, run: RunRecord, runs: Sequence[RunRecord]) -> Html:
    """The name of a run, with its colour where there are several."""
    mark = tag("i", class_=f"dot c{number % 6}") if len(runs) > 1 else None
    return tag("span", mark, run.name, class_="run")


def by_run(runs: Sequence[RunRecord], rows: Mapping[str, Sequence[Child]]) -> Html:
    """A table with a column a run; rows that are empty everywhere are left out."""
    filled = [[name, *cells] for name, cells in rows.items() if any(cell not in (None, "") for cell in cells)]
    head: list[Child] = ["", *(key(number, run, runs) for number, run in enumerate(runs))]
    return table(head if len(runs) > 1 else [], [list[Child](row) for row in filled])


def summary(runs: Sequence[RunRecord]) -> Html:
    """Where each run stands."""
    return join(by_run(runs, {
        "experiment": [run.experiment.name for run in runs],
        "images": [f"{words.size(run)} px, {run.experiment.generator.channels} channels" for run in runs],
        "shown so far": [
            f"{run.kimg:,.4g} of {run.experiment.total_kimg:,g} thousand ({words.share(run):.0%})"
            for run in runs
        ],
        "best": [words.best(run) for run in runs],
        "time so far": [words.duration(run.last.get("sec_total")) for run in runs],
        "still to come": [words.to_come(run) for run in runs],
        "speed": [words.speed(run) for run in runs],
        "health": [words.state_of_health(run) for run in runs],
    }))  # fmt: skip


def health(runs: Sequence[RunRecord]) -> Html:
    """What was wrong, and what to try."""
    parts: list[Child] = []
    for number, run in enumerate(runs):
        if len(runs) > 1:
            parts.append(tag("h3", key(number, run, runs)))
        for episode in sorted(run.health, key=lambda episode: not episode.lasts):
            found = episode.finding
            span = f"{episode.from_kimg:,.4g} kimg"
            if episode.lasts:
                when = f"since {span}"
            else:
                when = f"from {span} to {episode.to_kimg:,.4g} kimg, then no more"
            parts.append(
                tag(
                    "article",
                    tag("h4", found.title, tag("small", when)),
                    tag("p", tag("b", "Evidence: "), found.evidence, "."),
                    tag("p", tag("b", "Try: "), found.advice, "."),
                    class_="finding now" if episode.lasts else "finding past",
                )
            )
        if not run.health:
            parts.append(tag("p", words.nothing_wrong(run), class_="fine"))
        unseen = words.not_judged(run)
        if unseen:
            parts.append(tag("p", f"Not judged: {'; '.join(unseen)}.", class_="note"))
    return join(*parts)


def pictures(runs: Sequence[RunRecord]) -> Html | None:
    """Sheets over time, under one slider."""
    if not any(run.pictures for run in runs):
        return None
    films = []
    for number, run in enumerate(runs):
        chosen = _chosen(run.pictures)
        frames = [
            tag(
                "figure",
                tag("img", src=embedded(picture.path), alt=f"Generated images after {picture.kimg} kimg"),
                tag("figcaption", f"{picture.kimg:,} thousand images"),
                data_kimg=picture.kimg,
                class_="print" if index in _printed(len(chosen)) else None,
            )
            for index, picture in enumerate(chosen)
        ]
        reals = run.path / "reals.png"
        real = (
            tag(
                "details",
                tag("summary", "Real images"),
                tag("img", src=embedded(reals), alt="Real images"),
            )
            if reals.is_file()
            else None
        )
        films.append(
            tag(
                "div",
                tag("h3", key(number, run, runs)) if len(runs) > 1 else None,
                *frames,
                real,
                class_="film",
            )
        )
    last = max(picture.kimg for run in runs for picture in run.pictures)
    slider = tag(
        "label",
        tag("span", "Thousands of images: "),
        tag("output", last),
        tag("input", type="range", min=0, max=last, value=last, step=1, id="time"),
        class_="slider",
    )
    told = "Images of the same latents, by the average of the generator."
    return join(tag("p", told, class_="note"), slider, tag("div", *films, class_="films"))


def curves(runs: Sequence[RunRecord]) -> Html | None:
    """Losses, penalties and signals."""
    return _charts(charts(runs, TRAINING))


def metrics(runs: Sequence[RunRecord]) -> Html:
    """Curves of the metrics, and their best and latest values with intervals."""
    fields = metric_names(runs)
    if not fields:
        told = "No metric was measured in training; --metrics kid10k_lite0 does that."
        return join(tag("p", told, class_="note"))
    rows = {field.removeprefix(PREFIX): [words.latest(run, field) for run in runs] for field in fields}
    drawn = [render(chart) for chart in metric_charts(runs)]
    return join(by_run(runs, rows), tag("div", *drawn, class_="charts"))


def machine(runs: Sequence[RunRecord]) -> Html:
    """Hardware, versions, speed, memory, cost."""
    rows: dict[str, list[Child]] = {
        "hardware": [words.per_session(run, lambda m: m.get("hardware")) for run in runs],
        "device": [words.per_session(run, lambda m: m.get("device")) for run in runs],
        "threads": [words.per_session(run, lambda m: m.get("threads")) for run in runs],
        "software": [words.per_session(run, words.software) for run in runs],
        "precision": [run.experiment.precision for run in runs],
        "processes so far": [len(run.sessions) or None for run in runs],
        "began": [run.sessions[0].get("began") if run.sessions else None for run in runs],
        "peak memory": [words.memory(run) for run in runs],
        "cost so far": [words.cost(run) for run in runs],
        "cost to come": [words.to_come(run) for run in runs],
    }
    unknown = (
        "The run does not say on which machine it was trained." if not any(r.sessions for r in runs) else None
    )
    drawn = [render(chart) for chart in charts(runs, MACHINE)]
    return join(
        tag("p", unknown, class_="note") if unknown else None,
        by_run(runs, rows),
        tag("div", *drawn, class_="charts"),
    )


def experiment(runs: Sequence[RunRecord]) -> Html:
    """What each run changes in its preset, what differs between runs, and every field."""
    parts: list[Child] = []
    if len(runs) > 1:
        first, *others = runs
        names = sorted(
            {name for run in others for name in differences(first.experiment, run.experiment)} - {"source"}
        )
        flat = [flatten(run.experiment) for run in runs]
        rows = {name: [words.text(fields.get(name)) for fields in flat] for name in names}
        parts += [tag("h3", "Where the runs differ"), by_run(runs, rows) if rows else tag("p", "Nowhere.")]
    for number, run in enumerate(runs):
        title = key(number, run, runs) if len(runs) > 1 else None
        changed = run.from_preset()
        if changed is None:
            parts.append(tag("p", title, f" The experiment {run.experiment.name} is no preset."))
        elif not changed:
            parts.append(tag("p", title, f" The preset {run.experiment.name}, unchanged."))
        else:
            parts.append(tag("h3", title, f" Changes to the preset {run.experiment.name}"))
            rows = [[name, words.text(old), words.text(new)] for name, (old, new) in changed.items()]
            parts.append(table(["field", "preset", "this run"], [list[Child](row) for row in rows]))
        every = [[name, words.text(value)] for name, value in flatten(run.experiment).items()]
        whole = table(["field", "value"], [list[Child](row) for row in every])
        parts.append(tag("details", tag("summary", "Every field"), whole))
    return join(*parts)


def data_card(runs: Sequence[RunRecord]) -> Html:
    """The images of each run."""

    def of(read: Any) -> list[Child]:
        return [None if run.dataset is None else read(run.dataset) for run in runs]

    rows: dict[str, list[Child]] = {
        "name": [str(run.data.get("name")) for run in runs],
        "images": [words.count(run) for run in runs],
        "held out": [run.experiment.data.held_out for run in runs],
        "mirrored": [run.experiment.data.mirror for run in runs],
        "size": of(lambda d: f"{d.size[1]} x {d.size[0]} px, {d.channels} channels"),
        "labels": of(
            lambda d: (
                f"{d.label_dim} ({'vectors' if d.has_vectors else 'classes'})" if d.label_dim else "none"
            )
        ),
        "used labels": [run.experiment.generator.label_dim or "none" for run in runs],
        "file": [str(run.data.get("path")) for run in runs],
        "content (SHA-256)": [str(run.data.get("fingerprint")) for run in runs],
        "made": of(words.recipe),
        "can be opened here": ["yes" if run.dataset is not None else "no" for run in runs],
    }
    return join(by_run(runs, rows))


def embedded(path: Path) -> str:
    """A picture as a data address: JPEG, at most `SHEET_PX` wide."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    if image.width > SHEET_PX:
        image = image.resize(
            (SHEET_PX, max(round(image.height * SHEET_PX / image.width), 1)), Image.Resampling.LANCZOS
        )
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=88, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _charts(found: Sequence[Chart]) -> Html | None:
    return tag("div", *map(render, found), class_="charts") if found else None


def _chosen(found: Sequence[Picture]) -> list[Picture]:
    if len(found) <= MAX_PICTURES:
        return list(found)
    last = len(found) - 1
    return [found[round(i * last / (MAX_PICTURES - 1))] for i in range(MAX_PICTURES)]


def _printed(count: int) -> set[int]:
    """Which pictures a print shows: the first, one in the middle, the last."""
    return {0, count // 2, count - 1}
