"""A name means one thing, whichever verb it is given to."""

from __future__ import annotations

from pathlib import Path

import pytest

from styleloom.cli.evaluation_images import open_images
from styleloom.data import check_dataset, open_dataset, open_source
from styleloom.data.sources import EMBEDDED_SETS
from styleloom.errors import UserError
from styleloom.names import embedded_name, recorded_name

from .images import build, make_folder


def test_a_path_has_a_separator_and_a_name_with_two_meanings_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert embedded_name("emoji", EMBEDDED_SETS) == "emoji"
    assert embedded_name("nothing", EMBEDDED_SETS) is None
    (tmp_path / "emoji").symlink_to("nowhere")  # even a broken link is a thing of that name
    for path in ("./emoji", "emoji/", Path("emoji"), str(tmp_path / "emoji")):
        assert embedded_name(path, EMBEDDED_SETS) is None, path
    assert embedded_name("embedded:emoji", EMBEDDED_SETS) == "emoji"
    assert recorded_name("emoji", EMBEDDED_SETS) == "embedded:emoji"
    assert recorded_name("/data/emoji", EMBEDDED_SETS) == "/data/emoji"
    with pytest.raises(UserError, match=r"embedded:faces: .*valid: embedded:emoji"):
        embedded_name("embedded:faces", EMBEDDED_SETS)
    with pytest.raises(UserError, match=r"emoji: means two things.*valid: embedded:emoji or \./emoji"):
        embedded_name("emoji", EMBEDDED_SETS)
    for empty in ("", " "):
        with pytest.raises(
            UserError, match="an empty name; valid: a path, or embedded:emoji, embedded:portraits"
        ):
            open_source(empty)


def test_every_opener_of_data_agrees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    archive = build(make_folder(tmp_path / "in", 3), tmp_path / "out.zip")
    archive.rename(tmp_path / "emoji")
    assert (len(open_dataset("./emoji")), len(check_dataset("./emoji").index.files)) == (3, 3)
    assert (len(open_source("./emoji").names), len(open_images("./emoji", None, 3))) == (3, 3)
    assert len(open_dataset("embedded:emoji")) == len(check_dataset("embedded:emoji").index.files) == 1870
    assert len(open_source("embedded:emoji").names) == 1870
    for opener in (open_dataset, check_dataset, open_source, lambda name: open_images(name, None, 3)):
        with pytest.raises(UserError, match="emoji: means two things"):
            opener("emoji")
