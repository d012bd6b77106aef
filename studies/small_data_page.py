"""The page of the study of few images."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pages import when_and_where

if TYPE_CHECKING:
    from small_data import SmallDataStudy

HEADINGS = {"without": "without augmentation", "with": "with ADA"}


def report(study: SmallDataStudy, rows: Sequence[dict[str, Any]], floor: float, seen: str | None) -> str:
    """The page, in Markdown."""
    kimgs = whole_points(study, rows)
    last = kimgs[-1] if kimgs else 0.0
    lines = [
        "# Few images, with and without adaptive augmentation",
        "",
        f"{study.images} of the embedded portraits at {study.resolution} px, the demo's networks and "
        f"settings, {len(study.seeds)} seeds. {when_and_where(rows)}.",
        "",
        f"KID (lite0) x 1000 of {study.measured} generated images to {study.measured} portraits that no "
        f"training saw; lower is better. Other such portraits have {floor:.2f}. r_t is the mean sign of the "
        "discriminator's outputs for reals before the point, p the probability of augmentation there.",
        "",
        *table(study, rows, kimgs),
        "",
        *verdict(study, rows, kimgs),
        "",
    ]
    if last < study.kimg:
        lines += [
            f"**The study is not complete**: it stands at {last:g} of {study.kimg:g} kimg. The command below "
            "goes on from there, and writes this page anew.",
            "",
        ]
    if seen:
        lines += ["## What the pictures show", "", seen.strip(), ""]
    lines += [*pictures(study), "", "Command:", "", "```bash", command(study), "```", ""]
    return "\n".join(lines)


def whole_points(study: SmallDataStudy, rows: Sequence[dict[str, Any]]) -> list[float]:
    """The points that all trainings have reached."""
    count = len(study.seeds) * len(HEADINGS)
    return [kimg for kimg in study.kimgs if sum(row["kimg"] == kimg for row in rows) == count]


def values(rows: Sequence[dict[str, Any]], arm: str, kimg: float, key: str) -> list[float]:
    """Of all seeds."""
    return [row[key] for row in rows if (row["arm"], row["kimg"]) == (arm, kimg)]


def table(study: SmallDataStudy, rows: Sequence[dict[str, Any]], kimgs: Sequence[float]) -> list[str]:
    """A row a point: each seed's distance, their mean, and what D and p do."""
    heads = [f"{HEADINGS[arm]}: each seed | mean | r_t" for arm in HEADINGS]
    lines = [f"| kimg | {' | '.join(heads)} | p |", "|---|" + "---|" * 7]
    for kimg in kimgs:
        cells = []
        for arm in HEADINGS:
            found = values(rows, arm, kimg, "kid")
            signs = statistics.mean(values(rows, arm, kimg, "sign_real"))
            cells.append(
                f"{', '.join(f'{v:.1f}' for v in found)} | {statistics.mean(found):.1f} | {signs:.2f}"
            )
        p = statistics.mean(values(rows, "with", kimg, "p"))
        lines.append(f"| {kimg:g} | {' | '.join(cells)} | {p:.2f} |")
    return lines


def verdict(study: SmallDataStudy, rows: Sequence[dict[str, Any]], kimgs: Sequence[float]) -> list[str]:
    """The lowest mean of each arm, and how far the end is above it."""
    lines = []
    for arm, heading in HEADINGS.items():
        means = {kimg: statistics.mean(values(rows, arm, kimg, "kid")) for kimg in kimgs}
        if means:
            best = min(means, key=lambda kimg: means[kimg])
            end = kimgs[-1]
            lines.append(
                f"- {heading}: lowest mean {means[best]:.1f} at {best:g} kimg, {means[end]:.1f} at "
                f"{end:g} kimg ({means[end] - means[best]:+.1f} since)."
            )
    return lines


def pictures(study: SmallDataStudy) -> list[str]:
    """Reals and the first seed's sheets."""
    names = ["reals", *(f"{arm}-{study.seeds[0]}" for arm in HEADINGS)]
    return [f"![{name}]({study.folder.name}/{name}.png)" for name in names]


def command(study: SmallDataStudy) -> str:
    """What makes this page."""
    words = [f"--resolution {study.resolution}", f"--kimg {study.kimg:g}", f"--points {study.points}"]
    words += [f"--images {study.images}", f"--seeds {' '.join(map(str, study.seeds))}"]
    words += [f"--adjust-kimg {study.adjust_kimg:g}", f"--measured {study.measured}"]
    return "python studies/small_data.py " + " ".join(words)
