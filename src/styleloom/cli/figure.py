"""`styleloom figure`: the figures of the four papers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

import styleloom
from styleloom.cli.report import console, print_json, say
from styleloom.cli.sheets import check_free, chunks
from styleloom.cli.wanted_images import parse_numbered
from styleloom.config.experiment import Precision
from styleloom.errors import UserError, quoted, shown

if TYPE_CHECKING:
    from styleloom.figures.figure import Figure as Entry
    from styleloom.figures.figure import Job, Picture, Plot

WHOLE = ("count", "columns", "draws", "side", "steps", "zoom")
"""Options that are whole numbers of 1 or more."""


@dataclass
class Figure:
    """Make a figure of one of the papers from snapshots or runs of yours; --list shows which there are."""

    name: tyro.conf.Positional[str | None] = None
    """Of the figure: stylegan-3, stylegan2-5, msg-gan-6, progan-4."""
    snapshots: tyro.conf.Positional[tuple[str, ...]] = ()
    """Snapshots, run directories or embedded models, as the figure needs them."""
    list: bool = False
    """List the figures: what each shows, needs, and reads."""
    out: Path | None = None
    """The picture; by default the figure's name with .png. A plot has a .json beside it."""
    start: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """Draw a plot again from the .json that lies beside it; no snapshot is needed."""
    data: str | None = None
    """Images: an archive, or an embedded set."""
    seeds: str | None = None
    """Of the images: 0-3, or 1,5,9; np:85 is the authors' seed 85."""
    sources: str | None = None
    """Seeds of source B, whose styles are taken."""
    count: int | None = None
    """How many images."""
    columns: int | None = None
    """Of the sheet."""
    draws: int | None = None
    """Realizations of noise, or directions, that are averaged over."""
    side: int | None = None
    """Nominal side, px, of the level whose features are shown."""
    steps: int | None = None
    """Of each projection."""
    distance: str | None = None
    """Perceptual distance: lpips-vgg where its weights are, else efficientnet-lite0."""
    calibration: tuple[Path, ...] = ()
    """What `styleloom attribute` wrote, *.attribution.json, instead of snapshots and data."""
    truncation: float | None = None
    """psi of the images."""
    metric: str | None = None
    """A field of the run's stats.jsonl."""
    scores: Path | None = None
    """What `styleloom evaluate RUN --json` printed, instead of what the run recorded."""
    zoom: int | None = None
    """Make each pixel so many times as high and wide; by default small images are enlarged."""
    classes: int | None = None
    """Class of all images, for a generator trained with labels."""
    overwrite: bool = False
    """Replace files that are there already."""
    device: str = "auto"
    """auto, cpu, cuda, mps."""
    precision: Precision = "fp32"
    """Arithmetic of the convolutions; what measures small differences takes fp32 only."""
    json: bool = False
    """Print one JSON document."""

    def run(self) -> int:
        """Make the figure, or list all; 0."""
        if self.list:
            return self._list()
        if self.start is not None:
            return self._again(self.start)
        if self.name is None:
            raise UserError("figure: none named; `styleloom figure --list` shows which there are")
        from styleloom.figures import registry  # late: torch takes seconds to import

        figure = registry.figure_named(self.name)
        out = self._out(f"{figure.name}.png")
        files = [out, *([out.with_suffix(".json")] if figure.plot else [])]
        check_free("out", files, self.overwrite)
        if figure.exact and self.precision != "fp32":
            raise UserError(f"--precision: {figure.name} measures small differences; valid: fp32")
        from styleloom import sampling
        from styleloom.cli.progress import EvaluationProgress

        job = registry.begin(
            figure.name,
            self.snapshots,
            self.data,
            self._options(),
            lambda path: sampling.load(path, self.device, self.precision),
            self.classes,
        )
        with EvaluationProgress() as progress:
            made = registry.made(job, progress)
        self._write(figure, out, made, self._record(job, made))
        return 0

    def _out(self, default: str) -> Path:
        out = Path(default) if self.out is None else self.out
        if out.suffix.lower() != ".png":
            raise UserError(f"--out: {shown(out)} is not valid; valid: a name that ends with .png")
        return out

    def _options(self) -> dict[str, Any]:
        """What figures may read, parsed."""
        for name in WHOLE:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name}: {value} is not valid, at least 1")
        plain = (*WHOLE, "truncation", "metric", "distance")
        options: dict[str, Any] = {name: getattr(self, name) for name in plain}
        options["calibration"] = self.calibration or None
        options["scores"] = None if self.scores is None else str(self.scores)
        for name in ("seeds", "sources"):
            text = getattr(self, name)
            options[name] = None if text is None else parse_numbered(text, flag=name)
        return options

    def _record(self, job: Job, made: Picture | Plot) -> dict[str, Any]:
        """How to make the figure again."""
        snapshots = [
            {"file": path.name} | ({"sha256": sampler.snapshot_sha256} if sampler else {})
            for path, sampler in zip(job.paths, job.samplers or [None] * len(job.paths), strict=True)
        ]
        options = {name: _as_json(value) for name, value in job.options.items() if value is not None}
        record = {"figure": job.figure.name, "snapshots": snapshots, "options": options}
        if job.data is not None:
            record["data"] = {"name": job.data.name, "fingerprint": job.data.fingerprint}
        if self.classes is not None:
            record["class"] = self.classes
        return record | dict(made.record) | {"styleloom": styleloom.__version__}

    def _write(self, figure: Entry, out: Path, made: Picture | Plot, record: dict[str, Any]) -> None:
        """The picture, and the document of a plot, which is written first."""
        from styleloom.atomic import write_text
        from styleloom.figures import plots
        from styleloom.figures.figure import Picture
        from styleloom.images import save_png

        if isinstance(made, Picture):
            save_png(out, made.pixels, chunks(record))
        else:
            document = record | {"panels": plots.to_json(made.panels)}
            write_text(out.with_suffix(".json"), json.dumps(document, indent=1, allow_nan=False) + "\n")
            plots.draw(out, made.panels, chunks(record))
        if self.json:
            print_json(record | {"file": str(out)})
        else:
            say(f"{figure.paper} Fig. {figure.number} in {shown(out)}: {figure.shows}")

    def _again(self, path: Path) -> int:
        """Draw a plot from its document; 0."""
        if self.name is not None or self.snapshots:
            raise UserError("--from: not valid with a figure or snapshots; the document says what is drawn")
        out = self._out(path.with_suffix(".png").name)
        check_free("out", [out], self.overwrite)
        from styleloom.figures import plots
        from styleloom.file_kinds import readable_file

        readable_file(path, "the JSON document that lies beside a plot")
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"--from: {shown(path)}: no JSON ({quoted(str(error))})") from error
        record = document if isinstance(document, dict) else {}
        plots.draw(
            out,
            plots.from_json(record.get("panels")),
            chunks({k: record[k] for k in record if k != "panels"}),
        )
        say(f"drawn again: {shown(out)}")
        return 0

    def _list(self) -> int:
        """All figures; 0."""
        from rich.table import Table

        from styleloom.figures.registry import FIGURES

        rows = [
            {"name": f.name, "paper": f.paper, "figure": f.number, "shows": f.shows, "needs": f.takes}
            | {"options": [f"--{option}" for option in f.options], "plot": f.plot}
            for f in FIGURES.values()
        ]
        if self.json:
            print_json({"figures": rows})
            return 0
        table = Table("name", "shows", "needs", "options")
        for row in rows:
            table.add_row(row["name"], row["shows"], row["needs"], " ".join(row["options"]))
        console().print(table)
        return 0


def _as_json(value: Any) -> Any:
    """An option's value: seeds, files, or what JSON has."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_as_json(part) for part in value]
    return str(value) if isinstance(value, Path) else value
