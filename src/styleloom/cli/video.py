"""`styleloom video`: films of a generator."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import tyro

import styleloom
from styleloom.cli.edit import parse_direction, parse_range
from styleloom.cli.report import print_json, say
from styleloom.cli.sheets import check_free, parse_grid
from styleloom.cli.wanted_images import parse_numbered, refuse_given
from styleloom.config.experiment import Precision
from styleloom.config.parts import NoiseMode, Rng
from styleloom.errors import UserError, quoted, shown
from styleloom.file_hash import sha256_of
from styleloom.snapshot_names import find_snapshot, is_run, numbered_snapshots

if TYPE_CHECKING:
    from styleloom.latents import Latents
    from styleloom.sampling import Sampler
    from styleloom.video.encoders import Frame
    from styleloom.video.film import Film

Kind = Literal["walk", "circle", "truncation", "noise", "mix", "edit", "latents", "training"]

Numbered: TypeAlias = tuple[list[int], list[Rng]]
"""Seeds, and where z of each comes from."""

MAX_FRAMES = 10_000_000

NEEDS = {"sources": ("mix",), "styles": ("mix",), "directions": ("edit",), "direction": ("edit",)}
"""Flags that some kinds need, and no other takes."""


@dataclass
class Video:
    """Make a video of a generator.

    walk: from image to image. circle: once round the latent space. truncation: psi from 1 to -1 and back.
    noise: the same image with changing noise. mix: styles of some layers walk, the others stay. edit: along a
    direction. latents: a walk through latent files. training: the same latents through a run's snapshots.

    All but training end where they begin, so that they can be repeated without a jump.
    """

    snapshot: tyro.conf.Positional[str]
    """A snapshot-*.safetensors, a run directory (its best snapshot, else the newest), a file of another code
    (*.pkl, *.pt, *.pth), hf://owner/name, or an embedded model: portraits-64. For training: a run
    directory."""
    out: Path = Path("video.mp4")
    """.mp4 (H.264), .webm (VP9), .gif or .webp."""
    kind: Kind = "walk"
    """What moves."""
    seeds: str | None = None
    """walk: key frames; with a grid, the same number for each cell. Else: one a cell. Default: 0-3 for each
    cell of a walk, else 0, 1, 2, ..."""
    latents: tuple[Path, ...] = ()
    """Latent files instead of seeds."""
    grid: str = "1x1"
    """COLUMNSxROWS: so many films side by side."""
    seconds: float = 8.0
    """Length."""
    fps: float = 30.0
    """Frames a second; for GIF at most 50."""
    easing: Literal["linear", "smooth"] = "linear"
    """linear: at constant speed in w. smooth: slowly from and to every key frame."""
    loop: bool = True
    """End where it began; --no-loop ends at the last key frame, or at the range's end."""
    truncation: float = 1.0
    """psi of the seeds: 1 is the full variety, 0 the average image."""
    classes: int | None = None
    """Class of the seeds, for a generator trained with labels."""
    noise: NoiseMode = "random"
    """random: the first seed's of each cell, which stays. fixed: the maps stored with the network. none."""
    range: str = "-1..1"
    """truncation: psi from..to."""
    sources: str | None = None
    """mix: seeds whose styles are taken in turn."""
    styles: str | None = None
    """mix: the layers whose styles are taken: coarse, middle, fine, or 0-3, or 4,5."""
    directions: Path | None = None
    """edit: the file that `styleloom directions` wrote."""
    direction: str | None = None
    """edit: NAME=-3..3."""
    zoom: int = 1
    """Make each pixel so many times as high and wide."""
    overwrite: bool = False
    """Replace a file that is there already."""
    device: str = "auto"
    """auto, cpu, cuda, mps."""
    precision: Precision = "auto"
    """Arithmetic of the convolutions."""
    json: bool = False
    """Print one JSON document."""

    def run(self) -> int:
        """Write the video; 0."""
        columns, rows = parse_grid(self.grid)
        count = self._check()
        self._check_words(columns * rows)
        from styleloom.video.encoders import check_format, write_video

        check_format(self.out, self.fps)
        check_free("out", [self.out], self.overwrite)
        origin, frames = self._frames(columns, columns * rows, count)
        from styleloom.cli.progress import EvaluationProgress

        with EvaluationProgress() as progress:

            def told() -> Iterator[Frame]:
                for at, frame in enumerate(frames):
                    progress("frames", at, count)
                    yield frame

            write_video(self.out, told(), self.fps, self._record(origin))
        if self.json:
            print_json(
                {
                    "file": str(self.out),
                    "kind": self.kind,
                    "frames": count,
                    "fps": self.fps,
                    "loop": self._closed,
                }
            )
        else:
            say(f"{count} frames, {count / self.fps:.1f} s, in {shown(self.out)}")
        return 0

    @property
    def _closed(self) -> bool:
        return self.loop and self.kind != "training"

    def _check(self) -> int:
        """The number of frames. Raises UserError for flags that do not go together."""
        for name, kinds in NEEDS.items():
            given = getattr(self, name) is not None
            if given != (self.kind in kinds):
                what = "not valid with" if given else "needed for"
                raise UserError(f"--{name}: {what} --kind {self.kind}")
        if self.kind == "latents" and not self.latents:
            raise UserError("--latents: needed for --kind latents")
        if self.latents and (self.seeds is not None or self.kind in ("circle", "training")):
            raise UserError(f"--latents: not valid with --seeds or --kind {self.kind}")
        if not self.loop and self.kind in ("circle", "noise", "mix"):
            raise UserError(f"--no-loop: not valid with --kind {self.kind}, which ends where it begins")
        for name in ("seconds", "fps"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise UserError(f"--{name}: {value:g} is not valid; above 0")
        if self.zoom < 1:
            raise UserError(f"--zoom: {self.zoom} is not valid; at least 1")
        count = max(round(self.seconds * self.fps), 1)
        if count > MAX_FRAMES:
            raise UserError(f"--seconds: {count:,} frames; valid: at most {MAX_FRAMES:,}")
        return count

    def _check_words(self, cells: int) -> None:
        """Raise UserError for words that cannot be read, and flags that would have no effect."""
        if self.latents:
            own = ("noise",) if self.kind == "mix" else ("truncation", "classes", "noise")
            refuse_given(self, own, "with --latents, which have their own")
        if self.kind == "truncation":
            refuse_given(self, ("truncation",), "with --kind truncation; its psi is --range")
            parse_range("range", self.range)
        elif self.kind in ("walk", "latents"):
            self._keys(cells)
        else:
            self._cells(cells)
        if self.sources is not None:
            parse_numbered(self.sources, flag="sources")
        if self.direction is not None:
            self._strengths()

    def _record(self, origin: dict[str, Any]) -> dict[str, Any]:
        """All that is needed to make the film again, as JSON."""
        own = ("snapshot", "out", "overwrite", "device", "json", "latents", "directions")
        flags = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in own}
        files = (*self.latents, *([] if self.directions is None else [self.directions]))
        hashes = {str(file): sha256_of(file) for file in files}
        return {"command": "video", **origin, **flags, "files": hashes, "styleloom": styleloom.__version__}

    def _frames(self, columns: int, cells: int, count: int) -> tuple[dict[str, Any], Iterator[Frame]]:
        """What they are made by, as JSON, and the frames, made as they are asked for."""
        from styleloom import sampling  # late: torch takes seconds to import
        from styleloom.video.encoders import check_size
        from styleloom.video.film import frames, training_frames

        if self.kind == "training":
            run = Path(self.snapshot)
            snapshots = numbered_snapshots(run) if is_run(run) else []
            if not snapshots:
                raise UserError(f"{shown(run)}: --kind training takes a run directory with snapshots")
            return {"snapshots": [path.name for path in snapshots]}, training_frames(
                lambda path: sampling.load(path, self.device, self.precision),
                snapshots,
                lambda sampler: self._of_seeds(sampler, self._cells(cells)),
                count,
                columns,
                self.zoom,
            )
        sampler = sampling.load(find_snapshot(self.snapshot), self.device, self.precision)
        height, width = sampler.size
        check_size(self.out, cells // columns * height * self.zoom, columns * width * self.zoom)
        made = frames(sampler, self._film(sampler, cells), count, columns, self.zoom)
        return {"snapshot_sha256": sampler.snapshot_sha256}, made

    def _film(self, sampler: Sampler, cells: int) -> Film:
        """The film of the chosen kind."""
        from styleloom.mixing import layers_named
        from styleloom.video import kinds

        if self.kind in ("walk", "latents"):
            return kinds.walk(self._start(sampler, self._keys(cells)), cells, self.loop, self.easing)
        seeds = self._cells(cells)
        psi = 1.0 if self.kind == "truncation" else self.truncation
        base = self._start(sampler, seeds, psi)
        if len(base) != cells:
            raise UserError(f"--latents: {len(base)} latents for a grid of {cells}; one for each place")
        if self.kind == "circle":
            return kinds.circle(sampler, seeds[0], base, self.truncation, seeds[1])
        if self.kind == "truncation":
            return kinds.truncation(sampler, base, *parse_range("range", self.range), self.loop)
        if self.kind == "noise":
            return kinds.noise(sampler, base)
        if self.kind == "mix":
            sources = self._of_seeds(sampler, parse_numbered(self.sources or "", flag="sources"))
            layers = layers_named(sampler, self.styles or "").indices
            return kinds.mix(base, sources, layers, self.easing)
        return self._edit(sampler, base)

    def _edit(self, sampler: Sampler, base: Latents) -> Film:
        """The film along a direction."""
        from styleloom.directions.direction_set import load_directions
        from styleloom.video import kinds

        found = load_directions(self.directions or Path())
        found.check_fits(sampler.generator, sampler.snapshot_sha256)
        return kinds.edit(base, found, *self._strengths(), closed=self.loop)

    def _strengths(self) -> tuple[str, float, float]:
        """The name of the direction, and the strengths between which it goes."""
        name, strengths = parse_direction(self.direction or "", 2)
        if len(strengths) != 2:
            raise UserError(f"--direction: {quoted(self.direction)} is not valid; NAME=-3..3")
        return name, strengths[0], strengths[1]

    def _keys(self, cells: int) -> Numbered:
        """Seeds of the key frames, cell by cell."""
        return parse_numbered(f"0-{4 * cells - 1}" if self.seeds is None else self.seeds)

    def _cells(self, cells: int) -> Numbered:
        """A seed for each cell."""
        seeds, rngs = parse_numbered(f"0-{cells - 1}" if self.seeds is None else self.seeds)
        if len(seeds) != cells:
            raise UserError(f"--seeds: {len(seeds)} seeds for a grid of {cells}; one for each place")
        return seeds, rngs

    def _start(self, sampler: Sampler, numbered: Numbered, psi: float | None = None) -> Latents:
        """The latents of all files; without files, those of seeds."""
        from styleloom.latents import load_fitting

        return load_fitting(self.latents, sampler) if self.latents else self._of_seeds(sampler, numbered, psi)

    def _of_seeds(self, sampler: Sampler, numbered: Numbered, psi: float | None = None) -> Latents:
        psi = self.truncation if psi is None else psi
        seeds, rngs = numbered
        return sampler.latents(seeds, psi, classes=self.classes, noise=self.noise, rng=rngs)
