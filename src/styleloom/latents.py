"""Latents that one can keep: what a generator makes images from, in memory and in `*.latent.safetensors`.

Styles, noise and labels together give the same images again, bit for bit, whatever program drew them.
"""

from __future__ import annotations

import json
import numbers
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, get_args

import torch
from torch import Tensor

from styleloom import arguments
from styleloom.config.checks import one_of
from styleloom.errors import UserError, quoted, shown
from styleloom.tensor_file import Contents, open_tensors, write_tensors

FORMAT = "styleloom-latents"
SUFFIX = ".latent.safetensors"

Space: TypeAlias = Literal["w", "z"]

TENSOR_OF: dict[Space, str] = {"w": "ws", "z": "z"}
"""Name of the values in a file, by their space."""

DIMENSIONS: dict[Space, int] = {"w": 3, "z": 2}
"""Of the values: [N, L, W] or [N, Z]."""

RESERVED = ("format", "version", "space", "sha256")
"""What files have in their documents besides that of the latents."""


@dataclass(frozen=True)
class Latents:
    """What images are made from, all of one generator.

    Args:
        space: "w", or "z" for generators without styles.
        values: float32; in w [N, L, W], a style for each of the generator's inputs with truncation applied,
            in z [N, Z].
        noise: the map of every noise input, low to high, float32 [N or 1, 1, H, W], where 1 is shared by all
            images; None for images without noise. Levels that a growing run has not reached have no pixels.
        labels: float32 [N, K]; None without labels. In z, images depend on them; in w they are only a record.
        document: JSON. "snapshot_sha256" is the hash of the generator's file, None for one that has no file;
            "images" has a record for each image (seed, truncation, target of a projection, ...), empty ones
            unless given; anything else is true of all images. `RESERVED` keys are not valid.

    Raises UserError for shapes that do not fit together, other types, and numbers that are not finite.
    """

    space: Space
    values: Tensor
    noise: tuple[Tensor, ...] | None = None
    labels: Tensor | None = None
    document: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one_of("space", self.space, get_args(Space))
        check_shapes(self.space, {name: tuple(t.shape) for name, t in self.tensors().items()})
        for name, tensor in self.tensors().items():
            if tensor.dtype != torch.float32:
                raise UserError(f"{name}: of type {tensor.dtype}; valid: {torch.float32}")
            if not tensor.isfinite().all():
                raise UserError(f"{name}: NaN or infinite numbers are not valid; finite numbers")
        given = {"snapshot_sha256": None, "images": [{} for _ in range(len(self))]} | dict(self.document)
        check_document(given, len(self))
        object.__setattr__(self, "document", given)
        object.__setattr__(self, "noise", tuple(self.noise or ()) or None)

    def __len__(self) -> int:
        return self.values.shape[0]

    def __getitem__(self, at: int | slice | Sequence[int]) -> Latents:
        """Those of one image (N = 1), of a slice, or of the given positions, which may repeat."""
        if isinstance(at, slice):
            rows = list(range(len(self)))[at]
        else:
            given = [at] if isinstance(at, numbers.Integral) else at
            found = arguments.wholes("position", given, -len(self), len(self) - 1)
            rows = [range(len(self))[row] for row in found]
        noise = self.noise
        if noise is not None:
            noise = tuple(t if t.shape[0] == 1 else t[rows] for t in noise)
        labels = None if self.labels is None else self.labels[rows]
        images = [self.images[row] for row in rows]
        return Latents(self.space, self.values[rows], noise, labels, {**self.document, "images": images})

    @property
    def images(self) -> list[dict[str, Any]]:
        """The record of each image."""
        return self.document["images"]

    def labelled_images(self) -> list[dict[str, Any]]:
        """The record of each image with its class, or with its label where that is none: for other files."""
        if self.labels is None:
            return self.images
        return [record | _label_record(row) for record, row in zip(self.images, self.labels, strict=True)]

    def tensors(self) -> dict[str, Tensor]:
        """All tensors, by their names in a file."""
        named = {TENSOR_OF[self.space]: self.values}
        named |= {f"noise.{i}": t for i, t in enumerate(self.noise or ())}
        return named if self.labels is None else named | {"labels": self.labels}


def _label_record(label: Tensor) -> dict[str, Any]:
    """{"class": 2} of the label 0, 0, 1; {"label": ...} of others."""
    ones = label.nonzero().flatten().tolist()
    if len(ones) == 1 and label[ones[0]] == 1:
        return {"class": ones[0]}
    return {"label": label.tolist()}


def check_shapes(space: Space, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise UserError unless tensors of these names and shapes are those of some `Latents`."""
    name = TENSOR_OF[space]
    arguments.shape(name, shapes[name], [None] * DIMENSIONS[space], "values of each image")
    count = shapes[name][0]
    for other, shape in shapes.items():
        if other.startswith("noise."):
            each = shape[:1] if shape[:1] == (1,) else (count,)
            arguments.shape(other, shape, (*each, 1, None, None), "a map for each image, or one for all")
        elif other == "labels":
            arguments.shape(other, shape, (count, None), "a label for each image")


def check_document(document: Mapping[str, Any], count: int) -> None:
    """Raise UserError unless hash and records are what they have to be."""
    for key in RESERVED:
        if key in document:
            raise UserError(f"document: {quoted(key)} is not valid, files have a value of their own for it")
    digest, images = document["snapshot_sha256"], document["images"]
    if digest is not None and not (isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest)):
        raise UserError(f"snapshot_sha256: {quoted(digest)} is not valid; 64 hex digits, or none")
    if not isinstance(images, list) or not all(isinstance(record, dict) for record in images):
        raise UserError(f"images: {quoted(images)} is not valid; a record for each image")
    if len(images) != count:
        raise UserError(f"images: {len(images)} records given for {count} images")
    try:
        json.dumps(document, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"document: no JSON ({quoted(str(error))})") from error


def join(parts: Sequence[Latents]) -> Latents:
    """All of `parts` in one, in their order.

    Noise that is not the same in all parts becomes maps of each image. What documents say of all their images
    and do not agree on goes into the records of the images.

    Raises UserError for no parts, for other spaces or snapshots, and where some have noise or labels and some
    have none.
    """
    if not parts:
        raise UserError("latents: none given; at least one")
    first = parts[0]
    for name in ("space", "values", "noise", "labels", "snapshot_sha256"):
        kinds = [_kind(name, part) for part in parts]
        other = next((kind for kind in kinds if kind != kinds[0]), kinds[0])
        if other != kinds[0]:
            raise UserError(f"{name}: {kinds[0]} and {other} cannot be joined; latents of one generator")
    noise = None
    if first.noise is not None:
        noise = tuple(_joined_maps(maps, parts) for maps in zip(*(p.noise or () for p in parts), strict=True))
    labels = None if first.labels is None else torch.cat([p.labels for p in parts if p.labels is not None])
    common = {
        key: value
        for key, value in first.document.items()
        if key != "images" and all(key in p.document and p.document[key] == value for p in parts)
    }
    images = []
    for part in parts:
        own = {k: v for k, v in part.document.items() if k not in common and k != "images"}
        images += [own | record for record in part.images]
    values = torch.cat([part.values for part in parts])
    return Latents(first.space, values, noise, labels, common | {"images": images})


def _kind(name: str, part: Latents) -> Any:
    """What has to agree among joined latents, by name, as a message shows it."""
    if name == "snapshot_sha256":
        return part.document[name]
    if name == "noise":
        return part.noise and [[*t.shape[2:]] for t in part.noise]
    value = getattr(part, name)
    return [*value.shape[1:]] if isinstance(value, Tensor) else value


def _joined_maps(maps: Sequence[Tensor], parts: Sequence[Latents]) -> Tensor:
    """The maps of one noise input: one that all share stays one."""
    if all(t.shape[0] == 1 and torch.equal(t, maps[0]) for t in maps):
        return maps[0]
    return torch.cat([t.expand(len(part), -1, -1, -1) for t, part in zip(maps, parts, strict=True)])


# ---- files


def save_latents(path: Path | str, latents: Latents) -> None:
    """Write a latent file, atomically. Raises UserError for a name without its ending, and for no images."""
    path = check_latent_name(path)
    if not len(latents):
        raise UserError(f"{shown(path)}: no latents to save; at least one")
    tensors = {name: t.clone() for name, t in latents.tensors().items()}  # tensors in files share no memory
    write_tensors(path, tensors, {**latents.document, "format": FORMAT, "space": latents.space})


def check_latent_name(path: Path | str) -> Path:
    """`path`, when its name ends as a latent file's does. Raises UserError otherwise."""
    path = Path(path)
    if not path.name.endswith(SUFFIX):
        raise UserError(f"{shown(path)}: no name of a latent file; valid: a name that ends with {SUFFIX}")
    return path


def load_latents(path: Path | str) -> Latents:
    """Read a latent file. Names, types and shapes are checked before any tensor is read.

    Raises UserError, which names file and field, when it is absent, damaged or something else.
    """
    path = Path(path)
    with open_tensors(path, FORMAT) as file:
        document = {k: v for k, v in file.document.items() if k not in ("format", "version")}
        try:
            space = document.pop("space", None)
            one_of("space", space, get_args(Space))
            num_noises = _check_contents(space, file.contents)
            tensors = file.read()
            noise = tuple(tensors[f"noise.{i}"] for i in range(num_noises))
            return Latents(space, tensors[TENSOR_OF[space]], noise or None, tensors.get("labels"), document)
        except UserError as error:
            prefix = f"{shown(path)}: "
            message = str(error)
            raise UserError(message if message.startswith(prefix) else prefix + message) from error


def _check_contents(space: Space, contents: Contents) -> int:
    """How many noise maps a file has. Raises UserError unless its tensors are those of a latent file."""
    num_noises = sum(name.startswith("noise.") for name in contents)
    expected = {TENSOR_OF[space], *(f"noise.{i}" for i in range(num_noises))}
    for name in sorted(expected - contents.keys()):
        raise UserError(f"{name}: missing; this is no whole latent file")
    for name in sorted(contents.keys() - expected - {"labels"}):
        raise UserError(f"{quoted(name)}: unexpected; valid: {', '.join(sorted(expected))}, labels")
    for name, (kind, _) in contents.items():
        if kind != "F32":
            raise UserError(f"{name}: of type {kind}; valid: F32")
    check_shapes(space, {name: shape for name, (_, shape) in contents.items()})
    if not contents[TENSOR_OF[space]][1][0]:
        raise UserError(f"{TENSOR_OF[space]}: holds no latents; at least one")
    return num_noises


# ---- whose they are


class RendersLatents(Protocol):
    """What latents must fit: a `Sampler`."""

    @property
    def space(self) -> Space:
        """Where its latents are kept."""
        ...

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(L, W) in w, (Z,) in z."""
        ...

    @property
    def noise_sizes(self) -> Sequence[tuple[int, int]]:
        """Height and width of every noise map, px, low to high."""
        ...

    @property
    def label_dim(self) -> int:
        """K; 0 without labels."""
        ...

    @property
    def snapshot_sha256(self) -> str | None:
        """Hash of its file, hex; None without one."""
        ...


def check_fits(latents: Latents, sampler: RendersLatents, where: Path | str = "latents") -> None:
    """Raise UserError unless `sampler` can make images of `latents` that are those they were made for.

    Space, shapes and labels are compared, and the hash of the snapshot where both sides know one: a sampler
    that was not loaded from a file has none.

    Args:
        latents: what is to be rendered.
        sampler: by what.
        where: the file that they come from, for the message.
    """
    where = shown(where)
    own, theirs = sampler.snapshot_sha256, latents.document["snapshot_sha256"]
    if own is not None and theirs is not None and own != theirs:
        raise UserError(
            f"{where}: latents of another snapshot: made with the one of SHA-256 {theirs[:16]}..., this one "
            f"has {own[:16]}..."
        )
    if latents.space != sampler.space:
        raise UserError(f"{where}: latents in {latents.space}; valid: in {sampler.space}, for this generator")
    arguments.shape(f"{where}: values", latents.values.shape, (None, *sampler.latent_shape), latents.space)
    sizes = None if latents.noise is None else [tuple(t.shape[2:]) for t in latents.noise]
    if sizes is not None and sizes != list(sampler.noise_sizes):
        raise UserError(f"{where}: noise maps of {sizes} px; valid: {list(sampler.noise_sizes)}, or none")
    given = 0 if latents.labels is None else latents.labels.shape[1]
    if given != sampler.label_dim and (latents.space == "z" or latents.labels is not None):
        raise UserError(f"{where}: labels of {given} numbers; valid: {sampler.label_dim}")


def load_fitting(paths: Sequence[Path | str], sampler: RendersLatents) -> Latents:
    """The latents of all files, in one. Raises UserError, also for a file that is not of `sampler`."""
    parts = []
    for path in paths:
        parts.append(load_latents(path))
        check_fits(parts[-1], sampler, path)
    return join(parts)
