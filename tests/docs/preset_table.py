"""The tables of docs/presets.md, from the presets: `python tests/docs/preset_table.py` rewrites them."""

from __future__ import annotations

import re
from pathlib import Path

from styleloom import presets
from styleloom.cli.presets import summary

PAGE = Path(__file__).parents[2] / "docs" / "presets.md"
BLOCK = re.compile(r"(?<=<!-- presets -->\n).*?(?=<!-- /presets -->)", re.DOTALL)

HEADLINES = (
    "progan",
    "stylegan-b",
    "stylegan-f",
    "msg-progan",
    "msg-stylegan",
    "stylegan2-d",
    "stylegan2-e",
    "stylegan2-f",
    "demo",
    "emoji-64",
    "portraits-64",
)
"""One preset for each kind of network. Its row has numbers; the other presets are listed by name."""


def table() -> str:
    """Numbers of `HEADLINES`, then the names of all presets by paper and table."""
    return (
        f"{_numbers()}\nAll {len(presets.PRESETS)} presets, by paper and table; `styleloom presets` shows "
        f"the numbers of each:\n\n{_names()}"
    )


def _numbers() -> str:
    lines = ["| name | where | px | G parameters | D parameters | kimg | loss, penalty |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name in HEADLINES:
        row = summary(presets.get(name))
        counts = f"{row['generator_parameters']:,} | {row['discriminator_parameters']:,}"
        training = f"{row['total_kimg']:g} | {row['loss']}, {row['penalty']}"
        lines.append(f"| `{name}` | {row['source']} | {row['resolution']} | {counts} | {training} |")
    return "\n".join(lines) + "\n"


def _names() -> str:
    lines = ["| paper | where | presets |", "|---|---|---|"]
    groups: dict[tuple[str, str], list[str]] = {}
    for name, experiment in presets.PRESETS.items():
        paper, place = presets.place(experiment)
        groups.setdefault((paper, place.split(", ")[0]), []).append(name)
    for (paper, where), names in groups.items():
        lines.append(f"| {paper} | {where} | {', '.join(f'`{name}`' for name in names)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(BLOCK.sub(lambda _: table(), PAGE.read_text()))
