"""The registry of presets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from styleloom import presets
from styleloom.config import from_json, to_json
from styleloom.errors import UserError


def test_names_are_the_experiments_own() -> None:
    assert presets.names() == tuple(presets.PRESETS)
    for name in presets.names():
        assert presets.get(name).name == name
        assert presets.get(name) is presets.PRESETS[name]


def test_sources_are_given_and_differ() -> None:
    sources = [experiment.source for experiment in presets.PRESETS.values()]
    assert all(sources)
    assert len(set(sources)) == len(sources)


def test_papers_hold_all_presets_in_their_order() -> None:
    groups = [name.split(" (")[0] for name in presets.PAPERS]
    assert groups == ["ProGAN", "StyleGAN", "MSG-GAN", "StyleGAN2", presets.OWN]
    assert tuple(name for group in presets.PAPERS.values() for name in group) == presets.names()


def test_the_place_of_a_preset() -> None:
    for paper, group in presets.PAPERS.items():
        for experiment in group.values():
            assert presets.place(experiment)[0] == paper
    assert presets.place(presets.get("stylegan2-a-cat")) == (
        "StyleGAN2 (Karras et al. 2020)",
        "Table 3, row A, LSUN Cat",
    )
    assert presets.place(presets.get("demo"))[1] == presets.get("demo").source


def test_an_unknown_name_gives_near_ones() -> None:
    with pytest.raises(UserError) as caught:
        presets.get("stylegan2f")
    message = str(caught.value)
    assert "preset: 'stylegan2f' does not exist, did you mean 'stylegan2-f'? choose for example" in message
    assert f"`styleloom presets` lists all {len(presets.PRESETS)}" in message
    assert len(message) < 300


def test_a_name_that_is_like_none() -> None:
    with pytest.raises(UserError, match=r"^preset: 'xyz' does not exist, `styleloom presets` lists all"):
        presets.get("xyz")


def test_find() -> None:
    assert presets.find("CIFAR") == tuple(n for n in presets.names() if "cifar10" in n)
    assert presets.find("LSUN Horse") == ("stylegan2-a-horse", "stylegan2-f-horse")
    assert presets.find("nothing of the kind") == ()


ABSENT = object()

LATER = {"weights": "equalized", "normalization": "demodulation"}
"""Fields of networks that files of older versions lack, and what they did then."""


def test_files_written_before_a_field_existed_load() -> None:
    for preset in presets.PRESETS.values():
        document = to_json(preset)
        for role in ("generator", "discriminator"):
            document[role] = {k: v for k, v in document[role].items() if LATER.get(k, ABSENT) != v}
        assert from_json(document) == preset
    old = presets.get("msg-stylegan-paper")
    old = replace(old, discriminator=presets.get("msg-stylegan").discriminator)  # as the preset was
    assert from_json(to_json(old)) == old
