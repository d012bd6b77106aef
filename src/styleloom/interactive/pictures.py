"""PNG files that say what they are made from: recipe, snapshot and latent in text chunks; and made again."""

from __future__ import annotations

import base64
import io
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

import styleloom.data.decoding as decoding
from styleloom.errors import UserError, quoted, shown
from styleloom.images import to_pil
from styleloom.interactive.engine import Engine
from styleloom.interactive.making import Maker, Named
from styleloom.interactive.recipe import Recipe, parse_recipe
from styleloom.latents import SUFFIX, Latents, check_fits, load_latents, save_latents
from styleloom.sampling import Sampler

RECORD, LATENT = "styleloom", "styleloom-latent-"
"""Keywords of the chunks: a JSON document; the parts of a latent file, in base64."""

PART = 3 * 2**17
"""Bytes of a latent file in one chunk: readers refuse chunks of over 1 MB."""

MAX_FILE = 2**28
"""Longest picture that is read, in bytes."""


@dataclass(frozen=True)
class Kept:
    """What a picture says of itself.

    Args:
        record: the JSON document.
        latents: what was kept with it; None where it holds none.
    """

    record: Mapping[str, Any]
    latents: Latents | None = None

    @property
    def recipe(self) -> Recipe | None:
        """The recipe, in pictures of the page."""
        text = self.record.get("recipe")
        return parse_recipe(text) if isinstance(text, str) else None


def picture_file(image_u8: Tensor, record: Mapping[str, Any], latents: Latents | None = None) -> bytes:
    """A PNG file of uint8 [C, H, W], with its record and, where they are given, its latents."""
    chunks = PngInfo()
    chunks.add_text("Software", f"styleloom {record.get('styleloom', '')}".strip())
    chunks.add_text(RECORD, json.dumps(dict(record)))
    if latents is not None:
        data = latent_file(latents)
        for number, at in enumerate(range(0, len(data), PART)):
            text = base64.b64encode(data[at : at + PART]).decode("ascii")
            chunks.add_text(f"{LATENT}{number}", text)
    out = io.BytesIO()
    to_pil(image_u8).save(out, format="PNG", pnginfo=chunks)
    return out.getvalue()


def latent_file(latents: Latents) -> bytes:
    """The bytes of a latent file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"picture{SUFFIX}"
        save_latents(path, latents)
        return path.read_bytes()


def read_kept(data: bytes, where: Path | str = "picture") -> Kept:
    """What a PNG file says of itself. Raises UserError for one that says nothing, or is none."""
    try:
        with decoding.quiet(), Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            image.load()
            text: dict[str, str] = dict(getattr(image, "text", {}))
        record = json.loads(text.get(RECORD, "null"))
        if not isinstance(record, dict):
            raise UserError(
                f"{shown(where)}: says nothing of what it is made from; valid: a PNG of styleloom"
            )
        parts = [text[f"{LATENT}{i}"] for i in range(sum(key.startswith(LATENT) for key in text))]
        return Kept(record, _latents(parts) if parts else None)
    except (OSError, ValueError, KeyError, SyntaxError, RecursionError) as error:
        message = f"{shown(where)}: cannot be read as a PNG of styleloom ({quoted(str(error))})"
        raise UserError(message) from error


def read_picture(path: Path) -> Kept:
    """What the PNG file at `path` says of itself."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise UserError(f"{shown(path)}: has more than {MAX_FILE:,} bytes; valid: a PNG of styleloom")
        return read_kept(path.read_bytes(), path)
    except OSError as error:
        raise UserError(f"cannot read {shown(path)}: {error.strerror or error}") from error


def _latents(parts: Sequence[str]) -> Latents:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"picture{SUFFIX}"
        path.write_bytes(b"".join(base64.b64decode(part, validate=True) for part in parts))
        return load_latents(path)


def for_file(recipe: Recipe, latents: Latents) -> Latents:
    """What a file keeps of latents: noise maps only where no seed says them."""
    own = recipe.latent and recipe.noise == "random" and recipe.noise_seed is None
    return latents if own else replace(latents, noise=None)


def made_again(
    sampler: Sampler,
    recipe: Recipe,
    kept: Latents | None = None,
    directions: Mapping[str, Named] | None = None,
    swapped: Callable[[Recipe], Sampler] | None = None,
) -> tuple[Tensor, Latents]:
    """The image [C, H, W] of a recipe, as the page's full pictures are made, and its latents.

    Args:
        sampler: of its model.
        recipe: of the picture.
        kept: the latents that lie in its file; without them they are made from the recipe.
        directions: what edits may name; not needed where latents are kept.
        swapped: the generator of a recipe with layers of a second model.

    Raises UserError for latents of another snapshot, and for what the generator does not take.
    """
    maker = Maker(sampler, directions)
    if kept is None:
        latents = maker.latents(recipe)
    else:
        check_fits(kept, sampler, "picture")
        latents = kept
        if kept.noise is None:
            like = maker.latents(replace(recipe, latent="", edits=(), b=None, c=None))
            latents = replace(kept, noise=like.noise)
    if recipe.swap is not None and recipe.other:
        if swapped is None:
            raise UserError("swap: the second model is needed")
        sampler = swapped(recipe)
    return Engine(sampler).exact(latents, recipe.bends), latents
