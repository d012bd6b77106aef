"""A package's docstring is its index: a line for each of its files, in the order in which to read them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from every import every

from .pages import ROOT

PACKAGE = ROOT / "src" / "styleloom"


def index(folder: Path) -> list[str]:
    """The files and packages that the docstring of the package in `folder` lists, as `- name: what`."""
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    return re.findall(r"^- (\w+): ", docstring, re.MULTILINE)


WITH_AN_INDEX = [file.parent for file in sorted(PACKAGE.rglob("__init__.py")) if index(file.parent)]


@every("folder", WITH_AN_INDEX)
def test_the_index_names_every_file(folder: Path) -> None:
    """It may name packages inside the package, too, and nothing else, and each once."""
    named = index(folder)
    files = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    assert sorted(named) == sorted(set(named))
    assert not files - set(named), "files that are missing"
    assert not set(named) - files - packages, "names that are no file"


def test_packages_of_several_files_have_an_index() -> None:
    expected = {"", "cli", "config", "data", "directions", "features", "figures", "layers", "metrics"}
    expected |= {"metrics/classifiers", "metrics/evaluation", "metrics/probes", "networks", "ops", "presets"}
    expected |= {
        "attribution",
        "augmentation",
        "export",
        "projection",
        "runs",
        "training",
        "video",
        "weights",
    }
    assert expected <= {str(folder.relative_to(PACKAGE)).replace(".", "") for folder in WITH_AN_INDEX}
