"""Recipes: their text says all of them, and nothing else is taken."""

from __future__ import annotations

import pytest

from styleloom.errors import UserError
from styleloom.interactive.bending import Bend
from styleloom.interactive.commands import command_of
from styleloom.interactive.recipe import MAX_TEXT, Recipe, parse_recipe

FULL = Recipe(
    model="portraits-64",
    seed=7,
    psi=(0.7, 1.0, -0.25),
    psi_layers=4,
    label=2,
    noise_seed=5,
    strength=0.5,
    b=8,
    b_mix=(0.0, 1.0, 0.25),
    c=9,
    c_mix=(0.5, 0.0, 0.0),
    edits=(("smile", 1.5), ("hair colour|age,x", -2.0)),
    bends=(Bend(16, "rotate", 30.0), Bend(8, "mute", 1.0, 0.5)),
    swap=32,
    other="other&model=1",
)


def test_a_text_says_all_of_a_recipe() -> None:
    assert parse_recipe(FULL.text()) == FULL
    assert parse_recipe("http://127.0.0.1:7860/?" + FULL.text()) == FULL
    assert Recipe().text() == ""
    assert parse_recipe("") == parse_recipe("seed=&psi=") == Recipe()
    assert parse_recipe("edit=a:0&bend=8:rotate:0") == Recipe()
    assert parse_recipe("latent=ab12&noise=none") == Recipe(latent="ab12", noise="none")


def test_other_texts_are_refused() -> None:
    wrong = {
        "sed=1": "did you mean 'seed'",
        "seed=-1": "0 to",
        "seed=1e99": "0 to",
        "psi=nan": "a number of",
        "psi=1000": "a number of",
        "b_mix=1,2,0": "a number 0 to 1",
        "noise=loud": "noise",
        "edit=smile": "NAME:STRENGTH",
        "bend=16:rotate": "SIDE:KIND",
        "bend=16:melt:1": "melt",
        "bend=16:rotate:999": "-180 to 180",
        "model=" + "x" * 300: "a name",
        "x" * (MAX_TEXT + 1): "at most",
        "&".join(f"edit=a{i}:1" for i in range(40)): "at most",
        "nothing": "is not valid",
    }
    for text, message in wrong.items():
        with pytest.raises(UserError, match=message):
            parse_recipe(text)


def test_commands() -> None:
    assert command_of("portraits-64", Recipe(seed=3)) == "styleloom generate portraits-64 --seeds 3"
    plain = Recipe(seed=3, psi=(0.7, 0.5), psi_layers=1, label=2, noise_seed=8)
    assert command_of("my run", plain) == (
        "styleloom generate 'my run' --seeds 3 --truncation 0.7,0.5 --truncation-layers 1 --classes 2 "
        "--noise-seed 8"
    )
    assert "--noise fixed" in command_of("m", Recipe(noise="fixed"))
    edited = command_of("m", Recipe(edits=(("smile", 1.0),)))
    assert edited == "styleloom generate m --from edit=smile:1"
