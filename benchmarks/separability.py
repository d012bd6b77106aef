"""What linear separability owes to its solver, on synthetic attributes: entropies by the published method and
by the optimum, their spread over the order in which the solver visits samples, and the time of a fit.

A classifier's logit is one direction of the latent and noise.

python benchmarks/separability.py --save
python benchmarks/separability.py --noise 0.56
python benchmarks/separability.py --scale 20
python benchmarks/separability.py --samples 200000 --orders 1     # the paper's number: minutes
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor

from publishing import publish
from styleloom.environment import describe_machine
from styleloom.metrics.probes.separability import (
    PRIMAL,
    PUBLISHED,
    Method,
    conditional_entropy,
    predict,
    surest,
)


@dataclass
class SolverSpread:
    """Entropies of one synthetic attribute, in bits."""

    samples: int = 40_000
    """Latents; half of them are kept."""
    dim: int = 512
    """Of a latent."""
    noise: float = 1.32
    """Deviation of the noise, that of the direction being 1."""
    scale: float = 1.0
    """Of the logits: large ones saturate."""
    orders: int = 5
    """Orders in which the published solver meets the samples that it keeps."""
    seed: int = 0
    """Of latents, direction and noise."""
    save: bool = False
    """Add the numbers to benchmarks/results/separability.jsonl."""
    json: bool = False
    """Print JSON."""

    def run(self) -> dict[str, Any]:
        """Measure; the document that is printed."""
        latents, logits = self.attribute()
        document: dict[str, Any] = {
            "benchmark": "separability",
            "machine": describe_machine(torch.device("cpu")),
        }
        document |= {"samples": self.samples, "dim": self.dim, "noise": self.noise, "scale": self.scale}
        document["primal_bits"], document["primal_cpu_sec"] = self.entropy(latents, logits, PRIMAL, 0)
        found = [self.entropy(latents, logits, PUBLISHED, order) for order in range(self.orders)]
        document["published_bits"] = float(np.mean([bits for bits, _ in found]))
        if self.orders > 1:
            document["published_deviation"] = float(np.std([bits for bits, _ in found], ddof=1))
        document["published_cpu_sec"] = float(np.mean([seconds for _, seconds in found]))
        publish("separability", document, self.save, self.json, show)
        return document

    def attribute(self) -> tuple[Tensor, Tensor]:
        """Latents [N, D] and logits [N]."""
        generator = torch.Generator().manual_seed(self.seed)
        latents = torch.randn(self.samples, self.dim, generator=generator)
        direction = torch.randn(self.dim, generator=generator)
        signal = latents @ (direction / direction.norm())
        noise = torch.randn(self.samples, generator=generator)
        return latents, self.scale * (signal + self.noise * noise)

    def entropy(self, latents: Tensor, logits: Tensor, method: Method, order: int) -> tuple[float, float]:
        """Bits, and seconds of processor time; the samples that are kept come in another order each time."""
        kept = surest(method.certainty(logits), self.samples // 2).numpy()
        if order:
            kept = np.random.default_rng(order).permutation(kept)
        vectors, labels = latents.double().numpy()[kept], logits.numpy()[kept] > 0
        began = time.process_time()
        predictions, _ = predict(vectors, labels, method.dual)
        assert predictions is not None, "the attribute has one label"
        return conditional_entropy(labels, predictions), time.process_time() - began


def show(document: dict[str, Any]) -> None:
    """One number a line."""
    print(document["machine"])
    for name, value in document.items():
        if isinstance(value, float):
            print(f"{name:<22} {value:10.4f}")


if __name__ == "__main__":
    tyro.cli(SolverSpread).run()
