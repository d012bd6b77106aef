"""All documents: paths and links lead somewhere; versions; docstrings; words that do not belong here."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import styleloom

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "styleloom"
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "PAPERS.md", "CONTRIBUTING.md", "CHANGELOG.md")
MODULES = sorted(PACKAGE.rglob("*.py"))

FOREIGN = ("/work/", "workplace", "claude", "anthropic", "chatgpt", "copilot", "localhost", "pypi.org/simple")
"""Words of the places where people work on this project, not of the project."""

TEXT_SUFFIXES = (".py", ".md", ".toml", ".txt", ".yml", ".yaml", ".cfg", ".json")
NOT_OURS = ("build", "dist", "runs", "node_modules")


def text_files() -> Iterator[Path]:
    """Text files of the project, hidden folders left out but for .ci."""
    for folder, subfolders, files in os.walk(ROOT):
        subfolders[:] = [
            name for name in subfolders if name == ".ci" or not (name.startswith(".") or name in NOT_OURS)
        ]
        for name in files:
            path = Path(folder) / name
            if path.suffix in TEXT_SUFFIXES or name in ("Makefile", "run", "LICENSE"):
                yield path


def test_no_foreign_words() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in text_files()
        if path != Path(__file__)
        for word in FOREIGN
        if word in path.read_text(errors="replace").lower()
    ]
    assert not found


@pytest.mark.parametrize("name", DOCUMENTS)
def test_relative_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"(?<!!)\[[^]]+\]\(([^)#]+)", (ROOT / name).read_text()):
        if not target.startswith("https://"):
            assert (ROOT / target).exists(), target


@pytest.mark.parametrize("name", DOCUMENTS)
def test_paths_in_backticks_exist(name: str) -> None:
    """Whatever looks like a path into the package or the repository."""
    roots = {entry.name for entry in PACKAGE.iterdir()} | {
        "src",
        "tests",
        "examples",
        "benchmarks",
        "studies",
        "constraints",
    }
    for word in re.findall(r"`([\w./-]+)`", (ROOT / name).read_text()):
        first = word.split("/")[0]
        is_path = word.endswith(".py") or ("/" in word and first in roots - {"runs"})  # a user's runs/demo
        if is_path:
            assert (PACKAGE / word).exists() or (ROOT / word).exists(), word


def test_every_package_is_in_architecture() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for package in PACKAGE.iterdir():
        if (package / "__init__.py").exists():
            assert f"`{package.name}/`" in text, package.name


def test_changelog_has_the_version() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.+)"', project, re.MULTILINE)
    assert version is not None
    assert version.group(1) == styleloom.__version__
    assert f"## [{version.group(1)}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("path", [pytest.param(p, id=str(p.relative_to(PACKAGE))) for p in MODULES])
def test_everything_public_has_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text())
    missing = [] if ast.get_docstring(tree) else ["the module"]
    assert not [*missing, *undocumented(tree, "")]


def undocumented(tree: ast.Module | ast.ClassDef, prefix: str) -> Iterator[str]:
    """What is public and has no docstring; overloads and abstract bodies may lack one."""
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None and not (isinstance(node, ast.FunctionDef) and is_stub(node)):
            yield f"{prefix}{node.name}"
        if isinstance(node, ast.ClassDef):
            yield from undocumented(node, f"{prefix}{node.name}.")


def is_stub(node: ast.FunctionDef) -> bool:
    overload = any(isinstance(d, ast.Name) and d.id == "overload" for d in node.decorator_list)
    return overload or (len(node.body) == 1 and isinstance(node.body[0], ast.Raise))
