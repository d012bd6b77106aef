"""`styleloom train`: train a preset on images, or resume a run."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from styleloom import presets
from styleloom.cli import INTERRUPTED
from styleloom.cli.processes import together
from styleloom.cli.progress import TrainingProgress
from styleloom.cli.report import tell
from styleloom.cli.training_images import (
    MIRROR_FIELDS,
    Mirroring,
    augmentation_fields,
    note_unused_labels,
    unmirrored,
)
from styleloom.cli.training_plan import note_unfinished_growth, print_plan
from styleloom.cli.training_run import check_names_a_run, print_outcome, tell_beginning
from styleloom.config import Experiment, apply_overrides
from styleloom.data.dataset import ImageDataset, open_dataset
from styleloom.data.sources import EMBEDDED_SETS
from styleloom.errors import UserError, shown
from styleloom.names import recorded_name

if TYPE_CHECKING:
    from styleloom.distributed import Processes
    from styleloom.runs.directory import RunDirectory
    from styleloom.runs.initial import Source

logger = logging.getLogger(__name__)


# What needs torch is imported where it is used: help and wrong flags do not wait for it.


FLAGS = {
    "resolution": "resolution",
    "kimg": "total_kimg",
    "batch": "batch",
    "micro_batch": "micro_batch",
    "precision": "precision",
    "seed": "seed",
    "metrics": "run.metrics",
    "metrics_every": "run.metrics_kimg",
    "keep": "run.keep",
    "freeze": "freeze",
    "mirror": "data.mirror",
    "augment_set": "augment.set",
}
"""Flags that set a field of the experiment, and the field's name."""


@dataclass
class Train:
    """Train a preset on images, or continue a run."""

    data: str | None = None
    """Archive made by `styleloom dataset build`, or an embedded set: portraits, emoji."""
    preset: str | None = None
    """Name of the experiment, see `styleloom presets`; by default stylegan2-f."""
    device_table: presets.Devices | None = None
    """Take the batch and learning rate that the preset's authors use on so many devices."""
    resolution: int | None = None
    """Side of the images in px; by default that of the data."""
    kimg: float | None = None
    """Thousands of real images to show."""
    batch: int | None = None
    """Images per step, at every resolution."""
    micro_batch: int | None = None
    """Images that pass through the networks at once; their gradients add up to the batch's. Lower it if
    memory runs out."""
    mirror: Mirroring | None = None
    """Whether images are flipped left and right at random. By default yours are not; preset does as the
    preset's paper does with its own."""
    augment: str | None = None
    """For few images: ada transforms what the discriminator reads, with a probability that follows its
    overfitting; fixed:0.2 with a constant one; none."""
    augment_set: str | None = None
    """Which transformations: bgc (the default), blit, color, ..., or names such as xint,brightness."""
    out: Path | None = None
    """Run directory to create; by default runs/PRESET."""
    resume: Path | None = None
    """Run directory to continue exactly where its latest state left off."""
    resume_or_start: Path | None = None
    """Run directory: continued where it holds a run, else created. For scripts that are started again and
    again; the other flags are those of the start."""
    init: str | None = None
    """Begin with the networks of a snapshot, a run (its latest state) or a state, not with fresh ones."""
    fit_to: str | None = None
    """Take the experiment of such a file; with --preset its networks alone, and the rest of the preset."""
    freeze: tyro.conf.UseAppendAction[list[str]] = field(default_factory=list)
    """Layers that stay as they are: d:4 (the first 4 of the discriminator), mapping, or a layer's name. May
    be repeated."""
    overrides: Annotated[
        tyro.conf.UseAppendAction[list[str]], tyro.conf.arg(name="set", metavar="FIELD=VALUE")
    ] = field(default_factory=list)
    """Any field of the experiment, e.g. --set d_regularizer.gamma=2. May be repeated."""
    allow_change: tyro.conf.UseAppendAction[list[str]] = field(default_factory=list)
    """With --resume: a flag, field or group of fields that may differ from the run's. May be repeated."""
    state: str | None = None
    """With --resume: step or file of the state to continue from; what came after it is set aside."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    precision: str | None = None
    """auto, fp32, bf16, tf32."""
    seed: int | None = None
    """Seed of all random numbers."""
    profile: int | None = None
    """Record so many steps, after a few to warm up, as a Chrome trace in the run directory."""
    minutes: float | None = None
    """Save and stop after so many minutes; --resume continues."""
    metrics: str | None = None
    """Metrics to measure during the training, e.g. kid10k_lite0; the first one chooses the best snapshot.
    `styleloom metrics` lists them."""
    metrics_every: float | None = None
    """Thousands of images between measurements; by default 200."""
    keep: str | None = None
    """What snapshots hold: average, the mean of the generator, or full, the networks in training as well."""
    workers: int = 2
    """Threads that decode images ahead, where the data do not fit in memory."""
    cache_gib: float = 2.0
    """Memory for decoded images, GiB; growing presets use as much again for images at the active level."""
    dry_run: bool = False
    """Print experiment, schedule, parameters and cost, and stop."""
    json: bool = False
    """Print one JSON document at the end."""

    def run(self) -> int:
        """Train; 0 when done or when --minutes are over, 130 when a signal ended it. Everything is saved."""
        if self.minutes is not None and not self.minutes > 0:
            raise UserError(f"--minutes: {self.minutes:g} is not valid, it must be more than 0")
        if self.profile is not None:
            from styleloom.runs.profile import check_steps

            check_steps(self.profile)
        return together(self._train)

    def _train(self, processes: Processes) -> int:
        """What `run` does, on each of the processes that train together."""
        self.device = processes.named_device(self.device)
        if self.resume is not None:
            return self._resume(self.resume, processes)
        begun = self._begun(processes)
        for flag in ("allow-change", "state"):
            if getattr(self, flag.replace("-", "_")) and self.resume_or_start is None:
                raise UserError(f"--{flag}: only with --resume")
        experiment, dataset, source = self.planned()
        if self.dry_run:
            note_unfinished_growth(experiment)
            images = None if dataset is None else len(dataset) - experiment.data.held_out
            print_plan(experiment, self.device, self.json, images)
            return 0
        if dataset is None:
            sets = ", ".join(EMBEDDED_SETS)
            raise UserError(f"--data: needed: an archive made by `styleloom dataset build`, or: {sets}")
        if begun is not None:
            return self._go_on(begun, experiment, dataset, processes)
        out = self.resume_or_start or self.out or Path("runs") / experiment.name
        note_unused_labels(experiment, dataset)
        note_unfinished_growth(experiment)
        from styleloom.runs.fit import start

        trainer, run = start(out, experiment, dataset, self.device, self.workers, self.cache_gib, source)
        return self._fit(trainer, run, processes)

    def _begun(self, processes: Processes) -> RunDirectory | None:
        """The run that --resume-or-start names, where it has begun."""
        if self.resume_or_start is None:
            return None
        for name in ("out", "state"):
            if getattr(self, name) is not None:
                raise UserError(f"--{name}: not with --resume-or-start, which names the run itself")
        from styleloom.runs.directory import RunDirectory

        run, begun = RunDirectory(self.resume_or_start), False
        with processes.together():
            if processes.collects:
                begun = run.begun()
        return run if processes.agree(begun) else None

    def _go_on(
        self, run: RunDirectory, experiment: Experiment, dataset: ImageDataset, processes: Processes
    ) -> int:
        """Continue a run with the flags that started it."""
        from styleloom.runs.begin import needed
        from styleloom.runs.fit import resume

        recorded, _ = run.read_experiment()
        if experiment.precision == "auto":  # the run's says what it meant on its device
            experiment = replace(experiment, precision=recorded.precision)
        allowed = needed(self._allowed(), recorded, experiment)
        trainer, run = resume(
            run.path, dataset, experiment, allowed, self.device, self.workers, self.cache_gib
        )
        return self._fit(trainer, run, processes)

    def _allowed(self) -> list[str]:
        """Fields that may differ from the run's."""
        return [FLAGS.get(name.replace("-", "_"), name) for name in self.allow_change]

    def planned(self) -> tuple[Experiment, ImageDataset | None, Source | None]:
        """What would be trained, on which images, beginning with whose networks."""
        experiment, source = self._beginning()
        own = self.data is not None and self.data not in EMBEDDED_SETS
        if own and not self._asked("mirror"):
            experiment = unmirrored(experiment)
        experiment = self._changed(experiment)
        dataset = self._dataset(experiment) if self.data is not None else None
        if dataset is not None:
            experiment = self._fitted(experiment, dataset)
        if source is not None:
            experiment = self._continuing(experiment, source)
        return experiment, dataset, source

    def _beginning(self) -> tuple[Experiment, Source | None]:
        """The experiment before any change, of the preset or of --fit-to, and what --init names."""
        if self.fit_to is None and self.init is None:
            return self._preset(), None
        from styleloom.runs.initial import fit_to, read_source

        model = None if self.fit_to is None else read_source(self.fit_to)
        source = None
        if self.init is not None:
            source = model if self.init == self.fit_to else read_source(self.init)
        if model is None:
            return self._preset(), source
        if self.preset is None and self.device_table is not None:
            raise UserError("--device-table: needs --preset where --fit-to is given")
        return fit_to(model, None if self.preset is None else self._preset()), source

    def _continuing(self, experiment: Experiment, source: Source) -> Experiment:
        """The experiment with the source's growth. Raises UserError where its networks are others."""
        from styleloom.runs.initial import check_fit, continue_growth, described

        if not any(item.strip().startswith("growth.") for item in self.overrides):
            experiment = continue_growth(experiment, source)
        check_fit(experiment, source)
        for line in described(source):
            tell(line)
        return experiment

    def _preset(self) -> Experiment:
        """The preset, with batch and learning rate of --device-table where that is given."""
        experiment = presets.get(self.preset or presets.DEFAULT)
        return experiment if self.device_table is None else presets.for_devices(experiment, self.device_table)

    def _changed(self, experiment: Experiment) -> Experiment:
        """The experiment with this command line's flags."""
        flags = {name: getattr(self, flag) for flag, name in FLAGS.items()}
        flags["data.mirror"] = MIRROR_FIELDS.get(self.mirror or "")
        flags |= augmentation_fields(self.augment)
        flags = {
            name: ",".join(value) if isinstance(value, list) else value
            for name, value in flags.items()
            if value not in (None, [])
        }
        given = [f"{name}={value}" for name, value in flags.items()]
        for override in self.overrides:
            name, equals, _ = override.partition("=")
            if equals and (name := name.strip()) in flags:
                raise UserError(
                    f"--set {override}: {name} is already given as a flag, {flags[name]}; give it once"
                )
        return apply_overrides(experiment, given + self.overrides)

    def _dataset(self, experiment: Experiment) -> ImageDataset:
        asked = self._asked("resolution")
        dataset = open_dataset(self.data or "", experiment.resolution if asked else None)
        dataset.check_headers()
        return dataset

    def _asked(self, name: str) -> bool:
        """Whether the command line sets the field, which otherwise comes from the preset or the data."""
        written = [item.split("=")[0].strip() for item in self.overrides]
        return getattr(self, name, None) is not None or any(
            item in (name, f"generator.{name}", f"discriminator.{name}", f"data.{name}") for item in written
        )

    def _fitted(self, experiment: Experiment, dataset: ImageDataset) -> Experiment:
        """Resolution, channels and grid of the data, where the command line does not fix them."""
        experiment = experiment.with_data(
            resolution=None if self._asked("resolution") else dataset.resolution,
            channels=None if self._asked("channels") else dataset.channels,
            grid=None if self._asked("grid") else dataset.grid,
        )
        from styleloom.training.inputs import check_data

        check_data(experiment, dataset)
        return experiment

    def _resume(self, path: Path, processes: Processes) -> int:
        for name in ("resume-or-start", "out", "preset", "device-table", "init", "fit-to"):
            if getattr(self, name.replace("-", "_")) is not None:
                raise UserError(f"--{name}: not with --resume, which continues {shown(path)} as it is")
        from styleloom.runs.directory import RunDirectory
        from styleloom.runs.fit import resume

        check_names_a_run(path)
        written, data = RunDirectory(path).read_experiment()
        requested = self._changed(written)
        if self.dry_run:
            print_plan(requested, self.device, self.json)
            return 0
        state = None if self.state is None else RunDirectory(path).find_state(self.state)
        dataset = self._data_of_run(data, requested.resolution)
        trainer, run = resume(
            path if state is None else state,
            dataset,
            requested,
            self._allowed(),
            self.device,
            self.workers,
            self.cache_gib,
        )
        return self._fit(trainer, run, processes)

    def _data_of_run(self, record: dict[str, Any], resolution: int) -> ImageDataset:
        """The images that --data names, else those that the run names."""
        if self.data is not None:
            return open_dataset(self.data, resolution)
        path = record.get("path")
        if not isinstance(path, str) or not path:
            raise UserError(f"{shown(self.resume)}: does not say where its data are; name them with --data")
        try:
            return open_dataset(recorded_name(path, EMBEDDED_SETS), resolution)
        except UserError as error:
            raise UserError(f"{error}; if the run's data are elsewhere now, name them with --data") from error

    def _fit(self, trainer: Any, run: RunDirectory, processes: Processes) -> int:
        from styleloom.runs.fit import StopRequest, fit

        total = trainer.experiment.total_kimg * 1000
        minutes, stop = math.inf if self.minutes is None else self.minutes, StopRequest()
        if processes.collects:
            tell_beginning(trainer, run)
        with TrainingProgress(total, minutes, processes.collects) as progress:
            done = fit(trainer, run, progress, minutes, stop, self.profile)
        trainer.close()
        if processes.collects:
            print_outcome(trainer, run, done, self.json)
        return INTERRUPTED if stop.requested and not done else 0
