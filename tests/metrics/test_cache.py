"""Kept statistics are those of exactly what was asked for, or none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from styleloom.metrics.cache import StatisticsCache, cache_folder

KEY = {"images": {"fingerprint": "aa", "mirror": False}, "layer": "pool", "count": 10}
TENSORS = {"rows": torch.arange(6.0).reshape(3, 2)}


def test_what_was_put_comes_back(tmp_path: Path) -> None:
    cache = StatisticsCache(tmp_path)
    assert cache.get(KEY) is None
    cache.put(KEY, TENSORS, {"device": "cpu"})
    found = cache.get(KEY)
    assert found is not None
    assert torch.equal(found[0]["rows"], TENSORS["rows"])
    assert found[1] == {"device": "cpu"}


@pytest.mark.parametrize(
    "other",
    [
        KEY | {"count": 11},
        KEY | {"layer": "logits"},
        KEY | {"images": {"fingerprint": "ab", "mirror": False}},
        KEY | {"images": {"fingerprint": "aa", "mirror": True}},
    ],
)
def test_anything_else_is_not_found(tmp_path: Path, other: dict) -> None:
    cache = StatisticsCache(tmp_path)
    cache.put(KEY, TENSORS, {})
    assert cache.get(other) is None


def test_a_foreign_file_under_the_right_name_is_not_used(tmp_path: Path, capsys) -> None:
    cache = StatisticsCache(tmp_path)
    other = KEY | {"count": 11}
    cache.put(other, TENSORS, {})
    cache.path(other).rename(cache.path(KEY))
    assert cache.get(KEY) is None
    assert "something else" in capsys.readouterr().err


@pytest.mark.parametrize("damage", [b"", b"not a safetensors file", None])
def test_a_damaged_file_is_not_used(tmp_path: Path, capsys, damage: bytes | None) -> None:
    cache = StatisticsCache(tmp_path)
    cache.put(KEY, TENSORS, {})
    path = cache.path(KEY)
    path.write_bytes(path.read_bytes()[:-4] if damage is None else damage)
    assert cache.get(KEY) is None
    assert "made anew" in capsys.readouterr().err
    cache.put(KEY, TENSORS, {})
    assert cache.get(KEY) is not None


def test_no_folder_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cache = StatisticsCache(None)
    cache.put(KEY, TENSORS, {})
    assert cache.get(KEY) is None
    assert list(tmp_path.iterdir()) == []


def test_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STYLELOOM_STATISTICS", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    assert cache_folder(tmp_path / "given") == tmp_path / "given"
    assert cache_folder(Path("none")) is None
    monkeypatch.setenv("STYLELOOM_STATISTICS", "none")
    assert cache_folder() is None
    monkeypatch.delenv("STYLELOOM_STATISTICS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "styleloom" / "statistics"
