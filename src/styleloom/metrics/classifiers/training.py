"""Training the attribute classifiers of linear separability (StyleGAN section 4.2).

One binary classifier for each attribute of a labelled data set. The paper takes the architecture of its
discriminator, the same as in ProGAN, at 256 px, with learning rate 0.001, batches of 8 and 150,000 images:
the discriminator of configuration A, without the low-pass filters of B to F. Minibatch standard deviation is
left out, so that an image's logit does not depend on other images, and the network does not grow. The paper
does not say which loss and which constants of Adam it used; here they are the logistic loss and the
discriminator's beta1 = 0 and beta2 = 0.99.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from styleloom import presets
from styleloom.config import Adam
from styleloom.config.checks import above, at_least, within
from styleloom.config.experiment import Precision
from styleloom.config.networks import DiscriminatorConfig, MinibatchStd
from styleloom.config.serialize import differences, to_json
from styleloom.data.dataset import ImageDataset
from styleloom.data.loader import Loader
from styleloom.data.reals import to_signed
from styleloom.errors import UserError, shown
from styleloom.metrics.classifiers.attributes import Attribute, select_attributes
from styleloom.metrics.classifiers.classifier import (
    FORMAT,
    MAX_RESOLUTION,
    ClassifierRecord,
    new_network,
    read_classifier,
)
from styleloom.networks.assembly import Trunk
from styleloom.precision import resolve_device, resolve_precision, set_precision
from styleloom.sampling import PIXELS_PER_BATCH
from styleloom.tensor_file import write_tensors
from styleloom.training.optim import build_optimizer

MAX_HELD_OUT = 1000
"""Images that are held out by default: a tenth of the set, but no more than these."""

PRESET = "stylegan-a"
"""The experiment whose discriminator is the paper's classifier."""

_REPORT_EVERY_SEC = 1.0


@dataclass(frozen=True)
class ClassifierSettings:
    """How classifiers are trained; the defaults are the paper's, as far as it says.

    Args:
        kimg: thousands of images that each classifier sees.
        batch: images per step.
        learning_rate: of Adam.
        mirror: flip each image left and right with probability 1/2. The paper does not mention it.
        held_out: images at the end of the stored order that only accuracy is measured on; None is a tenth of
            the set, at most `MAX_HELD_OUT`.
        precision: of the convolutions.
        seed: of weights and order; every attribute begins with the same weights and sees the same images.
        preset: whose discriminator, without labels and minibatch standard deviation, is the classifier.
    """

    kimg: float = 150.0
    batch: int = 8
    learning_rate: float = 0.001
    mirror: bool = False
    held_out: int | None = None
    precision: Precision = "auto"
    seed: int = 0
    preset: str = PRESET

    def __post_init__(self) -> None:
        within("kimg", self.kimg, 0.001, 1e9)
        at_least("batch", self.batch, 1)
        above("learning_rate", self.learning_rate, 0)
        within("seed", self.seed, 0, 2**63 - 1)

    @property
    def images(self) -> int:
        """How many images each classifier sees."""
        return round(self.kimg * 1000)


@dataclass(frozen=True)
class ClassifierProgress:
    """Where a training stands.

    Args:
        attribute: being learned.
        number, count: it is number `number`, from 1, of `count` attributes to train.
        images_seen, total_images: of this attribute.
        loss: mean over the images since the last report, nats.
    """

    attribute: str
    number: int
    count: int
    images_seen: int
    total_images: int
    loss: float


def classifier_config(dataset: ImageDataset, preset: str = PRESET) -> DiscriminatorConfig:
    """The classifier's network for images of `dataset`, with its channels and proportions.

    Raises UserError for a preset that does not exist, and for one whose discriminator takes pyramids.
    """
    shape = presets.get(preset).with_data(
        min(dataset.resolution, MAX_RESOLUTION), dataset.channels, label_dim=0, grid=dataset.grid
    )
    if shape.discriminator.pyramid_sides is not None:
        raise UserError(
            f"preset: {preset}'s discriminator takes pyramids of images; valid: a preset whose discriminator "
            "takes one image"
        )
    return dataclasses.replace(shape.discriminator, minibatch_std=MinibatchStd(group_size=0))


def logistic_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """-log p of the right class, nats: logits [N], targets bool [N] -> [N]; p = softmax([logit, -logit])."""
    return F.softplus(torch.where(targets, -2 * logits, 2 * logits))


def train_classifiers(
    dataset: ImageDataset,
    folder: Path,
    chosen: Sequence[str] | None = None,
    settings: ClassifierSettings | None = None,
    device: str = "auto",
    workers: int = 2,
    report: Callable[[ClassifierProgress], None] | None = None,
) -> dict[Path, ClassifierRecord]:
    """Train a classifier for each attribute, and write each to `folder` when it is done.

    Attributes that the folder already has, trained by the same settings on the same data, are left as they
    are: after an interruption, a second call goes on with the attribute that was being trained. Weights and
    order depend on the seed alone; torch's random generators stay as they were. As wherever networks are
    placed, the precision sets the process's TF32 switches.

    Args:
        dataset: labelled, see `select_attributes`; with more than `MAX_RESOLUTION` px it is reduced.
        folder: is made if it is not there.
        chosen: as in `select_attributes`.
        settings: by default the paper's.
        device: as in `resolve_device`.
        workers: threads that decode images ahead, where they do not fit in memory.
        report: is called about once a second, and at the end of each attribute.

    Returns the record of each chosen attribute by its file, in the order of the labels.

    Raises UserError: for the labels, and when the folder has a classifier of other settings or data.
    """
    where = resolve_device(device)
    settings = _resolved(settings or ClassifierSettings(), dataset, where)
    config = classifier_config(dataset, settings.preset)
    level = dataset.at(config.resolution)
    level.preload()
    training, held_out = level.split(settings.held_out or 0)
    attributes = select_attributes(training, held_out, chosen)
    there = _finished(folder, config, settings, dataset)
    left = [attribute for attribute in attributes if attribute.index not in there]
    for number, attribute in enumerate(left, 1):
        job = _Job(attribute, number, len(left), config, settings, where)
        network = job.train(training, workers, report)
        record = job.record(network, held_out, dataset)
        path = folder / file_name(attribute)
        document = {"format": FORMAT, "config": to_json(config)}
        write_tensors(path, network.state_dict(), document | {"record": dataclasses.asdict(record)})
        there[attribute.index] = (path, record)
    return dict(there[attribute.index] for attribute in attributes)


def file_name(attribute: Attribute) -> str:
    """ "031-smiling.safetensors"."""
    words = re.sub(r"[^a-z0-9]+", "-", attribute.name.lower()).strip("-")[:60]
    return "-".join(filter(None, (f"{attribute.index:03d}", words))) + ".safetensors"


def _resolved(
    settings: ClassifierSettings, dataset: ImageDataset, device: torch.device
) -> ClassifierSettings:
    """The settings, with values for what None and "auto" stand for."""
    held_out = settings.held_out
    if held_out is None:
        held_out = min(max(len(dataset) // 10, 1), MAX_HELD_OUT)
    precision = resolve_precision(settings.precision, device)
    return dataclasses.replace(settings, held_out=held_out, precision=precision)


def _finished(
    folder: Path, config: DiscriminatorConfig, settings: ClassifierSettings, dataset: ImageDataset
) -> dict[int, tuple[Path, ClassifierRecord]]:
    """The files of the folder by attribute. Raises UserError unless all are of these settings and data."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{shown(folder)} is a file; give a folder for the classifiers")
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        _, other, record = read_classifier(path)
        changed = {name: old for name, (old, _) in differences(other, config).items()}
        wanted = dataclasses.asdict(settings)
        changed |= {name: old for name, old in record.settings.items() if old != wanted.get(name)}
        if record.data_fingerprint != dataset.fingerprint:
            changed["data"] = record.data
        if changed:
            listed = ", ".join(f"{name} {value}" for name, value in changed.items())
            raise UserError(
                f"{shown(path)}: a classifier of another training ({listed}); give another "
                "folder, or the same settings and data to go on"
            )
        found[record.index] = (path, record)
    return found


@dataclass(frozen=True)
class _Job:
    """The training of one classifier; `settings` are resolved."""

    attribute: Attribute
    number: int
    count: int
    config: DiscriminatorConfig
    settings: ClassifierSettings
    device: torch.device

    def train(
        self, training: ImageDataset, workers: int, report: Callable[[ClassifierProgress], None] | None
    ) -> Trunk:
        """A new network, trained."""
        settings, total = self.settings, self.settings.images
        network = new_network(self.config, settings.seed).to(self.device)
        set_precision(settings.precision, self.device, network)
        optimizer = build_optimizer("adam", network.parameters(), settings.learning_rate, Adam())
        seen, reported, last = 0, 0, time.monotonic()
        losses = torch.zeros((), device=self.device)
        with Loader(training, settings.seed, settings.mirror, workers) as loader:
            while seen < total:
                batch = loader.next(min(settings.batch, total - seen))
                images = to_signed(batch.images.to(self.device))
                targets = (batch.labels[:, self.attribute.index] > 0).to(self.device)
                loss = logistic_loss(network(images), targets)
                optimizer.zero_grad(set_to_none=True)
                loss.mean().backward()
                optimizer.step()
                losses += loss.detach().sum()
                seen += len(loss)
                if seen == total or time.monotonic() - last >= _REPORT_EVERY_SEC:
                    self._report(report, seen, losses.item() / (seen - reported))
                    losses.zero_()
                    reported, last = seen, time.monotonic()
        return network.eval().requires_grad_(False)

    def _report(self, report: Callable[[ClassifierProgress], None] | None, seen: int, loss: float) -> None:
        if not np.isfinite(loss):
            raise UserError(
                f"learning_rate: {self.settings.learning_rate:g} makes the loss of {self.attribute.name} "
                f"{loss} after {seen} images; a smaller one is needed"
            )
        if report is not None:
            name, total = self.attribute.name, self.settings.images
            report(ClassifierProgress(name, self.number, self.count, seen, total, loss))

    def record(self, network: Trunk, held_out: ImageDataset, dataset: ImageDataset) -> ClassifierRecord:
        """What the file says; `dataset` is the whole set at its own resolution."""
        accuracy, loss = self.evaluate(network, held_out)
        return ClassifierRecord(
            attribute=self.attribute.name,
            index=self.attribute.index,
            share=self.attribute.share,
            accuracy=accuracy,
            loss=loss,
            images_seen=self.settings.images,
            data=dataset.name,
            data_fingerprint=dataset.fingerprint,
            settings=dataclasses.asdict(self.settings),
        )

    @torch.no_grad()
    def evaluate(self, network: Trunk, held_out: ImageDataset) -> tuple[float, float]:
        """Accuracy and mean loss on the held-out images."""
        height, width = held_out.size
        batch = max(PIXELS_PER_BATCH // (height * width), 1)
        losses, right = [], []
        for start in range(0, len(held_out), batch):
            indices = np.arange(start, min(start + batch, len(held_out)))
            images = torch.from_numpy(held_out.images(indices)).to(self.device)
            targets = torch.from_numpy(held_out.labels(indices)[:, self.attribute.index] > 0)
            logits = network(to_signed(images)).cpu()
            losses.append(logistic_loss(logits, targets))
            right.append((logits > 0) == targets)
        return torch.cat(right).double().mean().item(), torch.cat(losses).double().mean().item()
