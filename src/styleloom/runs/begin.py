"""How a training begins: a new run, or one that is taken up again."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleloom.config import Experiment, from_json
from styleloom.config.overrides import ROLES, SHARED
from styleloom.config.serialize import differences
from styleloom.data.dataset import PRELOAD_BUDGET_BYTES, ImageDataset
from styleloom.distributed import joined
from styleloom.errors import UserError, nearest, quoted, shown
from styleloom.images import grid
from styleloom.runs import lock
from styleloom.runs.directory import RunDirectory
from styleloom.runs.initial import Source, take_over
from styleloom.runs.metrics import RunMetrics, check_distance
from styleloom.runs.pictures import sheet_shape
from styleloom.runs.records import state_name, step_of
from styleloom.training.health import recorded_complaint
from styleloom.training.state import checked_counters, digest
from styleloom.training.trainer import Trainer

logger = logging.getLogger(__name__)


def start(
    path: Path | str,
    experiment: Experiment,
    dataset: ImageDataset,
    device: str = "auto",
    workers: int = 1,
    cache_gib: float = PRELOAD_BUDGET_BYTES / 2**30,
    source: Source | None = None,
) -> tuple[Trainer, RunDirectory]:
    """Make a new run and its first state, so that it can be resumed from the beginning.

    If the process is killed during this, `path` is either a complete run or free for another start. The run
    is locked until `fit` returns or the process ends. The processes that this one has joined all call this;
    the first one writes.

    Args:
        path: run directory to create.
        experiment: what to train.
        dataset: the images, held-out ones included.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        workers: threads that decode images ahead, where the data do not fit in memory.
        cache_gib: memory for decoded images.
        source: networks to begin with in place of fresh ones; see `runs/initial.py`.

    Raises UserError where `path` is in use, or where the experiment cannot be trained on these images or its
    metrics cannot be measured; then no new file stays.
    """
    processes = joined().patient(experiment.run.patience_minutes)
    with contextlib.ExitStack() as undo:
        with processes.together():
            if processes.collects:
                RunDirectory(path).check_free()
            check_distance(experiment, dataset)
            trainer = Trainer(experiment, dataset, device, workers, cache_gib, processes=processes)
            undo.callback(trainer.close)
            _check_metrics(trainer)
            if source is not None:
                take_over(trainer, source)
        run = RunDirectory(path)
        with processes.together():
            if processes.collects:
                run = RunDirectory.create(path)
                undo.callback(run.discard)
                _first_files(trainer, run)
        undo.pop_all()
    return trainer, run


def _first_files(trainer: Trainer, run: RunDirectory) -> None:
    columns, rows = sheet_shape(trainer.experiment.generator.size)
    dataset = trainer.inputs.dataset
    first = dataset.images(torch.arange(min(columns * rows, len(dataset))).numpy())
    run.save_image("reals", grid(torch.from_numpy(first), columns))
    write_state(trainer, run)
    run.write_experiment(trainer.experiment, trainer.inputs.record())  # last: this makes it a run


def resume(
    path: Path | str,
    dataset: ImageDataset,
    requested: Experiment | None = None,
    allowed: list[str] | None = None,
    device: str = "auto",
    workers: int = 1,
    cache_gib: float = PRELOAD_BUDGET_BYTES / 2**30,
) -> tuple[Trainer, RunDirectory]:
    """Continue a run from its latest complete state, or from a state of one's choice.

    The run is locked until `fit` returns or the process ends. The processes that this one has joined all call
    this, and read the state; the first one writes.

    Args:
        path: of the run, or of one of its states. With a state, what the run wrote after it is moved to a
            folder `set-aside-N`, and the count of updates skipped in a row begins at 0 again.
        dataset: the same images as before.
        requested: the experiment to continue with; by default what experiment.json says. Differences from
            the state's are refused unless `allowed` names them ("data" allows other images).
        allowed: dotted names of fields, or of groups of fields, that may differ.
        device, workers, cache_gib: as of `start`; they may differ from those of before.

    Raises UserError where the run or the state cannot be read, another process trains the run, or a
    difference is refused. Then no file of the run has changed.
    """
    chosen = Path(path) if Path(path).suffix == ".safetensors" else None
    run = RunDirectory(path if chosen is None else chosen.parent)
    requested = run.read_experiment()[0] if requested is None else requested
    processes = joined().patient(requested.run.patience_minutes)
    with contextlib.ExitStack() as undo:
        with processes.together():
            if processes.collects and lock.lock(run.path):
                undo.callback(lock.unlock, run.path)
            file = run.find_state(None if chosen is None else chosen.name)
            tensors, document = _checked(run, file)
            changed = check_changes(from_json(document["experiment"]), requested, allowed or [])
            check_distance(requested, dataset)
            trainer = Trainer(requested, dataset, device, workers, cache_gib, processes=processes)
            undo.callback(trainer.close)
            changed |= _check_data(trainer, document, allowed or [])
            _check_metrics(trainer)
            _load(trainer, run, file, (tensors, document))
        if chosen is not None:
            trainer.skipped_in_a_row = dict.fromkeys(trainer.skipped_in_a_row, 0)
        with processes.together():
            if processes.collects:
                _go_on(trainer, run, taken_back=chosen is not None)
        if changed or chosen is not None:
            save_state(trainer, run)  # with the changed experiment: the next resume needs no --allow-change
        undo.pop_all()
    return trainer, run


def _go_on(trainer: Trainer, run: RunDirectory, taken_back: bool) -> None:
    """Make the run's files those of the trainer's state."""
    if taken_back:
        _set_aside(trainer, run)
    run.remove_partial_files()
    run.stats.rewind(trainer.step_count)
    run.write_experiment(trainer.experiment, trainer.inputs.record())


def _check_metrics(trainer: Trainer) -> None:
    """Raise UserError for metrics that cannot be measured; called before any file is written."""
    try:
        RunMetrics(trainer, [])
    except UserError as error:
        raise UserError(f"{error}\n  other metrics: --metrics NAMES; none: --set run.metrics=") from error


def save_state(trainer: Trainer, run: RunDirectory) -> None:
    """Write everything that exact resume needs.

    Processes that train together all call this; the first one writes. Raises UserError, on all, where it
    cannot, or where they no longer hold the same networks.
    """
    processes = trainer.processes
    if not processes.same(digest(trainer)):
        raise UserError(
            f"the {processes.size} processes hold different networks, as after an error of a device; this "
            "state is not saved, the run continues from the latest one"
        )
    with processes.together():
        if processes.collects:
            write_state(trainer, run)


def write_state(trainer: Trainer, run: RunDirectory) -> None:
    """Write everything that exact resume needs, from this process alone."""
    tensors, document = trainer.state()
    run.save_state(trainer.step_count, tensors, document, trainer.experiment.run.keep_states)


def _checked(run: RunDirectory, file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and document of a state, the document checked. Errors name another state to take."""
    try:
        tensors, document = run.load_state(file)
        step = checked_counters(document, shown(file))["step"]
        if step != step_of(file):
            raise UserError(
                f"{shown(file)}: is the state of step {step} under another name; rename it to "
                f"{state_name(step)}, or remove it"
            )
        data: Any = document.get("data")
        if not isinstance(data, dict) or not {"fingerprint", "name", "count"} <= data.keys():
            raise UserError(f"{shown(file)}: damaged, its data are {quoted(data)}")
        experiment: Any = document.get("experiment")
        try:
            from_json(experiment)
        except UserError as error:
            raise UserError(f"{shown(file)}: its experiment cannot be read ({error})") from error
    except UserError as error:
        raise UserError(f"{error}; {run.another_state(file)}") from error
    wrong = recorded_complaint(document)
    if wrong is not None:
        logger.warning(f"{shown(file)} is not healthy: {wrong}; {run.another_state(file)}")
    return tensors, document


def _check_data(trainer: Trainer, document: dict[str, Any], allowed: list[str]) -> bool:
    """Whether the images are others than the run's. Raises UserError when they may not be."""
    now, then = trainer.inputs.record(), document["data"]
    other = now["fingerprint"] != then["fingerprint"]
    if other and "data" not in allowed:
        raise UserError(
            f"data: the run was trained on {shown(then['name'])} ({quoted(then['count'])} images), "
            f"{shown(now['name'])} has other content; to continue with it add --allow-change data"
        )
    return other


def _load(
    trainer: Trainer, run: RunDirectory, file: Path, state: tuple[dict[str, Tensor], dict[str, Any]]
) -> None:
    """Load the state into the trainer, with a warning where the device is another than before."""
    was = state[1]["counters"]["device"]
    if trainer.device.type != was:
        logger.warning(f"the run was on {shown(was)}, it continues on {trainer.device.type}: not bit for bit")
    before, now = state[1]["counters"].get("processes", 1), trainer.processes.size
    if before != now:
        logger.info(
            f"the run was on {quoted(before)} processes, it goes on with {now}: equal but for rounding"
        )
    try:
        trainer.load_state(*state, shown(file))
    except UserError as error:
        recorded = from_json(state[1]["experiment"])
        same = (trainer.experiment.generator, trainer.experiment.discriminator) == (
            recorded.generator,
            recorded.discriminator,
        )  # with other networks it is the requested change that does not fit, not the file
        raise UserError(f"{error}; {run.another_state(file)}" if same else str(error)) from error


def _set_aside(trainer: Trainer, run: RunDirectory) -> None:
    """Set aside what the run wrote after the trainer's state, from which it continues."""
    folder = run.set_aside(trainer.step_count, trainer.images_seen)
    if folder is not None:
        logger.info(f"what the run wrote after step {trainer.step_count} is in {shown(folder)} now")


def check_changes(recorded: Experiment, requested: Experiment, allowed: list[str]) -> bool:
    """Whether `requested` trains anything else than `recorded`.

    Raises UserError unless every difference is in `allowed`: the name of a field, or of a group of fields.

    Options of what a run writes (`run.*`) may always change: they do not touch the training.
    """
    changes = {
        name: pair for name, pair in differences(recorded, requested).items() if not name.startswith("run.")
    }
    refused = {name: pair for name, pair in changes.items() if not any(_names(a, name) for a in allowed)}
    if refused:
        listing = "; ".join(f"{name}: {old!r} -> {new!r}" for name, (old, new) in refused.items())
        flags = " ".join(f"--allow-change {name}" for name in refused)
        raise UserError(f"this would change what the run trains: {listing}. To do so name each: {flags}")
    for name in allowed:
        if name != "data" and not any(_names(name, change) for change in changes):
            hint = nearest(name, changes)
            raise UserError(
                f"--allow-change {shown(name)}: that does not differ from the run; {hint}leave it out"
            )
    return bool(changes)


def needed(allowed: list[str], recorded: Experiment, requested: Experiment) -> list[str]:
    """Those of the `allowed` names that name a difference, and "data": what `check_changes` takes."""
    changes = differences(recorded, requested)
    return [name for name in allowed if name == "data" or any(_names(name, change) for change in changes)]


def _names(allowed: str, field: str) -> bool:
    """Whether `allowed` is the name of `field`, of a group that it is in, or what both networks share."""
    dotted = [allowed, *(f"{role}.{allowed}" for role in ROLES if allowed in SHARED)]
    return any(f"{field}.".startswith(f"{name}.") for name in dotted)
