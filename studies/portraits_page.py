"""The page of the study of portraits, from its numbers."""

from __future__ import annotations

from typing import Any

NAMES = {"reals": "held-out portraits", "1": "psi 1", "0.7": "psi 0.7", "0.5": "psi 0.5"}
BARS = {
    "KID × 1000 at most 3": lambda d: d["distances"]["1"]["kid"] * 1000 <= 3,
    "recall at least 0.3": lambda d: d["distances"]["1"]["recall"] >= 0.3,
    "no duplicate of a training portrait": lambda d: (
        not any(d["neighbours"][space]["duplicates"] for space in ("pixels", "features"))
    ),
    "path length in W lower than in Z": lambda d: all(
        d["paths"][f"w {part}"]["mean"] < d["paths"][f"z {part}"]["mean"] for part in ("full", "end")
    ),
    "attributes more separable in W than in Z": lambda d: all(
        scores[_label(scores, "w")] < scores[_label(scores, "z")]
        for scores in d["separability"]["scores"].values()
    ),
}
"""What a good model reaches, and whether it does."""


def report(document: dict[str, Any], seen: str | None) -> str:
    """The page, in Markdown.

    Args:
        document: all numbers.
        seen: what somebody sees on the sheets.
    """
    parts = (_head, _bars, _distances, _pictures, _neighbours, _paths, _separability)
    sections = [part(document) for part in parts]
    if seen is not None:
        sections.insert(4, ["## What the pictures show", "", seen.strip(), ""])
    return "\n".join(line for section in sections for line in section)


def _head(d: dict[str, Any]) -> list[str]:
    info, options = d["snapshot"]["info"], d["options"]
    among = "" if options["among"] == "None" else f" --among {options['among']}"
    return [
        "# Portraits",
        "",
        f"{d['date']}; {d['machine']}; float32; seed {options['seed']}. `python studies/portraits.py "
        f"--train TRAIN --held-out HELD --snapshot SNAPSHOT --images {options['images']} --compared "
        f"{options['compared']} --paths {options['paths']} --latents {options['latents']} "
        f"--classifier-kimg {options['classifier_kimg']}{among}`",
        "",
        f"The generator has been shown {info['images_seen']:,} portraits (of {d['counts']['train']:,} in "
        f"`{info['data']['name']}`; snapshot {d['snapshot']['sha256'][:12]}…). Real "
        f"portraits are {d['counts']['held_out']:,} that no training saw. All of them are drawn by "
        "`scripts/make_portraits.mjs`.",
        "",
    ]


def _bars(d: dict[str, Any]) -> list[str]:
    rows = [f"| {words} | {'yes' if reached(d) else 'no'} |" for words, reached in BARS.items()]
    return ["| bar | reached |", "|---|---|", *rows, ""]


def _distances(d: dict[str, Any]) -> list[str]:
    rows = [
        f"| {NAMES[name]} | {1000 * v['kid']:.2f}{_error(v['kid_error'])} | {v['fd']:.2f} | "
        f"{v['precision']:.3f} | {v['recall']:.3f} |"
        for name, v in d["distances"].items()
    ]
    count = int(d["options"]["images"])
    return [
        "## Distance, precision and recall",
        "",
        f"{count:,} portraits each, against {count:,} held-out ones, in the features of "
        "EfficientNet-Lite0. The first row compares other held-out portraits in the same way: a perfect "
        "generator would be there. KID is unbiased and scatters about 0 there; ± is its standard error, "
        "where there are blocks enough. With so few images a Fréchet distance is too large: compare it "
        "with the first row. None of these is a FID.",
        "",
        "| | KID × 1000 | FD | precision | recall |",
        "|---|---|---|---|---|",
        *rows,
        "",
    ]


def _error(value: float | None) -> str:
    return "" if value is None else f" ± {1000 * value:.2f}"


def _pictures(d: dict[str, Any]) -> list[str]:
    return [
        "## Pictures",
        "",
        "Seeds in order, none chosen: psi 1, psi 0.7, and held-out portraits.",
        "",
        "![psi 1](portraits/psi-1.png)",
        "![psi 0.7](portraits/psi-0.7.png)",
        "![held-out portraits](portraits/reals.png)",
        "",
    ]


def _neighbours(d: dict[str, Any]) -> list[str]:
    found = d["neighbours"]
    count = found["pixels"]["count"]
    among = d["options"]["among"]
    training = d["counts"]["train"] if among == "None" else int(among)
    rows = [
        f"| {space} | {v['limit']:.3g} | {v['least']:.3g} | {v['duplicates']} | {v['copies']} | "
        f"{v['within']['0.01']} | {v['within']['0.05']} | {v['median']['generated']:.3g} | "
        f"{v['median']['reals']:.3g} |"
        for space, v in found.items()
    ]
    return [
        "## Nearest neighbours",
        "",
        f"{count:,} generated portraits (psi 1), and as many held-out ones, were compared with "
        f"{training:,} of the training. Portraits are put together from parts: two may differ in a "
        "detail, or, where a part hides another, in nothing that is seen. A generated portrait "
        "counts as a duplicate where it is closer to one of the training than the closest held-out "
        "portrait that differs from all of them (the limit). If the generator repeated what it saw, "
        "many more than 1 % and 5 % of its portraits would be as close as the closest 1 % and 5 % of "
        "held-out ones. Distances are the root mean square of differences, of pixels in grey levels.",
        "",
        "| in | limit | closest generated | duplicates | held-out copies | within 1 % | within 5 % | median, "
        "generated | median, held-out |",
        "|---|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        "The 16 closest pairs: generated above, its nearest of the training below; first by pixels, then by "
        "features.",
        "",
        "![closest pairs](portraits/nearest.png)",
        "",
    ]


def _paths(d: dict[str, Any]) -> list[str]:
    rows = [
        f"| {part} | " + " | ".join(_path(d["paths"][f"{space} {part}"]) for space in "zw") + " |"
        for part in ("full", "end")
    ]
    return [
        "## Path length",
        "",
        f"{int(d['options']['paths']):,} samples each, of the whole image, epsilon 1e-4 (StyleGAN "
        "section 4.1). The perceptual distance is that of EfficientNet-Lite0, which needs no download: "
        "lengths compare with each other, not with published ones, which use LPIPS. ± is the standard "
        "error.",
        "",
        "| | Z | W |",
        "|---|---|---|",
        *rows,
        "",
    ]


def _path(v: dict[str, float]) -> str:
    return f"{v['mean']:.1f} ± {v['error']:.1f}"


def _separability(d: dict[str, Any]) -> list[str]:
    found, latents = d["separability"], int(d["options"]["latents"])
    settings = found["settings"]
    scores = [
        f"| {name.rstrip('0123456789')} | {v[_label(v, 'z')]:.2f} | {v[_label(v, 'w')]:.2f} |"
        for name, v in found["scores"].items()
    ]
    primal = next(iter(found["details"].values()))
    entropies = {
        space: {e["attribute"]: e["bits"] for e in primal[space]["entropies"]} for space in ("z", "w")
    }
    rows = [
        f"| {name} | {v['share']:.1%} | {v['accuracy']:.2%} | {entropies['z'][name]:.3f} | "
        f"{entropies['w'][name]:.3f} |"
        for name, v in found["accuracy"].items()
    ]
    return [
        "## Linear separability",
        "",
        f"{latents:,} latents, of which each attribute takes the {latents // 2:,} that its classifier is "
        "surest of (StyleGAN section 4.2 has 200,000). The score is exp of the sum of conditional "
        f"entropies over the {len(rows)} attributes; 1 is perfect. `separability` is the authors' "
        "solver, which stops early, `separability_primal` the optimum of the same machine.",
        "",
        "| | Z | W |",
        "|---|---|---|",
        *scores,
        "",
        f"Classifiers: the discriminator of `{settings['preset']}`, {settings['kimg']:g} kimg each, "
        f"{settings['held_out']:,} portraits of the archive held out; accuracy on those. Entropies are "
        "those of `separability_primal`, bits.",
        "",
        "| attribute | share | accuracy | H in Z | H in W |",
        "|---|---|---|---|---|",
        *rows,
        "",
    ]


def _label(scores: dict[str, float], space: str) -> str:
    """The name of the score of a space: it ends with the space."""
    return next(label for label in scores if label.endswith(f" {space}"))
