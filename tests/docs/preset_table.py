"""The table of presets in README.md, from the presets: `python tests/docs/preset_table.py` rewrites it."""

from __future__ import annotations

import re
from pathlib import Path

from styleloom import presets
from styleloom.cli.presets import summary

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"(?<=<!-- presets -->\n).*?(?=<!-- /presets -->)", re.DOTALL)
STUDY = "Table 2"


def table() -> str:
    """The main table, then the cells of the study of architectures folded away."""
    rows = [summary(experiment) for experiment in presets.PRESETS.values()]
    main = [row for row in rows if STUDY not in row["source"]]
    study = [row for row in rows if STUDY in row["source"]]
    return (
        f"{_markdown(main)}\n<details><summary>The {len(study)} cells of {STUDY}</summary>\n\n"
        f"{_markdown(study)}\n</details>\n"
    )


def _markdown(rows: list[dict]) -> str:
    lines = ["| name | paper, table and row | px | G parameters | D parameters |", "|---|---|---|---|---|"]
    for row in rows:
        counts = f"{row['generator_parameters']:,} | {row['discriminator_parameters']:,}"
        lines.append(f"| `{row['name']}` | {row['source']} | {row['resolution']} | {counts} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    README.write_text(BLOCK.sub(lambda _: table(), README.read_text()))
