"""All figures by name, and how one is begun: what it is given is opened and checked before any work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from styleloom.data.dataset import ImageDataset, open_dataset
from styleloom.errors import UserError, nearest, quoted, shown
from styleloom.figures import msg_gan, plots, progan, stylegan, stylegan2
from styleloom.figures.figure import Figure, Job, Picture, Plot, Progress, check_snapshot
from styleloom.sampling import Sampler
from styleloom.snapshot_names import find_snapshot, is_run, numbered_snapshots

FIGURES: dict[str, Figure] = {
    figure.name: figure for paper in (progan, stylegan, msg_gan, stylegan2) for figure in paper.FIGURES
}
"""Every figure that can be made, paper by paper."""


def figure_named(name: str) -> Figure:
    """The figure of that name. Raises UserError where there is none."""
    if name not in FIGURES:
        raise UserError(
            f"figure: {quoted(name)} does not exist, {nearest(name, FIGURES)}see `styleloom figure --list`"
        )
    return FIGURES[name]


def begin(
    name: str,
    given: Sequence[str | Path],
    data: str | None,
    options: Mapping[str, Any],
    open_sampler: Callable[[Path], Sampler],
    classes: int | None = None,
) -> Job:
    """A figure with what it is made from.

    Args:
        name: of the figure.
        given: snapshots, as `find_snapshot` takes them, or run directories.
        data: an archive or embedded set, for a figure that needs one.
        options: those that are not None count.
        open_sampler: opens a snapshot.
        classes: class of all images, for generators with labels.

    Raises UserError for whatever does not fit the figure.
    """
    figure = figure_named(name)
    read = figure.read(options)
    if classes is not None and ("seeds" not in figure.options or figure.snapshots == (0, 0)):
        raise UserError(f"--classes: not read by {name}, which generates no images")
    if figure.instead and read[figure.instead] is not None:
        if given or data is not None:
            raise UserError(f"--{figure.instead}: not valid with snapshots or --data, which it replaces")
        plots.check_available()
        return Job(figure, read, (), (), (), None, classes, open_sampler)
    least, most = figure.snapshots
    if not least <= len(given) <= (len(given) if most is None else most):
        raise UserError(f"{name}: {len(given)} snapshots given; it takes {figure.takes}")
    if (data is not None) != figure.data:
        raise UserError(f"--data: {'needed for' if figure.data else 'not read by'} {name}")
    if figure.plot:
        plots.check_available()
    if figure.runs:
        paths = [_run(figure, Path(path)) for path in given]
        for path in paths if figure.needs else ():
            check_snapshot(figure, open_sampler(numbered_snapshots(path)[-1]), path)
        return Job(figure, read, given, paths, (), _data(data, None), classes, open_sampler)
    paths = [find_snapshot(path) for path in given]
    samplers = [open_sampler(path) for path in paths]
    for sampler, path in zip(samplers, given, strict=True):
        check_snapshot(figure, sampler, path)
    dataset = _data(data, samplers[0] if samplers else None)
    return Job(figure, read, given, paths, samplers, dataset, classes, open_sampler)


def _run(figure: Figure, path: Path) -> Path:
    if not is_run(path):
        raise UserError(f"{shown(path)}: no run directory; {figure.name} takes {figure.takes}")
    if not numbered_snapshots(path) and (figure.needs or not figure.plot):
        raise UserError(f"{shown(path)}: this run has no snapshots (snapshot-*.safetensors)")
    return path


def _data(data: str | None, sampler: Sampler | None) -> ImageDataset | None:
    """The images, as large as those of a generator, which may be growing."""
    if data is None or sampler is None:
        return None if data is None else open_dataset(data)
    return open_dataset(data, sampler.experiment.resolution).at(sampler.resolution)


def made(job: Job, progress: Progress | None = None) -> Picture | Plot:
    """The figure."""
    if progress is not None:
        job.progress = progress
    return job.figure.make(job)
