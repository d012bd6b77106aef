"""Named directions in a latent space, and the file that keeps them (`*.directions.safetensors`)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from styleloom.errors import UserError, nearest, quoted, shown
from styleloom.networks.assembly import StyleGenerator
from styleloom.tensor_file import read_tensors, write_tensors

logger = logging.getLogger(__name__)

FORMAT = "styleloom-directions"

ENDING = ".directions.safetensors"

SMALLEST_REMAINDER = 1e-3
"""A direction of which less is left, orthogonal to others, is made of these."""

Unit = Literal["deviation", "length"]
"""What a strength of 1 is: one standard deviation of latents along the direction, or a step of length 1."""

MEASURES = {
    "sefa": "singular value",
    "pca": "explained variance",
    "classifier": "held-out accuracy",
}
"""What the values of each method are."""


@dataclass(frozen=True)
class Directions:
    """Directions of one generator.

    Args:
        space: "w"; or "z" of generators without w.
        method: a key of MEASURES.
        names: one each.
        vectors: [K, D], of length 1.
        values: [K]: singular values; shares of the variance, 0 to 1; or accuracies, 0.5 to 1 (chance to
            perfect).
        covariance: [D, D], of the latents that the generator makes.
        layers: rows of ws that an edit moves unless told otherwise.
        document: how they came about, as JSON; "snapshot_sha256" names the generator.
    """

    space: Literal["w", "z"]
    method: str
    names: tuple[str, ...]
    vectors: Tensor
    values: Tensor
    covariance: Tensor
    layers: tuple[int, ...]
    document: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def deviations(self) -> Tensor:
        """The standard deviation [K] of the generator's latents along each direction."""
        vectors, covariance = self.vectors.double(), self.covariance.double()
        return ((vectors @ covariance) * vectors).sum(1).clamp(min=0).sqrt().float()

    def index(self, name: str) -> int:
        """Where the direction of this name stands. Raises UserError when there is none."""
        return _index(self.names, name)

    def step(self, name: str, unit: Unit = "deviation") -> Tensor:
        """What a strength of 1 adds to a latent: [D]."""
        at = self.index(name)
        return self.vectors[at] * (self.deviations[at] if unit == "deviation" else 1.0)

    def conditional(self, name: str, others: Sequence[str]) -> Directions:
        """These directions and one more: `name` made orthogonal to `others`, called NAME|OTHER,OTHER.

        The projection on the others is taken away (InterFaceGAN section 3.1), so that moving along it leaves
        a linear measure of the others as it is. Its value is that of `name`. Raises UserError where nothing
        would be left, and where the new direction is there already.
        """
        at, made = self.index(name), conditional_name(self.names, name, others)
        rows = self.vectors[[self.index(other) for other in others]].double()
        vector = self.vectors[at].double()
        basis = torch.linalg.qr(rows.T).Q
        rest = vector - basis @ (basis.T @ vector)
        if rest.norm() < SMALLEST_REMAINDER:
            raise UserError(
                f"direction: {quoted(name)} lies within {', '.join(others)}, nothing of it is orthogonal"
            )
        return replace(
            self,
            names=(*self.names, made),
            vectors=torch.cat([self.vectors, (rest / rest.norm()).float()[None]]),
            values=torch.cat([self.values, self.values[at : at + 1]]),
        )

    def check_fits(self, generator: StyleGenerator, snapshot_sha256: str | None = None) -> None:
        """Raise UserError unless these vectors and layers are of the generator's size.

        Directions of another snapshot with the same sizes are used, with a warning: those of an earlier
        snapshot of the run often still mean the same.
        """
        size = generator.w_avg.shape[0] if self.space == "w" else generator.z_dim
        if self.vectors.shape[1] != size:
            raise UserError(
                f"directions: vectors of {self.vectors.shape[1]} numbers, this generator's {self.space} has "
                f"{size}; they are of another generator"
            )
        if max(self.layers) >= generator.num_ws:
            raise UserError(
                f"directions: layer {max(self.layers)} does not exist, this generator has 0 to "
                f"{generator.num_ws - 1}"
            )
        own = self.document.get("snapshot_sha256")
        if snapshot_sha256 is not None and own is not None and own != snapshot_sha256:
            logger.warning("the directions were found in another snapshot; here they may mean something else")


def conditional_name(names: Sequence[str], name: str, others: Sequence[str]) -> str:
    """What the direction `name` of `names` is called when it is made orthogonal to others of them.

    Raises UserError for one that does not exist, and where the new name is there already.
    """
    for each in (name, *others):
        _index(names, each)
    if not others or name in others:
        raise UserError(f"direction: {quoted(name)} is made orthogonal to others, at least one")
    made = f"{name}|{','.join(others)}"
    if made in names:
        raise UserError(f"direction: {quoted(made)} is there already")
    return made


def _index(names: Sequence[str], name: str) -> int:
    """Where `name` stands. Raises UserError when it is none of them."""
    if name not in names:
        hint = nearest(name, names)
        raise UserError(f"direction: {quoted(name)} does not exist, {hint}valid: {', '.join(names)}")
    return names.index(name)


def save_directions(path: Path | str, directions: Directions) -> None:
    """Write `path`, whose name ends with ENDING, atomically. Raises UserError for another ending."""
    path = Path(path)
    if not path.name.endswith(ENDING):
        raise UserError(f"{shown(path)}: is no name for directions; valid: NAME{ENDING}")
    tensors = {name: getattr(directions, name) for name in ("vectors", "values", "covariance")}
    document = {
        "format": FORMAT,
        "space": directions.space,
        "method": directions.method,
        "names": list(directions.names),
        "layers": list(directions.layers),
        "document": dict(directions.document),
    }
    write_tensors(path, tensors, document)


def load_directions(path: Path | str) -> Directions:
    """What `save_directions` wrote. Raises UserError for a file that is absent, damaged or something else."""
    path = Path(path)
    tensors, document = read_tensors(path, FORMAT)
    try:
        return _checked(tensors, document)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{shown(path)}: damaged, {error}") from error


def _checked(tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> Directions:
    """Directions from a file's content. Raises ValueError or KeyError that says what is wrong with it."""
    for name, ndim in (("vectors", 2), ("values", 1), ("covariance", 2)):
        tensor = tensors.get(name)
        if tensor is None or tensor.ndim != ndim or tensor.dtype != torch.float32:
            raise ValueError(f"its {name} are missing or of another form")
        if not tensor.isfinite().all():
            raise ValueError(f"its {name} are not all finite")
    vectors, names, layers = tensors["vectors"], document.get("names"), document.get("layers")
    count, size = vectors.shape
    if tensors["values"].shape != (count,) or tensors["covariance"].shape != (size, size) or not count:
        raise ValueError("its tensors do not fit each other")
    if (vectors.norm(dim=1) - 1).abs().max() > 1e-3:
        raise ValueError("its vectors are not of length 1")
    if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
        raise ValueError("its names are no list of words")
    if len(set(names)) != len(names) or len(names) != count:
        raise ValueError(f"{len(names)} names for {count} vectors, or one twice")
    if not isinstance(layers, list) or not layers or not all(type(i) is int and i >= 0 for i in layers):
        raise ValueError("its layers are no list of whole numbers")
    space, method, about = document.get("space"), document.get("method"), document.get("document")
    if space not in ("w", "z") or method not in MEASURES or not isinstance(about, dict):
        raise ValueError(f"space {quoted(space)}, method {quoted(method)} or its document are not valid")
    return Directions(
        space, method, tuple(names), vectors, tensors["values"], tensors["covariance"], tuple(layers), about
    )
