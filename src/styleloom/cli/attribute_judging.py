"""Verdicts of `attribute`: given images projected as those of a calibration were, and what follows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import torch

import styleloom
from styleloom.attribution import rates
from styleloom.attribution.calibration import SCOPE, Calibration, Verdict, load_calibration
from styleloom.attribution.measuring import Method, check_method, distances, method_of
from styleloom.cli.progress import EvaluationProgress
from styleloom.cli.project_targets import Target, image_targets
from styleloom.cli.report import print_json, say
from styleloom.errors import UserError, shown
from styleloom.features.registry import load_distance
from styleloom.projection import Projector

if TYPE_CHECKING:
    from styleloom.cli.attribute import Attribute
    from styleloom.sampling import Sampler
    from styleloom.types import PerceptualDistance

LOSSY = (".jpg", ".jpeg", ".webp")
"""Endings of images whose pixels are not those that were made."""


def judge(command: Attribute) -> int:
    """Print a verdict for each image; 0. Ctrl-C leaves those that are there by then."""
    calibration = _calibration(command)
    method = method_of(calibration)
    _, sampler = command.sampler(method.precision)
    distance = _distance(command, method, sampler)
    targets = list(image_targets(command.images, sampler, None, command.exact))
    label, steps = sampler.labels(1, method.classes), method.projection.steps
    batches = [targets[i : i + command.batch] for i in range(0, len(targets), command.batch)]
    verdicts: list[dict[str, Any]] = []
    try:
        with EvaluationProgress() as progress:
            for number, batch in enumerate(batches):

                def report(projector: Projector, before: int = number * steps) -> None:
                    progress("steps", before + projector.steps_done, len(batches) * steps)

                images = torch.stack([target.image for target in batch])
                labels = None if label is None else label.expand(len(batch), -1)
                found = distances(sampler, images, method.projection, distance, labels, len(batch), report)
                for target, value in zip(batch, found, strict=True):
                    verdict = calibration.verdict(value, _notes(calibration, target))
                    verdicts.append(target.record | dataclasses.asdict(verdict))
                    if not command.json:
                        _tell(target, verdict)
    finally:
        if command.json and verdicts:
            print_json(_document(command, calibration, verdicts))
    if not command.json:
        say(f"{rates.CONFIDENCE:.0%} intervals; {SCOPE}")
    return 0


def _calibration(command: Attribute) -> Calibration:
    """The calibration, with other rates where these are given."""
    assert command.calibration is not None
    calibration = load_calibration(command.calibration)
    given = {"false_alarm": command.false_alarm, "miss": command.miss}
    return dataclasses.replace(calibration, **{k: v for k, v in given.items() if v is not None})


def _distance(command: Attribute, method: Method, sampler: Sampler) -> PerceptualDistance:
    """That of the calibration. Raises UserError for another snapshot, and other weights."""
    distance = load_distance(method.distance["name"], sampler.generator.w_avg.device)
    try:
        check_method(method, sampler, distance)
    except UserError as error:
        raise UserError(f"--calibration: {shown(command.calibration)} was {error}") from error
    return distance


def _notes(calibration: Calibration, target: Target) -> list[str]:
    """In what an image is unlike those of the calibration."""
    notes = []
    if "changed" in target.record:
        notes.append(
            f"the image is {target.record['changed']}: it was resized or converted, which the calibration's "
            "images were not"
        )
    if target.record["image"].lower().endswith(LOSSY):
        notes.append(
            "the image may be compressed with losses, which the calibration's generated images are not"
        )
    made_by = calibration.document.get("styleloom")
    if made_by != styleloom.__version__:
        notes.append(f"the calibration was made by styleloom {made_by}, this is {styleloom.__version__}")
    return notes


def _tell(target: Target, verdict: Verdict) -> None:
    say(f"{shown(target.record['image'])}: {verdict.sentence()}")
    for note in verdict.notes:
        say(f"  {note}")


def _document(command: Attribute, calibration: Calibration, verdicts: list[dict[str, Any]]) -> dict[str, Any]:
    """All verdicts, as JSON."""
    return {
        "calibration": str(command.calibration),
        "method": calibration.document["method"],
        "images": verdicts,
        **calibration.results(),
        "styleloom": styleloom.__version__,
    }
