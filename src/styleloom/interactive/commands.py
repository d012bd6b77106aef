"""The command that makes the picture of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from styleloom.errors import shell_word
from styleloom.interactive.recipe import Recipe


def command_of(snapshot: str, recipe: Recipe) -> str:
    """A line for a shell: flags where these can say the recipe, else its text.

    Args:
        snapshot: as `generate` takes it.
        recipe: of the picture.
    """
    words = ["styleloom", "generate", shell_word(snapshot)]
    if not recipe.plain:
        return " ".join([*words, "--from", shell_word(recipe.text())])
    words += ["--seeds", str(recipe.seed)]
    if recipe.psi != (1.0,):
        words += ["--truncation", ",".join(f"{psi!r}".removesuffix(".0") for psi in recipe.psi)]
    if recipe.psi_layers is not None:
        words += ["--truncation-layers", str(recipe.psi_layers)]
    if recipe.label is not None:
        words += ["--classes", str(recipe.label)]
    if recipe.noise != "random":
        words += ["--noise", recipe.noise]
    elif recipe.noise_seed is not None:
        words += ["--noise-seed", str(recipe.noise_seed)]
    return " ".join(words)


def walk_command(snapshot: str, keys: Sequence[Recipe], seconds: float, suffix: str, loop: bool) -> str:
    """The line that films a walk through key frames: from their seeds, else from their latent file."""
    words = ["styleloom", "video", shell_word(snapshot)]
    first = keys[0] if keys else Recipe()
    alike = all(replace(key, seed=first.seed) == first for key in keys)
    said = first.plain and len(first.psi) == 1 and first.psi_layers is None and first.noise_seed is None
    if alike and said:
        words += ["--seeds", ",".join(str(key.seed) for key in keys)]
        words += [] if first.psi == (1.0,) else ["--truncation", f"{first.psi[0]:g}"]
        words += [] if first.label is None else ["--classes", str(first.label)]
        words += [] if first.noise == "random" else ["--noise", first.noise]
    else:
        words += ["--kind", "latents", "--latents", "keys.latent.safetensors"]
    words += ["--seconds", f"{seconds:g}", "--fps", "24", *([] if loop else ["--no-loop"])]
    return " ".join([*words, "--out", shell_word(f"walk{suffix}")])
