"""Augmentation and its control against the authors' code.

`STYLELOOM_GOLDEN_DATA=FOLDER` names another set: FOLDER/ada_augment/*.npz. Files whose cases name a
percentile have every random number at that percentile of its distribution, those with arrays `draw.*` the
numbers that were drawn. Of the files in this repository the first kind is left out, for their size.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from styleloom.augmentation.control import Control
from styleloom.augmentation.pipe import Pipe
from styleloom.augmentation.strengths import Strengths
from styleloom.augmentation.wavelets import filter_bank, low_pass
from styleloom.config.augmentation import SETS, Augmentation

from .golden_file import GoldenFile

FOLDER = Path(os.environ.get("STYLELOOM_GOLDEN_DATA") or Path(__file__).parent / "golden") / "ada_augment"

EXACT, RESAMPLED = 2e-6, 2e-5
"""Largest difference, relative to the largest output where that is above 1: of colours, noise and the
cut-out, and of what went through filters."""

THROUGH_FILTERS = {*SETS["bg"], "imgfilter"}


class Percentile:
    """Every number at one percentile of its distribution; the second rotation is left out, as there."""

    def __init__(self, q: float, noise: Tensor | None) -> None:
        self.q, self.noise = torch.tensor(q, dtype=torch.float64), noise

    def uniform(self, name: str, *shape: int) -> Tensor:
        return self.q.expand(shape)

    def normal(self, name: str, *shape: int) -> Tensor:
        return torch.erfinv(2 * self.q - 1).expand(shape)  # the authors': without the square root of 2

    def half_normal(self, name: str, *shape: int) -> Tensor:
        return torch.erfinv(self.q).expand(shape)

    def chosen(self, name: str, chance: float, count: int) -> Tensor:
        return torch.full((count,), chance > 0 and name != "rotate_post")

    def field(self, name: str, images: Tensor) -> Tensor:
        assert self.noise is not None
        return self.noise


class Recorded:
    """The numbers that were drawn, by the name of their transformation and their part in it."""

    def __init__(self, drawn: Mapping[str, Tensor]) -> None:
        self.drawn = drawn

    def uniform(self, name: str, *shape: int) -> Tensor:
        part = "center" if f"{name}.center" in self.drawn else "value"
        return self.drawn[f"{name}.{part}"].double().reshape(shape)

    normal = uniform

    def half_normal(self, name: str, *shape: int) -> Tensor:
        return self.drawn[f"{name}.sigma"].double().abs().reshape(shape)

    def chosen(self, name: str, chance: float, count: int) -> Tensor:
        return self.drawn[f"{name}.gate"].double().reshape(count) < chance

    def field(self, name: str, images: Tensor) -> Tensor:
        return self.drawn[f"{name}.field"]


def recorded(array: str) -> list[Any]:
    """The files that hold an array whose name begins so."""
    files = [GoldenFile(path) for path in sorted(FOLDER.glob("*.npz"))]
    found = [file for file in files if any(name.startswith(array) for name in file.arrays)]
    return [pytest.param(file, id=file.path.stem) for file in found]


def pipe_of(kwargs: Mapping[str, Any]) -> Pipe:
    """The authors' arguments have the names of `Strengths`."""
    return Pipe(Strengths(**{k: tuple(v) if isinstance(v, list) else v for k, v in kwargs.items()}))


def read(file: GoldenFile, name: str) -> Tensor:
    """Images as the authors' pipe got them."""
    return torch.tensor(file.arrays[f"in.{name}"]).float() / 127.5 - 1


def outputs(file: GoldenFile) -> Iterator[tuple[str, Tensor, Mapping[str, Any]]]:
    """Each case's name, our images and its settings."""
    for name, case in file.meta["cases"].items():
        images, pipe = read(file, case["size"]), pipe_of(case["kwargs"])
        q, kept = case.get("debug_percentile"), case.get("kept_images", range(len(images)))
        if q is None:
            yield name, pipe(images, case["p"], Recorded(file.tensors(f"draw.{name}."))), case
            continue
        noise = file.arrays.get(f"noise.{name}")  # of the kept images alone
        chosen = images[torch.tensor(list(kept))]
        yield (
            name,
            pipe(chosen, case["p"], Percentile(q, None if noise is None else torch.tensor(noise))),
            case,
        )


@pytest.mark.parametrize("file", recorded("out."))
def test_images_equal_the_authors(file: GoldenFile) -> None:
    """All cases: every transformation, every set, at every percentile and with every recorded draw."""
    wrong = []
    for name, ours, case in outputs(file):
        theirs = torch.tensor(file.arrays[f"out.{name}"])
        resampled = any(case["kwargs"].get(key) for key in THROUGH_FILTERS)
        limit = (RESAMPLED if resampled else EXACT) * max(1.0, float(theirs.abs().max()))
        difference = float((ours - theirs).abs().max())
        if not difference <= limit:
            wrong.append(f"{name}: off by {difference:.2g}, allowed {limit:.2g}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("file", recorded("Hz_geom"))
def test_filters_equal_the_authors(file: GoldenFile) -> None:
    for ours, name in ((low_pass(), "Hz_geom"), (filter_bank(), "Hz_fbank")):
        theirs = torch.tensor(file.arrays[name]).double()
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() < 1e-7


@pytest.mark.parametrize("file", recorded("changed_fraction"))
def test_random_images_have_the_authors_statistics(file: GoldenFile) -> None:
    """How many images change, and by how much, within five sampling errors of both runs."""
    images = torch.tensor(file.arrays["in"])
    images = images if images.is_floating_point() else images.float() / 127.5 - 1
    draws, wrong = 100, []
    torch.manual_seed(5)
    for row in (dict(zip(file.meta["columns"], row, strict=True)) for row in file.meta["rows"]):
        kind, name = row["case"].split(".")
        pipe = Pipe(Strengths.of(SETS[name] if kind == "pipe" else [name]))
        made = pipe(images.expand(draws, -1, -1, -1), row["p"])
        changed = ((made - images).abs().amax((1, 2, 3)) > 1e-3).double().mean().item()
        f = row["changed_fraction"]
        error = np.sqrt(f * (1 - f) * (1 / draws + 1 / file.meta["draws"]))
        if abs(changed - f) > 5 * error + 1e-9:
            wrong.append(f"{row['case']} p {row['p']}: {changed:.3f} change, there {f:.3f}")
        for of_images, key in ((made.mean((1, 2, 3)), "image_means"), (made.std((1, 2, 3)), "image_stds")):
            mean, std = row[f"mean_of_{key}"], row[f"std_of_{key}"]
            error = std * np.sqrt(1 / draws + 1 / file.meta["draws"])
            if abs(of_images.double().mean().item() - mean) > 5 * error + 1e-3:
                wrong.append(
                    f"{row['case']} p {row['p']}: mean of {key} {of_images.mean():.4f}, there {mean}"
                )
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("file", recorded("drift.report_signs"))
def test_p_equals_the_authors(file: GoldenFile) -> None:
    """Step by step, for every row of reported signs."""
    for name, case in file.meta["cases"].items():
        settings = Augmentation("ada", 0, target=case["target"], every=case["interval"], kimg=case["kimg"])
        control = Control(settings)
        control.load({**control.state(), "augment.p": torch.tensor(case["p0"], dtype=torch.float32)})
        signs = iter(file.arrays[f"{name}.report_signs"])
        ours = [control.p]
        for step, reports in enumerate(file.arrays[f"{name}.reports_per_iteration"], 1):
            for _ in range(reports):
                row = next(signs)
                control.report(float(row.mean()), len(row))
            control.end_step(step, case["batch"])
            if step % case["interval"] == 0:
                ours.append(control.p)
        assert ours == file.arrays[f"{name}.p"].tolist(), name
