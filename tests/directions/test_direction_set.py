"""Named directions: conditional ones, their file, and whose they are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from every import every
from styleloom.directions.direction_set import (
    Directions,
    _checked,
    load_directions,
    save_directions,
)
from styleloom.directions.discovery import pca
from styleloom.errors import UserError

from .planted import planted


def three(layers: tuple[int, ...] = (0, 1)) -> Directions:
    """Along the first axis, between the first two, and along the third; w deviates by 1, 2, 3, 4."""
    vectors = torch.tensor([[1.0, 0, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0]])
    covariance = torch.diag(torch.tensor([1.0, 4, 9, 16]))
    names, values = ("young", "smile", "dark"), torch.tensor([0.9, 0.8, 0.7])
    return Directions("w", "classifier", names, vectors, values, covariance, layers, {"seed": 1})


def test_conditional() -> None:
    found = three().conditional("smile", ["young", "dark"])
    assert found.names == ("young", "smile", "dark", "smile|young,dark")
    torch.testing.assert_close(found.vectors[3], torch.tensor([0.0, 1, 0, 0]))
    assert float(found.values[3]) == pytest.approx(0.8)
    assert found.deviations.tolist() == pytest.approx([1, (0.36 + 4 * 0.64) ** 0.5, 3, 2])
    step = found.step("smile|young,dark")
    torch.testing.assert_close(step, torch.tensor([0.0, 2, 0, 0]))
    torch.testing.assert_close(found.step("smile|young,dark", "length"), found.vectors[3])
    for name, others in (("smile", ["smile"]), ("smile", []), ("smile", ["smil"]), ("smail", ["young"])):
        with pytest.raises(UserError, match="direction: 'sm"):
            three().conditional(name, others)
    with pytest.raises(UserError, match=r"'smile\|young,dark' is there already"):
        found.conditional("smile", ["young", "dark"])
    spanned = three().conditional("smile", ["young"])
    with pytest.raises(UserError, match="lies within"):
        spanned.conditional("smile", ["young", "smile|young"])


def test_the_file_keeps_everything(tmp_path: Path) -> None:
    path = tmp_path / "faces.directions.safetensors"
    save_directions(path, three())
    found = load_directions(path)
    for name, value in vars(three()).items():
        other = getattr(found, name)
        assert torch.equal(other, value) if isinstance(value, Tensor) else other == value, name
    with pytest.raises(UserError, match=r"valid: NAME\.directions\.safetensors"):
        save_directions(tmp_path / "faces.safetensors", three())


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "faces.directions.safetensors"
    save_directions(path, three())
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match="damaged"):
        load_directions(path)
    save_file({"a": torch.zeros(1)}, path, {"styleloom": json.dumps({"format": "styleloom-snapshot"})})
    with pytest.raises(UserError, match="not a styleloom-directions"):
        load_directions(path)


GOOD: dict[str, Any] = {
    "names": ["young", "smile", "dark"],
    "layers": [0, 1],
    "space": "w",
    "method": "pca",
    "document": {},
}


@every(
    ("tensors", "document", "message"),
    [
        ({"vectors": torch.full((3, 4), 2.0)}, {}, "not of length 1"),
        ({"vectors": torch.full((3, 4), torch.nan)}, {}, "vectors are not all finite"),
        ({"vectors": torch.zeros(3, 4, dtype=torch.float64)}, {}, "vectors are missing or of another form"),
        ({"values": torch.zeros(2)}, {}, "do not fit each other"),
        ({"covariance": torch.zeros(3, 3)}, {}, "do not fit each other"),
        ({}, {"names": ["a", "a", "b"]}, "one twice"),
        ({}, {"names": ["a", "b"]}, "2 names for 3"),
        ({}, {"names": ["a", "b", ""]}, "no list of words"),
        ({}, {"layers": [-1]}, "whole numbers"),
        ({}, {"layers": []}, "whole numbers"),
        ({}, {"layers": [True]}, "whole numbers"),
        ({}, {"space": "x"}, "space 'x'"),
        ({}, {"method": "magic"}, "method 'magic'"),
    ],
)
def test_content_that_is_not_valid(
    tensors: dict[str, Tensor], document: dict[str, Any], message: str
) -> None:
    good = {name: getattr(three(), name) for name in ("vectors", "values", "covariance")}
    assert len(_checked(good, GOOD)) == 3
    with pytest.raises(ValueError, match=message):
        _checked(good | tensors, GOOD | document)


def test_whose_directions_they_are(caplog: pytest.LogCaptureFixture) -> None:
    sampler, _ = planted()
    found = replace(pca(sampler, count=2), document={"snapshot_sha256": "a" * 64})
    found.check_fits(sampler.generator, "a" * 64)
    assert not caplog.records
    found.check_fits(sampler.generator, "b" * 64)
    assert "another snapshot" in caplog.text
    with pytest.raises(UserError, match="layer 4 does not exist, this generator has 0 to 3"):
        replace(found, layers=(2, 4)).check_fits(sampler.generator)
    with pytest.raises(UserError, match="vectors of 4 numbers, this generator's w has 16"):
        three().check_fits(sampler.generator)
