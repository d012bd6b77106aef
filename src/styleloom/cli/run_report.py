"""`styleloom report`: one page of one training or several."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from styleloom.cli.report import print_json, say
from styleloom.cli.sheets import check_free
from styleloom.errors import UserError, shown

NAME = "report.html"
"""The report's name within its run, where no other place is named."""


@dataclass
class Report:
    """Make one HTML page of a training: pictures over time, curves, health, experiment, data, machine, cost.

    It opens without a network, and prints.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")]
    """Run directories; several stand side by side, with common axes."""
    out: Path | None = None
    """File to write; by default report.html in the run, or here where there are several runs."""
    overwrite: bool = False
    """Replace a file that is there already. A report.html in the run is replaced in any case."""
    json: bool = False
    """Print one JSON document: the file, and what is wrong with each run."""

    def run(self) -> int:
        """Write the page."""
        from styleloom.report import names_of, read_run, write_report

        if not self.runs:
            raise UserError("RUN: name at least one run directory")
        out = self.out or (self.runs[0] / NAME if len(self.runs) == 1 else Path(NAME))
        if out.suffix.lower() not in (".html", ".htm"):
            raise UserError(f"--out: {shown(out)}: a report is HTML; valid: a name that ends with .html")
        check_free("out", [out], self.overwrite or (self.out is None and len(self.runs) == 1))
        runs = [read_run(path, name) for path, name in zip(self.runs, names_of(self.runs), strict=True)]
        write_report(out, runs)
        if self.json:
            health = {
                run.name: [
                    {
                        "rule": episode.finding.rule,
                        "title": episode.finding.title,
                        "evidence": episode.finding.evidence,
                        "advice": episode.finding.advice,
                        "from_kimg": episode.from_kimg,
                        "to_kimg": episode.to_kimg,
                        "lasts": episode.lasts,
                    }
                    for episode in run.health
                ]
                for run in runs
            }
            print_json({"report": str(out), "runs": [str(path) for path in self.runs], "health": health})
            return 0
        for run in runs:
            for episode in run.health:
                if episode.lasts:
                    say(f"{shown(run.name)}: {episode.finding.sentence()}")
        say(f"report: {shown(out)}")
        return 0
