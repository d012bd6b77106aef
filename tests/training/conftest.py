"""What tests of the trainer share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from styleloom.training.trainer import Trainer
from tiny import make_archive, opened, tiny


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("trainer"), labels="folders")


@pytest.fixture
def make(archive: Path) -> Iterator[Any]:
    made: list[Trainer] = []

    def build(*overrides: str) -> Trainer:
        made.append(Trainer(tiny(*overrides), opened(archive), "cpu"))
        return made[-1]

    yield build
    for trainer in made:
        trainer.close()
