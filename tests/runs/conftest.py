"""A short run to copy and damage, for the files of tests that have no `archive` or `run` of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from styleloom.runs.directory import RunDirectory
from styleloom.runs.fit import fit, start
from tiny import make_archive, opened, tiny


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("back"))


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory, archive: Path) -> Path:
    """A run with states of the steps 2, 4, 6 and 8; copy it before changing it."""
    path = tmp_path_factory.mktemp("recorded") / "run"
    trainer, run = start(path, tiny("run.keep_states=0", "run.snapshot_every=1"), opened(archive), "cpu")
    fit(trainer, run)
    trainer.close()
    return path


@pytest.fixture
def run(recorded: Path, tmp_path: Path) -> RunDirectory:
    return RunDirectory(shutil.copytree(recorded, tmp_path / "run"))
