"""`styleloom generate --from`: pictures and links are made again, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from styleloom.cli import main


def test_pictures_and_links_are_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    words = ["--seeds", "3", "--truncation", "0.7", "--out", str(first)]
    assert main(["generate", "portraits-64", *words]) == 0
    assert main(["generate", "--from", str(first / "seed0003-psi0.7.png"), "--out", str(second)]) == 0
    name = "seed0003-psi0.7.png"
    assert (first / name).read_bytes() == (second / name).read_bytes()
    link, again = str(tmp_path / "c.png"), str(tmp_path / "d.png")
    recipe = "seed=3&psi=0.7&edit=glasses:2&bend=16:rotate:20"
    assert main(["generate", "portraits-64", "--from", recipe, "--out", link]) == 0
    assert main(["generate", "--from", link, "--out", again]) == 0
    assert Path(link).read_bytes() == Path(again).read_bytes()
    assert main(["generate", "--from", link, "--out", again]) == 2  # there already
    assert main(["generate", "--from", recipe, "--out", str(tmp_path / "e.png")]) == 2  # of which snapshot?
    assert main(["generate", "portraits-64", "--from", link, "--seeds", "1"]) == 2
    assert "with --from" in capsys.readouterr().err
