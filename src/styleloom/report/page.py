"""The whole page: one file that needs no other."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from styleloom.atomic import write_text
from styleloom.report import sections
from styleloom.report.html import Html, join, tag
from styleloom.report.record import RunRecord

FILES = Path(__file__).parent / "page"

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""What the page may load: nothing but what is in it."""


def page(runs: Sequence[RunRecord]) -> str:
    """The report of runs, as HTML."""
    title = "Training report: " + ", ".join(run.name for run in runs)
    found = [
        sections.summary(runs),
        sections.health(runs),
        sections.pictures(runs),
        sections.metrics(runs),
        sections.curves(runs),
        sections.machine(runs),
        sections.experiment(runs),
        sections.data_card(runs),
    ]
    body = tag(
        "body",
        tag("header", tag("h1", title), tag("p", _when(), class_="note"), _contents()),
        tag("main", *found),
        Html(f"<script>{(FILES / 'report.js').read_text()}</script>"),
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("title", title),
        Html(f"<style>{(FILES / 'report.css').read_text()}</style>"),
    )
    return "<!doctype html>\n" + tag("html", join(head, body), lang="en").markup + "\n"


def write_report(path: Path, runs: Sequence[RunRecord]) -> None:
    """Write the report of runs to `path`, whole or not at all."""
    write_text(path, page(runs))


def _when() -> str:
    now = datetime.datetime.now(datetime.timezone.utc)
    return f"Made {now:%Y-%m-%d %H:%M} UTC by styleloom report."


def _contents() -> Html:
    names = (
        "Summary",
        "Health",
        "Pictures over time",
        "Metrics",
        "Training",
        "Machine and cost",
        "Experiment",
        "Data",
    )
    return tag("nav", *(tag("a", name, href=f"#{name.lower().replace(' ', '-')}") for name in names))
