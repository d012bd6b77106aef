"""The run directory: what a training writes, and how it comes back.

```
experiment.json                what is trained, on which data
stats.jsonl                    one line per tick
events/                        the same for TensorBoard, where it is installed
reals.png  fakes-raw-*.png  fakes-ema-*.png
snapshot-NNNNNN.safetensors    averaged generator, NNNNNN thousands of images seen; snapshot-best
snapshot-NNNNNN-III.safetensors  an earlier one of the same thousand, after III images of it
state-NNNNNNNNN.safetensors    everything exact resume needs, after NNNNNNNNN steps
set-aside-N/                   what came after the state that a run was taken back to
run.lock                       while a process trains the run
```
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from torch import Tensor

from styleloom.atomic import write_text
from styleloom.config import Experiment, from_json, to_json
from styleloom.errors import UserError, quoted, shell_word, shown
from styleloom.file_kinds import readable_file
from styleloom.images import save_png
from styleloom.networks.assembly import StyleGenerator
from styleloom.runs import lock
from styleloom.snapshot import FORMAT as SNAPSHOT_FORMAT
from styleloom.snapshot import write_snapshot
from styleloom.snapshot_names import BEST, numbered_snapshots, snapshot_name
from styleloom.tensor_file import DOCUMENT_CHARACTERS, check_name, open_tensors, read_tensors, write_tensors
from styleloom.training.health import recorded_complaint

logger = logging.getLogger(__name__)

STATE_FORMAT = "styleloom-state"


class RunDirectory:
    """Files of one run, at `path`."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.is_new = False

    @classmethod
    def create(cls, path: Path | str) -> RunDirectory:
        """An empty folder for a new run, locked. Raises UserError when it is in use or cannot be written.

        The lock comes first: a folder with its file and without experiment.json is one whose start was
        killed, and is used again.
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
        """Raise UserError unless a new run may begin here: nothing, an empty folder, half a start."""
        path = self.path
        check_name(path.absolute())
        try:
            if path.is_dir():
                names = [entry.name for entry in path.iterdir()]
                if not names or (lock.NAME in names and all(_of_a_start(name) for name in names)):
                    return
        except OSError as error:
            raise UserError(f"cannot read {shown(path)}: {error.strerror}") from error
        if path.exists() or path.is_symlink():
            raise UserError(
                f"{shown(path)}: exists already; choose another --out, or continue the run with --resume "
                f"{shell_word(path)}"
            )

    def discard(self) -> None:
        """Remove a new run that could not be started; killed meanwhile, it is half a start."""
        (self.path / "experiment.json").unlink(missing_ok=True)
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
        """Record what is trained, and on which data."""
        document = {"experiment": to_json(experiment), "data": data}
        write_text(self.path / "experiment.json", json.dumps(document, indent=2) + "\n")

    def read_experiment(self) -> tuple[Experiment, dict[str, Any]]:
        """What `write_experiment` recorded. Raises UserError when `path` is no run.

        Where experiment.json is gone, the run's latest state that can be read says the same. A damaged one
        may hold an edit of the user's: it is refused, with the advice to remove it.
        """
        file = self.path / "experiment.json"
        try:
            document = self._experiment_document(file)
        except UserError as error:
            later = [state for state in self.states() if step_of(state) > 0]
            found = next(filter(None, (_document(state, STATE_FORMAT) for state in reversed(later))), None)
            if found is None or not _describes_a_run(found):
                raise
            if os.path.lexists(file):
                raise UserError(
                    f"{error}; mend it, or remove it: the run's latest state says what it said"
                ) from error
            logger.warning(f"{error}; what it said is taken from the run's latest state")
            document = found
        try:
            return from_json(document["experiment"]), document["data"]
        except UserError as error:
            raise UserError(f"{shown(file)}: {error}") from error

    def _experiment_document(self, file: Path) -> dict[str, Any]:
        """What experiment.json holds. Raises UserError where that is no experiment with its data."""
        try:
            size = os.stat(file).st_size
        except PermissionError as error:
            raise UserError(f"{shown(file)}: permission denied, this user may not read it") from error
        except OSError as error:
            if (self.path / lock.NAME).exists():
                raise UserError(
                    f"{shown(self.path)}: this run was ended before its first state was complete; start it "
                    f"again, with the same --out {shell_word(self.path)}"
                ) from error
            raise UserError(
                f"{shown(self.path)}: not a run directory, {shown(file.name)}: {error.strerror}"
            ) from error
        readable_file(file, "the document of a run")
        if size > DOCUMENT_CHARACTERS:
            raise UserError(f"{shown(file)}: damaged, it has {size:,} bytes, at most {DOCUMENT_CHARACTERS:,}")
        try:
            document = json.loads(file.read_text(encoding="utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{shown(file)}: damaged, no JSON ({quoted(str(error))})") from error
        if not _describes_a_run(document):
            raise UserError(f"{shown(file)}: damaged, it has no experiment with its data")
        return document

    # Statistics -------------------------------------------------------------------------------------

    @property
    def stats_file(self) -> Path:
        """One JSON object per tick."""
        return self.path / "stats.jsonl"

    def append_stats(self, line: dict[str, Any]) -> None:
        """Add a tick."""
        try:
            with open(self.stats_file, "a") as file:
                file.write(json.dumps(line, allow_nan=False) + "\n")
        except OSError as error:
            raise UserError(f"cannot write {shown(self.stats_file)}: {error.strerror}") from error

    def read_stats(self) -> list[dict[str, Any]]:
        """Every line that is whole. A damaged one, as a crash may leave at the end, is left out."""
        return [line for line in map(_parsed, self._stats_text().split("\n")) if line is not None]

    def _stats_text(self) -> str:
        try:
            if not self.stats_file.exists():
                return ""
            readable_file(self.stats_file, "the statistics of a run")
            return self.stats_file.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise UserError(f"cannot read {shown(self.stats_file)}: {error.strerror}") from error

    def rewind_stats(self, step: int) -> None:
        """Forget ticks after `step`: the run continues from there. Damaged lines go as well, with a note."""
        text = self._stats_text()
        lines = [line for line in text.split("\n") if line.strip()]
        damaged = sum(_parsed(line) is None for line in lines[:-1])  # the last one: cut off by a crash
        if damaged:
            logger.warning(f"{shown(self.stats_file)}: damaged lines are left out: {damaged}")
        whole = [(line, found) for line in lines if (found := _parsed(line)) is not None]
        kept = "".join(f"{line}\n" for line, found in whole if found["step"] <= step)
        if kept != text or not text:
            write_text(self.stats_file, kept)

    # States -----------------------------------------------------------------------------------------

    def states(self) -> list[Path]:
        """Complete training states, oldest first."""
        numbered = re.compile(r"state-\d+\.safetensors")
        return sorted(path for path in self.path.glob("state-*.safetensors") if numbered.fullmatch(path.name))

    def save_state(self, step: int, tensors: dict[str, Tensor], document: dict[str, Any], keep: int) -> None:
        """Write a state, then remove all but the latest `keep` (0 keeps all) and the latest healthy one."""
        head = {"format": STATE_FORMAT}
        write_tensors(self.path / state_name(step), tensors, head | document)
        _prune(self.states(), keep, _healthy_state)

    def healthy_state(self) -> Path | None:
        """The latest state that training could go on from (`training/health.py`)."""
        return next(filter(_healthy_state, reversed(self.states())), None)

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
        good = next(filter(_healthy_state, reversed(before)), before[-1])
        return f"another state is taken with: {self.command(good)}"

    def command(self, state: Path) -> str:
        """The command that continues from `state`."""
        return f"styleloom train --resume {shell_word(self.path)} --state {step_of(state)}"

    def set_aside(self, step: int, images_seen: int) -> Path | None:
        """Move what was written after `step` into a folder of its own, so that the run continues from there.

        Returns:
            The folder; None when nothing is later.
        """
        later = [state for state in self.states() if step_of(state) > step]
        later += [
            file for file in [*self.snapshots(), self.path / BEST] if (_images_seen(file) or 0) > images_seen
        ]
        later += [file for file in self.path.glob("fakes-*-*.png") if _number(file) * 1000 > images_seen]
        lines = [line for line in self.read_stats() if line["step"] > step]
        if not later and not lines:
            return None
        folder = next(f for n in count(1) if not (f := self.path / f"set-aside-{n}").exists())
        write_text(folder / "stats.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        for file in sorted(later, reverse=True):
            os.replace(file, folder / file.name)
        return folder

    # Snapshots and pictures ------------------------------------------------------------------------

    def snapshots(self) -> list[Path]:
        """Numbered generator snapshots, oldest first."""
        return numbered_snapshots(self.path)

    def save_snapshot(
        self, generator: StyleGenerator, experiment: Experiment, info: dict[str, Any], keep: int
    ) -> Path:
        """Write a snapshot, then remove all but the latest `keep` (0 keeps all) and the latest healthy one.

        One that is not healthy has its `complaint` in `info`.
        """
        seen = info["images_seen"]
        path = self.path / snapshot_name(seen)
        before = _images_seen(path)
        if before not in (None, seen):  # an earlier one of the same thousand stays, under a name of its own
            path.replace(self.path / snapshot_name(before, earlier=True))
        write_snapshot(path, generator, experiment, **info)
        _prune(self.snapshots(), keep, lambda file: _info(file).get("complaint") is None)
        return path

    def save_best(self, generator: StyleGenerator, experiment: Experiment, info: dict[str, Any]) -> Path:
        """Write the snapshot that is best so far."""
        write_snapshot(self.path / BEST, generator, experiment, **info)
        return self.path / BEST

    def save_image(self, name: str, image_u8: Tensor) -> Path:
        """Write uint8 [C, H, W] as `name`.png."""
        save_png(self.path / f"{name}.png", image_u8)
        return self.path / f"{name}.png"


def state_name(step: int) -> str:
    """Name of the file of the state after `step` steps."""
    return f"state-{step:09d}.safetensors"


def step_of(state: Path) -> int:
    """Steps that a state was taken after."""
    return _number(state)


def _number(file: Path) -> int:
    digits = file.stem.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else -1


def _of_a_start(name: str) -> bool:
    """Whether a start has written a file of this name before its run was complete."""
    return name in (lock.NAME, "reals.png", state_name(0)) or (name[:1] == "." and name.endswith(".partial"))


def _parsed(line: str) -> dict[str, Any] | None:
    """A line of statistics: an object of numbers, counters among them; None for a damaged one."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or "step" not in found:
        return None
    counters = all(type(found.get(name, 0)) is int for name in ("step", "tick", "images_seen"))
    numbers = all(value is None or _is_number(value) for value in found.values())
    return found if counters and numbers and found.get("sec_total", 0) is not None else None


def _is_number(value: Any) -> bool:
    limit = sys.float_info.max
    return type(value) in (int, float) and -limit <= value <= limit


def _describes_a_run(document: Any) -> bool:
    return isinstance(document, dict) and all(
        isinstance(document.get(part), dict) for part in ("experiment", "data")
    )


def _document(file: Path, expected: str) -> dict[str, Any]:
    """What a file's header says; nothing where it cannot be read."""
    try:
        with open_tensors(file, expected) as opened:
            return opened.document
    except UserError:
        return {}


def _healthy_state(file: Path) -> bool:
    document = _document(file, STATE_FORMAT)
    counters: Any = document.get("counters")
    named_right = isinstance(counters, dict) and counters.get("step") == step_of(file)
    return named_right and recorded_complaint(document) is None


def _info(snapshot: Path) -> dict[str, Any]:
    """What a snapshot records; one that cannot be read is not healthy."""
    info = _document(snapshot, SNAPSHOT_FORMAT).get("info")
    return info if isinstance(info, dict) else {"complaint": "damaged"}


def _images_seen(snapshot: Path) -> int | None:
    """What a snapshot recorded; None where there is none that can be read."""
    seen = _info(snapshot).get("images_seen")
    return seen if isinstance(seen, int) else None


def _prune(files: list[Path], keep: int, healthy: Callable[[Path], bool]) -> None:
    """Remove all but the latest `keep` files and the latest healthy one; 0 keeps all."""
    if not keep or len(files) <= keep:
        return
    good = next(filter(healthy, reversed(files)), None)
    for file in files[:-keep]:
        if file != good:
            file.unlink(missing_ok=True)
