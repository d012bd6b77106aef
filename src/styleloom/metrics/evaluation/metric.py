"""A metric: one object that knows its names, what it needs, when it must refuse, and what its number is.

An evaluation measures two kinds of them: a `SetMetric` compares sets of images, a `ProbeMetric` examines a
generator. A third, `HistoryMetric`, compares the snapshots of a run. `definitions.METRICS` holds all of them.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, TypeAlias

from torch import Tensor

from styleloom.errors import UserError, nearest, quoted, shown
from styleloom.features import registry
from styleloom.metrics.classifiers.classifier import Classifier
from styleloom.metrics.evaluation.collect import FeatureNetworks
from styleloom.metrics.evaluation.image_sets import Choice
from styleloom.metrics.evaluation.subject import Subject
from styleloom.metrics.probes.ppl import Sampling, Space
from styleloom.sampling import Sampler

Better: TypeAlias = Literal["lower", "higher"]
"""Which values of a metric are better."""

MAX_NUM = 1_000_000
"""Images that an evaluation makes at most: a repeat has 2^20 seeds."""

ALL = "all"
"""In place of a number: every image of both sets."""

# Parts of the patterns of names. Groups are called as the fields of `Definition`.
NUM = r"(?P<num>[1-9]\d*k?)?"
IMAGES = rf"(?P<num>[1-9]\d*k?|{ALL})?"
CHOICE = r"(?:_(?P<choice>full|random))?"
MIXED = r"(?:_mix(?P<latents>[1-4]))?"
NETWORK = r"(?:_(?P<network>[a-z][\w.-]*))?"
OTHER_NETWORK = NETWORK.removesuffix("?")
"""A network that must be named."""


@dataclass(frozen=True)
class Definition:
    """One metric as asked for: `fid50k_full` is a `Definition` of the metric `fid`.

    Args:
        name: as given.
        metric: which metric the name belongs to.
        num: images, pairs or samples; 0 for every image of both sets.
        network: name of the feature network; None where there is none.
        choice: which reals; see `image_sets.Selection`.
        latents: mixed in a generated image.
        neighbours: k of precision and recall.
        space, sampling: of a path length; space None is both.
    """

    name: str
    metric: Metric
    num: int
    network: str | None = None
    choice: Choice = "first"
    latents: int = 1
    neighbours: int = 3
    space: Space | None = None
    sampling: Sampling = "end"

    def record(self) -> dict[str, Any]:
        """All but the name, as JSON."""
        options = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("name", "metric")}
        return {"kind": self.metric.kind} | options


@dataclass(frozen=True, kw_only=True)
class Metric(ABC):
    """A metric such as FID, of which a name such as `fid50k_full` asks for one `Definition`.

    What all metrics of a class have in common is an attribute of the class; what tells them apart is an
    argument.

    Args:
        kind: its name in `METRICS` and in documents.
        pattern: of names, with groups named as the fields of `Definition`.
        num: images, pairs or samples where the name says no number.
        text: what it is, with its source.
        example: names that it takes, separated by commas.
        network: feature network that it is defined with; None where there is none.
        better: which values are better; None where that depends.
    """

    kind: str
    pattern: str
    num: int
    text: str
    example: str
    network: str | None = None
    better: Better | None = "lower"

    needs_reals: ClassVar[bool] = False
    """Whether it compares with real images."""
    needs_generator: ClassVar[bool] = False
    """Whether it needs a generator rather than images of any origin."""
    needs_classifiers: ClassVar[bool] = False
    """Whether it needs classifiers of attributes."""
    in_training: ClassVar[bool] = True
    """Whether a training can measure it of itself."""
    pairs: ClassVar[bool] = False
    """Whether the number counts pairs of images."""
    choice: ClassVar[Choice] = "first"
    """Which reals, where the name does not say."""

    def parse(self, name: str) -> Definition | None:
        """What `name` asks for; None for a name of another metric.

        Raises UserError for a feature network that does not exist and a number that is too large.
        """
        found = re.fullmatch(self.pattern, name)
        if found is None:
            return None
        given = {field: text for field, text in found.groupdict().items() if text is not None}
        options: dict[str, Any] = {"num": self.num, "network": self.network, "choice": self.choice}
        options |= {field: _READERS.get(field, str)(text) for field, text in given.items()}
        if "network" in given:
            options["network"] = _network(name, given["network"])
        if options["num"] * (2 if self.pairs else 1) > MAX_NUM:
            raise UserError(f"metric: {name} asks for {options['num']:,}; valid: at most {MAX_NUM:,}")
        return Definition(name, self, **options)

    def check(
        self,
        d: Definition,
        subject: Subject,
        networks: FeatureNetworks,
        classifiers: Sequence[Classifier],
    ) -> None:
        """Raise UserError, before any image is made, for what cannot be measured on this subject."""
        if self.needs_generator and not subject.is_generator:
            raise UserError(f"{d.name}: needs a generator; {shown(subject.name)} holds images")
        if self.needs_classifiers and not classifiers:
            raise UserError(
                f"{d.name}: needs classifiers of attributes; train them with `styleloom train-classifiers "
                "--data LABELLED.zip --out FOLDER`, give them with --classifiers FOLDER"
            )


class HistoryMetric(Metric):
    """A metric that compares each snapshot of a run with the one before (`runs/history.py`)."""

    needs_generator = True
    in_training = False

    def check(
        self,
        d: Definition,
        subject: Subject,
        networks: FeatureNetworks,
        classifiers: Sequence[Classifier],
    ) -> None:
        """Raise UserError: a single subject has no history."""
        super().check(d, subject, networks, classifiers)
        raise UserError(f"{d.name}: compares snapshots; give a run directory with two or more")

    @abstractmethod
    def images(self, sampler: Sampler, seeds: Sequence[int], labels: Tensor | None) -> dict[int, Tensor]:
        """The images of a snapshot that are compared: [N, C, H, W] by nominal side, px."""

    @abstractmethod
    def changes(self, before: Mapping[int, Tensor], after: Mapping[int, Tensor]) -> dict[int, float]:
        """How much the images changed from one snapshot to the next, by nominal side, px."""


def _count(text: str) -> int:
    """ "10k" to 10000, "all" to 0."""
    if text == ALL:
        return 0
    return int(text[:-1]) * 1000 if text.endswith("k") else int(text)


_READERS = {"num": _count, "latents": int, "neighbours": int}
"""What reads the fields of a `Definition` that are numbers; all others are words."""


def _network(metric: str, suffix: str) -> str:
    """The network of that short or whole name."""
    for name in registry.names():
        if suffix in (name, registry.entry(name).suffix):
            return name
    valid = [registry.entry(name).suffix for name in registry.names()]
    raise UserError(
        f"metric: {quoted(metric)} names no feature network, {nearest(suffix, valid)}choose "
        f"from {', '.join(valid)}"
    )
