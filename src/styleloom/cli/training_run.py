"""What `styleloom train` says of a run: that it is one, how it begins, how it ended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from styleloom.cli.report import print_json, say, tell
from styleloom.cli.training_images import treatment
from styleloom.config import Experiment
from styleloom.errors import UserError, shell_word, shown

if TYPE_CHECKING:
    from styleloom.runs.directory import RunDirectory
    from styleloom.training.trainer import Trainer


def check_names_a_run(path: Path) -> None:
    """Raise UserError where --resume names a state or snapshot in place of its run: what to type instead."""
    from styleloom.runs.directory import RunDirectory
    from styleloom.snapshot_names import ENDINGS, is_run

    if path.suffix != ".safetensors" or not is_run(path.parent):
        if path.is_file() and path.suffix in ENDINGS:
            raise UserError(
                f"--resume: {shown(path)} is a file and no run directory; to begin a training with its "
                f"networks, type: --init {shell_word(path)}"
            )
        return
    run = RunDirectory(path.parent)
    if path in run.states():
        raise UserError(f"--resume: {shown(path)} is a state, not its run; type: {run.command(path)}")
    raise UserError(
        f"--resume: {shown(path)} is no run directory; to continue the run that it is in, type: "
        f"styleloom train --resume {shell_word(run.path)}"
    )


def tell_beginning(trainer: Trainer, run: RunDirectory) -> None:
    """Tell what is trained, on what, and where."""
    experiment, size = trainer.experiment, trainer.processes.size
    many = f"{size} x " if size > 1 else ""
    tell(
        f"{experiment.name} at {_px(experiment)} px on {many}{trainer.device.type}, {experiment.precision}, "
        f"{len(trainer.inputs.train_set)} images, in {shown(run.path)}"
    )
    tell(treatment(experiment))


def print_outcome(trainer: Trainer, run: RunDirectory, done: bool, as_json: bool) -> None:
    """Print how far the run is, whether it is complete, and its latest snapshot."""
    snapshots = run.snapshots()
    result = {
        "run": str(run.path),
        "complete": done,
        "images_seen": trainer.images_seen,
        "steps": trainer.step_count,
        "skipped_updates": trainer.skipped,
        "snapshot": str(snapshots[-1]) if snapshots else None,
    } | ({} if trainer.init is None else {"init": trainer.init})
    if as_json:
        print_json(result)
        return
    again = f"styleloom train --resume {shell_word(run.path)}"
    state = "complete" if done else f"stopped; continue with: {again}"
    say(f"{shown(run.path)}: {trainer.images_seen / 1000:g} kimg, {state}")
    say(f"snapshot: {shown(result['snapshot'])}")


def _px(experiment: Experiment) -> str:
    """Size of the images: 64, or 384 x 512."""
    height, width = experiment.generator.size
    return str(height) if height == width else f"{height} x {width}"
