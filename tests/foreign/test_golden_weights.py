"""Outputs of recorded weight files of other codes, and of their variations."""

from __future__ import annotations

import pytest
import torch

from styleloom.errors import UserError
from styleloom.foreign.reading import read_foreign
from styleloom.snapshot import foreign_snapshot, read_snapshot

from .golden_weights import FOLDER, LIMIT, Recorded, manifest, needs_golden, outputs_of, recorded

pytestmark = needs_golden

RECORDED = recorded()
REFUSED = {"lucidrains_model": "lucidrains", "stylegan3_": "StyleGAN3", "fork_stylegan_xl": "StyleGAN-XL"}

ALSO_RIGHT = ("or refuse", "or read with a warning", "refuse")
"""Expectations of variations that allow a refusal."""


@pytest.mark.parametrize("name", RECORDED)
def test_outputs_are_those_of_the_authors(name: str) -> None:
    path = FOLDER / name
    outputs = outputs_of(path)
    assert outputs is not None
    file = Recorded(path, outputs)
    if file.file.inside.refused:
        with pytest.raises(UserError):
            read_snapshot(path)
        return
    with torch.no_grad():
        found = dict(file.differences())
    assert found.keys() == file.outputs()
    wrong = {key: value for key, value in found.items() if not value <= LIMIT}
    assert not wrong, f"{len(wrong)} of {len(found)}: {wrong}"


@pytest.mark.parametrize("case", manifest("twins"), ids=lambda case: case["file"])
def test_variations(case: dict[str, str]) -> None:
    """Same outputs, or a refusal where that is right, too."""
    path = FOLDER / case["file"]
    outputs = outputs_of(FOLDER / case["of"])
    assert outputs is not None
    found: dict[str, float] = {}
    try:
        with torch.no_grad():
            file = Recorded(path, outputs)
            foreign_snapshot(file.file)
            found = dict(file.differences())
    except UserError as refusal:
        said = str(refusal)
    else:
        said = None
    if said is not None:
        assert any(words in case["expect"] for words in ALSO_RIGHT), said
        return
    assert not case["expect"].startswith("refuse,")
    limit = 5e-3 if "half precision" in case["expect"] else LIMIT
    assert max(found.values()) <= limit, found


def test_refused_networks_are_named() -> None:
    for begin, word in REFUSED.items():
        for path in [p for p in FOLDER.glob(f"{begin}*") if p.suffix in (".pt", ".pkl")]:
            assert read_foreign(path).inside.refused
            with pytest.raises(UserError, match=word):
                read_snapshot(path)
