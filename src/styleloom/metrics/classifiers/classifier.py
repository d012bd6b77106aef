"""The attribute classifiers of linear separability (StyleGAN section 4.2): their files, and what they say.

A classifier gives one logit. The attribute is class 0 of p = softmax([logit, -logit]), so that
P(attribute) = sigmoid(2 logit), and an image has the attribute where its logit is positive.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleloom.config.networks import DiscriminatorConfig
from styleloom.config.serialize import network_from_json
from styleloom.data.pixels import box_mean
from styleloom.errors import UserError, cut, shown
from styleloom.networks.assembly import Trunk
from styleloom.networks.build import build_discriminator
from styleloom.precision import resolve_device
from styleloom.snapshot import check_network, load_weights
from styleloom.tensor_file import check_finite, open_tensors

FORMAT = "styleloom-classifier"

MAX_RESOLUTION = 256
"""Side of the images that classifiers see, px; larger ones are reduced by averaging blocks of pixels."""


@dataclass(frozen=True)
class ClassifierRecord:
    """What a file says about its classifier.

    Args:
        attribute: name.
        index: of the attribute in the labels.
        share: of the data set's images that have the attribute.
        accuracy, loss: on the held-out images; the loss in nats.
        images_seen: in training.
        data: name of the data set.
        data_fingerprint: sha256 (hex) of the data set, labels included.
        settings: `ClassifierSettings` as JSON, in which None and "auto" are replaced by their values.
    """

    attribute: str
    index: int
    share: float
    accuracy: float
    loss: float
    images_seen: int
    data: str
    data_fingerprint: str
    settings: dict[str, Any]


@dataclass(frozen=True)
class Classifier:
    """A trained classifier.

    Args:
        network: with its weights, in evaluation mode, float32.
        config: of the network.
        record: how it came about.
        path: its file.
        sha256: of the file, hex.
    """

    network: Trunk
    config: DiscriminatorConfig
    record: ClassifierRecord
    path: Path
    sha256: str

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """Float images [N, C, H, W], about [-1, 1] (not clipped), to float32 logits [N].

        The images have the classifier's size, or a whole multiple of it: these are reduced by averaging
        blocks of pixels. Raises UserError for others.
        """
        height, width = self.config.size
        factor = max(images.shape[-1] // width, 1)
        expected = (self.config.channels, factor * height, factor * width)
        if images.ndim != 4 or tuple(images.shape[1:]) != expected:
            raise UserError(
                f"images: {list(images.shape[1:])} given (channels, height, width); the classifier "
                f"{shown(self.path)} takes {[self.config.channels, height, width]} or a "
                f"whole multiple of that size"
            )
        return self.network(box_mean(images, factor))

    @property
    def identity(self) -> dict[str, Any]:
        """What its numbers depend on, as JSON."""
        return {"attribute": self.record.attribute, "weights": self.sha256}


def load_classifiers(folder: Path | str, device: str = "cpu") -> list[Classifier]:
    """All classifiers of a folder, in the order of the labels, in float32 on `device`.

    Raises UserError: no classifiers, a file that is damaged or something else, one attribute in two files.
    """
    folder = Path(folder)
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise UserError(
            f"{shown(folder)}: no classifiers (*.safetensors) there; make them with: "
            "styleloom train-classifiers --data DATA.zip --out FOLDER"
        )
    where = resolve_device(device)
    found: dict[tuple[str, int], Classifier] = {}
    for path in paths:
        tensors, config, record = read_classifier(path)
        network = new_network(config, 0)
        load_weights(network, tensors, str(path))
        network = network.eval().requires_grad_(False).to(where)
        key = (record.data_fingerprint, record.index)
        if key in found:
            raise UserError(f"{shown(path)}: the attribute {record.attribute} is also in {found[key].path}")
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        found[key] = Classifier(network, config, record, path, sha256)
    return sorted(found.values(), key=lambda classifier: classifier.record.index)


def read_classifier(path: Path) -> tuple[dict[str, Tensor], DiscriminatorConfig, ClassifierRecord]:
    """Weights, network and record of a file. Raises UserError when it is damaged or something else."""
    with open_tensors(path, FORMAT) as file:
        try:
            config = network_from_json(file.document.get("config", {}), "discriminator")
            record = ClassifierRecord(**file.document["record"])
        except (KeyError, TypeError, UserError) as error:
            raise UserError(f"{shown(path)}: its record cannot be read ({cut(str(error), 500)})") from error
        check_network(build_discriminator, config, file.contents, path)
        tensors = file.read()
    check_finite(tensors, path)
    return tensors, config, record


def new_network(config: DiscriminatorConfig, seed: int) -> Trunk:
    """A network with weights from `seed`; torch's random generators stay as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build_discriminator(config)
