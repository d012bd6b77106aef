"""What is measured, and the real images that it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from styleloom.data.dataset import ImageDataset
from styleloom.metrics.evaluation.image_sets import (
    Choice,
    DatasetImages,
    FileImages,
    GeneratedImages,
    ImageSet,
    Selection,
    labels_of,
)
from styleloom.metrics.evaluation.image_size import Resize
from styleloom.sampling import Sampler


@dataclass(frozen=True)
class RealImages:
    """Real images to compare with.

    Args:
        source: a data set at the resolution to compare at, or files.
        mirror: whether training mirrored them. Then the choices "first" and "random" mirror them too; "full"
            takes them as they are.
        seed: of mirroring and of random order.
        resize: brings a data set to another size; files come resized.
    """

    source: ImageDataset | FileImages
    mirror: bool = False
    seed: int = 0
    resize: Resize | None = None

    def images(self, choice: Choice) -> ImageSet:
        """Those that a metric asks for. Files are taken in the order of their names whatever the choice."""
        mirror = self.mirror and choice != "full"
        if isinstance(self.source, FileImages):
            return self.source.mirrored(self.seed) if mirror else self.source
        return DatasetImages(self.source, Selection(choice, mirror), self.seed, self.resize)

    @property
    def labels(self) -> Tensor | None:
        """Every label [N, D]; None where there are none."""
        return None if isinstance(self.source, FileImages) else labels_of(self.source)


@dataclass(frozen=True)
class Subject:
    """What is measured: a generator, or images of any origin.

    Args:
        name: what to call it.
        record: where it came from, as JSON.
        source: the generator, or the images.
        reals: to compare with, and among whose labels a generator's are drawn; None where no metric does.
    """

    name: str
    record: dict[str, Any]
    source: Sampler | ImageSet
    reals: RealImages | None = None

    @property
    def is_generator(self) -> bool:
        """Whether it is a generator, rather than a set of images."""
        return isinstance(self.source, Sampler)

    def images(self, seed: int = 0, latents: int = 1) -> ImageSet:
        """Its images; those of a generator from `seed` on."""
        return self.generated(seed, latents) if isinstance(self.source, Sampler) else self.source

    def generated(self, seed: int = 0, latents: int = 1) -> GeneratedImages:
        """Images of the generator from `seed` on, each of so many `latents`."""
        assert isinstance(self.source, Sampler)
        return GeneratedImages(self.source, seed, None if self.reals is None else self.reals.labels, latents)
