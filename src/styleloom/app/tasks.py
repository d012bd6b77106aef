"""Long work of the page: projections that are watched, verdicts, films."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from styleloom.app.models import Model
from styleloom.app.shelf import Shelf
from styleloom.app.work import Work
from styleloom.attribution.calibration import SCOPE, Calibration
from styleloom.attribution.measuring import check_method, distances, method_of
from styleloom.config.checks import one_of
from styleloom.config.experiment import Precision
from styleloom.data.conversion import ConversionOptions, convert_image, pixels_as_they_are, shape_as_it_is
from styleloom.data.decoding import BadImageError, quiet
from styleloom.data.reals import to_signed
from styleloom.errors import UserError
from styleloom.features.registry import load_distance
from styleloom.latents import Latents, join
from styleloom.projection import Projection, Projector
from styleloom.sampling import Sampler
from styleloom.video.encoders import Frame, check_format, write_video
from styleloom.video.film import frames
from styleloom.video.kinds import walk

MAX_PIXELS = 2**24
"""Most pixels of an uploaded image."""

SHOWN_SEC = 0.7
"""A projection in work puts what it has on the shelf so often."""

MAX_STEPS, MAX_SECONDS, MAX_KEYS, FPS = 1000, 30.0, 24, 24


@dataclasses.dataclass(frozen=True)
class Upload:
    """An image that somebody sent, as a generator makes them.

    Args:
        image: [C, H, W] in [-1, 1].
        changed: whether it had another size or other channels.
    """

    image: Tensor
    changed: bool


@dataclasses.dataclass(frozen=True)
class FilmFile:
    """A film in memory."""

    name: str
    kind: str
    data: bytes


def uploaded(data: bytes, sampler: Sampler) -> Upload:
    """The image of a file that somebody sent. Raises UserError for what is none, or too large."""
    generator = sampler.experiment.generator
    channels, size = generator.channels, sampler.size
    try:
        with quiet():
            bands, *own = shape_as_it_is(data)
            if own[0] * own[1] > MAX_PIXELS:
                raise UserError(f"image: {own[1]} x {own[0]} px; valid: at most {MAX_PIXELS:,} px in all")
            if tuple(own) == size:
                pixels = pixels_as_they_are(data, channels)
            else:
                grid = (generator.grid[0], generator.grid[1])
                options = ConversionOptions(
                    sampler.resolution, channels=channels, upscale=True, grid=grid, max_pixels=MAX_PIXELS
                )
                pixels = convert_image(data, options)
    except BadImageError as error:
        raise UserError(f"image: {error}") from error
    return Upload(to_signed(torch.tensor(pixels)), tuple(own) != size or bands != channels)


def projection(
    model: Model, upload: Upload, steps: int, space: Literal["w", "w+"], label: int | None, shelf: Shelf
) -> Callable[[Work], None]:
    """Work that finds the latent of an image; while it goes on, what it has lies on the shelf."""
    options = Projection(space=space, steps=_within("steps", steps, 1, MAX_STEPS))
    labels = model.sampler.labels(1, label)

    def run(work: Work) -> None:
        work.step(0, steps)
        projector = Projector(model.sampler, upload.image[None], options, labels=labels)
        shown, name = 0.0, None
        try:
            while projector.steps_done < steps:
                distance = projector.step().item()
                if time.monotonic() - shown > SHOWN_SEC:
                    shown = time.monotonic()
                    name = shelf.put(work.owner, projector.latents, name)
                    work.found["latent"] = name
                work.step(projector.steps_done, steps, distance=distance)
        finally:
            if projector.steps_done:
                work.found["latent"] = shelf.put(work.owner, projector.latents, name)

    return run


def verdict(
    model: Model, sampler: Callable[[], Sampler], upload: Upload, calibration: Calibration
) -> Callable[[Work], None]:
    """Work that says whether the generator made an image, by a calibration of it."""
    method = method_of(calibration)
    exact: Precision = "fp32"

    def run(work: Work) -> None:
        steps = method.projection.steps
        work.step(0, steps)
        own = sampler() if method.precision == exact else model.sampler
        distance = load_distance(method.distance["name"], own.generator.w_avg.device)
        try:
            check_method(method, own, distance)
        except UserError as error:
            raise UserError(f"the calibration was {error}") from error
        labels = own.labels(1, method.classes)

        def told(projector: Projector) -> None:
            work.step(projector.steps_done, steps)

        found = distances(own, upload.image[None], method.projection, distance, labels, 1, told)
        notes = ["the image was resized or converted, which the calibration's were not"] * upload.changed
        said = calibration.verdict(found[0], notes)
        work.found |= {"verdict": said.kind, "sentence": said.sentence(), "notes": [*said.notes, SCOPE]}

    return run


def film(
    model: Model, keys: list[Latents], seconds: float, suffix: str, loop: bool, shelf: Shelf
) -> Callable[[Work], None]:
    """Work that makes a film through key frames, and lays it on the shelf."""
    together = joined(keys)
    if not 0 < seconds <= MAX_SECONDS:
        raise UserError(f"seconds: {seconds:g} is not valid; above 0, at most {MAX_SECONDS:g}")
    kinds = {".mp4": "video/mp4", ".webm": "video/webm", ".webp": "image/webp", ".gif": "image/gif"}
    one_of("suffix", suffix, tuple(kinds))  # nothing else: it becomes a part of a path
    check_format(Path(f"walk{suffix}"), FPS)
    count = max(round(seconds * FPS), 2)

    def run(work: Work) -> None:
        made = frames(model.sampler, walk(together, closed=loop), count)

        def told() -> Iterator[Frame]:
            for at, frame in enumerate(made):
                work.step(at, count)
                yield frame

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"walk{suffix}"
            write_video(path, told(), FPS, {"command": "app", "keys": [k.images[0] for k in keys]})
            data = path.read_bytes()
        work.found["film"] = shelf.put(work.owner, FilmFile(path.name, kinds[suffix], data))
        work.done = count

    return run


def joined(keys: Sequence[Latents]) -> Latents:
    """Key frames in one; the noise of all is that of the first, since a walk keeps it."""
    if not 2 <= len(keys) <= MAX_KEYS:
        raise UserError(f"walk: {len(keys)} key frames; valid: 2 to {MAX_KEYS}")
    return join([dataclasses.replace(key, noise=keys[0].noise) for key in keys])


def moment(keys: Latents, t: float, loop: bool) -> Latents:
    """The latents of a walk at t, 0 to 1."""
    if not 0 <= t <= 1:
        raise UserError(f"t: {t:g} is not valid; 0 to 1")
    return walk(keys, closed=loop).at([t])


def _within(name: str, value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise UserError(f"{name}: {value} is not valid; {low} to {high}")
    return value
