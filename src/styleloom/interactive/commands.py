"""The command that makes the picture of a recipe."""

from __future__ import annotations

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
