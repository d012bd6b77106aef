"""Directions against the public codes of SeFa and GANSpace, on tiny networks.

`STYLELOOM_GOLDEN_DATA=FOLDER` names another set: FOLDER/latents/{sefa,ganspace}*.npz.
"""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from styleloom.directions.editing import moved
from styleloom.directions.pca import covariance, principal_components
from styleloom.directions.sefa import factorize
from styleloom.networks.assembly import StyleGenerator, finest

from .golden_file import GoldenFile
from .network_cases import ada_generator

FOLDER = Path(os.environ.get("STYLELOOM_GOLDEN_DATA") or Path(__file__).parent / "golden") / "latents"

CLEAR_GAP = 1e-3
"""Eigenvalues that differ by less, relative to the largest, have no eigenvectors of their own."""


class Recorded(GoldenFile):
    """One file, and the generator whose weights are in it."""

    def __getitem__(self, name: str) -> Tensor:
        return torch.tensor(self.arrays[name])

    @cached_property
    def generator(self) -> StyleGenerator:
        return ada_generator(self.meta["network"], self.tensors("G.")).eval().requires_grad_(False)

    def images(self, ws: Tensor) -> Tensor:
        return finest(self.generator.synthesis(ws, noise="fixed"))


def recorded(kind: str) -> list[Any]:
    return [pytest.param(Recorded(path), id=path.stem) for path in sorted(FOLDER.glob(f"{kind}*.npz"))]


def same_directions(ours: Tensor, theirs: Tensor, values: Tensor, tolerance: float) -> None:
    """Vectors [K, D] agree up to sign, where the eigenvalues [K] tell them apart."""
    gaps = (values[:, None] - values[None]).abs().fill_diagonal_(float("inf")).amin(1) / values.max()
    clear = gaps > CLEAR_GAP
    assert clear.any()
    cosines = (ours.double() * theirs.double()).sum(1).abs() / theirs.double().norm(dim=1)
    assert (1 - cosines[clear]).max() < tolerance


def close(ours: Tensor, theirs: Tensor, relative: float) -> None:
    assert ours.shape == theirs.shape
    assert (ours.double() - theirs.double()).abs().max() <= relative * theirs.double().abs().max()


@pytest.mark.parametrize("file", recorded("sefa"))
def test_sefa(file: Recorded) -> None:
    """Eigenvalues, eigenvectors and the images of edits, for every choice of layers."""
    meta, generator = file.meta, file.generator
    psi, cutoff = meta["truncation_psi"], meta["truncation_cutoff"]
    ws = generator.truncate(generator.mapping(file["sefa.z"]), psi, min(cutoff, generator.num_ws))
    close(ws, file["sefa.ws"], 1e-5)
    close(file.images(ws), file["sefa.unedited"], 1e-4)
    weights = generator.synthesis_network.style_weights()
    assert len(weights) == len(meta["layer_map"])
    compared = 0
    for tag, case in meta["cases"].items():
        layers = case["layers"]
        vectors, singular = factorize([weights[layer] for layer in layers])
        values, theirs = file[f"sefa.{tag}.values_sorted"], file[f"sefa.{tag}.vectors_sorted"]
        close(singular**2, values, 1e-5)
        same_directions(vectors, theirs, values, 1e-5)
        for name in [name for name in file.arrays if name.startswith(f"sefa.{tag}.edit.")]:
            found = re.fullmatch(r".*\.k(\d+)\.d(-?[\d.]+)", name)
            assert found is not None, name
            k, distance = int(found[1]), float(found[2])
            sign = (vectors[k] @ theirs[k]).sign()
            edited = moved(ws, vectors[k] * sign, torch.full((len(ws),), distance), layers)
            close(file.images(edited), file[name], 1e-4)
            compared += 1
    assert compared


@pytest.mark.parametrize("file", recorded("ganspace"))
def test_ganspace(file: Recorded) -> None:
    """The covariance of w exactly; the incremental components, their deviations, the images of edits."""
    generator = file.generator
    w = generator.mapping(file["ganspace.z"])[:, 0]
    close(w[: len(file["ganspace.w_first200"])], file["ganspace.w_first200"], 1e-5)
    vectors, variances = principal_components(covariance(w))
    exact = file["ganspace.exact.variance"]
    close(variances, exact, 1e-5)
    close(w.double().mean(0), file["ganspace.exact.mean"], 1e-5)
    same_directions(vectors, file["ganspace.exact.components"], exact, 1e-6)
    theirs = file["ganspace.ipca.lat_comp"][:, 0]
    count = len(theirs)
    same_directions(vectors[:count], theirs, exact[:count], 1e-3)
    close(variances[:count] / variances.sum(), file["ganspace.ipca.var_ratio"], 1e-2)
    close(variances[:count].sqrt(), file["ganspace.ipca.lat_stdev"], 0.05)
    ws = generator.mapping(file["ganspace.edit_z"])
    edits = [name for name in file.arrays if name.startswith("ganspace.edit.")]
    for name in edits:
        found = re.fullmatch(r".*\.k(\d+)\.sigma(-?[\d.]+)\.layers(all|(\d+)-(\d+))", name)
        assert found is not None, name
        k, sigma = int(found[1]), float(found[2])
        layers = None if found[3] == "all" else range(int(found[4]), int(found[5]) + 1)
        step = theirs[k] * file["ganspace.ipca.lat_stdev"][k]
        close(file.images(moved(ws, step, torch.full((len(ws),), sigma), layers)), file[name], 1e-4)
        sign = (vectors[k] @ theirs[k]).sign()
        step = vectors[k] * sign * variances[k].sqrt()
        close(file.images(moved(ws, step, torch.full((len(ws),), sigma), layers)), file[name], 0.05)
    assert edits


def test_both_files_are_there() -> None:
    assert recorded("sefa")
    assert recorded("ganspace")
