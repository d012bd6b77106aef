"""`styleloom generate --from`: the picture of a file, or of a link, made again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import styleloom
from styleloom.atomic import atomic_path
from styleloom.cli.report import print_json, say
from styleloom.cli.sheets import check_free
from styleloom.cli.wanted_images import refuse_given
from styleloom.errors import UserError, quoted, shown
from styleloom.file_hash import sha256_of
from styleloom.snapshot_names import find_snapshot

if TYPE_CHECKING:
    from styleloom.cli.generate import Generate
    from styleloom.interactive.recipe import Recipe
    from styleloom.sampling import Sampler

OWN = (
    "seeds",
    "rng",
    "latents",
    "truncation",
    "truncation_layers",
    "classes",
    "label",
    "noise",
    "noise_seed",
)
"""Flags of `generate` that pictures and links say themselves."""


def again(command: Generate) -> int:
    """Make the picture of --from; 0."""
    refuse_given(command, OWN, "with --from, which says it")
    text = command.start or ""
    from styleloom.interactive.pictures import Kept, read_picture  # late: torch takes seconds to import

    is_picture = text.lower().endswith(".png") and "=" not in Path(text).name
    kept = read_picture(Path(text)) if is_picture else Kept({"recipe": text})
    recipe = kept.recipe
    path = _snapshot(command.snapshot, kept.record, "snapshot")
    if recipe is None:
        return _of_flags(command, kept.record).run()
    refuse_given(command, ("grid", "save_latents", "batch"), "with --from of a picture of the page")
    name = Path(text).name if is_picture else "picture.png"
    out = command.out if command.out.suffix.lower() == ".png" else command.out / name
    check_free("out", [out], command.overwrite)
    from styleloom import sampling
    from styleloom.data.reals import to_uint8
    from styleloom.directions.direction_set import load_directions
    from styleloom.directions.shipped import shipped_directions
    from styleloom.interactive.making import named
    from styleloom.interactive.pictures import for_file, made_again, picture_file

    sampler = sampling.load(path, command.device, command.precision)
    shipped = shipped_directions(sampler.snapshot_sha256)
    sets = [load_directions(file) for file in command.directions]
    found = named([*sets, *([] if shipped is None else [shipped])])

    def swapped(wanted: Recipe) -> Sampler:
        return _swapped(command, path, wanted, kept.record)

    if recipe.swap is not None and not recipe.other:
        recipe = replace(recipe, other=str(kept.record.get("other", "")))
    image, latents = made_again(sampler, recipe, kept.latents, found, swapped)
    record = {
        "command": "generate",
        "snapshot": path.parent.name if path.name == "snapshot.safetensors" else path.name,
        "snapshot_sha256": sampler.snapshot_sha256,
        **{key: value for key, value in kept.record.items() if key in ("other", "other_sha256")},
        "recipe": replace(recipe, model="", other="").text(),
        "styleloom": styleloom.__version__,
    }
    data = picture_file(to_uint8(image[None])[0], record, for_file(recipe, latents))
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out) as partial:
        partial.write_bytes(data)
    if command.json:
        print_json({"file": str(out), **record})
    else:
        say(f"1 image in {shown(out)}")
    return 0


def _snapshot(given: str | None, record: Mapping[str, Any], field: str) -> Path:
    """The snapshot that was named, or that the picture names; its hash is the one in the picture."""
    name = given or record.get(field)
    if not isinstance(name, str) or not name:
        raise UserError("generate: no snapshot given, and --from names none")
    try:
        path = find_snapshot(name)
        if not path.is_file():
            raise UserError(f"{shown(name)}: is not here")
    except UserError as error:
        if given is not None:
            raise
        hint = f"name the snapshot before --from ({error})"
        raise UserError(f"--from: the picture was made by {quoted(name)}; {hint}") from error
    wanted = record.get(f"{field}_sha256")
    if isinstance(wanted, str) and sha256_of(path) != wanted:
        raise UserError(
            f"--from: the picture is of the snapshot of SHA-256 {wanted[:16]}...; {shown(path)} is another"
        )
    return path


def _swapped(command: Generate, path: Path, recipe: Recipe, record: Mapping[str, Any]) -> Sampler:
    """Two generators in one, as the recipe says."""
    from styleloom.blending import Blend, blend
    from styleloom.sampling import Sampler
    from styleloom.snapshot import read_snapshot

    other = _snapshot(recipe.other or None, record, "other")
    mixed = blend(read_snapshot(path), read_snapshot(other), Blend(recipe.swap or 0))
    return Sampler.of(mixed, command.device, command.precision)


def _of_flags(command: Generate, record: Mapping[str, Any]) -> Generate:
    """The flags with which `generate` made a picture. Raises UserError for pictures of other commands."""
    images = record.get("images") if isinstance(record.get("images"), list) else [record]
    rows = [row for row in images or [] if isinstance(row, dict) and type(row.get("seed")) is int]
    if not rows or len(rows) != len(images or []) or "command" in record:
        what = record.get("command", "another command")
        raise UserError(f"--from: a picture of {quoted(what)}; valid: one of `generate`, or of `app`")

    def each(name: str) -> str | None:
        values = [row.get(name) for row in rows]
        return None if None in values else ",".join(map(str, values))

    psi, labels = record.get("truncation", 1), [row.get("label") for row in rows]
    label = None if None in labels else ",".join(map(str, labels[0] or []))
    if label is not None and labels.count(labels[0]) != len(labels):
        raise UserError("--from: a sheet of images with labels of their own cannot be made again at once")
    seeds = [("np:" if row.get("rng") == "numpy" else "") + str(row["seed"]) for row in rows]
    return replace(
        command,
        start=None,
        snapshot=command.snapshot or str(record["snapshot"]),
        seeds=",".join(seeds),
        truncation=",".join(map(repr, psi)) if isinstance(psi, list) else repr(psi),
        truncation_layers=record.get("truncation_layers"),
        noise=record.get("noise", "random"),
        noise_seed=each("noise_seed"),
        classes=each("class"),
        label=label,
    )
