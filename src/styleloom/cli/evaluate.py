"""`styleloom evaluate` and `styleloom metrics`: how good a generator is, by which definition, how sure."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro
from rich.table import Table

from styleloom.atomic import write_text
from styleloom.cli import FAILURE, USAGE_ERROR
from styleloom.cli.evaluation_tables import changes_table, evaluations, notes, table
from styleloom.cli.progress import EvaluationProgress
from styleloom.cli.report import console, print_json, say, tell
from styleloom.data.dataset import ImageDataset
from styleloom.errors import UserError, shown
from styleloom.file_hash import sha256_of
from styleloom.metrics.evaluation.measure import errors
from styleloom.snapshot_names import find_snapshot, names_weights

if TYPE_CHECKING:
    from styleloom.distributed import Processes
    from styleloom.metrics.evaluation.image_size import Resize
    from styleloom.metrics.evaluation.metric import Definition
    from styleloom.metrics.evaluation.subject import Subject
    from styleloom.metrics.evaluation.suite import Evaluation

DEFAULT_METRICS = "fd10k_lite0,kid10k_lite0,pr10k3_lite0"
"""Metrics whose weights need no download."""


# What needs torch is imported where it is used: help and wrong flags do not wait for it.


@dataclass
class Evaluate:
    """Measure a generator, or a set of images, with the metrics of the papers."""

    subject: tyro.conf.Positional[str]
    """A snapshot, an embedded model (portraits-64), a run directory (all its snapshots), a file of another
    code (*.pkl, *.pt, *.pth), hf://owner/name, or images: a folder, a zip, an archive, an embedded set
    (portraits, emoji)."""
    data: str | None = None
    """Real images to compare with: an archive, a folder or zip of images, or an embedded set
    (portraits, emoji)."""
    metrics: str = DEFAULT_METRICS
    """Names separated by commas; `styleloom metrics` lists them."""
    repeats: int = 1
    """Measure so many times with new latents: mean, standard deviation and 95 % interval."""
    seed: int = 0
    """Seed of latents, subsets and mirroring. With 0, image i of repeat 0 is that of `generate --seeds i`."""
    mirror: Literal["auto", "on", "off", "both"] = "auto"
    """Whether reals are flipped at random. auto does so if the snapshot was trained on flipped images, as the
    authors do, and never without a snapshot. both also flips the images that are measured."""
    resize: Literal["none", "lanczos", "box", "bilinear", "bicubic"] = "none"
    """Filter that resizes images of other sizes: to the snapshot's size; without one, to the size of the
    archive of --data, or to that of most of its files. The record says how many were resized."""
    measure_at: Literal["auto", "full", "level"] = "auto"
    """For a snapshot from the middle of growing. full repeats its pixels and compares with full-size reals,
    as the authors do; level compares with reals reduced to its level; auto does what its run did."""
    classifiers: Path | None = None
    """Folder of `styleloom train-classifiers`, for separability."""
    weights: tyro.conf.UseAppendAction[list[Path]] = field(default_factory=list)
    """A file of feature weights that is not in its usual place, under any name: it is recognised by its hash.
    May be repeated."""
    batch: int | None = None
    """Images at once; it changes results by rounding alone."""
    device: str = "auto"
    """auto, cpu, cuda, mps."""
    cache: Path | None = None
    """Folder for statistics of real images, or none; by default in the user's cache."""
    out: Path | None = None
    """JSON file to write, with everything needed to repeat the evaluation."""
    json: bool = False
    """Print the JSON document instead of a table."""

    def run(self) -> int:
        """Measure; 0, or 1 where a metric has no value, because of NaN, say.

        Under torchrun the processes share the work, and the first one reports. One process of each
        machine reports errors, since files may differ from machine to machine.
        """
        alone = os.environ.get("WORLD_SIZE", "1") == "1"
        try:
            document = self._measured()
        except UserError:
            if alone or os.environ.get("LOCAL_RANK", "0") == "0":
                raise
            return USAGE_ERROR
        if not document:
            return 0
        self._finish(document)
        return FAILURE if any(errors(part) for part in evaluations(document)) else 0

    def _measured(self) -> dict[str, Any]:
        """The JSON document; an empty one on processes that do not collect. Raises UserError, before any
        work, for flags that are not valid."""
        for name in ("batch", "repeats"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name}: {value} is not valid, at least 1")
        if os.environ.get("RANK", "0") == "0":
            self._check_out()
        from styleloom.distributed import Processes
        from styleloom.metrics.evaluation.definitions import parse_all
        from styleloom.metrics.evaluation.image_sets import MAX_REPEATS

        definitions = parse_all(self.metrics)
        if self.seed < 0 or self.seed + self.repeats > MAX_REPEATS:
            raise UserError(f"--seed: {self.seed} is not valid, 0 to {MAX_REPEATS - self.repeats}")
        processes = Processes.join()
        try:
            return self._document(definitions, processes)
        finally:
            processes.leave()

    def _finish(self, document: dict[str, Any]) -> None:
        """Write the document and report it; it is reported even if it cannot be written."""
        written: Path | None = None
        try:
            if self.out is not None:
                write_text(self.out, json.dumps(document, indent=2, allow_nan=False) + "\n")
                written = self.out
        finally:
            self._report(document, written)

    def _check_out(self) -> None:
        """Raise UserError now rather than after an hour where --out cannot be written."""
        if self.out is None:
            return
        for name in (self.subject, self.data):
            if name and os.path.exists(self.out) and os.path.exists(name) and self.out.samefile(name):
                raise UserError(f"--out: {shown(self.out)} is what is measured; give another name")
        if os.path.isdir(self.out):
            raise UserError(f"--out: {shown(self.out)} is a folder; give the name of a JSON file")
        folder = next(parent for parent in self.out.absolute().parents if parent.exists())
        probe = folder / f".{self.out.name}.{os.getpid()}.partial"
        try:
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UserError(
                f"--out: {shown(self.out)} cannot be written ({error.strerror}); valid: a file in a folder "
                "that can"
            ) from error

    def _document(self, definitions: tuple[Definition, ...], processes: Processes) -> dict[str, Any]:
        from styleloom.metrics.classifiers.classifier import load_classifiers
        from styleloom.metrics.evaluation.cache import StatisticsCache, cache_folder
        from styleloom.metrics.evaluation.collect import FeatureNetworks
        from styleloom.metrics.evaluation.suite import Evaluation
        from styleloom.runs.directory import RunDirectory
        from styleloom.runs.history import evaluate_run

        with EvaluationProgress(enabled=processes.collects) as progress:
            evaluation = Evaluation(
                definitions,
                FeatureNetworks(self._device(processes), self._weights()),
                cache=StatisticsCache(cache_folder(self.cache)),
                processes=processes,
                seed=self.seed,
                batch=self.batch,
                progress=progress,
            )
            device = str(evaluation.networks.device)
            if self.classifiers is not None:
                evaluation.classifiers = load_classifiers(self.classifiers, device)
            run = RunDirectory(self.subject)
            if (run.path / "experiment.json").exists():
                return evaluate_run(
                    evaluation, run, lambda path: self._snapshot(path, evaluation), self.repeats
                )
            return evaluation.run(self._subject(evaluation), self.repeats)

    def _device(self, processes: Processes) -> Any:
        from styleloom.precision import resolve_device

        return resolve_device(processes.named_device(self.device))

    def _weights(self) -> dict[str, Path]:
        from styleloom.features import registry

        known = {file.sha256: file.file for name in registry.names() for file in registry.entry(name).weights}
        found: dict[str, Path] = {}
        for path in self.weights:
            if not path.is_file():
                raise UserError(f"--weights: there is no file {shown(path)}")
            sha256 = sha256_of(path)
            if sha256 not in known:
                raise UserError(
                    f"--weights: {shown(path)} has the SHA-256 {sha256}, which is that of "
                    "no weights known; valid: the files that `styleloom features list` shows"
                )
            found[known[sha256]] = path
        return found

    # ---- what is measured, and with what it is compared

    def _subject(self, evaluation: Evaluation) -> Subject:
        from styleloom.cli.evaluation_images import open_pair
        from styleloom.metrics.evaluation.subject import RealImages, Subject

        if names_weights(self.subject):
            return self._snapshot(self.subject, evaluation)
        source, data, resize = open_pair(self.subject, self.data, self._resize())
        measured = RealImages(source, self.mirror == "both", self.seed, resize)
        reals = None if data is None else RealImages(data, self.mirror in ("on", "both"), self.seed, resize)
        record = {"kind": "images", "path": self.subject}
        return Subject(self.subject, record, measured.images("first"), reals)

    def _resize(self, size: tuple[int, int] | None = None) -> Resize | None:
        from styleloom.metrics.evaluation.image_size import Resize

        return None if self.resize == "none" else Resize(self.resize, size)

    def _snapshot(self, given: str | Path, evaluation: Evaluation) -> Subject:
        from styleloom import sampling
        from styleloom.cli.evaluation_images import open_images
        from styleloom.metrics.evaluation.subject import RealImages, Subject
        from styleloom.metrics.probes.full_size import measured_at
        from styleloom.snapshot import read_snapshot

        if self.mirror == "both":
            raise UserError("--mirror both: a generator's images are not flipped; valid: auto, on, off")
        path = find_snapshot(given)
        snapshot = read_snapshot(path)
        experiment = snapshot.experiment
        size = experiment.run.measure_at if self.measure_at == "auto" else self.measure_at
        sampler = sampling.Sampler.of(snapshot, str(evaluation.networks.device), "fp32")
        sampler = measured_at(sampler, size)
        reals = None
        if self.data is not None:
            resize = self._resize(sampler.size)
            source = open_images(self.data, experiment.resolution, experiment.generator.channels, resize)
            if isinstance(source, ImageDataset) and sampler.resolution < experiment.resolution:
                source = source.at(sampler.resolution)
            trained = experiment.data.mirror == "horizontal"
            mirror = {"auto": trained, "on": True, "off": False}[self.mirror]
            reals = RealImages(source, mirror, self.seed, resize)
        record = {
            "kind": "snapshot",
            "path": str(given),
            "sha256": snapshot.sha256,
            "experiment": experiment.name,
            "level": None if sampler.growth is None else sampler.growth.level,
            "measure_at": None if sampler.growth is None else size,
            "info": snapshot.info,
        }
        return Subject(str(given), record, sampler, reals)

    # ---- the report

    def _report(self, document: dict[str, Any], written: Path | None) -> None:
        if self.json:
            print_json(document)
            return
        out = console()
        for part in evaluations(document):
            if any(entry["values"] for entry in part["metrics"].values()):
                out.print(table(part), soft_wrap=True)
        for name, history in document.get("stability", {}).items():
            out.print(changes_table(name, history), soft_wrap=True)
        for line in notes(document, written):
            say(line)


@dataclass
class Metrics:
    """List the metrics that `styleloom evaluate` knows."""

    json: bool = False
    """Print one JSON document."""

    def run(self) -> int:
        """List; 0."""
        from styleloom.metrics.evaluation.definitions import METRICS

        if self.json:
            print_json(
                {
                    name: {
                        "examples": metric.example.split(", "),
                        "num": metric.num,
                        "definition": metric.text,
                        "network": metric.network,
                        "better": metric.better,
                        "needs_reals": metric.needs_reals,
                        "needs_generator": metric.needs_generator,
                        "needs_classifiers": metric.needs_classifiers,
                    }
                    for name, metric in METRICS.items()
                }
            )
            return 0
        rows = Table("examples", "default", "network", "better", "needs", "what it is")
        for metric in METRICS.values():
            needs = {
                "data": metric.needs_reals,
                "generator": metric.needs_generator,
                "classifiers": metric.needs_classifiers,
            }
            rows.add_row(
                metric.example,
                f"{metric.num:,}",
                metric.network or "",
                metric.better or "",
                ", ".join(word for word, needed in needs.items() if needed),
                metric.text,
            )
        console().print(rows)
        tell(
            "A number in a name counts images, pairs or samples: fid10k; all takes every one. A "
            "last word names the feature network: kid10k_lite0; `styleloom features list` lists those."
        )
        return 0
