"""All documents: paths, links and pictures lead somewhere; versions; everything public has a docstring."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import styleloom
from every import every

from .pages import DOCUMENTS, ROOT, anchors, prose

PACKAGE = ROOT / "src" / "styleloom"


@every(("page", "text"), DOCUMENTS.items())
def test_links_lead_somewhere(page: str, text: str) -> None:
    """Files, folders and pictures, relative to the page; headings of our own pages."""
    for target in re.findall(r"\[[^]]*\]\(([^)]+)\)", prose(text)):
        if target.startswith("https://"):
            continue
        name, _, heading = target.partition("#")
        path = ((ROOT / page).parent / name).resolve() if name else ROOT / page
        assert path.exists(), target
        if heading:
            assert heading in anchors(DOCUMENTS[str(path.relative_to(ROOT))]), target


@every(("page", "text"), DOCUMENTS.items())
def test_paths_in_backticks_exist(page: str, text: str) -> None:
    """Whatever looks like a path into the package or the repository."""
    folders = {entry.name for entry in PACKAGE.iterdir()} - {"runs"}  # a user's runs/demo
    folders |= {"src", "tests", "examples", "benchmarks", "studies", "constraints"}
    for word in re.findall(r"`([\w./-]+)`", text):
        if word.endswith(".py") or ("/" in word and word.split("/")[0] in folders):
            assert (PACKAGE / word).exists() or (ROOT / word).exists(), f"{page}: {word}"


@every(("page", "text"), DOCUMENTS.items())
def test_tables_are_whole(page: str, text: str) -> None:
    """A blank line or a missing head would end a table: what follows it would be shown as text."""
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        lines = block.splitlines()
        assert re.fullmatch(r"\|(?:-+\|)+", lines[1]), f"{page}: {lines[0]}"
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1, f"{page}: {lines[0]}"


def test_every_package_is_in_architecture() -> None:
    for package in PACKAGE.iterdir():
        if (package / "__init__.py").exists():
            assert f"`{package.name}/`" in DOCUMENTS["ARCHITECTURE.md"], package.name


def test_changelog_has_the_version() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.+)"', project, re.MULTILINE)
    assert version is not None
    assert version.group(1) == styleloom.__version__
    assert f"## [{version.group(1)}]" in DOCUMENTS["CHANGELOG.md"]


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
