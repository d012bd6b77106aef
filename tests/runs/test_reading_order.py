"""The package's docstring is its index."""

from __future__ import annotations

import re
from pathlib import Path

from styleloom import runs


def test_the_index_names_every_file() -> None:
    files = {path.stem for path in Path(runs.__path__[0]).glob("*.py")} - {"__init__"}
    named = re.findall(r"^- (\w+): ", runs.__doc__ or "", re.MULTILINE)
    assert sorted(named) == sorted(files)
