"""Put the best snapshot of a run into the package, with what made it.

    styleloom train --preset emoji-64 --data emoji --out runs/emoji-64
    python scripts/ship_model.py runs/emoji-64 --seen seen.md

Writes src/styleloom/pretrained/NAME/: the snapshot, experiment.json, stats.jsonl, a grid of reals, grids of
generated images, and CARD.md. A model that is there already is replaced.
"""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from styleloom import sampling, snapshot
from styleloom.atomic import write_text
from styleloom.config import to_json
from styleloom.data.dataset import open_dataset
from styleloom.data.reals import to_uint8
from styleloom.errors import UserError
from styleloom.images import grid, save_png
from styleloom.metrics.swd import sliced_wasserstein
from styleloom.pretrained import FOLDER
from styleloom.runs.directory import RunDirectory

MAX_MB = 15
COLUMNS, ROWS = 12, 8
TRUNCATIONS = (1.0, 0.7)


@dataclass
class ShipModel:
    """Put a run's best snapshot into the package."""

    run: Annotated[Path, tyro.conf.Positional]
    """The run directory; the model takes the name of its preset."""
    seen: Path
    """What the pictures show, in words: a Markdown file that goes into the card."""
    device: str = "cpu"
    """Where the card's images are generated: the device that the run was trained on."""
    trained_on: str = ""
    """The device in words, for the card."""


def ship(options: ShipModel) -> Path:
    """The folder that was written. Raises UserError for a run without a best snapshot, or one too large."""
    words = options.seen.read_text().strip()
    run = RunDirectory(options.run)
    best = run.path / "snapshot-best.safetensors"
    loaded = snapshot.read_snapshot(best)
    experiment, info = loaded.experiment, loaded.info
    size = best.stat().st_size / 1e6
    if size > MAX_MB:
        raise UserError(f"{best}: {size:.1f} MB, at most {MAX_MB} MB go into the package")
    folder = FOLDER / experiment.name
    folder.mkdir(parents=True, exist_ok=True)
    dataset = open_dataset(str(info["data"]["path"]), experiment.resolution)
    training, reals = dataset.split(experiment.data.held_out)
    count = len(reals)
    held_out = torch.from_numpy(reals.images(torch.arange(count).numpy()))
    others = torch.from_numpy(training.images(torch.arange(count).numpy()))
    sampler = sampling.Sampler.of(loaded, options.device)
    fakes = to_uint8(sampler.generate(range(count))).cpu()
    numbers = {
        "swd": sliced_wasserstein(held_out, fakes).average,
        "swd_of_training_images": sliced_wasserstein(held_out, others).average,
    }
    save_png(folder / "reals.png", grid(held_out[: COLUMNS * ROWS], COLUMNS))
    for psi in TRUNCATIONS:
        sheet = grid(sampler.generate(range(COLUMNS * ROWS), psi), COLUMNS)
        save_png(folder / f"generated-psi-{psi:g}.png", sheet)
    data = {key: value for key, value in info["data"].items() if key != "path"}
    snapshot.write_snapshot(
        folder / "snapshot.safetensors",
        loaded.generator,
        experiment,
        images_seen=info["images_seen"],
        data=data,
        **numbers,
    )
    write_text(folder / "experiment.json", json.dumps(to_json(experiment), indent=2) + "\n")
    lines = [line for line in run.stats.read() if line["images_seen"] <= info["images_seen"]]
    write_text(folder / "stats.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    time = f"{lines[-1]['sec_total'] / 3600:.1f} hours, {options.trained_on}"
    write_text(folder / "CARD.md", card(loaded, (len(training), count), numbers, time, words))
    return folder


def card(
    model: snapshot.Snapshot, images: tuple[int, int], numbers: dict[str, float], time: str, words: str
) -> str:
    """The model's card, in Markdown.

    Args:
        model: the snapshot.
        images: number of training images, and of those held out.
        numbers: sliced Wasserstein distances.
        time: of training, and on what.
        words: what the pictures show.
    """
    e, info, (training, count) = model.experiment, model.info, images
    return f"""# {e.name}

{e.source}: {sum(p.numel() for p in model.generator.parameters()):,} parameters.

| | |
|---|---|
| trained on | {training:,} images of `{info["data"]["name"]}`, {count} more held out |
| images shown | {info["images_seen"]:,} |
| time of training | {time} |
| seed | {e.seed} |
| sliced Wasserstein distance (×1000) to the held-out images, {count} of each | {numbers["swd"]:.1f} |
| the same of as many training images | {numbers["swd_of_training_images"]:.1f} |
| written | {datetime.date.today().isoformat()} |

Command: `styleloom train --preset {e.name} --data {info["data"]["name"]}`; the best snapshot by the
run's own distance, put here by `scripts/ship_model.py`. Statistics of the run are in `stats.jsonl`, its
experiment in `experiment.json`.

## What the pictures show

{words}
"""


if __name__ == "__main__":
    print(ship(tyro.cli(ShipModel)))
