"""The registry of presets."""

from __future__ import annotations

import pytest

from styleloom import presets
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


def test_an_unknown_name_lists_the_valid_ones() -> None:
    with pytest.raises(UserError) as caught:
        presets.get("stylegan2f")
    message = str(caught.value)
    assert "preset: 'stylegan2f' does not exist, did you mean 'stylegan2-f'? choose from" in message
    assert all(name in message for name in presets.names())
