"""Files appear whole, with the permissions that the user asks for."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from styleloom.atomic import atomic_path, write_text
from styleloom.errors import UserError
from styleloom.images import save_png
from styleloom.tensor_file import write_tensors


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_permissions_follow_the_umask(umask: int, tmp_path: Path) -> None:
    write_text(tmp_path / "a", "x")
    write_tensors(tmp_path / "b.safetensors", {"x": torch.zeros(3)}, {"format": "x", "version": 1})
    save_png(tmp_path / "c.png", torch.zeros(3, 4, 4, dtype=torch.uint8))
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask, path.name


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "old")
    for error in (OSError(28, "No space left on device"), KeyboardInterrupt()):
        with pytest.raises((UserError, KeyboardInterrupt)):
            spoiled(tmp_path / "a", error)
        assert [path.name for path in tmp_path.iterdir()] == ["a"]
        assert (tmp_path / "a").read_text() == "old"


def spoiled(path: Path, error: BaseException) -> None:
    with atomic_path(path) as partial:
        partial.write_text("new")
        raise error


def test_what_a_file_would_replace_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    for name, message in {"folder": "a folder", "pipe": "no regular file", "link": "no regular file"}.items():
        with pytest.raises(UserError, match=f"it is {message}"), atomic_path(tmp_path / name):
            pytest.fail("worked in vain")
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "pipe").is_fifo()
