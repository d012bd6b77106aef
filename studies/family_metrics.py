"""How good are the six models of the family study? Writes results/family-32-metrics.md.

    python studies/family.py --kimg 36 --seed 0
    python studies/family_metrics.py

Kernel distance, Fréchet distance, precision and recall in the features of EfficientNet-Lite0, of generated
images to real ones, beside the same numbers of real images to other real ones: what a perfect model would
get.
"""

from __future__ import annotations

import datetime
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))

from family_settings import DATA, HELD_OUT, MODELS, RESOLUTION
from styleloom import sampling
from styleloom.atomic import write_text
from styleloom.data.dataset import ImageDataset, open_dataset
from styleloom.distributed import blocks
from styleloom.environment import describe_machine
from styleloom.errors import UserError
from styleloom.features.registry import load_network
from styleloom.metrics.evaluation.collect import DEFAULT_BATCH
from styleloom.metrics.evaluation.image_sets import GeneratedImages, first_seed
from styleloom.metrics.fid import frechet_distance
from styleloom.metrics.intervals import Summary, summarize
from styleloom.metrics.kid import kernel_distance
from styleloom.metrics.moments import Moments
from styleloom.metrics.precision_recall import precision_recall
from styleloom.precision import full_precision
from styleloom.types import FeatureNetwork

NETWORK, LAYER = "efficientnet-lite0", "pool"
METRICS = {
    "kid": "KID (lite0) × 1000",
    "fd": "FD (lite0)",
    "precision": "precision",
    "recall": "recall",
}


@dataclass
class FamilyMetrics:
    """Measure the generators that the family study kept."""

    snapshots: Path = Path("runs/family-32")
    """Where it kept them."""
    images: int = 800
    """Of each set: at most half of the training images."""
    splits: int = 5
    """Measurements: each takes another half of the real images, and other latents."""
    out: Path = Path("results/family-32-metrics.md")
    """The page; its numbers go to a JSON file beside it."""


# ---- measures


@torch.inference_mode()
def features(network: FeatureNetwork, batches: Any) -> Tensor:
    """Of all images of some batches, uint8 [n, C, H, W] each: [N, D]."""
    return torch.cat([network.features(batch, [LAYER])[LAYER] for batch in batches])


def of_reals(network: FeatureNetwork, dataset: ImageDataset) -> Tensor:
    """Features of every image of a data set."""
    parts = blocks(len(dataset), DEFAULT_BATCH)
    return features(network, (torch.from_numpy(dataset.images(np.array(part))) for part in parts))


def of_fakes(network: FeatureNetwork, path: Path, count: int, split: int) -> Tensor:
    """Features of `count` images of a snapshot."""
    images = GeneratedImages(sampling.load(path, "cpu", "fp32"), first_seed(0, split))
    return features(network, (images.images(part) for part in blocks(count, DEFAULT_BATCH)))


def compare(reals: Tensor, fakes: Tensor, seed: int) -> dict[str, float]:
    """All numbers of two sets of features."""
    a, b = Moments(), Moments()
    a.add(reals)
    b.add(fakes)
    found = precision_recall(reals, fakes)
    return {
        "kid": 1000 * kernel_distance(reals, fakes, seed=seed).value,
        "fd": frechet_distance(a, b),
        "precision": found.precision,
        "recall": found.recall,
    }


def halves(count: int, size: int, split: int) -> tuple[Tensor, Tensor]:
    """Two disjoint random choices of `size` of `count` images."""
    order = torch.from_numpy(np.random.default_rng(split).permutation(count))
    return order[:size], order[size : 2 * size]


def measure(
    study: FamilyMetrics, names: list[str], dataset: ImageDataset
) -> dict[str, list[dict[str, float]]]:
    """Numbers of each model, and of "reals" to other reals, for every split."""
    network = load_network(NETWORK)
    reals = of_reals(network, dataset)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ("reals", *names)}
    for split in range(study.splits):
        one, other = halves(len(reals), study.images, split)
        found["reals"].append(compare(reals[one], reals[other], split))
        for name in names:
            fakes = of_fakes(network, study.snapshots / f"{name}.safetensors", study.images, split)
            found[name].append(compare(reals[one], fakes, split))
            print(f"split {split}, {name}: {found[name][-1]}", file=sys.stderr, flush=True)
    return found


# ---- the page


def report(document: dict[str, Any], said: str | None) -> str:
    """The page.

    Args:
        document: settings and numbers.
        said: what somebody reads from them.
    """
    count, splits = document["images"], document["splits"]
    lines = [
        "# The family at 32 px, measured",
        "",
        f"{document['date']}; {document['machine']}; float32; `python studies/family_metrics.py --images "
        f"{count} --splits {splits}` after `python studies/family.py`, whose generators it measures.",
        "",
        f"The six models of [family-32.md](family-32.md), {count} images each without truncation, against "
        f"{count} of the {document['training_images']} training images, in the features of "
        f"EfficientNet-Lite0 (pool, 1280 numbers, weights {document['network']['weights'][:12]}…). "
        f"{splits} measurements, each with another choice of real images and other latents: mean ± standard "
        "deviation. The last row "
        "compares two disjoint choices of real images in the same way: a perfect model would be there. "
        "Choices overlap from measurement to measurement: deviations tell of this data set, not of others.",
        "",
        "| model | " + " | ".join(METRICS.values()) + " |",
        "|---|" + "---|" * len(METRICS),
    ]
    rows = [*(name for name in document["values"] if name != "reals"), "reals"]
    for name in rows:
        cells = [_cell([v[metric] for v in document["values"][name]], metric) for metric in METRICS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(
        [
            *lines,
            "",
            "KID and FD: lower is better; KID is unbiased, so that of reals scatters about 0. Precision is "
            "the share of generated images that lie among the real ones (k = 3), recall that of real images "
            "among the generated ones; they move against each other. With so few images a Fréchet distance "
            "is far above what it would be with many: compare it with the last row, not with published "
            "numbers. None of these is a FID: the network is another one.",
            "",
            *([] if said is None else ["## What they say", "", said.strip(), ""]),
        ]
    )


def _cell(values: list[float], metric: str) -> str:
    found: Summary = summarize(values)
    digits = 2 if metric in ("precision", "recall") else 1
    spread = "" if found.std is None else f" ± {found.std:.{digits}f}"
    return f"{found.mean:.{digits}f}{spread}"


def main(study: FamilyMetrics) -> int:
    """Measure all, write the page."""
    names = [name for name in MODELS if (study.snapshots / f"{name}.safetensors").exists()]
    if not names:
        raise UserError(f"{study.snapshots}: holds no generators; train them: python studies/family.py")
    dataset = open_dataset(DATA, RESOLUTION).split(HELD_OUT)[0]
    if not 2 <= study.images <= len(dataset) // 2:
        raise UserError(f"--images: {study.images} is not valid; valid: 2 to {len(dataset) // 2}")
    with full_precision():
        values = measure(study, names, dataset)
    document = {
        "date": datetime.date.today().isoformat(),
        "machine": describe_machine(torch.device("cpu")),
        "network": load_network(NETWORK).identity,
        "data": dataset.fingerprint,
        "training_images": len(dataset),
        "images": study.images,
        "splits": study.splits,
        "values": values,
    }
    write_text(study.out.with_suffix(".json"), json.dumps(document, indent=1) + "\n")
    said = study.out.with_suffix("") / "said.md"
    page = report(document, said.read_text() if said.exists() else None)
    write_text(study.out, page)
    print(page)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(tyro.cli(FamilyMetrics)))
    except UserError as error:
        sys.exit(f"error: {error}")
