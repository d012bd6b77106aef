"""Times of the metrics' numbers from features that are collected already, against slow references: Fréchet
distance of full and of deficient rank, its moments, kernel distance, precision and recall.

python benchmarks/metrics.py --save
python benchmarks/metrics.py --large       # precision and recall of 50,000 images: minutes, and its memory
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import tyro
from scipy import linalg
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from publishing import publish
from styleloom.allocator import keep_large_blocks
from styleloom.environment import describe_machine
from styleloom.metrics.fid import frechet_distance
from styleloom.metrics.kid import kernel_distance
from styleloom.metrics.moments import Moments
from styleloom.metrics.precision_recall import precision_recall


@dataclass
class MetricTime:
    """Time the numbers of the metrics, on random features."""

    images: int = 50_000
    """Of each set, for moments, Fréchet and kernel distance."""
    neighbours_images: int = 10_000
    """Of each set, for precision and recall."""
    inception_dim: int = 2048
    """Features for the distances."""
    vgg_dim: int = 4096
    """Features for precision and recall."""
    references: bool = True
    """Time the slow ways too: SciPy's matrix root, scikit-learn's neighbours (of one set alone)."""
    large: bool = False
    """Precision and recall of `images` instead of all else, with the memory of the process."""
    threads: int | None = None
    """Of torch; None for its default."""
    save: bool = False
    """Add the numbers to benchmarks/results/metrics.jsonl."""
    json: bool = False
    """Print JSON."""

    def run(self) -> dict[str, Any]:
        """Measure; the document that is printed."""
        if self.threads:
            torch.set_num_threads(self.threads)
        keep_large_blocks()
        document: dict[str, Any] = {
            "benchmark": "metrics",
            "machine": describe_machine(torch.device("cpu")),
            "images": self.images,
        }
        if self.large:
            document["precision_recall_sec"] = self.neighbours(self.images)
            document["peak_memory_gib"] = peak_memory_gib()
        else:
            document["neighbours_images"] = self.neighbours_images
            document |= self.distances()
            document["precision_recall_sec"] = self.neighbours(self.neighbours_images)
            if self.references:
                document["scikit_learn_neighbours_sec"] = self.neighbours_reference()
        publish("metrics", document, self.save, self.json, show)
        return document

    def distances(self) -> dict[str, float]:
        """Seconds of what works on the features of Inception."""
        reals, fakes = (features(self.images, self.inception_dim, seed) for seed in (0, 1))
        moments = [Moments(), Moments()]
        seconds = {"moments_sec": timed(lambda: collect(moments[0], reals))}
        collect(moments[1], fakes)
        seconds["frechet_sec"] = timed(lambda: frechet_distance(*moments))
        deficient = [Moments(), Moments()]
        for few, rows in zip(deficient, (reals, fakes), strict=True):
            collect(few, rows[: self.inception_dim // 4])
        seconds["frechet_deficient_sec"] = timed(lambda: frechet_distance(*deficient))
        if self.references:
            product = (moments[0].covariance() @ moments[1].covariance()).numpy()
            seconds["sqrtm_sec"] = timed(lambda: linalg.sqrtm(product))
        seconds["kernel_sec"] = timed(lambda: kernel_distance(reals, fakes))
        return seconds

    def neighbours(self, images: int) -> float:
        """Seconds of precision and recall."""
        reals, fakes = (features(images, self.vgg_dim, seed).relu_() for seed in (0, 1))
        return timed(lambda: precision_recall(reals, fakes))

    def neighbours_reference(self) -> float:
        """Seconds of scikit-learn for the radii of one set, about a quarter of the work."""
        reals = features(self.neighbours_images, self.vgg_dim, 0).relu_().numpy()
        return timed(lambda: NearestNeighbors(n_neighbors=3, algorithm="brute").fit(reals).kneighbors())


def features(num: int, dim: int, seed: int) -> Tensor:
    """float32 [num, dim], normal, of another mean for each seed."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.standard_normal((num, dim), np.float32)).add_(0.1 * seed)


def collect(moments: Moments, rows: Tensor, batch: int = 64) -> None:
    """Add rows as an evaluation does, a batch of images at a time."""
    for part in rows.split(batch):
        moments.add(part)


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def peak_memory_gib() -> float:
    """Largest resident size of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 2**30


def show(document: dict[str, Any]) -> None:
    """One number a line."""
    print(document["machine"])
    for name, value in document.items():
        if isinstance(value, float):
            print(f"{name:<28} {value:8.2f}")


if __name__ == "__main__":
    tyro.cli(MetricTime).run()
