"""How good is a generator of portraits? Writes results/portraits.md, with sheets beside it.

    node make_portraits.mjs --count 50000 --part train --out train
    node make_portraits.mjs --count 4000 --part held-out --out held
    styleloom dataset build train portraits-train.zip --resolution 64 --labels train/attributes.csv
    styleloom dataset build held portraits-held.zip --resolution 64 --labels held/attributes.csv
    python studies/portraits.py --train portraits-train.zip --held-out portraits-held.zip

Distances, precision and recall are taken to
portraits that no training saw, beside the distance of such portraits to each other; nearest neighbours are
looked for among those of the training; path lengths and linear separability compare Z with W. What is
measured is kept in `--work`: an interrupted study goes on where it stood.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))

from pages import hand_written, run_study
from portraits_neighbours import neighbours
from portraits_page import report
from styleloom.atomic import write_text
from styleloom.config import to_json
from styleloom.data.dataset import ImageDataset, open_dataset
from styleloom.data.reals import to_uint8
from styleloom.distributed import Processes
from styleloom.environment import describe_machine
from styleloom.errors import UserError
from styleloom.file_hash import sha256_of
from styleloom.images import grid, save_png
from styleloom.metrics.classifiers.classifier import Classifier, load_classifiers
from styleloom.metrics.classifiers.training import ClassifierSettings, train_classifiers
from styleloom.metrics.evaluation.cache import StatisticsCache
from styleloom.metrics.evaluation.collect import Collector, FeatureNetworks
from styleloom.metrics.evaluation.definitions import parse_all
from styleloom.metrics.evaluation.image_sets import DatasetImages, ImageSet, first_seed
from styleloom.metrics.evaluation.measure import errors
from styleloom.metrics.evaluation.subject import RealImages, Subject
from styleloom.metrics.evaluation.suite import Evaluation
from styleloom.sampling import Sampler
from styleloom.snapshot import read_snapshot
from styleloom.snapshot_names import find_snapshot

TRUNCATIONS = (1.0, 0.7, 0.5)
COLUMNS, ROWS = 12, 8
"""Of the sheets."""


@dataclass
class PortraitsStudy:
    """Measure a generator of portraits."""

    train: str
    """The portraits that it was trained on, with their attributes as labels: an archive."""
    held_out: str
    """Portraits that no training saw: an archive."""
    snapshot: str = "portraits-64"
    """The generator: a snapshot, a run directory, or a model in the package."""
    out: Path = Path("results/portraits.md")
    """The page; sheets go into the folder of the same name."""
    work: Path = Path("runs/portraits-study")
    """Where classifiers, statistics and finished parts are kept."""
    images: int = 2000
    """Of each set in distances, precision and recall: at most half of the held-out portraits."""
    compared: int = 1000
    """Generated and held-out portraits whose nearest neighbours are looked for."""
    among: int | None = None
    """So many portraits of the training, its first, are the neighbours; by default all."""
    paths: int = 2000
    """Samples of each path length."""
    latents: int = 20_000
    """Samples of linear separability; the half of which classifiers are surest counts."""
    classifier_kimg: float = 10.0
    """Thousands of images that each classifier is trained on."""
    classifier_preset: str = "demo"
    """Preset whose discriminator a classifier is."""
    device: str = "cpu"
    """Where networks run."""
    seed: int = 0
    """First seed of latents, and of subsets."""

    @property
    def folder(self) -> Path:
        """Where the sheets are."""
        return self.out.with_suffix("")


@dataclass
class GeneratedPortraits:
    """Images of consecutive seeds, truncated: an `ImageSet`.

    Args:
        sampler: the generator.
        psi: of truncation.
        first: seed of the first image.
    """

    sampler: Sampler
    psi: float
    first: int
    name: str = "generated"
    available: int | None = field(default=None, init=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width, px."""
        return (self.sampler.experiment.generator.channels, *self.sampler.size)

    def images(self, positions: range) -> Tensor:
        """uint8 [N, C, H, W] on the CPU."""
        seeds = [self.first + position for position in positions]
        return to_uint8(self.sampler.generate(seeds, self.psi)).cpu()

    def record(self) -> dict[str, Any]:
        """Seeds and truncation."""
        return {"kind": "generated", "first_seed": self.first, "truncation": self.psi}


class Measurement:
    """A study under way: what its parts share.

    Args:
        study: the options.
    """

    def __init__(self, study: PortraitsStudy) -> None:
        self.study = study
        path = find_snapshot(study.snapshot)
        self.snapshot, self.sha256 = read_snapshot(path), sha256_of(path)
        self.sampler = Sampler.of(self.snapshot, study.device, "fp32")
        self.training = self._opened(study.train)
        self.held_out = self._opened(study.held_out)
        if not 2 <= study.images <= len(self.held_out) // 2:
            raise UserError(f"--images: {study.images} is not valid; valid: 2 to {len(self.held_out) // 2}")
        self.networks = FeatureNetworks(torch.device(study.device))
        self.cache = StatisticsCache(study.work / "statistics")

    def _opened(self, path: str) -> ImageDataset:
        return open_dataset(path, self.sampler.resolution)

    @cached_property
    def classifiers(self) -> Sequence[Classifier]:
        """One for each attribute of the training portraits; trained where they are not there yet."""
        study, folder = self.study, self.study.work / "classifiers"
        settings = ClassifierSettings(study.classifier_kimg, preset=study.classifier_preset)
        told = lambda p: say(f"classifier {p.attribute}", p.images_seen, p.total_images)  # noqa: E731
        train_classifiers(self.training, folder, None, settings, study.device, report=told)
        return load_classifiers(folder, study.device)

    def part(self, name: str, key: dict[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `make` gives, or what an earlier call has kept of it under the same `key`."""
        path = self.study.work / f"{name}.json"
        key = {"device": str(self.networks.device), "seed": self.study.seed} | key
        if path.exists() and (kept := json.loads(path.read_text()))["key"] == key:
            return kept["found"]
        say(name, 0, 1)
        found = make()
        write_text(path, json.dumps({"key": key, "found": found}, indent=1) + "\n")
        return found

    def evaluate(self, subject: Subject, names: Sequence[str], classifiers: Sequence[Classifier] = ()) -> Any:
        """The values of some metrics, by label. Raises UserError for one that has none."""
        definitions = parse_all(",".join(names))
        evaluation = Evaluation(
            definitions, self.networks, classifiers, self.cache, seed=self.study.seed, progress=say
        )
        document = evaluation.run(subject)
        for name, reason in errors(document).items():
            raise UserError(f"{name}: {reason}")
        return document["metrics"]

    def generated(self, psi: float = 1.0) -> GeneratedPortraits:
        """Images of the generator."""
        return GeneratedPortraits(self.sampler, psi, first_seed(self.study.seed, 0))

    def collector(self) -> Collector:
        """Passes over images."""
        return Collector(self.networks, Processes(), None, say)


# ---- parts


def distances(m: Measurement) -> dict[str, dict[str, float]]:
    """Distances, precision and recall: of held-out portraits to others, and of generated ones by psi."""
    count = m.study.images
    names = [f"kid{count}_lite0", f"fd{count}_lite0", f"pr{count}_lite0"]
    labels = dict(zip(("kid", "fd", "precision", "recall"), (*names, ""), strict=False))
    labels |= {word: f"{names[2]} {word}" for word in ("precision", "recall")}
    reals, others = m.held_out.split(len(m.held_out) - count)
    sets: dict[str, ImageSet] = {"reals": DatasetImages(others)}
    sets.update({f"{psi:g}": m.generated(psi) for psi in TRUNCATIONS})
    found = {}
    for name, images in sets.items():
        metrics = m.evaluate(Subject(name, {}, images, RealImages(reals)), names)
        values = {label: v["mean"] for metric in metrics.values() for label, v in metric["values"].items()}
        found[name] = {word: values[label] for word, label in labels.items()}
        found[name]["kid_error"] = metrics[names[0]]["values"][names[0]]["standard_errors"][0]
    return found


def path_lengths(m: Measurement) -> dict[str, dict[str, float]]:
    """Perceptual path length of the whole image, in Z and W, full and end."""
    labels = {
        f"{space} {part}": f"ppl2_{space}{part}{m.study.paths}_lite0"
        for space in "zw"
        for part in ("full", "end")
    }
    metrics = m.evaluate(Subject("generator", {}, m.sampler), list(labels.values()))
    values = {name: metrics[metric]["values"][metric] for name, metric in labels.items()}
    return {name: {"mean": v["mean"], "error": v["standard_errors"][0]} for name, v in values.items()}


def separabilities(m: Measurement) -> dict[str, Any]:
    """Linear separability in Z and W, by both methods, with the entropy of each attribute."""
    names = [f"{method}{m.study.latents}" for method in ("separability_primal", "separability")]
    metrics = m.evaluate(Subject("generator", {}, m.sampler), names, m.classifiers)
    records = [classifier.record for classifier in m.classifiers]
    return {
        "accuracy": {r.attribute: {"accuracy": r.accuracy, "share": r.share} for r in records},
        "settings": records[0].settings,
        "scores": {name: {k: v["mean"] for k, v in metrics[name]["values"].items()} for name in names},
        "details": {name: metrics[name]["details"][0] for name in names},
    }


def measure(m: Measurement) -> dict[str, Any]:
    """All parts."""
    study, model = m.study, {"snapshot": m.sha256}
    reals, train = {"held_out": m.held_out.fingerprint}, {"train": m.training.fingerprint}
    settings = {"kimg": study.classifier_kimg, "preset": study.classifier_preset}
    near = {"compared": study.compared, "among": study.among}
    return {
        "distances": m.part("distances", model | reals | {"images": study.images}, lambda: distances(m)),
        "paths": m.part("paths", model | {"paths": study.paths}, lambda: path_lengths(m)),
        "separability": m.part(
            "separability", model | train | {"latents": study.latents} | settings, lambda: separabilities(m)
        ),
        "neighbours": m.part("neighbours", model | reals | train | near, lambda: nearest_of(m)),
    }


def nearest_of(m: Measurement) -> dict[str, Any]:
    """Nearest neighbours among the training portraits; writes their sheet."""
    study = m.study
    training = m.training if study.among is None else m.training.split(len(m.training) - study.among)[0]
    sets = {"generated": m.generated(), "reals": DatasetImages(m.held_out)}
    with contextlib.ExitStack() as stack:
        found, sheet = neighbours(training, sets, study.compared, m.collector(), m.cache, stack)
    save_png(study.folder / "nearest.png", sheet)
    return found


def sheets(m: Measurement) -> None:
    """Generated portraits at two truncations, and real ones."""
    count = COLUMNS * ROWS
    for psi in TRUNCATIONS[:2]:
        images = m.generated(psi).images(range(count))
        save_png(m.study.folder / f"psi-{psi:g}.png", grid(images, COLUMNS))
    reals = DatasetImages(m.held_out).images(range(min(count, len(m.held_out))))
    save_png(m.study.folder / "reals.png", grid(reals, COLUMNS))


def say(what: str, done: int, total: int) -> None:
    """Progress on stderr: a line when something else is done, and every ten seconds."""
    now = time.monotonic()
    if what != _said.get("what") or now - _said["at"] > 10:
        _said.update(what=what, at=now)
        print(f"{what}: {done}/{total}", file=sys.stderr, flush=True)


_said: dict[str, Any] = {}


def main(study: PortraitsStudy) -> int:
    """Measure all, write page and sheets."""
    m = Measurement(study)
    parts = measure(m)
    sheets(m)
    document = {
        "date": datetime.date.today().isoformat(),
        "machine": describe_machine(m.networks.device),
        "snapshot": {
            "sha256": m.sha256,
            "info": m.snapshot.info,
            "experiment": to_json(m.snapshot.experiment),
        },
        "options": {name: str(value) for name, value in vars(study).items()},
        "counts": {"train": len(m.training), "held_out": len(m.held_out)},
        **parts,
    }
    write_text(study.folder / "numbers.json", json.dumps(document, indent=1) + "\n")
    page = report(document, hand_written(study.folder))
    write_text(study.out, page)
    print(page)
    return 0


if __name__ == "__main__":
    run_study(main, PortraitsStudy)
