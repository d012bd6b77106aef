"""The documents: which there are, and what stands in them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]

DOCUMENTS = {
    str(path.relative_to(ROOT)): path.read_text() for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))
}
"""Text of each document by its path."""

README = "README.md"
REPRODUCE = "docs/reproduce.md"


def blocks(text: str, language: str) -> list[str]:
    """Code of every fenced block in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(text: str, program: str) -> list[list[str]]:
    """The words after `program` of every command in bash blocks, in order."""
    lines = "\n".join(blocks(text, "bash")).replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith(f"{program} ")]


def prose(text: str) -> str:
    """The text without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """Names of its headings in links, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
