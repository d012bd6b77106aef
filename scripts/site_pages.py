"""Gather the pages of the documentation site in one folder, as `mkdocs build` wants them.

    python scripts/site_pages.py build/site-pages

README and the pages of docs/ and results/ keep their places, and so do the files that they link to. A folder
that they link to gets a page with its files. Under api/ there is a page for each module and package of the
library, which mkdocstrings fills from the docstrings.
"""

from __future__ import annotations

import pkgutil
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import styleloom
from styleloom.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    *("README.md", "PAPERS.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    *("docs/*.md", "results/*.md"),
)
LINK = re.compile(r"(?<=\]\()[^)#\s]+")
MADE = ".site-pages"
"""Marks a folder that may be made anew."""

WITHOUT_PAGE = "cli"
"""The command line has its own pages."""


def main(out: Path) -> None:
    """Write all pages to `out`, which is made anew where an earlier call made it."""
    if out.exists() and not (out / MADE).exists():
        raise UserError(f"{out}: exists already, and no earlier call made it; valid: a new folder")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / MADE).touch()
    waiting = [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))]
    done: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in done:
            continue
        done.add(path)
        target = out / path.relative_to(ROOT)
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            (target / "index.md").write_text(listing(path))
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            waiting += linked(path)
            target.write_text(with_pages_of_folders(path))
        else:
            shutil.copyfile(path, target)
    write_api(out / "api")


def linked(page: Path) -> Iterator[Path]:
    """The files and folders of the repository that a page links to."""
    for target in LINK.findall(page.read_text()):
        path = (page.parent / target).resolve()
        if "://" not in target and path.exists() and path.is_relative_to(ROOT):
            yield path


def with_pages_of_folders(page: Path) -> str:
    """The text of a page, in which links to folders lead to their pages."""

    def link(match: re.Match[str]) -> str:
        name = match.group()
        is_folder = "://" not in name and (page.parent / name).is_dir()
        return f"{name.rstrip('/')}/index.md" if is_folder else name

    return LINK.sub(link, page.read_text())


def listing(folder: Path) -> str:
    """A page that names a folder's files."""
    where = folder.relative_to(ROOT)
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir() if path.name[0] not in "._")
    return "\n".join([f"# {where}", "", *(f"- `{name}`" for name in names), ""])


def write_api(out: Path) -> None:
    """A page for each public module and package, and one that names them all."""
    names = sorted(
        module.name
        for module in pkgutil.iter_modules(styleloom.__path__)
        if not module.name.startswith("_") and module.name != WITHOUT_PAGE
    )
    out.mkdir(parents=True)
    whole = "    options:\n      show_submodules: true\n"
    for name in names:
        (out / f"{name}.md").write_text(f"# styleloom.{name}\n\n::: styleloom.{name}\n{whole}")
    links = [f"- [styleloom.{name}]({name}.md)" for name in names]
    top = "::: styleloom\n    options:\n      show_submodules: false\n"
    (out / "index.md").write_text("\n".join(["# Modules", "", *links, "", top]))


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except UserError as error:
        sys.exit(f"error: {error}")
