"""The documentation site has every page, and its pages have every file that they lead to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from styleloom.errors import UserError

from .pages import ROOT


def test_every_page_has_its_place_in_the_menu() -> None:
    menu = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    listed = set(re.findall(r"[\w/-]+\.md", menu)) - {"api/index.md"}
    pages = {
        str(path.relative_to(ROOT)) for name in ("docs", "results") for path in (ROOT / name).glob("*.md")
    }
    assert listed - {"README.md", "PAPERS.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"} == pages


def test_pages_are_gathered_with_what_they_link_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import site_pages

    site_pages.main(tmp_path / "pages")
    for page in (tmp_path / "pages").rglob("*.md"):
        for target in site_pages.LINK.findall(page.read_text()):
            assert "://" in target or (page.parent / target).is_file(), f"{page.name}: {target}"
    assert (tmp_path / "pages/examples/index.md").read_text().startswith("# examples\n")
    assert "::: styleloom.mixing\n" in (tmp_path / "pages/api/mixing.md").read_text()
    (tmp_path / "others").mkdir()
    (tmp_path / "others/mine.txt").touch()
    with pytest.raises(UserError, match="others: exists already"):
        site_pages.main(tmp_path / "others")
