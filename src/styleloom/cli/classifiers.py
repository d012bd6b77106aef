"""`styleloom train-classifiers`: the attribute classifiers of linear separability."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from styleloom.cli.progress import ProgressLine, duration
from styleloom.cli.report import console, print_json
from styleloom.config.experiment import Precision
from styleloom.data.dataset import ImageDataset, open_dataset
from styleloom.errors import UserError, quoted

if TYPE_CHECKING:
    from styleloom.metrics.classifiers.classifier import ClassifierRecord
    from styleloom.metrics.classifiers.training import ClassifierProgress


@dataclass
class TrainClassifiers:
    """Train a classifier for each attribute of a labelled data set, for linear separability.

    A second call with the same settings goes on with the attributes that are not done.
    """

    data: str
    """Archive made by `styleloom dataset build ... --labels`: classes, or vectors of 0 and 1 or -1 and 1; an
    embedded set that has labels: portraits."""
    out: Path
    """Folder for the classifiers, one file each."""
    attributes: str | None = None
    """Only these: names or numbers, separated by commas. By default all that are yes or no: numbers of other
    values in the labels are passed over."""
    kimg: float = 150.0
    """Thousands of images that each classifier sees."""
    batch: int = 8
    """Images per step."""
    learning_rate: float = 0.001
    """Learning rate of Adam."""
    mirror: bool = False
    """Flip images left and right at random."""
    held_out: int | None = None
    """Images, the last of the archive, to measure accuracy on; by default a tenth, at most 1000."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    precision: Precision = "auto"
    """Arithmetic of the convolutions."""
    seed: int = 0
    """Seed of the initial weights and of the order of images."""
    preset: str = "stylegan-a"
    """Preset whose discriminator is the classifier's network; the paper's is that of configuration A."""
    workers: int = 2
    """Threads that decode images ahead, where they do not fit in memory."""
    json: bool = False
    """Print one JSON document."""

    def run(self) -> int:
        """Train what is not there yet, and show all; 0."""
        chosen = None
        if self.attributes is not None:
            chosen = [name for name in map(str.strip, self.attributes.split(",")) if name]
            if not chosen:
                raise UserError(
                    f"--attributes: {quoted(self.attributes)} is not valid; names or "
                    f"numbers, separated by commas"
                )
        with contextlib.closing(open_dataset(self.data)) as dataset:
            trained = self._train(dataset, chosen)
        if self.json:
            rows = [{**dataclasses.asdict(r), "file": str(path)} for path, r in trained.items()]
            print_json({"data": self.data, "out": str(self.out), "classifiers": rows})
        else:
            console().print(_table(trained))
        return 0

    def _train(self, dataset: ImageDataset, chosen: list[str] | None) -> dict[Path, ClassifierRecord]:
        from styleloom.metrics.classifiers.training import (  # needs torch
            ClassifierSettings,
            train_classifiers,
        )

        settings = ClassifierSettings(
            self.kimg,
            self.batch,
            self.learning_rate,
            self.mirror,
            self.held_out,
            self.precision,
            self.seed,
            self.preset,
        )
        with ClassifiersProgress() as progress:
            return train_classifiers(dataset, self.out, chosen, settings, self.device, self.workers, progress)


def _table(trained: dict[Path, ClassifierRecord]) -> Table:
    table = Table("attribute", "accuracy", "share of positives", "file")
    for path, record in trained.items():
        table.add_row(record.attribute, f"{record.accuracy:.2%}", f"{record.share:.2%}", str(path))
    return table


class ClassifiersProgress(ProgressLine):
    """Progress on stderr, over all attributes: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        super().__init__("classifiers")

    def __call__(self, now_at: ClassifierProgress) -> None:
        """Take what `train_classifiers` reports."""
        now = time.monotonic()
        seen = (now_at.number - 1) * now_at.total_images + now_at.images_seen
        left = now_at.count * now_at.total_images - seen
        rate = seen / max(now - self.began, 1e-9)
        text = (
            f"{now_at.attribute} ({now_at.number} of {now_at.count})  "
            f"{now_at.images_seen / 1000:.1f}/{now_at.total_images / 1000:g} kimg  {rate:.0f} images/s  "
            f"ETA {duration(left / rate)}  loss {now_at.loss:.3f}"
        )
        self.show(text, seen / (seen + left), last=not left)
