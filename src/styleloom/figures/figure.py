"""What a figure is: a row of the registry, what it is given, and what comes of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from styleloom.data.dataset import ImageDataset
from styleloom.errors import UserError, shown
from styleloom.figures import layout
from styleloom.figures.plots import Panel
from styleloom.image_request import Rng, SampleNoise
from styleloom.latents import Latents
from styleloom.networks.assembly import Truncation
from styleloom.runs.directory import RunDirectory
from styleloom.sampling import Sampler

PAPERS = ("ProGAN", "StyleGAN", "MSG-GAN", "StyleGAN2")
"""The papers; in small letters they begin the names of their figures."""

Progress: TypeAlias = Callable[[str, int, int], None]

Numbered: TypeAlias = tuple[Sequence[int], Sequence[Rng]]
"""Seeds, and where z of each comes from."""

LEAST_PX = 128
"""Images of labelled sheets are enlarged to about this side, px, unless --zoom says how much."""


def first_seeds(count: int, first: int = 0) -> Numbered:
    """So many seeds, from `first` on."""
    return plain(range(first, first + count))


def plain(seeds: Sequence[int]) -> Numbered:
    """Seeds without a prefix."""
    rngs: list[Rng] = ["torch"] * len(seeds)
    return seeds, rngs


@dataclass(frozen=True)
class Picture:
    """A sheet.

    Args:
        pixels: uint8 [3, H, W].
        record: what of it is worth keeping beside the options, as JSON.
    """

    pixels: Tensor
    record: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plot:
    """A plot: its panels, and what is worth keeping beside them, as JSON."""

    panels: Sequence[Panel]
    record: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Need:
    """What a figure needs of its generators.

    Args:
        words: what they must have.
        met: whether one has it.
    """

    words: str
    met: Callable[[Sampler], bool]


STYLES = Need("styles that can be mixed", lambda s: s.experiment.generator.mixes_styles)
TRUNCATION = Need("styles that can be truncated", lambda s: s.experiment.generator.truncates)
W = Need("a mapping from z to w", lambda s: s.experiment.generator.has_w)
NOISE = Need("noise inputs", lambda s: bool(s.noise_sizes))
PYRAMID = Need("images at several levels", lambda s: s.experiment.generator.pyramid_sides is not None)
OPAQUE = Need("images of 1 or 3 channels", lambda s: s.experiment.generator.channels in (1, 3))
SKIP = Need("images that are sums over levels", lambda s: s.experiment.generator.sums_levels)


@dataclass(frozen=True)
class Figure:
    """A figure of a paper.

    Args:
        name: the paper's beginning and the figure's number: "stylegan2-9".
        shows: one line.
        make: makes it.
        snapshots: how many it takes, at least and at most; None for any number.
        runs: whether these are run directories.
        needs: of each generator.
        data: whether it needs images of a data set.
        instead: an option with which it needs neither snapshots nor data; empty for none.
        options: the options that it reads, with their defaults; None where the default follows from others.
        plot: whether matplotlib draws it.
        exact: whether it measures differences that coarser arithmetic than float32 would hide.
    """

    name: str
    shows: str
    make: Callable[[Job], Picture | Plot]
    snapshots: tuple[int, int | None] = (1, 1)
    runs: bool = False
    needs: tuple[Need, ...] = ()
    data: bool = False
    instead: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    plot: bool = False
    exact: bool = False

    @property
    def paper(self) -> str:
        """The paper's name."""
        return next(paper for paper in PAPERS if paper.lower() == self.name.rpartition("-")[0])

    @property
    def number(self) -> int:
        """In its paper."""
        return int(self.name.rpartition("-")[2])

    @property
    def takes(self) -> str:
        """What it has to be given, in words."""
        least, most = self.snapshots
        one, many = ("run", "runs") if self.runs else ("snapshot", "snapshots")
        parts = []
        if most is None:
            parts.append(f"{least} or more {many}" if least > 1 else f"one or more {many}")
        elif most:
            parts.append(f"a {one}" if most == 1 else f"{least} to {most} {many}")
        parts += [f"with {need.words}" for need in self.needs]
        parts += ["--data"] if self.data else []
        return ", ".join(parts) + (f", or --{self.instead}" if self.instead else "")

    def read(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options that it reads, with its defaults. Raises UserError for one that it does not read."""
        for name, value in given.items():
            if value is not None and name not in self.options:
                valid = ", ".join(f"--{option}" for option in self.options) or "none"
                raise UserError(f"--{name}: not read by {self.name}; it reads: {valid}")
        wanted = {name: value for name, value in given.items() if value is not None}
        if "seeds" in wanted and "count" in wanted:
            raise UserError("--count: not valid with --seeds, which are as many as there are")
        return {**self.options, **wanted}


@dataclass
class Job:
    """A figure that is to be made, with everything that it is made from.

    Args:
        figure: which.
        options: see `Figure.read`.
        given: snapshots or runs as they were given.
        paths: the files of the snapshots, or the folders of the runs.
        samplers: of the snapshots; none of runs.
        data: for figures that need it.
        classes: class of all images, for generators with labels.
        open: a sampler of another snapshot.
        progress: told what is done.
    """

    figure: Figure
    options: Mapping[str, Any]
    given: Sequence[str | Path]
    paths: Sequence[Path]
    samplers: Sequence[Sampler]
    data: ImageDataset | None
    classes: int | None
    open: Callable[[Path], Sampler]
    progress: Progress = lambda what, done, total: None

    @property
    def sampler(self) -> Sampler:
        """The first."""
        return self.samplers[0]

    @property
    def names(self) -> list[str]:
        """What each snapshot or run is called on the figure: the end of what was given, with the folder where
        several have the same end."""
        given = [Path(path).absolute() for path in self.given]
        plain = [path.name.removesuffix(".safetensors") for path in given]
        if len(set(plain)) == len(plain):
            return plain
        return [f"{path.parent.name}/{name}" for path, name in zip(given, plain, strict=True)]

    @functools.cached_property
    def runs(self) -> list[RunDirectory]:
        """The runs, of a figure that takes runs."""
        return [RunDirectory(path) for path in self.paths]

    def seeds(self, count: int | None = None, option: str = "seeds") -> Numbered:
        """The seeds that were asked for; else as many as `count`, or as the option "count" says."""
        given = self.options.get(option)
        if given is not None:
            return given
        return first_seeds(self.options["count"] if count is None else count)

    def psi(self, sampler: Sampler) -> float:
        """psi of the images, which a generator without truncation has only where it was asked for."""
        given, default = self.options.get("truncation"), self.figure.options.get("truncation")
        if given is None or (given == default and not sampler.experiment.generator.truncates):
            return 1.0
        return given

    def own_seeds(self) -> list[int]:
        """As `seeds`, for measures that draw z themselves. Raises UserError for seeds of numpy."""
        seeds, rngs = self.seeds()
        if "numpy" in rngs:
            raise UserError(f"--seeds: {self.figure.name} takes plain seeds only, without np:")
        return list(seeds)

    def latents(
        self,
        sampler: Sampler,
        numbered: Numbered,
        truncation: Truncation = 1.0,
        noise: SampleNoise = "random",
        layers: int | None = None,
    ) -> Latents:
        """What the images of seeds are made from."""
        seeds, rngs = numbered
        return sampler.latents(seeds, truncation, layers, self.classes, None, noise, rngs)

    def images(
        self,
        sampler: Sampler,
        numbered: Numbered,
        truncation: Truncation = 1.0,
        noise: SampleNoise = "random",
        layers: int | None = None,
    ) -> Tensor:
        """The images of seeds in colour: uint8 [N, 3, H, W] on the CPU."""
        seeds, rngs = numbered
        request = sampler.request(seeds, truncation, layers, self.classes, None, noise, rngs)
        return self.colours(sampler.images(request, sampler.images_per_pass), len(seeds))

    def rendered(self, sampler: Sampler, latents: Latents) -> Tensor:
        """The images of latents in colour: uint8 [N, 3, H, W] on the CPU."""
        size = sampler.images_per_pass
        parts = (sampler.render(latents[i : i + size]) for i in range(0, len(latents), size))
        return self.colours(parts, len(latents))

    def colours(self, parts: Iterable[Tensor], count: int) -> Tensor:
        """Images [N, C, H, W] part by part, in colour, with progress."""
        done: list[Tensor] = []
        self.progress("images", 0, count)
        for part in parts:
            done.append(layout.rgb(part))
            self.progress("images", sum(map(len, done)), count)
        return torch.cat(done)

    def zoom(self, size: tuple[int, int], least: int = LEAST_PX) -> int:
        """How much images of `size` are enlarged: as asked, or to about `least` px."""
        given = self.options.get("zoom")
        return max(1, least // max(size)) if given is None else given

    def label(self, sampler: Sampler, count: int) -> Tensor | None:
        """Labels [N, K]; None without."""
        return sampler.labels(count, self.classes)


def check_snapshot(figure: Figure, sampler: Sampler, name: object) -> None:
    """Raise UserError unless a generator has what `figure` needs."""
    for need in figure.needs:
        if not need.met(sampler):
            raise UserError(
                f"{figure.name}: needs a generator with {need.words}; {shown(name)}, of the family "
                f"{sampler.experiment.generator.family}, has none"
            )
