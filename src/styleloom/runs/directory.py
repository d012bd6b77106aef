"""The run directory: the files that a training writes, and how to find and read them again.

```
experiment.json                what is trained, on which data
stats.jsonl                    one line per tick
sessions.jsonl                 one line per process that trained the run: when, from which step, the machine
events/                        the same for TensorBoard, where it is installed
reals.png  fakes-raw-*.png  fakes-ema-*.png
snapshot-NNNNNN.safetensors    EMA of the generator after NNNNNN thousands of images (and with run.keep=full
                               the networks in training)
snapshot-NNNNNN-III.safetensors  an earlier one of the same thousand, after III images of it
snapshot-best.safetensors      the best snapshot so far
profile-NNNNNNNNN.json         with --profile: a Chrome trace of the steps after step NNNNNNNNN
state-NNNNNNNNN.safetensors    everything exact resume needs, after NNNNNNNNN steps
set-aside-N/                   what came after the state that a run was taken back to
run.lock                       while a process trains the run
```
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor, nn

from styleloom.atomic import write_text
from styleloom.config import Experiment
from styleloom.errors import UserError, quoted, shell_word, shown
from styleloom.images import save_png
from styleloom.networks.assembly import StyleGenerator
from styleloom.runs import lock
from styleloom.runs.experiment_file import NAME as EXPERIMENT
from styleloom.runs.experiment_file import read_experiment, write_experiment
from styleloom.runs.records import (
    STATE_FORMAT,
    images_seen_of,
    is_healthy_snapshot,
    is_healthy_state,
    number_of,
    prune,
    state_name,
    step_of,
)
from styleloom.runs.stats_file import StatsFile
from styleloom.snapshot import write_snapshot
from styleloom.snapshot_names import BEST, numbered_snapshots, snapshot_name
from styleloom.tensor_file import check_name, read_tensors, write_tensors

InTraining: TypeAlias = tuple[StyleGenerator | None, nn.Module | None]
"""Generator and discriminator in training, where a snapshot keeps them."""


class RunDirectory:
    """Files of one run, at `path`; `stats` are its lines of statistics."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.stats = StatsFile(self.path)
        self.is_new = False

    @classmethod
    def create(cls, path: Path | str) -> RunDirectory:
        """An empty folder for a new run, locked. Raises UserError when it is in use or cannot be written.

        The lock file is written first and experiment.json last: a folder with the one and without the other
        is what a killed start left, and is used again.
        """
        run = cls(path)
        run.check_free()
        run.is_new = not run.path.exists()
        try:
            run.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write {shown(path)}: {error.strerror}") from error
        lock.lock(run.path)
        run.check_free()
        run._remove_beginnings()
        return run

    def check_free(self) -> None:
        """Raise UserError unless `path` is absent, an empty folder, or what a killed start left."""
        if self.begun():
            raise UserError(
                f"{shown(self.path)}: exists already; choose another --out, or continue the run with "
                f"--resume {shell_word(self.path)}"
            )

    def begun(self) -> bool:
        """Whether there is anything at `path` but an empty folder or what a killed start left."""
        path = self.path
        check_name(path.absolute())
        try:
            if path.is_dir():
                names = [entry.name for entry in path.iterdir()]
                if not names or (lock.NAME in names and all(_of_a_start(name) for name in names)):
                    return False
        except OSError as error:
            raise UserError(f"cannot read {shown(path)}: {error.strerror}") from error
        return path.exists() or path.is_symlink()

    def discard(self) -> None:
        """Remove a new run that could not be started."""
        # experiment.json first: if this is killed as well, what is left counts as a killed start.
        (self.path / EXPERIMENT).unlink(missing_ok=True)
        self._remove_beginnings()
        lock.unlock(self.path)
        if self.is_new:
            with contextlib.suppress(OSError):
                self.path.rmdir()

    def _remove_beginnings(self) -> None:
        for file in list(self.path.iterdir()):
            if _of_a_start(file.name) and file.name != lock.NAME:
                file.unlink(missing_ok=True)

    def remove_partial_files(self) -> None:
        """Remove what a killed process had not finished writing."""
        for file in self.path.glob(".*.partial"):
            file.unlink(missing_ok=True)

    def write_experiment(self, experiment: Experiment, data: dict[str, Any]) -> None:
        """Record what is trained, and on which data: from then on the folder is a run."""
        write_experiment(self.path, experiment, data)

    def read_experiment(self) -> tuple[Experiment, dict[str, Any]]:
        """What `write_experiment` recorded, or what the latest state says where that is gone.

        Raises UserError when `path` is no run.
        """
        return read_experiment(self.path, self.states())

    # States -----------------------------------------------------------------------------------------

    def states(self) -> list[Path]:
        """Complete training states, oldest first."""
        numbered = re.compile(r"state-\d+\.safetensors")
        return sorted(path for path in self.path.glob("state-*.safetensors") if numbered.fullmatch(path.name))

    def save_state(self, step: int, tensors: dict[str, Tensor], document: dict[str, Any], keep: int) -> None:
        """Write a state, then remove all but the latest `keep` (0 keeps all) and the latest healthy one."""
        head = {"format": STATE_FORMAT}
        write_tensors(self.path / state_name(step), tensors, head | document)
        prune(self.states(), keep, is_healthy_state)

    def healthy_state(self) -> Path | None:
        """The latest state that training could go on from (`training/health.py`)."""
        return next(filter(is_healthy_state, reversed(self.states())), None)

    def find_state(self, wanted: str | None) -> Path:
        """The state of a step or of that name, by default the latest. Raises UserError when there is none."""
        states = self.states()
        if not states:
            raise UserError(f"{shown(self.path)}: has no training state (state-*.safetensors) to resume from")
        if wanted is None:
            return states[-1]
        step = wanted.isdecimal() and wanted.lstrip("0").zfill(9)  # never int(): it may have any length
        for state in states:
            if wanted == state.name or (step and state.name == f"state-{step}.safetensors"):
                return state
        for state in states:
            if os.path.exists(wanted) and os.path.samefile(wanted, state):
                return state
        steps = ", ".join(str(step_of(state)) for state in states)
        raise UserError(f"--state {quoted(wanted)}: {shown(self.path)} has states of the steps {steps}")

    def load_state(self, file: Path | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """A state, by default the latest. Raises UserError when there is none, or it is damaged."""
        return read_tensors(file or self.find_state(None), STATE_FORMAT)

    def another_state(self, file: Path) -> str:
        """What to do when `file` cannot be used: advice for the end of a message."""
        others = [state for state in self.states() if state != file]
        if not others:
            return "the run has no other state"
        before = [state for state in others if state < file] or others
        good = next(filter(is_healthy_state, reversed(before)), before[-1])
        return f"another state is taken with: {self.command(good)}"

    def command(self, state: Path) -> str:
        """The shell command that continues the run from `state`."""
        return f"styleloom train --resume {shell_word(self.path)} --state {step_of(state)}"

    def set_aside(self, step: int, images_seen: int) -> Path | None:
        """Move what was written after `step` into a folder of its own, so that the run continues from there.

        Returns:
            The folder; None when nothing is later.
        """
        later = [state for state in self.states() if step_of(state) > step]
        snapshots = [*self.snapshots(), self.path / BEST]
        later += [file for file in snapshots if (images_seen_of(file) or 0) > images_seen]
        later += [file for file in self.path.glob("fakes-*-*.png") if number_of(file) * 1000 > images_seen]
        lines = [line for line in self.stats.read() if line["step"] > step]
        if not later and not lines:
            return None
        folder = next(f for n in count(1) if not (f := self.path / f"set-aside-{n}").exists())
        write_text(folder / self.stats.path.name, "".join(json.dumps(line) + "\n" for line in lines))
        for file in sorted(later, reverse=True):
            os.replace(file, folder / file.name)
        return folder

    # Snapshots and pictures ------------------------------------------------------------------------

    def snapshots(self) -> list[Path]:
        """Numbered generator snapshots, oldest first."""
        return numbered_snapshots(self.path)

    def save_snapshot(
        self,
        generator: StyleGenerator,
        experiment: Experiment,
        info: dict[str, Any],
        keep: int,
        in_training: InTraining = (None, None),
    ) -> Path:
        """Write a snapshot, then remove all but the latest `keep` (0 keeps all) and the latest healthy one.

        One that is not healthy has its `complaint` in `info`.
        """
        seen = info["images_seen"]
        path = self.path / snapshot_name(seen)
        before = images_seen_of(path)
        if before not in (None, seen):  # an earlier one of the same thousand stays, under a name of its own
            path.replace(self.path / snapshot_name(before, earlier=True))
        write_snapshot(path, generator, experiment, *in_training, **info)
        prune(self.snapshots(), keep, is_healthy_snapshot)
        return path

    def save_best(
        self,
        generator: StyleGenerator,
        experiment: Experiment,
        info: dict[str, Any],
        in_training: InTraining = (None, None),
    ) -> Path:
        """Write the snapshot that is best so far."""
        write_snapshot(self.path / BEST, generator, experiment, *in_training, **info)
        return self.path / BEST

    def save_image(self, name: str, image_u8: Tensor) -> Path:
        """Write uint8 [C, H, W] as `name`.png."""
        save_png(self.path / f"{name}.png", image_u8)
        return self.path / f"{name}.png"


def _of_a_start(name: str) -> bool:
    """Whether `start` writes a file of this name before experiment.json makes the folder a run."""
    return name in (lock.NAME, "reals.png", state_name(0)) or (name[:1] == "." and name.endswith(".partial"))
