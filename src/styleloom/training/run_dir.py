"""The run directory: what a training writes, and how it comes back.

```
experiment.json                what is trained, on which data
stats.jsonl                    one line per tick
events/                        the same for TensorBoard, where it is installed
reals.png  fakes-raw-*.png  fakes-ema-*.png
snapshot-NNNNNN.safetensors    averaged generator, NNNNNN thousands of images seen; snapshot-best
snapshot-NNNNNN-III.safetensors  an earlier one of the same thousand, after III images of it
state-NNNNNNNNN.safetensors    everything exact resume needs, after NNNNNNNNN steps
```
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from torch import Tensor

from styleloom.atomic import write_text
from styleloom.config import Experiment, from_json, to_json
from styleloom.config.serialize import differences
from styleloom.errors import UserError, nearest
from styleloom.networks.assembly import StyleGenerator
from styleloom.sampling import save_png
from styleloom.snapshot import FORMAT, VERSION, save
from styleloom.snapshot_names import BEST, numbered_snapshots, snapshot_name
from styleloom.tensor_file import open_tensors, read_tensors, write_tensors

STATE_FORMAT = "styleloom-state"
STATE_VERSION = 1


class RunDirectory:
    """Files of one run, at `path`."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls, path: Path | str) -> RunDirectory:
        """An empty folder for a new run. Raises UserError when `path` is in use or cannot be written."""
        run = cls(path)
        run.check_free()
        try:
            run.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from error
        return run

    def check_free(self) -> None:
        """Raise UserError unless a new run may begin here: nothing is there, or an empty folder."""
        path = self.path
        if path.is_dir() and not any(path.iterdir()):
            return
        if path.exists() or path.is_symlink():
            raise UserError(
                f"{path}: exists already; choose another --out, or continue the run with --resume {path}"
            )

    def discard(self) -> None:
        """Remove a new run that could not be started."""
        shutil.rmtree(self.path, ignore_errors=True)

    def remove_partial_files(self) -> None:
        """Remove what a killed process had not finished writing."""
        for file in self.path.glob(".*.partial"):
            file.unlink(missing_ok=True)

    def write_experiment(self, experiment: Experiment, data: dict[str, Any]) -> None:
        """Record what is trained, and on which data."""
        document = {"experiment": to_json(experiment), "data": data}
        write_text(self.path / "experiment.json", json.dumps(document, indent=2) + "\n")

    def read_experiment(self) -> tuple[Experiment, dict[str, Any]]:
        """What `write_experiment` recorded. Raises UserError when `path` is no run."""
        file = self.path / "experiment.json"
        try:
            document = json.loads(file.read_text())
            return from_json(document["experiment"]), dict(document["data"])
        except OSError as error:
            raise UserError(f"{self.path}: not a run directory, {file.name}: {error.strerror}") from error
        except UserError as error:
            raise UserError(f"{file}: {error}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file}: damaged ({type(error).__name__}: {error})") from error

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
            raise UserError(f"cannot write {self.stats_file}: {error.strerror}") from error

    def read_stats(self) -> list[dict[str, Any]]:
        """Every complete line; a line cut off by a crash is left out."""
        lines: list[dict[str, Any]] = []
        text = self.stats_file.read_text() if self.stats_file.exists() else ""
        for line in text.splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                break
        return lines

    def rewind_stats(self, step: int) -> None:
        """Forget ticks after `step`: the run continues from there."""
        kept = [line for line in self.read_stats() if line["step"] <= step]
        write_text(self.stats_file, "".join(json.dumps(line) + "\n" for line in kept))

    # States -----------------------------------------------------------------------------------------

    def states(self) -> list[Path]:
        """Complete training states, oldest first."""
        return self._numbered("state")

    def save_state(self, step: int, tensors: dict[str, Tensor], document: dict[str, Any], keep: int) -> None:
        """Write a state, then remove all but the latest `keep` (0 keeps all)."""
        head = {"format": STATE_FORMAT, "version": STATE_VERSION}
        write_tensors(self.path / f"state-{step:09d}.safetensors", tensors, head | document)
        _prune(self.states(), keep)

    def load_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The latest complete state. Raises UserError when there is none."""
        states = self.states()
        if not states:
            raise UserError(f"{self.path}: has no training state (state-*.safetensors) to resume from")
        return read_tensors(states[-1], STATE_FORMAT)

    # Snapshots and pictures ------------------------------------------------------------------------

    def snapshots(self) -> list[Path]:
        """Numbered generator snapshots, oldest first."""
        return numbered_snapshots(self.path)

    def _numbered(self, kind: str) -> list[Path]:
        numbered = re.compile(rf"{kind}-\d+\.safetensors")
        return sorted(p for p in self.path.glob(f"{kind}-*.safetensors") if numbered.fullmatch(p.name))

    def save_snapshot(
        self, generator: StyleGenerator, experiment: Experiment, info: dict[str, Any], keep: int
    ) -> Path:
        """Write a snapshot, then remove all but the latest `keep` (0 keeps all)."""
        seen = info["images_seen"]
        path = self.path / snapshot_name(seen)
        before = _images_seen(path)
        if before not in (None, seen):  # an earlier one of the same thousand stays, under a name of its own
            path.replace(self.path / snapshot_name(before, earlier=True))
        save(path, generator, experiment, **info)
        _prune(self.snapshots(), keep)
        return path

    def save_best(self, generator: StyleGenerator, experiment: Experiment, info: dict[str, Any]) -> Path:
        """Write the snapshot that is best so far."""
        save(self.path / BEST, generator, experiment, **info)
        return self.path / BEST

    def save_image(self, name: str, image_u8: Tensor) -> Path:
        """Write uint8 [C, H, W] as `name`.png."""
        save_png(self.path / f"{name}.png", image_u8)
        return self.path / f"{name}.png"


def _images_seen(path: Path) -> int | None:
    """What a snapshot recorded; None where there is none that can be read."""
    try:
        with open_tensors(path, FORMAT, VERSION) as file:
            return file.document["info"]["images_seen"]
    except (UserError, KeyError, TypeError):
        return None


def _prune(files: list[Path], keep: int) -> None:
    for file in files[:-keep] if keep else []:
        file.unlink(missing_ok=True)


def check_changes(recorded: Experiment, requested: Experiment, allowed: list[str]) -> None:
    """Raise UserError unless every difference of `requested` from `recorded` is in `allowed`.

    Options of what a run writes (`run.*`) may always change: they do not touch the training.
    """
    changes = {
        name: pair for name, pair in differences(recorded, requested).items() if not name.startswith("run.")
    }
    refused = {name: pair for name, pair in changes.items() if name not in allowed}
    if refused:
        listing = "; ".join(f"{name}: {old!r} -> {new!r}" for name, (old, new) in refused.items())
        flags = " ".join(f"--allow-change {name}" for name in refused)
        raise UserError(f"this would change what the run trains: {listing}. To do so name each: {flags}")
    for name in allowed:
        if name not in changes and name != "data":
            hint = nearest(name, changes)
            raise UserError(f"--allow-change {name}: that does not differ from the run; {hint}leave it out")
