"""The page of the demo's study, in Markdown, with its pictures."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from demo_candidates import BEFORE, CANDIDATES, NOW
from family_pictures import ENLARGED, tiles
from pages import hand_written, when_and_where
from styleloom.atomic import write_text
from styleloom.images import save_png

Line = dict[str, Any]
SIDE, SMALL = 32, 12
"""Side of an image, px; images of a setting that lost."""


def write_page(out: Path, lines: Sequence[Line], sheet_of: Callable[[Line], Path]) -> None:
    """Write the page and its pictures.

    Args:
        out: the page; pictures go to a folder of its name.
        lines: of all runs.
        sheet_of: where the picture of a run is, if it is there; without it, a picture of before stays.
    """
    longest = max(line["minutes"] for line in lines)
    main = [line for line in lines if line["minutes"] == longest]
    sheets = {(line["setting"], line["seed"]): sheet_of(line) for line in main}
    there = {key: path for key, path in sheets.items() if path.exists()}
    write_pictures(out.with_suffix(""), list(ranking(main)), there)
    write_text(out, report(out, lines, hand_written(out.with_suffix(""))))


def ranking(lines: Sequence[Line]) -> dict[str, list[Line]]:
    """Runs by setting, the setting with the lowest mean kernel distance first."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(line["setting"], []).append(line)
    return dict(sorted(groups.items(), key=lambda item: statistics.mean(run["kid"] for run in item[1])))


def report(out: Path, lines: Sequence[Line], seen: str | None) -> str:
    """The text of the page; `seen` is what somebody concludes, written by hand."""
    lengths = sorted({line["minutes"] for line in lines}, reverse=True)
    main = [line for line in lines if line["minutes"] == lengths[0]]
    text = ["# The settings of the demo", "", *introduction(main, lengths[0]), ""]
    if seen is not None:
        text += [seen.strip(), ""]
    text += ["## Results", "", *table(main), "", *explanations(main[0]), ""]
    text += pictures(out, list(ranking(main)))
    for minutes in lengths[1:]:
        shorter = [line for line in lines if line["minutes"] == minutes]
        text += [f"## In {minutes:g} minutes", "", *table(shorter), ""]
    tried = [name for name in CANDIDATES if any(line["setting"] == name for line in lines)]
    text += ["## What was tried, and why", "", *(f"- `{n}`: {CANDIDATES[n].why}." for n in tried), ""]
    commands = dict.fromkeys(map(command, lines))
    text += ["## Command", "", f"{' and '.join(f'`{words}`' for words in commands)} trained what was not in"]
    text[-1] += (
        f" the records ([{out.stem}.jsonl]({out.stem}.jsonl)) with these settings, and wrote this page."
    )
    return "\n".join([*text, ""])


def command(line: Line) -> str:
    """The command of a run, which trains other settings and seeds as well."""
    options = {"minutes": line["minutes"]} | line["options"]
    given = (f"--{name.replace('_', '-')} {shown(v)}" for name, v in options.items() if v is not None)
    return " ".join(["python studies/demo_settings.py", *given])


def introduction(lines: Sequence[Line], minutes: float) -> list[str]:
    """What was done, where and when."""
    options = lines[-1]["options"]
    return [
        f"{when_and_where(lines)} for each training.",
        "",
        f"`styleloom demo` has {minutes:g} minutes. Each setting was trained on `{options['data']}` at "
        f"{SIDE} px for as many images as it gets through in that time: {rates(options)} "
        "A setting that is slower saw fewer images. Everything was measured at the end, on "
        f"{lines[0]['held_out']} images that no training saw.",
    ]


def rates(options: dict[str, Any]) -> str:
    """Where images/s are from."""
    turns = f"measured in turns on {options['threads']} thread{'s' * (options['threads'] != 1)}"
    if options["images_per_sec"] is None:
        left_out = "what the demo's pictures and states take was left out"
        return f"images/s of all settings were {turns}, and {left_out}."
    return (
        f"{options['images_per_sec']:g} images/s of the settings of before were given, and the ratios of the "
        f"others to them {turns}; all of the time was left for training."
    )


def table(lines: Sequence[Line]) -> list[str]:
    """A row for each setting, the best first; the last is that of real images."""
    rows = [
        "| setting | changes | images/s | kimg | KID × 1000 | recall | precision | SWD | seeds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, runs in ranking(lines).items():
        changed = ", ".join(f"{field} {shown(value)}" for field, value in runs[0]["changes"].items())
        rows.append(
            f"| {name} | {changed} | {runs[-1]['images_per_sec']:.0f} | {runs[-1]['images'] / 1000:.1f} "
            f"| {spread(runs, 'kid', 1)} | {spread(runs, 'recall', 2)} | {spread(runs, 'precision', 2)} "
            f"| {spread(runs, 'swd', 1)} | {len(runs)} |"
        )
    real = lines[0]["reals"]
    return [
        *rows,
        f"| real images | | | | {real['kid']:.1f} | {real['recall']:.2f} | {real['precision']:.2f} | | |",
    ]


def shown(value: Any) -> str:
    """A value of a setting."""
    return f"{value:g}" if isinstance(value, float) else f"{value}"


def spread(runs: Sequence[Line], key: str, digits: int) -> str:
    """Mean over seeds and, of several, the range."""
    values = [run[key] for run in runs]
    mean = f"{statistics.mean(values):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"**{mean}** ({min(values):.{digits}f} to {max(values):.{digits}f})"


def explanations(line: Line) -> list[str]:
    """How to read the table."""
    count = line["held_out"]
    return [
        "Mean over seeds, and in brackets the lowest and the highest. KID is the kernel distance of "
        f"{count} images of the averaged generator to the {count} held-out ones in the features of "
        "EfficientNet-Lite0; recall is the share of the held-out images, and precision the share of the "
        "generated ones, within the third nearest neighbour of the other set. The row of real images has as "
        "many training images in place of generated ones: what a perfect generator would have. SWD is the "
        "sliced Wasserstein distance (× 1000). KID and SWD are better when low, recall and precision when "
        "high.",
    ]


def pictures(out: Path, ranked: list[str]) -> list[str]:
    """The pictures that are there, the best setting's first."""
    folder = out.with_suffix("")
    titles = {
        "best": f"The best setting, {ranked[0]}",
        BEFORE: "The settings of before",
        NOW: "The preset as it is now",
        "others": "The others, in the order of the table",
    }
    found = {name: title for name, title in titles.items() if (folder / f"{name}.png").exists()}
    text: list[str] = ["## Pictures", ""] if found else []
    for name, title in found.items():
        text += [f"{title}, not selected:", "", f"![{title}]({folder.name}/{name}.png)", ""]
    return text


def write_pictures(folder: Path, ranked: list[str], sheets: dict[tuple[str, int], Path]) -> None:
    """Sheets of the best setting, of before and of now; a row each of the others. The first seed is shown."""
    first = {name: path for (name, _), path in sorted(sheets.items(), reverse=True)}
    whole = {"best": ranked[0], BEFORE: BEFORE, NOW: NOW}
    for picture, name in whole.items():
        if name in first and name in ranked and (picture == "best" or name != ranked[0]):
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(first[name], folder / f"{picture}.png")
    others = {name: first[name] for name in ranked[1:] if name in first and name not in (BEFORE, NOW)}
    if others:
        save_png(folder / "others.png", np.asarray(rows(others)).transpose(2, 0, 1))


def rows(sheets: dict[str, Path]) -> Image.Image:
    """The first images of each sheet as a row with its name."""
    px, label = SIDE * ENLARGED, 160
    picture = Image.new("RGB", (label + SMALL * px, len(sheets) * px), "white")
    draw = ImageDraw.Draw(picture)
    for index, (name, path) in enumerate(sheets.items()):
        draw.text((8, index * px + px // 2), name, "black", ImageFont.load_default(18), anchor="lm")
        for i, image in enumerate(tiles(path, SIDE)[:SMALL]):
            picture.paste(image, (label + i * px, index * px))
    return picture
