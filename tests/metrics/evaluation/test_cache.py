"""Kept statistics are those of exactly what was asked for, or none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from styleloom.errors import UserError
from styleloom.metrics.evaluation.cache import StatisticsCache, _note_no_folder, cache_folder

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


def test_a_foreign_file_under_the_right_name_is_not_used(tmp_path: Path, caplog) -> None:
    cache = StatisticsCache(tmp_path)
    other = KEY | {"count": 11}
    cache.put(other, TENSORS, {})
    cache.path(other).rename(cache.path(KEY))
    assert cache.get(KEY) is None
    assert "something else" in caplog.text


@pytest.mark.parametrize("damage", [b"", b"not a safetensors file", None])
def test_a_damaged_file_is_not_used(tmp_path: Path, caplog, damage: bytes | None) -> None:
    cache = StatisticsCache(tmp_path)
    cache.put(KEY, TENSORS, {})
    path = cache.path(KEY)
    path.write_bytes(path.read_bytes()[:-4] if damage is None else damage)
    assert cache.get(KEY) is None
    assert "made anew" in caplog.text
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
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file is no folder; valid: a folder, or none"):
        cache_folder(tmp_path / "file")
    monkeypatch.setenv("STYLELOOM_STATISTICS", "none")
    assert cache_folder() is None
    monkeypatch.delenv("STYLELOOM_STATISTICS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "styleloom" / "statistics"


def test_without_a_home_nothing_is_kept_and_that_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("STYLELOOM_STATISTICS", "HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", unknown)
    _note_no_folder.cache_clear()
    assert cache_folder(Path("none")) is None
    assert not caplog.records  # none does not look
    assert cache_folder() is None
    assert cache_folder() is None
    assert caplog.text.count("HOME is not set") == 1


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path: Path, caplog) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper"):
        cache = StatisticsCache(folder)
        for count in (10, 11):
            assert cache.get(KEY | {"count": count}) is None
            cache.put(KEY | {"count": count}, TENSORS, {})
        assert caplog.text.count("statistics of real images are not kept") == 1
        caplog.clear()


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    def refused(path: Path, **_: object) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    cache = StatisticsCache(tmp_path)
    cache.put(KEY, TENSORS, {})
    monkeypatch.setattr(Path, "exists", refused)
    assert cache.get(KEY) is None
    assert "made anew" in caplog.text


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_files_follow_the_umask(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        cache = StatisticsCache(tmp_path)
        cache.put(KEY, TENSORS, {})
    finally:
        os.umask(previous)
    assert cache.path(KEY).stat().st_mode & 0o777 == 0o640
