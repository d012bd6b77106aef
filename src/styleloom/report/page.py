"""The whole page: one file that needs no other."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path

from styleloom.atomic import write_text
from styleloom.report import sections
from styleloom.report.html import Html, join, tag
from styleloom.report.record import RunRecord

FILES = Path(__file__).parent / "page"

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""What the page may load: nothing but what is in it."""

SECTIONS: dict[str, Callable[[Sequence[RunRecord]], Html | None]] = {
    "Summary": sections.summary,
    "Health": sections.health,
    "Pictures over time": sections.pictures,
    "Metrics": sections.metrics,
    "Training": sections.curves,
    "Machine and cost": sections.machine,
    "Experiment": sections.experiment,
    "Data": sections.data_card,
}
"""By heading, in their order."""


def page(runs: Sequence[RunRecord]) -> str:
    """The report of runs, as HTML."""
    title = "Training report: " + ", ".join(run.name for run in runs)
    found = {name: made for name, make in SECTIONS.items() if (made := make(runs)) is not None}
    bodies = [tag("section", tag("h2", name), made, id=_anchor(name)) for name, made in found.items()]
    contents = tag("nav", *(tag("a", name, href=f"#{_anchor(name)}") for name in found))
    body = tag(
        "body",
        tag("header", tag("h1", title), tag("p", _when(), class_="note"), contents),
        tag("main", *bodies),
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


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")
