"""The page of the study of projections, from its numbers."""

from __future__ import annotations

import statistics
from typing import Any

from pages import mean_and_deviation
from styleloom.attribution.rates import roc_area

Result = dict[str, Any]

ROWS = {
    "generated images, W": ("generated", False),
    "real images, W": ("real", False),
    "real images, W+": ("real-w+", False),
    "real images, W and tuned weights": ("real", True),
}
"""Arm, and whether after tuning."""

PUBLISHED = {
    "real images, W": (15.8, 0.197),
    "real images, W+": (20.6, 0.109),
    "real images, W and tuned weights": (24.6, 0.082),
}
"""PSNR, dB, and LPIPS of StyleGAN2 for 2,824 faces of CelebA-HQ at 1024 px, as GANInverter has them."""

WANTED = 0.95
"""ROC area."""


def report(document: dict[str, Any], seen: str | None) -> str:
    """The page, in Markdown.

    Args:
        document: all numbers.
        seen: what somebody sees on the sheet.
    """
    parts = [_head(document), _table(document), _claims(document), _sheet()]
    if seen is not None:
        parts.append([seen.strip(), ""])
    return "\n".join(line for part in parts for line in part)


def results(document: dict[str, Any], row: str) -> list[Result]:
    """What was found for each target of a row."""
    arm, tuned = ROWS[row]
    found = document["arms"][arm]
    return [result["tuned"] for result in found] if tuned else found


def _head(d: dict[str, Any]) -> list[str]:
    s = d["settings"]
    other = "" if s["snapshot"] == "portraits-64" else f" --snapshot {s['snapshot']}"
    return [
        "# Projection",
        "",
        f"{d['date']}; {d['machine']}; float32; seed {s['seed']}. `python studies/inversion.py --held-out "
        f"{s['held_out']}{other} --count {s['count']} --steps {s['steps']} --tune {s['tune']} --batch "
        f"{s['batch']}`",
        "",
        f"The generator is a snapshot that has been shown {d['images_seen']:,} images (SHA-256 "
        f"{d['sha256'][:12]}…). {s['count']} of its own images (psi 1) and as many held-out real ones, all "
        f"of 8 bits, were projected with noise maps in {s['steps']} steps, and the generator was tuned for "
        f"each real image in {s['tune']} steps. The distance is `{d['distance']}`: rows can be compared, but "
        "not with published numbers, which are LPIPS.",
        "",
    ]


def _table(d: dict[str, Any]) -> list[str]:
    rows = []
    for row in ROWS:
        found = results(d, row)
        psnr = [r["psnr"] for r in found if r["psnr"] is not None]
        published = PUBLISHED.get(row)
        beside = "" if published is None else f"{published[0]} dB, {published[1]}"
        cells = [
            mean_and_deviation(psnr, 2) if psnr else "equal",
            mean_and_deviation([r["ssim"] for r in found], 3),
            mean_and_deviation([r["distance"] for r in found], 4),
        ]
        rows.append(f"| {row} | {' | '.join(cells)} | {beside} |")
    return [
        "| | PSNR, dB | SSIM | distance | published: PSNR, LPIPS |",
        "|---|---|---|---|---|",
        *rows,
        "",
        "Mean ± standard deviation over images. Published: StyleGAN2 for 2,824 faces of CelebA-HQ at 1024 px "
        "(GANInverter).",
        "",
    ]


def _claims(d: dict[str, Any]) -> list[str]:
    def mean(row: str, name: str) -> float:
        return statistics.mean(r[name] for r in results(d, row) if r[name] is not None)

    generated, real, plus, tuned = ROWS
    area = roc_area(*([r["distance"] for r in results(d, row)] for row in (generated, real)))
    claims = {
        "Generated images are found again nearer than real ones, in PSNR and distance": (
            mean(generated, "psnr") > mean(real, "psnr")
            and mean(generated, "distance") < mean(real, "distance")
        ),
        "W+ comes nearer to real images than W, in PSNR and distance": (
            mean(plus, "psnr") > mean(real, "psnr") and mean(plus, "distance") < mean(real, "distance")
        ),
        "tuned weights come nearer than W+, in PSNR and distance": (
            mean(tuned, "psnr") > mean(plus, "psnr") and mean(tuned, "distance") < mean(plus, "distance")
        ),
        f"area under the ROC curve of attribution at least {WANTED}: {area.value:.3f} "
        f"({area.low:.3f} to {area.high:.3f}, 95 %)": area.value >= WANTED,
    }
    return [
        "| claim | holds |",
        "|---|---|",
        *(f"| {words} | {'yes' if holds else 'no'} |" for words, holds in claims.items()),
        "",
    ]


def _sheet() -> list[str]:
    return [
        "![targets and projections](projection/sheet.png)",
        "",
        "Rows: generated images, and their projections; real images, their projections into W, into W+, and "
        "after tuning.",
        "",
    ]
