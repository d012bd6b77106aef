"""Linear separability: how consistently latents fall on two sides of a plane by attribute (StyleGAN section
4.2).

Generated images are labelled by classifiers, one for each binary attribute. For each attribute a linear
support vector machine predicts the classifier's label Y from the latent; X is its prediction. The conditional
entropy H(Y|X) says how much of the label is still unknown then. The score is exp(sum of H over attributes),
H in nats, which is 2 to the sum in bits. 1 is perfect. The paper has 40 attributes and 200,000 latents.

The published numbers come from support vector machines that had not converged, and from samples whose
certainty rounds to 1, so that which of them are kept depends on their order. `PUBLISHED` follows them.
`PRIMAL` finds the optimum of the same machine, and sorts the same samples by the magnitude of the logit.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from styleloom.config.checks import within
from styleloom.data.pixels import box_mean
from styleloom.errors import UserError
from styleloom.metrics.classifiers.classifier import MAX_RESOLUTION, Classifier
from styleloom.networks.assembly import finest
from styleloom.sampling import Sampler


def probability(logits: Tensor) -> Tensor:
    """max(p, 1 - p) [N] of logits [N]; p is the softmax of [logit, -logit] in float32, as the authors'.

    It is 1 exactly where the magnitude of the logit is 8.32 or more.
    """
    return torch.stack([logits.float(), -logits.float()]).softmax(0).amax(0)


@dataclass(frozen=True)
class Method:
    """How samples are chosen and the support vector machine is fitted.

    Args:
        certainty: from the classifier's logits [N], how sure it is of each sample, [N]. The samples that it
            is surest of are kept; among equals, those that come first.
        dual: whether scikit-learn solves the dual problem; "auto" solves the primal one where there are more
            samples than dimensions.
    """

    certainty: Callable[[Tensor], Tensor]
    dual: bool | Literal["auto"]


PUBLISHED = Method(probability, dual=True)
"""The authors': `LinearSVC()` of scikit-learn in 2019, which solved the dual problem and stopped after 1000
iterations. With the paper's 100,000 samples of 512 dimensions it does stop there, short of the optimum, and
predicts worse than the optimum would: the score is higher.

The solver visits samples in random order, which the authors drew from numpy's global generator. Their order
is lost, and with it the last digits of their numbers; ours is drawn from a fixed seed. See
docs/reproduce.md."""

PRIMAL = Method(torch.abs, dual="auto")
"""The optimum of the same problem, in a fraction of the time. Samples are sorted by the magnitude of the
logit, which tells them apart where their probabilities round to 1."""


@dataclass(frozen=True)
class Separability:
    """The result, with what it is made of.

    Args:
        score: 2^(sum of `entropies`), at least 1; lower is better.
        entropies: H(Y|X) of each attribute, bits, in 0..1.
        unfitted: attributes without a support vector machine, as when all kept samples have one label. The
            prediction counts as perfect: H = 0.
        unconverged: attributes whose support vector machine stopped before it converged.
        num_kept: samples that each attribute was measured on.
    """

    score: float
    entropies: tuple[float, ...]
    unfitted: tuple[int, ...]
    unconverged: tuple[int, ...]
    num_kept: int


@torch.inference_mode()
def latents_and_logits(
    sampler: Sampler, classifiers: Sequence[Classifier], seeds: Sequence[int], labels: Tensor | None = None
) -> dict[str, Tensor]:
    """Latents of a block of seeds, and what the classifiers see in their images.

    Images are made without truncation, with each seed's own noise. They reach the classifiers as floats that
    are not clipped; those of more than 256 px are reduced by averaging blocks of pixels.

    Args:
        sampler: the generator.
        classifiers: on the sampler's device.
        seeds: one image each.
        labels: [N, K], for generators with labels (`Sampler.labels`).

    Returns, on the CPU: "z" [N, Z] as drawn, not normalised; "w" [N, W], in generators without a mapping
    network the normalised z with the label; "logits" [N, A].
    """
    z, maps = sampler.draw(seeds)
    ws = sampler.generator.mapping(z, labels)
    images = finest(sampler.generator.synthesis(ws, sampler.growth, maps))
    images = box_mean(images, max(sampler.resolution // MAX_RESOLUTION, 1))
    logits = [classifier.logits(images) for classifier in classifiers]
    # One w goes to all layers. The first slot always holds it; the last holds z where that is the input of
    # the lowest level, as in configuration C in the paper's words.
    result = {"z": z, "w": ws[:, 0], "logits": torch.stack(logits, 1)}
    return {name: tensor.float().cpu() for name, tensor in result.items()}


def separability(
    latents: Tensor,
    logits: Tensor,
    keep: float = 0.5,
    method: Method = PUBLISHED,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Separability:
    """The score of all samples together.

    Args:
        latents: [N, D], z or w.
        logits: [N, A], any number of attributes.
        keep: the share of samples that each attribute is measured on, those that its classifier is surest of.
        method: how they are chosen and predicted.
        progress: told how many of how many attributes are done; each may take minutes.

    Raises UserError: shapes that do not fit, values that are not finite, scikit-learn missing.
    """
    within("keep", keep, 0, 1)
    if (
        latents.ndim != 2
        or logits.ndim != 2
        or len(latents) != len(logits)
        or not latents.numel() * logits.numel()
    ):
        raise UserError(
            f"latents are {list(latents.shape)}, logits {list(logits.shape)}; valid: [N, D] and [N, A], "
            "N, D and A at least 1"
        )
    if not (latents.isfinite().all() and logits.isfinite().all()):
        raise UserError("latents or logits are not all finite; the generator or a classifier is broken")
    num_kept = max(int(len(latents) * keep), 1)
    entropies, unfitted, unconverged = [], [], []
    vectors = latents.cpu().double().numpy()
    for index, column in enumerate(logits.cpu().unbind(1)):
        progress(index, logits.shape[1])
        kept = surest(method.certainty(column), num_kept).numpy()
        labels = column.numpy()[kept] > 0
        predictions, converged = predict(vectors[kept], labels, method.dual)
        if predictions is None:
            unfitted.append(index)
            entropies.append(0.0)
            continue
        if not converged:
            unconverged.append(index)
        entropies.append(conditional_entropy(labels, predictions))
    score = float(2 ** sum(entropies))
    return Separability(score, tuple(entropies), tuple(unfitted), tuple(unconverged), num_kept)


def surest(certainty: Tensor, number: int) -> Tensor:
    """Indices [number] of the largest of [N], largest first; equal ones in order of index."""
    return certainty.sort(descending=True, stable=True).indices[:number]


def predict(
    latents: NDArray[Any], labels: NDArray[np.bool_], dual: bool | Literal["auto"]
) -> tuple[NDArray[np.bool_] | None, bool]:
    """What a linear support vector machine, fitted to all samples, says of the same samples.

    scikit-learn's LinearSVC with its defaults of 2019: C = 1, squared hinge loss, L2 penalty, an intercept
    (penalised too), tolerance 1e-4, at most 1000 iterations.

    Args:
        latents: [N, D].
        labels: [N].
        dual: as in `Method`.

    Returns the predictions [N] and whether the solver converged; None for the predictions where no machine
    can be fitted. Raises UserError without scikit-learn.
    """
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.svm import LinearSVC
    except ImportError as error:
        raise UserError(
            "linear separability needs scikit-learn, which is not installed: pip install 'styleloom[metrics]'"
        ) from error
    solver: Any = dual  # the type hints of scikit-learn allow words alone
    machine = LinearSVC(C=1.0, dual=solver, max_iter=1000, random_state=0)
    with warnings.catch_warnings():
        # Expected: the published numbers rest on a solver that stops early. The result says where it did.
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            machine.fit(latents, labels)
        except ValueError:  # what scikit-learn raises for a single class
            return None, True
    return np.asarray(machine.predict(latents), np.bool_), bool(machine.n_iter_ < machine.max_iter)


def conditional_entropy(labels: NDArray[np.bool_], predictions: NDArray[np.bool_]) -> float:
    """H(Y|X) in bits, 0 to 1, of labels Y [N] given predictions X [N], from their frequencies."""
    joint = np.array([[np.mean((predictions == x) & (labels == y)) for y in (0, 1)] for x in (0, 1)])
    there = joint > 0
    given = (joint / np.maximum(joint.sum(axis=1, keepdims=True), np.finfo(float).tiny))[there]  # P(y | x)
    return float(-np.sum(joint[there] * np.log2(given))) + 0.0  # no -0
