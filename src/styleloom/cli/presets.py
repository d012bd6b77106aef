"""`styleloom presets`: list the named experiments, show one, compare two."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Annotated, Any

import tyro
from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from styleloom import presets
from styleloom.cli.report import console, experiment_table, parameter_counts, print_json
from styleloom.config import Experiment, GradientPenalty
from styleloom.config.overrides import tables, value_text
from styleloom.config.serialize import differences, flatten, to_json
from styleloom.errors import UserError, shell_word

TABLE_WIDTH = 120
"""Columns that the list needs to be a table; on a narrower terminal each preset takes two lines."""

SHORT = {
    "nonsaturating": "non-sat.",
    "relativistic-hinge": "rel. hinge",
    "relativistic-pairing": "rel. pairs",
}
"""Names of losses that are too long for the table."""

ABSENT = "-"
"""What a comparison shows for a field that one of the two experiments does not have."""


@dataclass(frozen=True)
class Presets:
    """List the presets, all or those with WORD in name or source; show one (presets NAME), where it differs
    from the default of its family; or compare two (presets diff A B)."""

    names: Annotated[
        tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[WORD | NAME | diff A B]")
    ] = ()
    """A word to look for, the name of a preset, or: diff A B. Without them all presets are listed."""

    all: bool = False
    """With the name of a preset: show every field, not only those that differ."""

    resolution: int | None = None
    """Side of the images in px, in place of the presets' own."""

    device_table: presets.Devices | None = None
    """Take the batch and learning rate that the preset's authors use on so many devices."""

    json: bool = False
    """Print one JSON document."""

    def run(self) -> int:
        """Print what was asked for; 0."""
        if not self.names:
            self._list(presets.names())
            return 0
        word, *others = self.names
        if word == "diff":
            if self.all:
                raise UserError("--all: only with the name of a preset; diff shows what differs")
            if len(others) != 2:
                raise UserError(f"presets diff: takes two presets, got {len(others)}: diff A B")
            self._diff(*map(self._get, others))
        elif others:
            raise UserError(
                f"presets: takes one preset or word, got {len(self.names)}; to compare two: "
                f"styleloom presets diff {shell_word(word)} {shell_word(others[0])}"
            )
        elif word not in presets.PRESETS and (found := presets.find(word)):
            self._list(found)
        else:
            self._show(self._get(word))
        return 0

    def _get(self, name: str) -> Experiment:
        experiment = presets.get(name).with_data(resolution=self.resolution)
        return experiment if self.device_table is None else presets.for_devices(experiment, self.device_table)

    def _list(self, names: Sequence[str]) -> None:
        if self.all:
            raise UserError("--all: only with the name of a preset; without a name all presets are listed")
        if self.device_table is not None:
            raise UserError("--device-table: only with the name of a preset, or with diff")
        rows = [summary(self._get(name)) for name in names]
        if self.json:
            print_json({"presets": rows})
            return
        out = console()
        wide = out.width >= TABLE_WIDTH
        width = max(len(row["name"]) for row in rows)
        for paper, group in groupby(rows, key=lambda row: row["paper"]):
            out.print(paper, style="bold")
            if wide:
                out.print(_table(list(group), width), "")
                continue
            for row in group:
                out.print(_two_lines(row), soft_wrap=True)

    def _show(self, experiment: Experiment) -> None:
        if self.json:
            print_json({**summary(experiment), "experiment": to_json(experiment)})
            return
        family = experiment.generator.family
        default = presets.FAMILY_DEFAULTS[family]
        whole = self.all or experiment.name == default.name
        table = experiment_table(experiment) if whole else _comparison(experiment, default)
        what = f"the default of the {family} family"
        if experiment.name == default.name:
            heading = f"{what}; every field:"
        elif whole:
            heading = "every field:"
        elif table.row_count:
            heading = f"differs from {default.name}, {what}, in:"
        else:
            heading = f"the same experiment as {default.name}, {what}"
        compared = (experiment,) if whole else (experiment, default)
        counts = [parameter_counts(each) for each in compared]
        table.add_section()
        for index, network in enumerate(("generator", "discriminator")):
            table.add_row(f"{network} parameters", *(f"{count[index]:,}" for count in counts))
        out = console()
        out.print(f"{experiment.name}: {experiment.source}", soft_wrap=True)
        out.print(heading, table)
        if not whole:
            out.print("--all shows every field")

    def _diff(self, a: Experiment, b: Experiment) -> None:
        if self.json:
            fields = {name: {"old": old, "new": new} for name, (old, new) in _changed(a, b).items()}
            print_json({"a": a.name, "b": b.name, "differences": fields})
            return
        table = _comparison(a, b)
        console().print(table if table.row_count else f"{a.name} and {b.name} are the same experiment")


def _changed(a: Experiment, b: Experiment) -> dict[str, tuple[Any, Any]]:
    """The fields in which two experiments differ, other than what they are called."""
    return {name: pair for name, pair in differences(a, b).items() if name not in ("name", "source")}


def _comparison(a: Experiment, b: Experiment) -> Table:
    """A row for each field in which `a` and `b` differ."""
    table = Table(Column("field", no_wrap=True), a.name, b.name)
    ours, theirs = _written(a), _written(b)
    by_resolution = {*tables(a), *tables(b)}
    for name in dict.fromkeys(_field(name, by_resolution) for name in _changed(a, b)):
        table.add_row(name, ours.get(name, ABSENT), theirs.get(name, ABSENT))
    return table


def _field(name: str, by_resolution: Collection[str]) -> str:
    """The field that a dotted name belongs to: `batch` for `batch.base` and `batch.at.64`."""
    table = name.removesuffix(".base").split(".at.")[0]
    return table if table in by_resolution else name


def _written(experiment: Experiment) -> dict[str, str]:
    """Every field with its value; numbers by resolution as `32; 64 at 8 px, 48 at 16 px`."""
    fields: dict[str, str] = {}
    by_resolution = set(tables(experiment))
    for name, value in flatten(experiment).items():
        field, side = _field(name, by_resolution), name.partition(".at.")[2]
        if side:
            separator = ", " if " px" in fields[field] else "; "
            fields[field] += f"{separator}{value_text(value)} at {side} px"
        else:
            fields[field] = value_text(value)
    return fields


def _table(rows: Sequence[dict[str, Any]], name_width: int) -> Table:
    """The presets of one paper; the columns of all papers' tables agree."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), width=TABLE_WIDTH, header_style="")
    table.add_column("name", width=name_width, no_wrap=True)
    table.add_column("table, row, data", ratio=1)
    for header, width in (("px", 4), ("G", 6), ("D", 6), ("kimg", 6)):
        table.add_column(header, width=width, justify="right", no_wrap=True)
    table.add_column("loss, penalty", width=17)
    for row in rows:
        millions = (f"{row[key] / 1e6:.2f}M" for key in ("generator_parameters", "discriminator_parameters"))
        table.add_row(
            row["name"],
            row["place"],
            str(row["resolution"]),
            *millions,
            f"{row['total_kimg']:g}",
            _loss(row | {"loss": SHORT.get(row["loss"], row["loss"])}),
        )
    return table


def _two_lines(row: dict[str, Any]) -> str:
    networks = f"G {row['generator_parameters']:,} and D {row['discriminator_parameters']:,} parameters"
    training = f"{row['total_kimg']} kimg, {_loss(row)}"
    return f"{row['name']}: {row['place']}\n    {row['resolution']} px, {networks}, {training}"


def _loss(row: dict[str, Any]) -> str:
    return row["loss"] if row["penalty"] == "none" else f"{row['loss']}, {row['penalty']}"


def penalty_name(penalty: GradientPenalty) -> str:
    """What the papers call a gradient penalty, with its weight: "R1 10", "GP 10" of WGAN-GP, or "none"."""
    if not penalty.active:
        return "none"
    names = {"zero-centred": "R1", "two-sided": "GP", "one-sided": "one-sided GP"}
    r2 = f", R2 {penalty.r2_gamma:g}" if penalty.punishes_fakes else ""
    return f"{names[penalty.kind]} {penalty.gamma:g}{r2}"


def summary(experiment: Experiment) -> dict[str, Any]:
    """The row of `experiment` in the list of presets."""
    generator, discriminator = parameter_counts(experiment)
    paper, place = presets.place(experiment)
    return {
        "name": experiment.name,
        "source": experiment.source,
        "paper": paper,
        "place": place,
        "resolution": experiment.resolution,
        "generator_parameters": generator,
        "discriminator_parameters": discriminator,
        "total_kimg": experiment.total_kimg,
        "loss": experiment.loss,
        "penalty": penalty_name(experiment.d_regularizer),
        "gamma": flatten(experiment)["d_regularizer.gamma"],
    }
