"""Do all families learn? Writes results/family-32.md, with a picture of each beside it.

    python studies/family.py --kimg 36 --seed 0

One model of each kind at 32 x 32 px on the embedded emoji: its own paper's networks (narrow), losses and
schedule in miniature, and the same number of images for all. The sliced Wasserstein distance (SWD) of the
averaged generator to held-out real images is measured before, on the way and after, and how much the pictures
differ among each other. A model's outcome is written as it finishes. The same command again trains what is
missing and writes the page anew; with other settings everything is trained anew.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))

from styleloom import presets
from styleloom.atomic import write_text
from styleloom.config import (
    ByResolution,
    DataOptions,
    Experiment,
    FeatureMaps,
    RunOptions,
    from_json,
    to_json,
)
from styleloom.config.checks import one_of
from styleloom.data.dataset import ImageDataset, open_dataset
from styleloom.environment import describe
from styleloom.errors import UserError
from styleloom.images import grid, save_png
from styleloom.metrics.swd import sliced_wasserstein
from styleloom.networks.build import build_discriminator, build_generator, count_parameters
from styleloom.runs.fit import samples
from styleloom.snapshot import write_snapshot
from styleloom.training.trainer import Trainer

# ---- settings

DATA, RESOLUTION, HELD_OUT = "emoji", 32, 256
SHARED: dict[str, Any] = {
    "batch": ByResolution(16),
    "style_mixing_unit": ByResolution(4),  # as at the full resolution of the papers
    "ema_half_life_kimg": 5,
    "ema_beta": None,
    "data": DataOptions(mirror="horizontal", held_out=HELD_OUT),
}
NARROW: dict[str, Any] = {"features": FeatureMaps(base=512, max=128), "z_dim": 128, "w_dim": 128}
MAPPING: dict[str, Any] = {"layers": 4, "width": 128}
START_PX, PHASE = 8, 0.1
"""Where growing models start, and the share of all images of each fade and of each level before the last:
8 px, fade, 16 px, fade, then 32 px for 60 %. Of their images 30 % are below full resolution."""


@dataclass(frozen=True)
class Miniature:
    """What a model changes in its preset, besides what all change.

    Args:
        learning_rate: of both networks, at every resolution.
        gamma: weight of the discriminator's penalty. That of R1 falls with the resolution: 10 suits 1024 px.
    """

    learning_rate: float
    gamma: float


MODELS: dict[str, Miniature] = {
    "progan": Miniature(learning_rate=0.001, gamma=10),
    "stylegan-f": Miniature(learning_rate=0.0015, gamma=1),
    "msg-progan": Miniature(learning_rate=0.001, gamma=10),
    "msg-stylegan": Miniature(learning_rate=0.0015, gamma=1),
    "stylegan2-d": Miniature(learning_rate=0.0025, gamma=1),
    "stylegan2-f": Miniature(learning_rate=0.0025, gamma=1),
}
"""By preset."""


def experiment(name: str, kimg: float, seed: int) -> Experiment:
    """The preset `name` in miniature."""
    preset, own = presets.get(name).with_data(resolution=RESOLUTION), MODELS[name]
    mapping = getattr(preset.generator, "mapping", None)
    shape = NARROW | ({} if mapping is None else {"mapping": replace(mapping, **MAPPING)})
    growth = preset.growth
    if growth.mode == "progressive":
        phase = PHASE * kimg
        growth = replace(growth, initial_resolution=START_PX, stabilize_kimg=phase, fade_kimg=phase)
    return replace(
        preset,
        generator=_with(preset.generator, shape),
        discriminator=_with(preset.discriminator, {"features": shape["features"]}),
        learning_rate=ByResolution(own.learning_rate),
        d_regularizer=replace(preset.d_regularizer, gamma=own.gamma),
        growth=growth,
        total_kimg=kimg,
        seed=seed,
        source="",
        run=RunOptions(),
        **SHARED,
    )


def _with(config: Any, values: dict[str, Any]) -> Any:
    """`config` with those of `values` that it has a field for: ProGAN has neither w nor a mapping network."""
    names = {field.name for field in dataclasses.fields(config)}
    return replace(config, **{name: value for name, value in values.items() if name in names})


@dataclass
class FamilyStudy:
    """Train one model of each kind on the same data and compare."""

    models: tuple[str, ...] = tuple(MODELS)
    """Which of them to train."""
    kimg: float = 36.0
    """Thousands of images of each training."""
    seed: int = 0
    """Of each training."""
    points: int = 8
    """Measurements of each training, the last at the end."""
    threads: int = 1
    """CPU threads per training."""
    at_once: int = 2
    """Trainings at the same time."""
    fresh: bool = False
    """Train every model anew, whatever has finished before."""
    out: Path = Path("results/family-32.md")
    """The page; pictures and outcomes go to a folder of its name beside it."""
    snapshots: Path = Path("runs/family-32")
    """Where the trained generators go, MODEL.safetensors; `studies/family_metrics.py` measures them."""

    @property
    def folder(self) -> Path:
        """Pictures and outcomes."""
        return self.out.with_suffix("")

    def experiment(self, name: str) -> Experiment:
        """The settings of one model."""
        return experiment(name, self.kimg, self.seed)


# ---- training


def train(study: FamilyStudy, name: str) -> None:
    """Train one model, and write its outcome and picture."""
    torch.set_num_threads(study.threads)
    settings = study.experiment(name)
    outcome, fakes = learn(settings, data_set(settings), study.points, name, study.snapshots)
    outcome |= {"threads": study.threads, "at_once": study.at_once}
    save_png(study.folder / f"{name}.png", sheet(fakes))
    write_text(study.folder / f"{name}.json", json.dumps(outcome, indent=1) + "\n")


def learn(
    settings: Experiment, dataset: ImageDataset, points: int, name: str, snapshots: Path
) -> tuple[dict[str, Any], Tensor]:
    """One training: its outcome as a JSON document, and as many pictures as there are held-out images.

    The averaged generator goes to `snapshots`.
    """
    with contextlib.closing(Trainer(settings, dataset)) as trainer:
        reals = held_out(trainer.evaluation_set)
        fakes = samples(trainer.ema, settings, len(reals))  # at full resolution, whatever the level
        swd = [{"kimg": 0.0, "resolution": settings.resolution, "swd": distance(reals, fakes)}]
        seconds = 0.0
        for point in range(1, points + 1):
            began, target = time.monotonic(), settings.total_kimg * 1000 * point / points
            while trainer.images_seen < target:
                trainer.step()
            seconds += time.monotonic() - began
            fakes = samples(trainer.ema, settings, len(reals), growth=trainer.growth)
            side = fakes.shape[-1]
            fakes = enlarge(fakes, settings.resolution // side)
            kimg, value = trainer.images_seen / 1000, distance(reals, fakes)
            swd.append({"kimg": kimg, "resolution": side, "swd": value})
            print(f"{name}: {kimg:g} kimg, SWD {value:.1f}, {seconds:.0f} s", file=sys.stderr, flush=True)
        outcome = {
            "experiment": to_json(settings),
            "data": dataset.fingerprint,
            "date": datetime.date.today().isoformat(),
            "machine": describe(trainer.device),
            "precision": trainer.experiment.precision,
            "images_seen": trainer.images_seen,
            "seconds": seconds,
            "skipped_updates": trainer.skipped["g"] + trainer.skipped["d"],
            "swd": swd,
            "diversity": diversity(fakes, reals),
        }
        info = {"images_seen": trainer.images_seen, "data": trainer.data_record()}
        write_snapshot(snapshots / f"{name}.safetensors", trainer.ema, settings, **info)
    return outcome, fakes


def outcome_of(study: FamilyStudy, name: str) -> dict[str, Any] | None:
    """The outcome of a model if it has finished with these settings on these data."""
    path = study.folder / f"{name}.json"
    if not path.exists() or not path.with_suffix(".png").exists():
        return None
    outcome, settings = json.loads(path.read_text()), study.experiment(name)
    try:
        recorded = from_json(outcome["experiment"])
    except UserError:  # of another version
        return None
    same = replace(recorded, run=settings.run) == settings  # what a run writes changes no outcome
    return outcome if same and outcome["data"] == data_set(settings).fingerprint else None


def data_set(settings: Experiment) -> ImageDataset:
    """The images of the study at the resolution of `settings`."""
    return open_dataset(DATA, settings.resolution)


# ---- measures


def held_out(dataset: ImageDataset) -> Tensor:
    """All images of a part of a data set: uint8 [N, C, H, W]."""
    return torch.from_numpy(dataset.images(np.arange(len(dataset))))


def distance(reals: Tensor, fakes: Tensor) -> float:
    """Sliced Wasserstein distance, the mean over its levels."""
    return sliced_wasserstein(reals, fakes).average


def floor(settings: Experiment, dataset: ImageDataset) -> list[float]:
    """Distances of up to four sets of training images to the held-out ones, each of their number."""
    train_set, evaluation_set = dataset.split(settings.data.held_out)
    reals, count = held_out(evaluation_set), len(evaluation_set)
    starts = range(0, min(4 * count, len(train_set) - count + 1), count)
    parts = [torch.from_numpy(train_set.images(np.arange(start, start + count))) for start in starts]
    return [distance(reals, part) for part in parts]


DUPLICATES_OF_REALS = 0.05


def diversity(fakes: Tensor, reals: Tensor) -> dict[str, float]:
    """How much images differ among each other, beside reals, by root mean square of pixels in grey levels.

    Args:
        fakes, reals: uint8 [N, C, H, W] of equal number.

    Returns:
        spread: mean distance of two fakes over that of two reals; nearest: median distance of a fake to the
        closest other fake over that of reals; limit: the distance under which 5 % of reals have another
        real; duplicates: the share of fakes that have another fake that near.
    """
    (all_fakes, near_fakes), (all_reals, near_reals) = _distances(fakes), _distances(reals)
    limit = near_reals.quantile(DUPLICATES_OF_REALS).item()
    return {
        "spread": (all_fakes / all_reals).item(),
        "nearest": (near_fakes.median() / near_reals.median()).item(),
        "limit": limit,
        "duplicates": (near_fakes < limit).float().mean().item(),
    }


def _distances(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean distance of two images, and of each to its nearest [N]."""
    x = images.flatten(1).double()
    table = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist") / x.shape[1] ** 0.5
    others = ~torch.eye(len(x), dtype=torch.bool)
    return table[others].mean(), table.masked_fill(~others, float("inf")).amin(1)


# ---- pictures

TILES, COLUMNS, ENLARGED = 64, 8, 2


def enlarge(images: Tensor, factor: int) -> Tensor:
    """Each pixel repeated: [..., H, W] -> [..., factor H, factor W]."""
    return images.repeat_interleave(factor, -2).repeat_interleave(factor, -1)


def sheet(images: Tensor) -> Tensor:
    """The first images of uint8 [N, C, H, W], side by side and enlarged: uint8 [C, H', W']."""
    return enlarge(grid(images[:TILES], COLUMNS), ENLARGED)


def tiles(path: Path, side: int) -> list[Image.Image]:
    """The enlarged images of a sheet."""
    picture, side = Image.open(path).convert("RGB"), side * ENLARGED
    corners = [(x, y) for y in range(0, picture.height, side) for x in range(0, picture.width, side)]
    return [picture.crop((x, y, x + side, y + side)) for x, y in corners]


def side_by_side(sheets: dict[str, Path], side: int, columns: int = 4) -> Image.Image:
    """Sheets as labelled columns of one picture, each with the same number of images to a row."""
    found = {label: tiles(path, side) for label, path in sheets.items()}
    px, gap, head = side * ENLARGED, 16, 32
    rows = -(-max(map(len, found.values())) // columns)
    width = len(found) * (columns * px + gap) + gap
    picture = Image.new("RGB", (width, head + rows * px + gap), "white")
    draw = ImageDraw.Draw(picture)
    for index, (label, images) in enumerate(found.items()):
        left = gap + index * (columns * px + gap)
        draw.text((left, head // 2), label, "black", ImageFont.load_default(18), anchor="lm")
        for i, image in enumerate(images):
            picture.paste(image, (left + i % columns * px, head + i // columns * px))
    return picture


# ---- the page


def write_page(study: FamilyStudy) -> str:
    """Write the page and the pictures of all, from what has finished with these settings."""
    outcomes = {name: found for name in MODELS if (found := outcome_of(study, name))}
    settings = study.experiment(next(iter(outcomes)))
    dataset = data_set(settings)
    save_png(study.folder / "reals.png", sheet(held_out(dataset.split(settings.data.held_out)[1])))
    sheets = {"reals": study.folder / "reals.png"} | {n: study.folder / f"{n}.png" for n in outcomes}
    picture = side_by_side(sheets, settings.resolution)
    save_png(study.folder / "all.png", np.asarray(picture).transpose(2, 0, 1))
    seen = study.folder / "seen.md"
    page = report(study, outcomes, floor(settings, dataset), seen.read_text() if seen.exists() else None)
    write_text(study.out, page)
    return page


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
    lines += [
        "## Command",
        "",
        f"`python studies/family.py --kimg {study.kimg:g} --seed {study.seed}` trains the models whose "
        f"outcome is not yet in [{folder}]({folder}) with these settings, so that an interrupted study goes "
        "on with the models that it had not finished, and writes this page; with `--fresh` it trains all. "
        "What the pictures show is written by hand.",
        "",
    ]
    return "\n".join(lines)


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


def main(study: FamilyStudy) -> int:
    """Train what is missing, write the page; 1 when a training failed."""
    for name in study.models:
        one_of("models", name, tuple(MODELS))
    missing = [name for name in study.models if study.fresh or outcome_of(study, name) is None]
    failed = 0
    with ProcessPoolExecutor(study.at_once, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(train, study, name): name for name in missing}
        for future in as_completed(futures):
            if error := future.exception():
                failed = 1
                print(f"{futures[future]}: {error}", file=sys.stderr)
    if any(outcome_of(study, name) for name in MODELS):
        print(write_page(study))
    return failed


if __name__ == "__main__":
    sys.exit(main(tyro.cli(FamilyStudy)))
