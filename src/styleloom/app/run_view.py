"""A training in progress: its pictures over time, curves, and what its numbers say of its health."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from styleloom.diagnosis import examine
from styleloom.errors import UserError
from styleloom.runs.directory import RunDirectory
from styleloom.runs.metrics import PREFIX, judge_of
from styleloom.runs.stats_file import StatsFile
from styleloom.snapshot_names import is_run

PICTURE = re.compile(r"(?P<kind>reals|fakes(-[a-z]+)?)(-(?P<kimg>\d{6}))?(-\d{3})?\.png")
"""Files of a run that are shown, and no others."""

MAX_POINTS = 300
"""Of a curve."""

CURVES: dict[str, tuple[str, ...]] = {
    "Losses": ("loss_g", "loss_d"),
    "Logits of real and generated images": ("logits_real", "logits_fake"),
    "Share of real images that D calls real": ("sign_real",),
    "Penalty of D's gradients": ("d_penalty",),
    "Norms of gradients": ("grad_norm_g", "grad_norm_d"),
    "Images a second": ("images_per_sec",),
    "Memory, GiB": ("memory_gib",),
}
"""Fields of stats.jsonl by the title of their plot; metrics have plots of their own."""


class RunView:
    """One run directory, read anew whenever it is asked for.

    Args:
        folder: the run.
    """

    def __init__(self, folder: Path) -> None:
        if not is_run(folder):
            raise UserError(f"--run: {folder} is no run directory; it has no experiment.json")
        self.folder = folder

    def pictures(self) -> list[str]:
        """Names of the pictures of the averaged generator, oldest first; of any where it has none."""
        names = sorted(path.name for path in self.folder.glob("*.png") if PICTURE.fullmatch(path.name))
        ema = [name for name in names if name.startswith("fakes-ema")]
        return ema or [name for name in names if name.startswith("fakes")]

    def picture(self, name: str) -> bytes:
        """The file of a picture. Raises UserError for any other name."""
        path = self.folder / name
        if not PICTURE.fullmatch(name) or path.is_symlink() or not path.is_file():
            raise UserError("run: there is no such picture")
        return path.read_bytes()

    def document(self) -> dict[str, Any]:
        """All that the page shows of it, as JSON."""
        lines = StatsFile(self.folder).read()
        plots = dict(CURVES) | {name.removeprefix(PREFIX): (name,) for name in _metrics(lines)}
        curves = [
            {"title": title, "lines": {name: _points(lines, name) for name in names}}
            for title, names in plots.items()
        ]
        curves = [plot for plot in curves if any(plot["lines"].values())]
        return {
            "name": self.folder.name,
            "pictures": [{"name": name, "kimg": _kimg(name)} for name in self.pictures()],
            "curves": curves,
            "health": health(self.folder, lines),
            "kimg": lines[-1].get("kimg", 0) if lines else 0,
        }


def _metrics(lines: list[dict[str, Any]]) -> list[str]:
    found = {name: None for line in lines for name in line if name.startswith(PREFIX) or name == "swd"}
    return list(found)[:6]


def _points(lines: list[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    """Thousands of images and the values of a field."""
    points = [
        (line["images_seen"] / 1000, line[name])
        for line in lines
        if line.get(name) is not None and line.get("images_seen") is not None
    ]
    every = -(-len(points) // MAX_POINTS) or 1
    return points[::-every][::-1]  # counted from the last, which is there


def _kimg(name: str) -> int | None:
    match = PICTURE.fullmatch(name)
    return int(match["kimg"]) if match is not None and match["kimg"] else None


def health(folder: Path, lines: list[dict[str, Any]]) -> list[dict[str, str]]:
    """What the numbers of a run say: each finding with its evidence and what to try."""
    if not lines:
        return [{"level": "note", "text": "Nothing was measured yet."}]
    try:
        experiment, _ = RunDirectory(folder).read_experiment()
        found = examine(experiment, lines, judge_of(experiment).score)
    except UserError as error:
        return [{"level": "note", "text": f"The experiment cannot be read: {error}"}]
    good = {"level": "good", "text": "Nothing in the last numbers is out of the ordinary."}
    return [{"level": "warning", "text": finding.sentence()} for finding in found] or [good]
