"""The page of the family study, in Markdown: tables of outcomes and settings, and how to read them."""

from __future__ import annotations

from typing import Any

from family_measures import DUPLICATES_OF_REALS
from family_settings import HELD_OUT, MAPPING, NARROW, PHASE, RESOLUTION, SHARED, START_PX, FamilyStudy
from styleloom.networks.build import build_discriminator, build_generator, count_parameters


def report(
    study: FamilyStudy, outcomes: dict[str, dict[str, Any]], floor: list[float], seen: str | None
) -> str:
    """The page.

    Args:
        outcomes: by model.
        floor: distances of real images to real images.
        seen: what somebody saw in the pictures.
    """
    folder, first = study.folder.name, next(iter(outcomes.values()))
    lines = [
        f"# The whole family at {RESOLUTION} px",
        "",
        f"{_range([o['date'] for o in outcomes.values()])}; {'; '.join(_unique(outcomes, 'machine'))}; "
        f"{' and '.join(_unique(outcomes, 'precision'))}; {first['threads']} thread(s) for each training, "
        f"up to {first['at_once']} trainings at once; seed {study.seed}.",
        "",
        f"One model of each kind on the embedded emoji, {study.kimg:g} thousand images each, mirrored; "
        f"{HELD_OUT} images are held out. Networks, losses and schedules are those of the presets, in "
        "miniature (see Settings).",
        "",
        f"![Held-out emoji and what each model makes, in columns]({folder}/all.png)",
        "",
        "## Distance and diversity",
        "",
        *results_table(outcomes, floor, folder),
        "",
        *explanations(first["diversity"]["limit"], len(floor)),
        "",
        "## On the way",
        "",
        *curves(outcomes),
        "",
        "## Settings",
        "",
        *settings_table(study, outcomes),
        "",
    ]
    if seen is not None:
        lines += ["## What the pictures show", "", seen.strip(), ""]
    return "\n".join([*lines, *command(study)])


def command(study: FamilyStudy) -> list[str]:
    """How to repeat the study."""
    folder = study.folder.name
    return [
        "## Command",
        "",
        f"`python studies/family.py --kimg {study.kimg:g} --seed {study.seed}` trains the models whose "
        f"outcome is not yet in [{folder}]({folder}) with these settings, so that an interrupted study goes "
        "on with the models that it had not finished, and writes this page; with `--fresh` it trains all. "
        "What the pictures show is written by hand.",
        "",
    ]


def results_table(outcomes: dict[str, dict[str, Any]], floor: list[float], folder: str) -> list[str]:
    """SWD before and after, diversity and time."""
    lines = [
        "| model | SWD untrained | SWD after | lower by | spread | nearest | near-duplicates | minutes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, o in outcomes.items():
        before, after, d = o["swd"][0]["swd"], o["swd"][-1]["swd"], o["diversity"]
        lines.append(
            f"| [{name}]({folder}/{name}.png) | {before:.1f} | {after:.1f} "
            f"| {100 * (1 - after / before):.0f} % | {d['spread']:.2f} | {d['nearest']:.2f} "
            f"| {100 * d['duplicates']:.0f} % | {o['seconds'] / 60:.0f} |"
        )
    mean, low, high = sum(floor) / len(floor), min(floor), max(floor)
    return [
        *lines,
        f"| [reals]({folder}/reals.png) | | {mean:.1f} ({low:.1f} to {high:.1f}) | | 1 | 1 "
        f"| {100 * DUPLICATES_OF_REALS:.0f} % | |",
    ]


def explanations(limit: float, floors: int) -> list[str]:
    """How to read the table.

    Args:
        limit: distance under which images count as near-duplicates, grey levels.
        floors: sets of real images that were compared with real images.
    """
    return [
        f"SWD is the sliced Wasserstein distance of {HELD_OUT} images of the averaged generator to the "
        f"{HELD_OUT} held-out ones, the mean over levels of the Laplacian pyramid, times 1000; lower is "
        f"better. In the row of reals it is that of {floors} sets of {HELD_OUT} training images, where a "
        "perfect model would be. An untrained generator is taken at full resolution.",
        "",
        "The next columns tell of mode collapse. The distance of two images is the root mean square of "
        f"their difference in pixels. *Spread* is the mean distance of two of {HELD_OUT} generated images "
        "over that of two held-out ones. *Nearest* is the median distance of an image to the closest other "
        "one of its set, again over that of the held-out ones. *Near-duplicates* is the share of generated "
        f"images with another one closer than {limit:.1f} grey levels, which holds for "
        f"{100 * DUPLICATES_OF_REALS:.0f} % of the held-out images: emoji have twins, too. A model that "
        "makes few different images has a small nearest and many near-duplicates. These numbers do not know "
        "what an image shows: noise of the right contrast would look diverse. Beside the pictures they are a "
        "hint, not a verdict.",
        "",
        "It is no ranking of the papers, either: one seed, narrow networks, few images, and settings of "
        "which it was only seen that training is stable.",
    ]


def curves(outcomes: dict[str, dict[str, Any]]) -> list[str]:
    """SWD of every measurement as a table."""
    kimgs = [point["kimg"] for point in next(iter(outcomes.values()))["swd"]]
    lines = [
        f"| model | {' | '.join(f'{kimg:.0f} kimg' for kimg in kimgs)} |",
        f"|---|{'---|' * len(kimgs)}",
    ]
    for name, o in outcomes.items():
        full = o["swd"][-1]["resolution"]
        cells = [
            f"{p['swd']:.1f}" + ("" if p["resolution"] == full else f" ({p['resolution']} px)")
            for p in o["swd"]
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    skipped = [f"{name} {o['skipped_updates']}" for name, o in outcomes.items() if o["skipped_updates"]]
    return [
        *lines,
        "",
        f"SWD at these numbers of images. Growing models start at {START_PX} px; where they are below full "
        "resolution, their images are enlarged by repeating pixels, and lack what they cannot show yet.",
        "",
        "Updates left out because a gradient was not finite: " + (", ".join(skipped) or "none") + ".",
    ]


def settings_table(study: FamilyStudy, outcomes: dict[str, dict[str, Any]]) -> list[str]:
    """What each model trains with, from its experiment."""
    lines = [
        "| model | parameters of G, D | loss | penalty on D | path length | learning rate | first | growth |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in outcomes:
        e = study.experiment(name)
        g, d = build_generator(e.generator), build_discriminator(e.discriminator)
        penalty, path = e.d_regularizer, e.g_regularizer
        kind = {"zero-centred": "R1", "two-sided": "WGAN-GP", "one-sided": "one-sided GP"}[penalty.kind]
        drift = f", drift {e.drift:g}" if e.drift else ""
        growth = "all levels at once" if e.generator.pyramid_sides else "none"
        if e.growth.mode == "progressive":
            growth = f"from {e.growth.initial_resolution} px"
        lines.append(
            f"| {name} | {count_parameters(g):,}, {count_parameters(d):,} | {e.loss} "
            f"| {kind}, {penalty.gamma:g}, {_every(penalty.every)}{drift} "
            f"| {f'{path.weight:g}, {_every(path.every)}' if path.weight else 'none'} "
            f"| {e.learning_rate.base:g} | {e.step_order[0].upper()} | {growth} |"
        )
    phase, full = PHASE * study.kimg, 1 - 4 * PHASE
    return [
        *lines,
        "",
        f"All: batch {SHARED['batch'].base}, Adam(0, 0.99), average of the generator with a half-life of "
        f"{SHARED['ema_half_life_kimg']} kimg, features {NARROW['features'].base} / 2^stage up to "
        f"{NARROW['features'].max}, z and w of {NARROW['z_dim']}, mapping networks of {MAPPING['layers']} "
        f"layers of {MAPPING['width']}. Style mixing as in the presets. R1's weight is 1 instead of 10, "
        "which suits 1024 px; in growing networks the library scales penalties to those at full resolution.",
        "",
        f"Growing models spend {phase:g} kimg each on {START_PX} px, the fade to {2 * START_PX} px, "
        f"{2 * START_PX} px, the fade to {RESOLUTION} px, and the remaining {full * study.kimg:g} kimg on "
        f"{RESOLUTION} px: {300 * PHASE:.0f} % of the images below full resolution. In the papers the phases "
        "are of equal length, too.",
    ]


def _every(steps: int) -> str:
    return "every step" if steps == 1 else f"every {steps} steps"


def _unique(outcomes: dict[str, dict[str, Any]], key: str) -> list[str]:
    return list(dict.fromkeys(o[key] for o in outcomes.values()))


def _range(dates: list[str]) -> str:
    return min(dates) if min(dates) == max(dates) else f"{min(dates)} to {max(dates)}"
