"""The page of the family study, in Markdown: tables of outcomes and settings, and how to read them."""

from __future__ import annotations

from typing import Any

from family_measures import METRICS, Values
from family_settings import (
    AUTHORS,
    FEATURES,
    HELD_OUT,
    LATENTS,
    MAPPING,
    PHASE_KIMG,
    RESOLUTION,
    SHARED,
    START_PX,
    FamilyStudy,
)
from pages import different, mean_and_deviation, when_and_where
from styleloom.networks.build import build_discriminator, build_generator, count_parameters


def report(study: FamilyStudy, outcomes: dict[str, dict[str, Any]], floor: Values, said: str | None) -> str:
    """The page.

    Args:
        outcomes: by model.
        floor: values of real images.
        said: what somebody has to say: which settings were tried, what the pictures show.
    """
    folder = study.folder.name
    lines = [
        f"# The whole family at {RESOLUTION} px",
        "",
        f"{when_and_where(outcomes.values())}; "
        f"{' and '.join(different(outcomes.values(), 'precision'))}; seed {study.seed}.",
        "",
        f"One model of each kind on the embedded portraits, {study.kimg:g} thousand images each; {HELD_OUT} "
        "portraits are held out. Networks, losses and schedules are those of the presets, in miniature (see "
        "Settings).",
        "",
        f"![Held-out portraits and what each model makes, in columns]({folder}/all.png)",
        "",
        "## Measured",
        "",
        *results_table(study, outcomes, floor),
        "",
        *explanations(len(floor["kid"])),
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
    if said is not None:
        lines += [said.strip(), ""]
    return "\n".join([*lines, *command(study)])


def command(study: FamilyStudy) -> list[str]:
    """How to repeat the study."""
    return [
        "## Command",
        "",
        f"`python studies/family.py --kimg {study.kimg:g} --seed {study.seed}` trains the models whose "
        f"outcome is not yet in [{study.folder.name}]({study.folder.name}) with these settings, one after "
        "the other, measures them and writes this page; `--only progan stylegan-f` trains these. A training "
        "that was stopped goes on with the same command; with `--fresh` it begins anew. What was tried and "
        "what the pictures show is written by hand.",
        "",
    ]


def results_table(study: FamilyStudy, outcomes: dict[str, dict[str, Any]], floor: Values) -> list[str]:
    """What was measured at the end, and the same of real images."""
    folder = study.folder.name
    rows = {name: outcome["values"] for name, outcome in outcomes.items()} | {"reals": floor}
    return [
        "| model | " + " | ".join(heading for heading, _, _ in METRICS.values()) + " |",
        "|---|" + "---|" * len(METRICS),
        *(
            f"| [{name}]({folder}/{name}.png) | "
            + " | ".join(mean_and_deviation(values[metric], METRICS[metric][2]) for metric in METRICS)
            + " |"
            for name, values in rows.items()
        ),
    ]


def explanations(floors: int) -> list[str]:
    """How to read the table.

    Args:
        floors: sets of real images that were compared with real images.
    """
    return [
        f"Each row compares {HELD_OUT} images of the averaged generator, without truncation, with the "
        f"{HELD_OUT} held-out portraits: mean ± standard deviation over measurements with other latents. The "
        f"row of reals compares {floors} sets of {HELD_OUT} training portraits with the held-out ones: a "
        "perfect model would be there. KID is the kernel distance in the features of EfficientNet-Lite0, SWD "
        "the sliced Wasserstein distance, the mean over levels of the Laplacian pyramid; lower is better. "
        "Precision is the share of generated images that lie among the real ones, recall that of real images "
        "among the generated ones (same features, k = 3); they move against each other, and a model that "
        "makes few different images has a low recall.",
        "",
        "It is no ranking of the papers: one seed, narrow networks, few images, and settings that were tried "
        "a few times each.",
    ]


def curves(outcomes: dict[str, dict[str, Any]]) -> list[str]:
    """SWD of every measurement as a table."""
    kimgs = [kimg for kimg, _ in next(iter(outcomes.values()))["swd"]]
    lines = [
        f"| model | {' | '.join(f'{kimg:.0f} kimg' for kimg in kimgs)} |",
        f"|---|{'---|' * len(kimgs)}",
        *(
            f"| {name} | {' | '.join(f'{swd:.1f}' for _, swd in outcome['swd'])} |"
            for name, outcome in outcomes.items()
        ),
    ]
    skipped = [f"{name} {o['skipped_updates']}" for name, o in outcomes.items() if o["skipped_updates"]]
    return [
        *lines,
        "",
        "SWD at these numbers of images. Growing models are below full resolution before "
        f"{_full_from():g} kimg: until then their images are enlarged by repeating pixels, and lack what "
        "they cannot show yet.",
        "",
        "Updates left out because a gradient was not finite: " + (", ".join(skipped) or "none") + ".",
    ]


def _full_from() -> float:
    """Thousands of images after which growing models are at full resolution."""
    levels = RESOLUTION.bit_length() - START_PX.bit_length()
    return 2 * levels * PHASE_KIMG


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
    return [
        *lines,
        "",
        f"All but {', '.join(AUTHORS)}: batch {SHARED['batch'].base}, Adam(0, 0.99), average of G "
        f"with a half-life of {SHARED['ema_half_life_kimg']} kimg, features {FEATURES.base} / 2^stage up to "
        f"{FEATURES.max}, z and w of {LATENTS['z_dim']}, mapping networks of {MAPPING['layers']} layers of "
        f"{MAPPING['width']}, no mirroring. Style mixing as in the presets. In growing networks the library "
        "scales penalties to those at full resolution.",
        "",
        *(
            f"{name} has the same feature maps and no other change: all other constants are those of the "
            f"preset {preset}, which are its authors'."
            for name, preset in AUTHORS.items()
        ),
        "",
        f"Growing models spend {PHASE_KIMG} kimg each on {START_PX} px, the fade to {2 * START_PX} px, "
        f"{2 * START_PX} px, the fade to {RESOLUTION} px, and the rest on {RESOLUTION} px. In the papers the "
        "phases are of equal length, too.",
    ]


def _every(steps: int) -> str:
    return "every step" if steps == 1 else f"every {steps} steps"
