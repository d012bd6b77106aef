"""`styleloom presets`: list the named experiments, show one, compare two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import tyro
from rich.markup import escape
from rich.table import Table

from styleloom import presets
from styleloom.cli.report import console, experiment_table, parameter_counts, print_json, text
from styleloom.config.experiment import Experiment
from styleloom.config.serialize import differences, to_json
from styleloom.errors import UserError

TABLE_WIDTH = 140
"""Columns that the list needs to be a table; on a narrower terminal each preset takes two lines."""


@dataclass(frozen=True)
class Presets:
    """List the presets; show one (presets NAME); or compare two (presets diff A B)."""

    names: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[NAME | diff A B]")] = ()
    """Nothing, the name of a preset, or: diff A B."""

    resolution: int | None = None
    """Side of the images in px, in place of the presets' own."""

    json: bool = False
    """Print one JSON document."""

    def run(self) -> int:
        """Print what was asked for; 0."""
        if not self.names:
            self._list([self._get(name) for name in presets.names()])
        elif self.names[0] == "diff":
            if len(self.names) != 3:
                raise UserError(f"presets diff: takes two presets, got {len(self.names) - 1}: diff A B")
            self._diff(self._get(self.names[1]), self._get(self.names[2]))
        elif len(self.names) == 1:
            self._show(self._get(self.names[0]))
        else:
            raise UserError(
                f"presets: takes one preset, got {len(self.names)}; to compare two: "
                f"styleloom presets diff {self.names[0]} {self.names[1]}"
            )
        return 0

    def _get(self, name: str) -> Experiment:
        return presets.get(name).with_data(resolution=self.resolution)

    def _list(self, experiments: list[Experiment]) -> None:
        rows = [summary(experiment) for experiment in experiments]
        if self.json:
            print_json({"presets": rows})
            return
        out = console()
        if out.width < TABLE_WIDTH:
            for row in rows:
                out.print(_two_lines(row), markup=False, highlight=False, soft_wrap=True)
            return
        table = Table("name", "source", "px", "G parameters", "D parameters", "kimg", "loss", "gamma")
        for column in table.columns:
            column.no_wrap = column.header != "source"
            column.justify = "left" if column.header in ("name", "source", "loss") else "right"
        for row in rows:
            table.add_row(*(escape(cell(name, value)) for name, value in row.items()))
        out.print(table)

    def _show(self, experiment: Experiment) -> None:
        if self.json:
            print_json({**summary(experiment), "experiment": to_json(experiment)})
            return
        table = experiment_table(experiment)
        table.add_section()
        for network, count in zip(("generator", "discriminator"), parameter_counts(experiment), strict=True):
            table.add_row(f"{network} parameters", f"{count:,}")
        out = console()
        out.print(f"{experiment.name}: {experiment.source}", markup=False, highlight=False, soft_wrap=True)
        out.print(table)

    def _diff(self, a: Experiment, b: Experiment) -> None:
        changed = differences(a, b)
        for name in ("name", "source"):
            changed.pop(name, None)
        if self.json:
            fields = {name: {"old": old, "new": new} for name, (old, new) in changed.items()}
            print_json({"a": a.name, "b": b.name, "differences": fields})
            return
        table = Table("field", escape(a.name), escape(b.name))
        for name, (old, new) in changed.items():
            table.add_row(name, escape(text(old)), escape(text(new)))
        console().print(table if changed else f"{a.name} and {b.name} are the same experiment")


def _two_lines(row: dict[str, Any]) -> str:
    networks = f"G {row['generator_parameters']:,} and D {row['discriminator_parameters']:,} parameters"
    training = f"{row['total_kimg']} kimg, {row['loss']}, gamma {row['gamma']}"
    return f"{row['name']}: {row['source']}\n    {row['resolution']} px, {networks}, {training}"


def cell(name: str, value: Any) -> str:
    """`value` for the table: counts of parameters with separators."""
    return f"{value:,}" if name.endswith("_parameters") else str(value)


def summary(experiment: Experiment) -> dict[str, Any]:
    """The row of `experiment` in the list of presets."""
    generator, discriminator = parameter_counts(experiment)
    return {
        "name": experiment.name,
        "source": experiment.source,
        "resolution": experiment.resolution,
        "generator_parameters": generator,
        "discriminator_parameters": discriminator,
        "total_kimg": experiment.total_kimg,
        "loss": experiment.loss,
        "gamma": experiment.d_regularizer.gamma,
    }
