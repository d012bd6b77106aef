"""Distances of images known to be generated and known to be real, their file, and what follows for others."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from styleloom import arguments
from styleloom.atomic import write_text
from styleloom.attribution import rates
from styleloom.attribution.rates import Estimate, Share, Threshold
from styleloom.errors import UserError, quoted, shown
from styleloom.file_kinds import readable_file

FORMAT, VERSION = "styleloom-attribution", 1
ENDING = ".attribution.json"

MAX_BYTES = 2**26
"""Longest file."""

Kind: TypeAlias = Literal["consistent with generated", "not consistent with generated", "undecided"]

SCOPE = (
    "these rates hold for images that come about as those of the calibration: whole images of this size, of "
    "8 bits, not compressed, resized or retouched, and reals of the same data set"
)
"""What no calibration knows."""


@dataclass(frozen=True)
class Verdict:
    """What a calibration says of one distance.

    Args:
        distance: of the image, after projection.
        kind: generated where reals are rarely so near and generated images are often no nearer; not generated
            the other way round; undecided where neither is rare, or both are.
        reals_as_near: share of the real images with a distance at most as large: the error of calling such
            images generated.
        generated_as_far: share of the generated images with a distance at least as large: the error of
            calling such images not generated.
        notes: what else is to be known.
    """

    distance: float
    kind: Kind
    reals_as_near: Share
    generated_as_far: Share
    notes: tuple[str, ...] = ()

    def sentence(self) -> str:
        """The verdict with its error rates."""
        near, far = self.reals_as_near, self.generated_as_far
        return (
            f"{self.kind}: distance {self.distance:.4g}; as near are {_told(near)} real images, "
            f"as far are {_told(far)} generated ones"
        )


@dataclass(frozen=True)
class Calibration:
    """Two sets of distances, all projected alike.

    Args:
        generated, real: distances of images that the generator made, and of real ones that it has not seen.
        false_alarm: wanted rate of real images that are called generated.
        miss: wanted rate of generated images that are called not generated.
        document: all that was set, as JSON: see `save_calibration` and `measuring.method`.

    Raises UserError for values that are no distances, and for sets too small for the rates.
    """

    generated: Sequence[float]
    real: Sequence[float]
    false_alarm: float = rates.WANTED
    miss: float = rates.WANTED
    document: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, rate in (("real", "false_alarm"), ("generated", "miss")):
            values = rates.finite_values(name, getattr(self, name))
            rates.check_rate(rate, getattr(self, rate), len(values))

    @property
    def distance_name(self) -> str:
        """That of the perceptual distance, where the document says it."""
        identity = self.document.get("method", {}).get("distance")
        return str(identity.get("name")) if isinstance(identity, dict) else "perceptual distance"

    @property
    def roc_area(self) -> Estimate:
        """See `rates.roc_area`."""
        return rates.roc_area(self.generated, self.real)

    @property
    def threshold(self) -> Threshold:
        """Below it an image is called generated, with the wanted rate of false alarms."""
        return rates.threshold(self.real, self.false_alarm)

    @property
    def detection(self) -> Share:
        """The share of generated images below the threshold."""
        below = sum(value < self.threshold.distance for value in self.generated)
        return rates.share(below, len(self.generated))

    @property
    def upper_threshold(self) -> Threshold:
        """Above it an image is called not generated, with the wanted rate of misses."""
        return rates.upper_threshold(self.generated, self.miss)

    def verdict(self, distance: float, notes: Sequence[str] = ()) -> Verdict:
        """What is said of an image with this distance.

        Args:
            distance: of its projection, by the calibration's own method.
            notes: further ones.

        Raises UserError for what is no distance.
        """
        rates.finite_values("distance", [distance])
        near, far = distance < self.threshold.distance, distance > self.upper_threshold.distance
        told = list(notes)
        if near and far:
            told.append("nearer than real images come, farther than generated ones stay: unlike both sets")
        if distance > max(*self.generated, *self.real):
            told.append("farther than every image of the calibration: unlike both sets")
        if distance < min(*self.generated, *self.real):
            told.append("nearer than every image of the calibration")
        kind: Kind = "undecided"
        if near != far:
            kind = "consistent with generated" if near else "not consistent with generated"
        as_near, as_far = rates.at_most(self.real, distance), rates.at_least(self.generated, distance)
        return Verdict(distance, kind, as_near, as_far, tuple(told))

    def results(self) -> dict[str, Any]:
        """What the two sets say, as JSON."""
        return {
            "roc_area": dataclasses.asdict(self.roc_area),
            "threshold": dataclasses.asdict(self.threshold),
            "detection": dataclasses.asdict(self.detection),
            "upper_threshold": dataclasses.asdict(self.upper_threshold),
            "confidence": rates.CONFIDENCE,
            "intervals": rates.METHODS,
            "scope": SCOPE,
        }


def _told(part: Share) -> str:
    return f"{part.count} of {part.of} ({part.low:.1%} to {part.high:.1%} of all)"


# ---- files

SETS = ("generated", "real")
"""The lists of a file: a record for each image, with its distance once it is measured."""

TEMPLATE: Mapping[str, type] = {"method": dict, "data": dict, "generated": list, "real": list}
"""What a file has to hold, besides the two rates."""


def save_calibration(path: Path | str, document: Mapping[str, Any]) -> None:
    """Write a file, atomically, with what follows from it once every image has its distance.

    Args:
        path: a name that ends with `ENDING`.
        document: as `TEMPLATE` has it, with "false_alarm" and "miss".

    Raises UserError for another name, and for what no calibration can hold.
    """
    path = check_name(path)
    whole = {"format": FORMAT, "version": VERSION, **document}
    check_document(whole)
    if complete(whole):
        whole["results"] = calibration_of(whole).results()
    write_text(path, json.dumps(whole, indent=1, allow_nan=False) + "\n")


def load_calibration(path: Path | str) -> Calibration:
    """Read a file that is complete. Raises UserError, which names file and field, for anything else."""
    document = read_document(path)
    try:
        if not complete(document):
            done, count = measured(document), sum(len(document[name]) for name in SETS)
            raise UserError(
                f"{done} of {count} images were measured; the command that began it goes on when repeated"
            )
        return calibration_of(document)
    except UserError as error:
        raise UserError(f"{shown(path)}: {error}") from error


def read_document(path: Path | str) -> dict[str, Any]:
    """What a file holds, which need not be complete. Raises UserError for what is no calibration."""
    path = Path(path)
    readable_file(path, f"a calibration, *{ENDING}")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"has more than {MAX_BYTES:,} bytes, no calibration is so long")
        document = json.loads(path.read_bytes())
        check_document(document)
    except UserError as error:
        raise UserError(f"{shown(path)}: {error}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{shown(path)}: cannot be read as JSON ({quoted(str(error))})") from error
    return document


def check_name(path: Path | str) -> Path:
    """`path`, when its name ends as a calibration's does. Raises UserError otherwise."""
    path = Path(path)
    if not path.name.endswith(ENDING):
        raise UserError(f"{shown(path)}: no name of a calibration; valid: a name that ends with {ENDING}")
    return path


def check_document(document: Any) -> None:
    """Raise UserError unless `document` is a calibration, complete or not, of this version."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UserError("is no calibration of `styleloom attribute`")
    if document.get("version") != VERSION:
        raise UserError(
            f"version: {quoted(document.get('version'))} is not valid, this styleloom reads {VERSION}"
        )
    for name, kind in TEMPLATE.items():
        if not isinstance(document.get(name), kind):
            raise UserError(f"{name}: {quoted(document.get(name))} is not valid; a JSON {kind.__name__}")
    for name in ("false_alarm", "miss"):
        arguments.finite(name, document.get(name))
    for name in SETS:
        for record in document[name]:
            if not isinstance(record, dict):
                raise UserError(f"{name}: {quoted(record)} is not valid; a record for each image")
            if record.get("distance") is not None:
                rates.finite_values(f"{name}: distance", [arguments.finite("distance", record["distance"])])


def measured(document: Mapping[str, Any]) -> int:
    """How many images of both sets have a distance."""
    return sum(record.get("distance") is not None for name in SETS for record in document[name])


def complete(document: Mapping[str, Any]) -> bool:
    """Whether all images have."""
    return measured(document) == sum(len(document[name]) for name in SETS)


def calibration_of(document: Mapping[str, Any]) -> Calibration:
    """The calibration that a complete document holds."""
    generated, real = ([record["distance"] for record in document[name]] for name in SETS)
    return Calibration(generated, real, document["false_alarm"], document["miss"], document)


def same_work(document: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether both measure the same images in the same way."""

    def work(given: Mapping[str, Any]) -> str:
        images = {name: [record | {"distance": None} for record in given[name]] for name in SETS}
        return json.dumps([given["method"], given["data"], images], sort_keys=True)

    return work(document) == work(other)
