"""The table of presets in README.md, from the presets: `python tests/docs/preset_table.py` rewrites it."""

from __future__ import annotations

import re
from pathlib import Path

from styleloom import presets
from styleloom.cli.presets import summary

README = Path(__file__).parents[2] / "README.md"
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
)
"""One preset for each kind of network, with its numbers; of the others the names."""


def table() -> str:
    """The numbers of some, then the names of all by paper and table, folded away."""
    return (
        f"{_numbers()}\n<details><summary>All {len(presets.PRESETS)} presets; `styleloom presets` has the "
        f"numbers of each</summary>\n\n{_names()}\n</details>\n"
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
    README.write_text(BLOCK.sub(lambda _: table(), README.read_text()))
