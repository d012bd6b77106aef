"""All documents: paths and links lead somewhere; versions; docstrings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import styleloom
from every import every

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "styleloom"
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "PAPERS.md", "CONTRIBUTING.md", "CHANGELOG.md")


@every("name", DOCUMENTS)
def test_relative_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"(?<!!)\[[^]]+\]\(([^)#]+)", (ROOT / name).read_text()):
        if not target.startswith("https://"):
            assert (ROOT / target).exists(), target


@every("name", DOCUMENTS)
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


@every("path", sorted(PACKAGE.rglob("*.py")))
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
