"""A calibration of `attribute`: both sets of images projected, batch after batch, and what that says."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import styleloom
from styleloom import environment
from styleloom.attribution import calibration as files
from styleloom.attribution import plot, rates
from styleloom.attribution.calibration import SCOPE, SETS, Calibration
from styleloom.attribution.measuring import (
    Method,
    check_styles,
    distances,
    generated_images,
    real_images,
)
from styleloom.attribution.rates import Estimate, Threshold
from styleloom.cli.progress import EvaluationProgress
from styleloom.cli.report import print_json, say
from styleloom.cli.sheets import check_free
from styleloom.cli.wanted_images import parse_seeds
from styleloom.data.dataset import open_dataset
from styleloom.errors import UserError, shown
from styleloom.features.registry import load_distance
from styleloom.precision import resolve_precision
from styleloom.projection import Projection, Projector, distance_name

if TYPE_CHECKING:
    from torch import Tensor

    from styleloom.cli.attribute import Attribute

logger = logging.getLogger(__name__)

COUNT, PRECISION = 100, "fp32"
"""Images of each set, and arithmetic, unless told otherwise."""


def calibrate(command: Attribute) -> int:
    """Write the calibration and its histogram; 0."""
    out = files.check_name(command.out or Path(f"calibration{files.ENDING}"))
    picture = out.with_name(out.name.removesuffix(".json") + ".png")
    count = COUNT if command.count is None else command.count
    seeds = list(range(count)) if command.seeds is None else parse_seeds(command.seeds)
    if len(set(seeds)) < len(seeds):
        raise UserError("--seeds: each once, since equal images are not independent")
    wanted = _wanted_rates(command, count, len(seeds))
    begun = _begun(out, command.overwrite)
    check_free("out", [picture] if begun else [out, picture], command.overwrite)
    with contextlib.ExitStack() as kept:
        work = _Work(command, seeds, count, kept)
        document = work.document | wanted
        if begun is not None:
            if not files.same_work(begun, document):
                raise UserError(
                    f"--out: {shown(out)} was begun with other images or settings; choose another --out, or "
                    "replace it with --overwrite"
                )
            logger.info(f"{shown(out)}: going on with {files.measured(begun)} distances that it has")
            document = begun | wanted
        work.measure(out, document)
    calibration = files.load_calibration(out)
    drawn = plot.can_draw()
    if drawn:
        plot.histogram(calibration, picture)
    else:
        logger.info(f"no histogram: it {plot.INSTALL}")
    if command.json:
        made = {"calibration": str(out), "histogram": str(picture) if drawn else None}
        print_json(made | dict(calibration.document))
    else:
        _tell(calibration)
        say(f"calibration in {shown(out)}" + (f", histogram in {shown(picture)}" if drawn else ""))
    return 0


def _wanted_rates(command: Attribute, reals: int, generated: int) -> dict[str, float]:
    """The wanted rates of errors. Raises UserError for sets that are too small for them, before any work."""
    found = {}
    for name, number in (("false_alarm", reals), ("miss", generated)):
        given = getattr(command, name)
        found[name] = rates.WANTED if given is None else given
        rates.check_rate(f"--{name.replace('_', '-')}", found[name], number)
    return found


def _begun(out: Path, overwrite: bool) -> dict[str, Any] | None:
    """What an interrupted command left in `out`, to go on with."""
    if overwrite or not out.exists():
        return None
    document = files.read_document(out)
    return None if files.complete(document) else document


class _Work:
    """Both sets of a calibration, and how their distances are measured."""

    def __init__(self, command: Attribute, seeds: list[int], count: int, kept: contextlib.ExitStack) -> None:
        assert command.data is not None
        snapshot, self.sampler = command.sampler(command.precision or PRECISION)
        device = self.sampler.generator.w_avg.device
        own = {"steps": command.steps, "noise": command.noise, "seed": command.seed}
        self.options = Projection(**{name: value for name, value in own.items() if value is not None})
        self.label = self.sampler.labels(1, command.classes)
        check_styles(self.sampler)
        dataset = open_dataset(command.data, snapshot.experiment.resolution).at(self.sampler.resolution)
        kept.callback(dataset.close)
        self.real = real_images(self.sampler, dataset, count, snapshot.info.get("data"), command.classes)
        self.seeds, self.classes, self.batch = seeds, command.classes, command.batch
        self.distance = load_distance(command.distance or distance_name(), device)
        method = Method(
            self.sampler.snapshot_sha256,
            self.distance.identity,
            self.options,
            resolve_precision(command.precision or PRECISION, device),
            command.classes,
        )
        self.document: dict[str, Any] = {
            "snapshot": command.snapshot,
            "method": method.record(),
            "data": dict(self.real.record),
            "generated": [{"seed": seed, "distance": None} for seed in seeds],
            "real": [record | {"distance": None} for record in self.real.records()],
            "styleloom": styleloom.__version__,
            "environment": environment.record(device),
        }

    def images(self, name: str, at: Sequence[int]) -> Tensor:
        """Images [N, C, H, W] at these positions of a set."""
        if name == "real":
            return self.real.images(at)
        return generated_images(self.sampler, [self.seeds[i] for i in at], self.classes)

    def measure(self, out: Path, document: dict[str, Any]) -> None:
        """Fill in the distances that are not there yet, and write the file after each batch."""
        batches = []
        for name in SETS:
            waiting = [i for i, record in enumerate(document[name]) if record["distance"] is None]
            batches += [(name, waiting[i : i + self.batch]) for i in range(0, len(waiting), self.batch)]
        files.save_calibration(out, document)  # before the work: whether it can be written
        with EvaluationProgress() as progress:
            for number, (name, at) in enumerate(batches):

                def report(projector: Projector, before: int = number * self.options.steps) -> None:
                    progress("steps", before + projector.steps_done, len(batches) * self.options.steps)

                labels = None if self.label is None else self.label.expand(len(at), -1)
                images = self.images(name, at)
                found = distances(
                    self.sampler, images, self.options, self.distance, labels, self.batch, report
                )
                for i, value in zip(at, found, strict=True):
                    document[name][i]["distance"] = value
                files.save_calibration(out, document)


def _tell(calibration: Calibration) -> None:
    """Print what a calibration says, each number with its interval."""
    area, threshold, upper = calibration.roc_area, calibration.threshold, calibration.upper_threshold
    data = calibration.document["data"]
    say(
        f"{len(calibration.generated)} generated images; {len(calibration.real)} of {shown(data['name'])}, "
        f"{data['part']}"
    )
    say(f"ROC area of {calibration.distance_name}: {_interval(area, '.3f')}")
    say(
        f"generated below {_bounds(threshold)}: false alarms {_interval(threshold.rate, '.1%')} of real "
        f"images, wanted {threshold.wanted:.3g}; finds {_interval(calibration.detection, '.1%')} of generated"
    )
    say(
        f"not generated above {_bounds(upper)}: misses {_interval(upper.rate, '.1%')} of generated images, "
        f"wanted {upper.wanted:.3g}"
    )
    say(f"{rates.CONFIDENCE:.0%} intervals; {SCOPE}")


def _interval(estimate: Estimate, form: str) -> str:
    """ "0.987 (0.950 to 0.998)"."""
    value, low, high = (format(x, form) for x in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({low} to {high})"


def _bounds(threshold: Threshold) -> str:
    """A threshold and its interval; an open end is that of no number."""
    low, high = ("open" if x is None else f"{x:.4g}" for x in (threshold.low, threshold.high))
    return f"{threshold.distance:.4g} ({low} to {high})"
