"""Linear separability, held against closed forms, SciPy and images of which the classifier is known."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import svm
from sklearn.metrics import confusion_matrix
from torch import Tensor, nn

from every import every
from styleloom.config.networks import Mapping, StyleGANGenerator
from styleloom.errors import UserError
from styleloom.metrics.classifiers.classifier import Classifier, ClassifierRecord
from styleloom.metrics.probes import separability as module
from styleloom.metrics.probes.separability import (
    PRIMAL,
    PUBLISHED,
    Method,
    Separability,
    conditional_entropy,
    latents_and_logits,
    predict,
    probability,
    separability,
    surest,
)
from styleloom.networks.build import build_generator
from styleloom.sampling import Sampler
from styleloom.types import GrowthState
from tiny import tiny


def binary_entropy(q: float) -> float:
    return float(stats.entropy([q, 1 - q], base=2))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def apart(*shape: int) -> Tensor:
    """Numbers of either sign, none near zero: a machine makes no mistakes at the boundary."""
    x = normal(*shape)
    return x + x.sign()


# ---- conditional entropy


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_conditional_entropy_is_joint_less_marginal(pairs: list[tuple[bool, bool]]) -> None:
    labels, predictions = np.array(pairs).T
    joint = confusion_matrix(predictions, labels, labels=[False, True])
    expected = stats.entropy(joint.flatten(), base=2) - stats.entropy(joint.sum(axis=1), base=2)
    found = conditional_entropy(labels, predictions)
    assert found == pytest.approx(expected, abs=1e-12)
    assert 0 <= found <= 1
    assert math.copysign(1, found) == 1


# ---- the machine


def test_a_linear_attribute_scores_one() -> None:
    latents = normal(400, 5)
    direction = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0])
    result = separability(latents, (latents @ direction)[:, None])
    assert result == Separability(1.0, (0.0,), (), (), 200)


def test_an_attribute_that_latents_do_not_know_has_all_its_entropy() -> None:
    logits = normal(20_000, 1, seed=1)
    result = separability(normal(20_000, 4), logits)
    assert result.entropies[0] == pytest.approx(1, abs=2e-3)
    assert result.score == pytest.approx(2, abs=3e-3)
    # A common label: the machine gives it to all, H(Y|X) = H(Y).
    uneven = logits.abs() * torch.where(normal(20_000, 1, seed=2) > 1.2, -1.0, 1.0)
    share = float((uneven[surest(uneven[:, 0].abs(), 10_000)] > 0).double().mean())
    assert separability(normal(20_000, 4), uneven).entropies[0] == pytest.approx(
        binary_entropy(share), abs=2e-3
    )


def test_xor_costs_the_corner_that_no_plane_reaches() -> None:
    corners = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    counts = torch.tensor([40, 40, 40, 4])
    logits = torch.tensor([-1.0, 1.0, 1.0, -1.0]).repeat_interleave(counts)[:, None]
    result = separability(corners.repeat_interleave(counts, dim=0), logits, keep=1)
    assert result.num_kept == 124
    # "Or" is predicted: right in 40 of 40 and in 80 of 84.
    assert result.entropies == (pytest.approx(84 / 124 * binary_entropy(4 / 84)),)


@pytest.mark.parametrize("q", [0.02, 0.1, 0.3])
def test_flipped_labels_far_from_the_plane_cost_their_entropy(q: float) -> None:
    number = 8000
    side = torch.where(torch.arange(number) % 2 == 0, 1.0, -1.0)
    latents = torch.cat([(10 * side)[:, None], normal(number, 3)], 1)
    flip = torch.rand(number, generator=torch.Generator().manual_seed(1)) < q
    logits = torch.where(flip, -side, side)
    result = separability(latents, logits[:, None], keep=1)
    joint = np.array([[((side > 0) == x) & ((logits > 0) == y) for y in (0, 1)] for x in (0, 1)])
    counts = joint.astype(float).sum(axis=-1)
    expected = sum(row.sum() / number * stats.entropy(row, base=2) for row in counts)
    assert result.entropies == (pytest.approx(expected, abs=1e-12),)
    assert expected == pytest.approx(binary_entropy(q), abs=0.03)


@pytest.mark.parametrize(("method", "dual"), [(PUBLISHED, True), (PRIMAL, "auto")])
def test_the_machine_is_scikit_learns_on_the_kept_samples(method: Method, dual: Any) -> None:
    latents, noise = normal(600, 6), normal(600, 1, seed=1)
    logits = latents[:, :1] + noise
    order = np.argsort(-logits[:, 0].abs().numpy(), kind="stable")[:300]
    x, y = latents.double().numpy()[order], logits[:, 0].numpy()[order] > 0
    machine = svm.LinearSVC(dual=dual, random_state=0).fit(x, y)
    joint = confusion_matrix(machine.predict(x), y)
    expected = sum(row.sum() / 300 * stats.entropy(row, base=2) for row in joint)
    assert 0.1 < expected < 0.9
    assert separability(latents, logits, method=method).entropies == (pytest.approx(expected, abs=1e-12),)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_published_machine_stops_before_its_optimum() -> None:
    """Where labels are noisy the dual solver needs more than 1000 iterations, and predicts worse than the
    optimum, which the primal solver finds."""
    latents = normal(2000, 128)
    logits = latents[:, :1] + 3 * normal(2000, 1, seed=1)
    published, primal = (separability(latents, logits, method=m) for m in (PUBLISHED, PRIMAL))
    assert (published.unconverged, primal.unconverged) == ((0,), ())
    for method, iterations, found in ((PUBLISHED, 1000, published), (PRIMAL, 10_000, primal)):
        kept = surest(method.certainty(logits[:, 0]), 1000)
        x, y = latents[kept].double().numpy(), logits[kept, 0].numpy() > 0
        dual: Any = True
        machine = svm.LinearSVC(dual=dual, random_state=0, max_iter=iterations).fit(x, y)
        expected = conditional_entropy(y, np.asarray(machine.predict(x)))
        assert found.entropies == (pytest.approx(expected, abs=1e-3 if method is PRIMAL else 1e-12),)
    assert published.score > primal.score


def test_more_dimensions_than_samples() -> None:
    result = separability(normal(40, 100), normal(40, 1, seed=1))
    assert result.entropies == (0.0,)  # 20 points in 100 dimensions: any labels can be told apart
    assert result == separability(normal(40, 100), normal(40, 1, seed=1))


def test_scores_multiply() -> None:
    latents = normal(2000, 3)
    logits = latents[:, :2] + normal(2000, 2, seed=1) * torch.tensor([0.5, 2.0])
    both = separability(latents, logits)
    alone = [separability(latents, logits[:, k : k + 1]) for k in (0, 1)]
    assert both.entropies == alone[0].entropies + alone[1].entropies
    assert both.score == pytest.approx(alone[0].score * alone[1].score)
    assert both.score == pytest.approx(math.exp(sum(h * math.log(2) for h in both.entropies)))
    assert 1 < alone[0].score < alone[1].score < 2


# ---- which samples are kept


def test_the_half_that_the_classifier_is_sure_of_is_kept() -> None:
    latents = apart(1000, 3)
    sure = torch.arange(1000) % 2 == 0
    logits = torch.where(sure, 5 * latents[:, 0].sign(), 0.1 * normal(1000, seed=1).sign())
    assert separability(latents, logits[:, None]).entropies == (0.0,)
    assert separability(latents, logits[:, None], keep=1).entropies[0] > 0.5


def test_each_attribute_keeps_its_own_half() -> None:
    latents = apart(1000, 2)
    sure = torch.arange(1000) % 2 == 0
    known, unknown = 5 * latents.sign(), 0.1 * normal(1000, 2, seed=1).sign()
    logits = torch.where(torch.stack([sure, ~sure], 1), known, unknown)
    assert separability(latents, logits).entropies == (0.0, 0.0)


def test_saturated_samples_tie_and_keep_their_order() -> None:
    """From |logit| = 8.32 = 12 ln 2 on, 1 + exp(-2 |logit|) rounds to 1 in float32."""
    logits = torch.tensor([8.4, -50.0, 0.1, 40.0, -0.2, 8.2, -9.0, 40.0])
    expected = 1 / (1 + np.exp(-2 * np.abs(logits.numpy())))  # float32
    np.testing.assert_allclose(probability(logits), expected, rtol=1.2e-7)
    assert (probability(logits) == 1).tolist() == [True, True, False, True, False, False, True, True]
    assert surest(PUBLISHED.certainty(logits), 6).tolist() == [0, 1, 3, 6, 7, 5]
    assert surest(PRIMAL.certainty(logits), 6).tolist() == [1, 3, 7, 6, 0, 5]


def test_saturated_samples_make_the_published_half_harder() -> None:
    """With large logits the half that is kept is the first, not the easiest."""
    latents = normal(8000, 3)
    logits = 20 * (latents[:, :1] + normal(8000, 1, seed=1))
    published, primal = (separability(latents, logits, method=m).entropies[0] for m in (PUBLISHED, PRIMAL))
    order = (logits[:, 0].abs() < 8.32).int().argsort(stable=True)[:4000]  # saturated ones first
    assert separability(latents[order], logits[order], 1, PRIMAL).entropies[0] == pytest.approx(
        published, abs=0.01
    )
    assert published > primal + 0.1


@settings(deadline=None)
@given(st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=30), st.data())
def test_the_surest_have_the_largest_probability_of_either_class(
    values: list[float], data: st.DataObject
) -> None:
    logits = torch.tensor(values)
    number = data.draw(st.integers(1, len(values)))
    certainty = torch.softmax(torch.stack([logits, -logits]).double(), 0).amax(0)
    expected = certainty.sort(descending=True).values[:number]
    for method in (PUBLISHED, PRIMAL):
        torch.testing.assert_close(certainty[surest(method.certainty(logits), number)], expected)


# ---- where no machine can be had


def test_one_label_counts_as_perfect_and_is_listed() -> None:
    latents = apart(100, 2)
    logits = torch.stack([normal(100, seed=1), torch.ones(100), latents[:, 0].sign()], 1)
    result = separability(latents, logits, keep=1)
    assert result.unfitted == (1,)
    assert result.entropies[1] == 0
    assert result.score == pytest.approx(2 ** result.entropies[0])


def test_unconverged_machines_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    latents, logits = normal(200, 5), normal(200, 2, seed=1)
    assert separability(latents, logits).unconverged == ()
    machine: Any = svm.LinearSVC
    monkeypatch.setattr("sklearn.svm.LinearSVC", lambda **given: machine(**given | {"max_iter": 1}))
    assert separability(latents, logits).unconverged == (0, 1)


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.svm", None)
    with pytest.raises(UserError, match=r"needs scikit-learn.*pip install 'styleloom\[metrics\]'"):
        predict(np.zeros((2, 1)), np.array([True, False]), True)


@every(
    ("latents", "logits", "keep", "message"),
    [
        (torch.zeros(4, 2), torch.zeros(3, 1), 0.5, r"latents are \[4, 2\], logits \[3, 1\]; valid"),
        (torch.zeros(4), torch.zeros(4, 1), 0.5, r"latents are \[4\]"),
        (torch.zeros(4, 2), torch.zeros(4), 0.5, r"logits \[4\]"),
        (torch.zeros(0, 2), torch.zeros(0, 1), 0.5, "N, D and A at least 1"),
        (torch.zeros(4, 2), torch.zeros(4, 0), 0.5, "N, D and A at least 1"),
        (torch.full((4, 2), math.nan), torch.zeros(4, 1), 0.5, "not all finite"),
        (torch.zeros(4, 2), torch.full((4, 1), math.inf), 0.5, "not all finite"),
        (torch.zeros(4, 2), torch.zeros(4, 1), 1.5, "keep: 1.5 is not valid"),
    ],
)
def test_refuses(latents: Tensor, logits: Tensor, keep: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        separability(latents, logits, keep)


# ---- samples


class Redness(nn.Module):
    """A network whose logit is the mean of the first channel; it remembers what it saw."""

    def __init__(self, sign: float = 1.0) -> None:
        super().__init__()
        self.sign = sign
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images)
        return self.sign * images[:, 0].mean((1, 2))


def classifier(side: int, network: nn.Module) -> Classifier:
    config = tiny().with_data(resolution=side).discriminator
    record = ClassifierRecord("red", 0, 0.5, 1.0, 0.0, 0, "", "", {})
    made: Any = network
    return Classifier(made, config, record, Path("red.safetensors"), "")


def sampler(*overrides: str, growth: GrowthState | None = None) -> Sampler:
    """A generator whose noise matters."""
    experiment = tiny(*overrides)
    generator = build_generator(experiment.generator).eval().requires_grad_(False)
    for name, tensor in generator.state_dict().items():
        if name.endswith("strength"):
            tensor.fill_(0.5)
    generator.w_avg.fill_(3.0)  # truncation would show
    return Sampler(generator, experiment, growth)


def test_samples_of_a_block() -> None:
    g, seeds = sampler(), [5, 0, 2**31]
    block = latents_and_logits(g, [classifier(8, Redness()), classifier(8, Redness(-1))], seeds)
    z, _ = g.draw(seeds)
    assert torch.equal(block["z"], z)
    assert block["z"].shape == (3, 16)
    torch.testing.assert_close(block["w"], g.generator.mapping(z)[:, -1])
    red = g.generate(seeds)[:, 0].mean((1, 2))
    torch.testing.assert_close(block["logits"], torch.stack([red, -red], 1), rtol=1e-5, atol=1e-6)
    assert all(tensor.dtype == torch.float32 for tensor in block.values())


def test_samples_depend_on_their_seed_alone() -> None:
    g, judge = sampler(), classifier(8, Redness())
    state = torch.get_rng_state()
    whole = latents_and_logits(g, [judge], range(7))
    parts = [latents_and_logits(g, [judge], part) for part in ([0, 1, 2, 3], [4], [5, 6])]
    assert torch.equal(torch.get_rng_state(), state)
    for name, tensor in whole.items():
        torch.testing.assert_close(torch.cat([p[name] for p in parts]), tensor, rtol=1e-5, atol=1e-6)


def test_samples_with_labels() -> None:
    g = sampler("label_dim=3")
    labels = g.labels(4, [0, 1, 2, 2])
    block = latents_and_logits(g, [classifier(8, Redness())], [1, 1, 1, 1], labels)
    torch.testing.assert_close(block["w"], g.generator.mapping(block["z"], labels)[:, -1])
    assert not torch.allclose(block["w"][0], block["w"][1])
    assert torch.allclose(block["w"][2], block["w"][3])
    with pytest.raises(UserError, match="needs labels of 3 classes"):
        latents_and_logits(g, [classifier(8, Redness())], [1])


def test_large_images_are_reduced_by_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RESOLUTION", 16)
    g, fine, coarse = sampler("resolution=32"), Redness(), Redness()
    latents_and_logits(g, [classifier(16, fine), classifier(8, coarse)], [3])
    image = g.generate([3])
    for side, network in ((16, fine), (8, coarse)):
        block = 32 // side
        expected = image.reshape(1, 3, side, block, side, block).mean((3, 5))
        torch.testing.assert_close(network.seen[0], expected, rtol=1e-4, atol=1e-5)


def test_growing_generators_are_seen_as_they_stand() -> None:
    generator = StyleGANGenerator(resolution=16, z_dim=8, w_dim=8, mapping=Mapping(1, 8))
    experiment = replace(tiny("resolution=16"), generator=generator)
    network = build_generator(generator).eval().requires_grad_(False)
    seen = Redness()
    g = Sampler(network, experiment, GrowthState(1, 0.5))
    latents_and_logits(g, [classifier(8, seen)], [0, 1])
    torch.testing.assert_close(seen.seen[0], g.generate([0, 1]), rtol=1e-4, atol=1e-5)


def test_w_is_not_the_latent_that_configuration_c_feeds_to_the_input() -> None:
    generator = StyleGANGenerator(resolution=8, z_dim=8, w_dim=8, mapping=Mapping(2, 8), input="z")
    experiment = replace(tiny(), generator=generator, style_mixing=0.0)
    g = Sampler(build_generator(generator).eval().requires_grad_(False), experiment)
    block = latents_and_logits(g, [classifier(8, Redness())], range(3))
    z = block["z"]
    torch.testing.assert_close(block["w"], g.generator.mapping_network(z, None))
    assert not torch.allclose(block["w"], g.generator.mapping(z)[:, -1])


def test_from_generator_to_score() -> None:
    """The redness of images follows from z alone, and a linear mapping would be separable; noise is not."""
    g = sampler()
    blocks = [latents_and_logits(g, [classifier(8, Redness())], range(k, k + 100)) for k in (0, 100, 200)]
    joined = {name: torch.cat([block[name] for block in blocks]) for name in blocks[0]}
    logits = joined["logits"] - joined["logits"].median()
    for space in ("z", "w"):
        result = separability(joined[space], logits)
        assert 1 <= result.score < 2
        assert result.num_kept == 150
