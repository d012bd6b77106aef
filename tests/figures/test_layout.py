"""Pictures from images: places, colours, words."""

from __future__ import annotations

import pytest
import torch

from styleloom.errors import UserError
from styleloom.figures import layout


def test_colours() -> None:
    grey = torch.zeros(1, 1, 2, 2)
    assert layout.rgb(grey).shape == (1, 3, 2, 2)
    clear = torch.full((1, 4, 1, 1), -1.0)
    assert (layout.rgb(clear) == 255).all()
    assert layout.grey(torch.tensor([[[0.0, 2.0]]]), 0, 1)[0, 0].tolist() == [[0, 255]]


def test_a_board() -> None:
    """Each image in the middle of its place; free places and gaps are white; words have room."""
    small, large = torch.zeros(3, 2, 2, dtype=torch.uint8), torch.zeros(3, 4, 6, dtype=torch.uint8)
    plain = layout.board([[small, large], [None, small]], gap=1)
    assert plain.shape == (3, 4 + 1 + 2, 2 + 1 + 6)
    assert (plain[:, 1:3, :2] == 0).all()
    assert (plain[:, :4, 3:] == 0).all()
    assert (plain[:, 5:, :3] == 255).all()
    assert (plain[:, 5:, 5:7] == 0).all()
    named = layout.board([[large]], ["a word"], ["row"])
    assert named.shape[2] >= layout.width_of("word") + layout.width_of("row")
    assert named.shape[1] > 4 + layout.TEXT_PX
    assert (named[:, -4:, :] == 0).flatten(1).any()
    assert (layout.words("two words", 20)[0] < 128).any()


def test_stacked_and_reduced() -> None:
    a, b = torch.zeros(3, 2, 4, dtype=torch.uint8), torch.zeros(3, 2, 2, dtype=torch.uint8)
    both = layout.stacked([a, b], gap=3)
    assert both.shape == (3, 7, 4)
    assert (both[:, 5:, 2:] == 255).all()
    assert layout.stacked([a, b], ["one", "two"]).shape[1] > both.shape[1]
    images = torch.tensor([[[[0, 255], [255, 0]]]], dtype=torch.uint8)
    assert layout.reduced(images, 2).item() == 128
    assert layout.framed(a, 1).shape == (3, 4, 6)


def test_too_large() -> None:
    with pytest.raises(UserError, match="257 images of 1024 x 1024 px are too many"):
        layout.check_places(257, (512, 512), 2)
