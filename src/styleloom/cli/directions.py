"""`styleloom directions`: directions in a generator's latent space, found by three methods."""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import tyro
from rich.table import Table

import styleloom
from styleloom.cli.report import console, print_json, say
from styleloom.cli.sheets import check_free
from styleloom.cli.wanted_images import MAX_LABEL_BYTES, parse_seeds, refuse_given
from styleloom.config.checks import within
from styleloom.config.experiment import Precision
from styleloom.errors import UserError, quoted, shown
from styleloom.snapshot_names import find_snapshot

if TYPE_CHECKING:
    from torch import Tensor

    from styleloom.cli.progress import EvaluationProgress
    from styleloom.directions.direction_set import Directions as DirectionSet
    from styleloom.directions.discovery import Scorer
    from styleloom.sampling import Sampler

logger = logging.getLogger(__name__)

Conditional: TypeAlias = tuple[str, list[str]]
"""A direction, and those that it is made orthogonal to."""


@dataclass
class Directions:
    """Find directions in the latent space of a generator, and keep them in a file for `styleloom edit`.

    sefa needs nothing but the weights, pca a sample of latents, classifier images with labels.
    """

    snapshot: tyro.conf.Positional[str]
    """A snapshot-*.safetensors, a run directory (its best snapshot, else the newest), a file of another code
    (*.pkl, *.pt, *.pth), hf://owner/name, or an embedded model: portraits-64."""
    out: Path
    """The file: NAME.directions.safetensors."""
    method: Literal["sefa", "pca", "classifier"] = "sefa"
    """sefa: what style layers react to most. pca: along what w varies most. classifier: from images without
    an attribute to images with it."""
    count: int | None = None
    """sefa and pca: directions that are kept. Default: 10."""
    layers: str | None = None
    """Style layers: 0-5, or 0,3,4. sefa looks at their weights alone; an edit moves them unless told
    otherwise. Default: all."""
    samples: int = 10_000
    """Latents that the spread of w is measured on."""
    seeds: str = "0-1999"
    """classifier: images that the classifiers look at."""
    classifiers: Path | None = None
    """classifier: the folder that `styleloom train-classifiers` made."""
    labels: Path | None = None
    """classifier, instead: a CSV file of your own, with a column "seed" and one for each attribute: 1 for
    yes, 0 for no, empty for unknown."""
    data: str | None = None
    """classifier, instead: a labelled archive, or portraits; a linear probe of EfficientNet-Lite0's features
    learns its attributes in a minute or two."""
    attributes: str | None = None
    """classifier: only these attributes of --classifiers or --data, separated by commas."""
    keep: float = 0.5
    """classifier: share of the images that a boundary rests on, those that the classifier is surest of."""
    conditional: tuple[str, ...] = ()
    """Further directions: NAME:OTHER,OTHER is NAME made orthogonal to the others."""
    classes: int | None = None
    """Of a generator trained with labels: latents of this class alone. Default: classes by chance."""
    overwrite: bool = False
    """Replace a file that is there already."""
    device: str = "auto"
    """auto, cpu, cuda, mps."""
    precision: Precision = "auto"
    """Arithmetic of the convolutions."""
    json: bool = False
    """Print one JSON document."""

    def run(self) -> int:
        """Write the file; 0."""
        layers = None if self.layers is None else parse_seeds(self.layers, "layers")
        wanted = [parse_conditional(text) for text in self.conditional]
        self._check()
        path = find_snapshot(self.snapshot)
        from styleloom import sampling  # late: torch takes seconds to import
        from styleloom.directions.direction_set import ENDING, save_directions

        if not self.out.name.endswith(ENDING):
            raise UserError(f"--out: {shown(self.out)} is no name for directions; valid: NAME{ENDING}")
        check_free("out", [self.out], self.overwrite)
        sampler = sampling.load(path, self.device, self.precision)
        found = self._found(sampler, layers, wanted)
        for name, others in wanted:
            found = found.conditional(name, others)
        about = {"snapshot_sha256": sampler.snapshot_sha256, "styleloom": styleloom.__version__}
        found = replace(found, document=about | self._settings())
        save_directions(self.out, found)
        if self.json:
            print_json({"file": str(self.out), **document_of(found)})
        else:
            console().print(table_of(found))
            say(f"{len(found)} directions in {shown(self.out)}")
        return 0

    def _check(self) -> None:
        """Raise UserError for flags that do not go together."""
        if self.method != "classifier":
            for name in ("classifiers", "labels", "data", "attributes"):
                if getattr(self, name) is not None:
                    raise UserError(f"--{name}: not valid with --method {self.method}; --method classifier")
            refuse_given(self, ("seeds", "keep"), f"with --method {self.method}; --method classifier")
        elif sum(source is not None for source in (self.classifiers, self.labels, self.data)) != 1:
            raise UserError(
                "--method classifier: needs one of --data (a labelled set), --classifiers FOLDER (styleloom "
                "train-classifiers makes it), and --labels FILE.csv"
            )
        elif self.count is not None:
            raise UserError("--count: not valid with --method classifier, which gives one for each attribute")
        if self.labels is not None:
            refuse_given(self, ("seeds", "attributes"), "with --labels, whose file has its own")
        within("keep", self.keep, 0, 1)
        parse_seeds(self.seeds)

    def _settings(self) -> dict[str, Any]:
        """What the directions came from, as JSON."""
        settings: dict[str, Any] = {"samples": self.samples, "class": self.classes}
        if self.method == "classifier":
            settings |= {"keep": self.keep} | ({} if self.labels else {"seeds": self.seeds})
            sources = {"classifiers": self.classifiers, "labels": self.labels, "data": self.data}
            settings |= {name: str(value) for name, value in sources.items() if value is not None}
        return settings

    def _found(
        self, sampler: Sampler, layers: list[int] | None, conditional: Sequence[Conditional]
    ) -> DirectionSet:
        """The directions of the chosen method."""
        from styleloom.directions import discovery

        layers = None if layers is None else list(discovery.chosen_layers(sampler, layers))
        spread = discovery.latent_covariance(sampler, self.samples, classes=self.classes)
        if self.method == "sefa":
            return discovery.sefa(sampler, self.count, layers, spread)
        if self.method == "pca":
            return discovery.pca(sampler, self.count, layers, spread)
        latents, scores = self._scored(sampler, conditional)
        return discovery.boundaries(sampler, latents, scores, self.keep, layers, spread)

    def _scored(
        self, sampler: Sampler, conditional: Sequence[Conditional]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Latents, and what is known of their images by attribute."""
        from styleloom.cli.progress import EvaluationProgress
        from styleloom.directions import discovery

        if self.labels is not None:
            seeds, scores = read_labels(self.labels)
            _check_names(list(scores), conditional)
            return discovery.latents_of(sampler, seeds, self.classes), scores
        with EvaluationProgress() as progress:
            score, names = self._scorer(str(sampler.generator.w_avg.device), progress)
            _check_names(names, conditional)
            seeds = parse_seeds(self.seeds)
            return discovery.scored_latents(sampler, score, names, seeds, self.classes, progress)

    def _scorer(self, device: str, progress: EvaluationProgress) -> tuple[Scorer, Sequence[str]]:
        """What scores images by the attributes of --data or --classifiers, and their names."""
        from styleloom.directions.discovery import by_classifiers

        chosen = None if self.attributes is None else [a.strip() for a in self.attributes.split(",")]
        if self.data is not None:
            from styleloom.data.dataset import open_dataset
            from styleloom.directions.probe import fit_probes

            with contextlib.closing(open_dataset(self.data)) as dataset:
                probes = fit_probes(dataset, chosen, device=device, progress=progress)
            accuracies = zip(probes.names, probes.accuracies, strict=True)
            told = ", ".join(f"{name} {accuracy:.0%}" for name, accuracy in accuracies)
            logger.info(f"accuracy of the probes on held-out images of {dataset.name}: {told}")
            return probes, probes.names
        from styleloom.metrics.classifiers.classifier import load_classifiers

        assert self.classifiers is not None
        found = load_classifiers(self.classifiers, device)
        names = [classifier.record.attribute for classifier in found]
        for name in chosen or ():
            if name not in names:
                raise UserError(f"--attributes: {quoted(name)} is not there; valid: {', '.join(names)}")
        found = [c for c in found if chosen is None or c.record.attribute in chosen]
        return by_classifiers(found), [classifier.record.attribute for classifier in found]


def _check_names(names: Sequence[str], conditional: Sequence[Conditional]) -> None:
    """Raise UserError for directions of --conditional that attributes of these names cannot give."""
    from styleloom.directions.direction_set import conditional_name

    known = list(names)
    for name, others in conditional:
        known.append(conditional_name(known, name, others))


def document_of(found: DirectionSet) -> dict[str, Any]:
    """Directions as JSON, without their vectors."""
    from styleloom.directions.direction_set import MEASURES

    rows = zip(found.names, found.values.tolist(), found.deviations.tolist(), strict=True)
    return {
        "space": found.space,
        "method": found.method,
        "measure": MEASURES[found.method],
        "layers": list(found.layers),
        "directions": [{"name": n, "value": v, "deviation": d} for n, v, d in rows],
        **found.document,
    }


def table_of(found: DirectionSet) -> Table:
    """Directions as a table."""
    from styleloom.directions.direction_set import MEASURES

    table = Table("direction", MEASURES[found.method], f"deviation of {found.space}")
    for name, value, deviation in zip(
        found.names, found.values.tolist(), found.deviations.tolist(), strict=True
    ):
        number = f"{value:.4g}" if found.method == "sefa" else f"{value:.1%}"
        table.add_row(name, number, f"{deviation:.3g}")
    return table


def parse_conditional(text: str) -> Conditional:
    """ "smile:age,glasses" to ("smile", ["age", "glasses"])."""
    name, colon, others = text.partition(":")
    names = [other.strip() for other in others.split(",")]
    if not colon or not name.strip() or not all(names):
        raise UserError(f"--conditional: {quoted(text)} is not valid; NAME:OTHER,OTHER")
    return name.strip(), names


def read_labels(path: Path) -> tuple[list[int], dict[str, Tensor]]:
    """Seeds, and by attribute scores [N] of 1 (yes), -1 (no) and 0 (unknown), of a CSV file."""
    import torch

    try:
        if path.stat().st_size > MAX_LABEL_BYTES:
            raise UserError(f"--labels: {shown(path)} has more than {MAX_LABEL_BYTES:,} bytes")
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"--labels: {shown(path)} cannot be read ({quoted(str(error))})") from error
    rows = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    head = rows[0] if rows else []
    if "seed" not in head or len(head) < 2 or len(set(head)) != len(head) or not all(head):
        raise UserError(
            f'--labels: {shown(path)}: its first line must name "seed" and the attributes, each once'
        )
    seeds: list[int] = []
    scores: dict[str, list[float]] = {name: [] for name in head if name != "seed"}
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(head):
            raise UserError(
                f"--labels: {shown(path)}, row {number}: {len(row)} cells, the first has {len(head)}"
            )
        for name, cell in zip(head, row, strict=True):
            if name == "seed":
                seeds += parse_seeds(cell, "labels")
            else:
                scores[name].append(_score(cell, path, number))
        if len(seeds) != number - 1:
            raise UserError(f"--labels: {shown(path)}, row {number}: one seed in each row")
    if not seeds:
        raise UserError(f"--labels: {shown(path)}: no rows but the first")
    return seeds, {name: torch.tensor(values) for name, values in scores.items()}


def _score(cell: str, path: Path, row: int) -> float:
    """1 for a positive number, -1 for others, 0 for an empty cell."""
    if not cell:
        return 0.0
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"--labels: {shown(path)}, row {row}: {quoted(cell)} is not valid; 1, 0 or empty")
    return 1.0 if value > 0 else -1.0
