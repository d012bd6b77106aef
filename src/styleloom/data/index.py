"""The index of an archive: how the images were made, what they are called, and their labels."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from styleloom.config.parts import image_size
from styleloom.data.conversion import SQUARE, validate_grid, validate_resolution
from styleloom.data.decoding import MAX_PIXELS
from styleloom.data.encodings import ENCODINGS
from styleloom.data.faces.placed import Placed, placed
from styleloom.data.labels import MAX_LABEL_DIM, Label, are_finite
from styleloom.data.pixels import ImageData
from styleloom.errors import UserError, quoted

FORMAT = "styleloom-dataset"
VERSION = 1


def tool_version() -> str:
    """Version of the installed styleloom, or ``"not installed"`` when run from a source tree."""
    try:
        return metadata.version("styleloom")
    except metadata.PackageNotFoundError:
        return "not installed"


@dataclass(frozen=True)
class Recipe:
    """How an archive was made. Mirroring is no part of it: that happens on loading.

    Args:
        source: last part of the source's path, or the name of an embedded set.
        source_sha256: over the sorted names and contents of the source's images that were read (see
            `source_hash`): all of them, or fewer with `max_images`.
        resolution: px; see `ConversionOptions`.
        crop, filter, channels, background, upscale: see `ConversionOptions`.
        order: `shuffled` (once, seed 123) or `source`.
        labels: `none`, `folders`, `keep`, or the name of the label file.
        num_images: images stored.
        num_skipped: bad files left out with --skip-bad.
        tool_version: the styleloom that wrote the archive.
        grid: height and width of the lowest level, px.
        max_images: most images to store; 0 for all.
        wide_height: see `ConversionOptions`.
        kind: of source, in words; empty for a folder or zip of images.
        align: whose alignment of faces, if any.
        format: of the stored images, see `encodings`.

    The last ones are stored only where they differ from their default: indexes that were written before they
    were there keep their bytes, and with them their fingerprints.
    """

    source: str
    source_sha256: str
    resolution: int
    crop: str
    filter: str
    channels: int
    background: str
    upscale: bool
    order: str
    labels: str
    num_images: int
    num_skipped: int
    tool_version: str
    grid: tuple[int, int] = SQUARE
    max_images: int = 0
    wide_height: int = 0
    kind: str = ""
    align: str = ""
    format: str = "png"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images, px."""
        return image_size(self.resolution, self.grid)


LATER_FIELDS: dict[str, Any] = {
    field.name: field.default
    for field in dataclasses.fields(Recipe)
    if field.default is not dataclasses.MISSING
}
"""Fields of a recipe that an index may lack, with what they then are."""


@dataclass(frozen=True)
class Index:
    """All that an archive says about its images, in stored order.

    Args:
        recipe: how they were made.
        pixels_sha256: over the decoded pixels (uint8, [C, H, W]) of all images in stored order.
        files: name of each image inside the archive.
        sources: name that each image had in the source.
        label_dim: number of classes or length of the label vectors; 0 without labels.
        classes: name of each class, or of each place of the vectors, where they have names.
        labels: class index or vector of each image; None without labels.
        faces: where each image was cut out of a photograph; None where none was.
    """

    recipe: Recipe
    pixels_sha256: str
    files: tuple[str, ...]
    sources: tuple[str, ...]
    label_dim: int = 0
    classes: tuple[str, ...] | None = None
    labels: tuple[Label, ...] | None = None
    faces: tuple[Placed, ...] | None = None

    def to_json(self) -> bytes:
        """Canonical UTF-8 JSON: equal indexes give equal bytes.

        File names that are no UTF-8 hold lone surrogates in Python; these are written as JSON escapes.
        """
        content = {"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)}
        if self.faces is None:
            del content["faces"]
        for name, default in LATER_FIELDS.items():
            if getattr(self.recipe, name) == default:
                del content["recipe"][name]
        text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "backslashreplace") + b"\n"


def content_digest(data: ImageData) -> bytes:
    """sha256 digest of an image as its source has it: of the file, or of the shape and numbers of pixels."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).digest()
    return hashlib.sha256(repr(data.shape).encode() + data.tobytes()).digest()


def source_hash(digests: dict[str, bytes]) -> str:
    """sha256 over the sorted names and contents of a source.

    `digests` maps each name to its `content_digest`, or to 32 zero bytes for a file that could not
    be read. Hashed is, for each name in sorted order, the name in UTF-8, a zero byte, and the digest.
    """
    total = hashlib.sha256()
    for name in sorted(digests):
        total.update(name.encode("utf-8", "surrogateescape") + b"\0" + digests[name])
    return total.hexdigest()


def is_index(content: bytes) -> bool:
    """Whether a ``dataset.json`` is an archive's: others write a file of that name too."""
    return f'"format":"{FORMAT}"'.encode() in content.replace(b" ", b"")


def parse_index(origin: str, content: bytes) -> Index:
    """Read and check an index; `origin` is named in errors.

    Raises UserError when it is damaged, of another format or version, empty, or contradicts itself.
    """
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{origin}: the index is damaged: {quoted(str(error))}") from error
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise UserError(
            f"{origin}: the index is not styleloom's; make one with: styleloom dataset build, with "
            "--labels keep if it is of StyleGAN2-ADA's tools"
        )
    if fields.get("version") != VERSION:
        raise UserError(
            f"{origin}: index version {quoted(fields.get('version'))}; this styleloom reads {VERSION}"
        )
    try:
        index = _from_fields(fields)
    except KeyError as error:
        raise UserError(f"{origin}: the index is damaged: it has no {quoted(error.args[0])}") from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{origin}: the index is damaged: {error}") from error
    if not index.files:
        raise UserError(f"{origin}: the data set is empty")
    _check(origin, index)
    return index


def _from_fields(fields: dict[str, Any]) -> Index:
    if not isinstance(fields["recipe"], dict):
        raise TypeError(f"recipe is {quoted(fields['recipe'])}")
    recipe = LATER_FIELDS | fields["recipe"]
    grid = _grid(recipe.pop("grid", SQUARE))
    kinds = {field.name: field.type for field in dataclasses.fields(Recipe) if field.name != "grid"}
    if set(recipe) != set(kinds):
        raise ValueError(f"recipe fields {quoted(sorted(set(recipe) ^ set(kinds)))} are missing or unknown")
    wrong = [name for name, kind in kinds.items() if type(recipe[name]).__name__ != kind]
    if wrong:
        raise ValueError(f"recipe field {wrong[0]} = {quoted(recipe[wrong[0]])} is not {kinds[wrong[0]]}")
    labels, classes, faces = fields["labels"], fields["classes"], fields.get("faces")
    if faces is not None and not isinstance(faces, list):
        raise TypeError(f"faces are {quoted(faces)}, not a list")
    if labels is not None and not isinstance(labels, list):
        raise TypeError(f"labels are {quoted(labels)}, not a list")
    if type(fields["label_dim"]) is not int:
        raise TypeError(f"label_dim {quoted(fields['label_dim'])} is no whole number")
    return Index(
        recipe=Recipe(**recipe, grid=grid),
        pixels_sha256=str(fields["pixels_sha256"]),
        files=_strings(fields["files"]),
        sources=_strings(fields["sources"]),
        label_dim=fields["label_dim"],
        classes=None if classes is None else _strings(classes),
        labels=None if labels is None else tuple(_label(label) for label in labels),
        faces=None if faces is None else tuple(map(placed, faces)),
    )


def _grid(value: Any) -> tuple[int, int]:
    well_formed = isinstance(value, (list, tuple)) and len(value) == 2
    if not well_formed or any(type(side) is not int for side in value):
        raise ValueError(f"recipe field grid = {quoted(value)} is not a height and a width")
    return value[0], value[1]


def _strings(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not set(map(type, values)) <= {str}:
        raise TypeError("expected a list of names")
    return tuple(values)


def _label(value: Any) -> Label:
    if isinstance(value, list) and are_finite(value):
        return tuple(float(number) for number in value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"label {quoted(value)} is neither a class index nor a vector of finite numbers")
    return value


def _check(origin: str, index: Index) -> None:
    """Raise UserError unless the parts of an index agree with each other and with what is supported."""
    recipe, number = index.recipe, len(index.files)
    try:
        validate_resolution(recipe.resolution)
        validate_grid(recipe.grid)
    except UserError as error:
        raise UserError(f"{origin}: {error}") from None
    height, width = recipe.size
    if height * width > MAX_PIXELS:
        raise UserError(f"{origin}: images of {width}x{height} px; at most {MAX_PIXELS} px are read")
    problems = []
    if recipe.format not in ENCODINGS:
        problems.append(f"format {quoted(recipe.format)} (valid: {', '.join(ENCODINGS)})")
    if recipe.channels not in (1, 3, 4):
        problems.append(f"channels {recipe.channels} (valid: 1, 3, 4)")
    if not number == len(index.sources) == recipe.num_images:
        problems.append(f"{number} files, {len(index.sources)} source names, num_images {recipe.num_images}")
    if len(set(index.files)) != number:
        problems.append("a file is listed twice")
    if (index.labels is None) != (index.label_dim == 0) or not 0 <= index.label_dim <= MAX_LABEL_DIM:
        problems.append(f"label_dim {index.label_dim} with{'out' * (index.labels is None)} labels")
    if index.faces is not None and len(index.faces) != number:
        problems.append(f"{len(index.faces)} faces for {number} images")
    if index.classes is not None and len(index.classes) != index.label_dim:
        problems.append(f"{len(index.classes)} class names, label_dim {index.label_dim}")
    if index.labels is not None:
        if len(index.labels) != number:
            problems.append(f"{len(index.labels)} labels for {number} images")
        vectors = {isinstance(label, tuple) for label in index.labels}
        if len(vectors) > 1 or not all(_fits(label, index.label_dim) for label in index.labels):
            problems.append(f"a label does not fit label_dim {index.label_dim}")
    if problems:
        raise UserError(f"{origin}: the index contradicts itself: {'; '.join(problems)}")


def _fits(label: Label, label_dim: int) -> bool:
    return len(label) == label_dim if isinstance(label, tuple) else 0 <= label < label_dim
