"""Joint passes equal separate ones, and micro-batches add up to the whole batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from styleloom.config import ByResolution, Experiment, GradientPenalty
from styleloom.config.networks import (
    FeatureMaps,
    Mapping,
    MinibatchStd,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
)
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.training import losses, phases, regularizers
from styleloom.training.adversaries import Adversaries, pair_logits, pair_logits_reference
from styleloom.training.cutoffs import draw_cutoffs
from styleloom.training.inputs import Latents, Reals
from styleloom.types import Images

FEATURES = FeatureMaps(base=32, max=8)
N = 16


def experiment(label_dim: int = 0, group: int = 4, **fields: Any) -> Experiment:
    """8 px, 8 feature maps, groups of 4 in a batch of 16."""
    g = StyleGAN2Generator(8, 3, label_dim, z_dim=4, w_dim=4, features=FEATURES, mapping=Mapping(1, 4))
    d = StyleGAN2Discriminator(8, 3, label_dim, features=FEATURES, minibatch_std=MinibatchStd(group))
    return Experiment(generator=g, discriminator=d, batch=ByResolution(24), **fields)


def bound(e: Experiment) -> Adversaries:
    """Networks whose noise strengths are zero, so that random noise does not matter."""
    g, d = build_generator(e.generator), build_discriminator(e.discriminator)
    return Adversaries(g, d, None, g.synthesis_network, d)


def latents(e: Experiment, n: int = N) -> Latents:
    """Some units are mixed, some are not."""
    layers = e.generator.num_ws
    cutoffs = draw_cutoffs(n, layers, 0.5, torch.Generator().manual_seed(1), layers, 4)
    classes = e.generator.label_dim
    label = torch.eye(classes)[torch.arange(n) % classes] if classes else torch.zeros(n, 0)
    return Latents(torch.randn(n, 4), torch.randn(n, 4), cutoffs, label)


def gradients(network: nn.Module) -> Tensor:
    """All gradients in one vector, but those of the noise strengths, which random noise decides."""
    named = [p for name, p in network.named_parameters() if not name.endswith("strength")]
    found = [torch.zeros_like(p) if p.grad is None else p.grad for p in named]
    network.zero_grad(set_to_none=True)
    return torch.cat([g.flatten() for g in found])


def distance(a: Tensor, b: Tensor) -> float:
    """Relative."""
    return ((a - b).norm() / b.norm()).item()


# ---- pair_logits


@pytest.mark.parametrize(
    ("n", "group"), [(8, 4), (16, 4), (4, 4), (6, 3), (6, 2), (3, 4), (2, 4), (5, 0), (5, 1)]
)
@pytest.mark.parametrize("label_dim", [0, 3])
def test_one_pass_equals_two(n: int, group: int, label_dim: int) -> None:
    """Logits and gradients of parameters and images, with reals and fakes that differ widely."""
    e = experiment(label_dim, group)
    d = bound(e).d
    reals = torch.randn(n, 3, 8, 8, requires_grad=True)
    fakes = (5 * torch.randn(n, 3, 8, 8)).requires_grad_()
    labels = [torch.eye(3)[torch.randint(3, (n,))][:, :label_dim] for _ in range(2)]
    results = []
    for function in (pair_logits, pair_logits_reference):
        real, fake = function(d, reals, fakes, labels[0], labels[1], group)
        assert real.shape == fake.shape == (n,)
        loss = (real * torch.arange(1.0, n + 1)).sum() + (fake.sin() * torch.arange(n, 0.0, -1)).sum()
        of_images = torch.autograd.grad(loss, (reals, fakes), retain_graph=True)
        loss.backward()
        results.append([real.detach(), fake.detach(), *of_images, gradients(d)])
    for ours, theirs in zip(*results, strict=True):
        assert distance(ours, theirs) < 1e-4


def test_it_is_one_pass() -> None:
    """The purpose: one call with twice the batch."""
    sizes = []

    def discriminator(x: Images, label: Tensor | None) -> Tensor:
        assert isinstance(x, Tensor)
        sizes.append(len(x))
        return x.sum((1, 2, 3))

    label = torch.zeros(8, 0)
    pair_logits(discriminator, torch.zeros(8, 3, 2, 2), torch.ones(8, 3, 2, 2), label, label, 4)
    assert sizes == [16]


def test_pyramids_are_joined_scale_by_scale() -> None:
    reals, fakes = (tuple(torch.randn(8, 3, s, s) for s in (2, 4)) for _ in range(2))

    def discriminator(x: Images, label: Tensor | None) -> Tensor:
        assert isinstance(x, tuple)
        return sum((t.sum((1, 2, 3)) for t in x), torch.zeros(()))

    label = torch.zeros(8, 0)
    ours = pair_logits(discriminator, reals, fakes, label, label, 4)
    theirs = pair_logits_reference(discriminator, reals, fakes, label, label, 4)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


# ---- latents


def test_parts_are_strided() -> None:
    given = latents(experiment(3))
    assert len(given) == N
    for count in (1, 2, 4):
        for k in range(count):
            part = given.part(k, count)
            assert len(part) == N // count
            for name in ("z", "z2", "cutoffs", "label"):
                assert torch.equal(getattr(part, name), getattr(given, name)[k::count])
            if count == 4:  # a micro-batch of the authors: one coin, one cut
                assert len(set(part.cutoffs.tolist())) == 1


# ---- micro-batches


def main_g(b: Adversaries, e: Experiment, given: Latents, reals: Reals) -> object:
    """Run a phase on a part."""
    return phases.generator_main(b, e, given, N)


def main_d(b: Adversaries, e: Experiment, given: Latents, reals: Reals) -> object:
    return phases.discriminator_main(b, e, given, reals, N)


def r1(b: Adversaries, e: Experiment, given: Latents, reals: Reals) -> object:
    return phases.discriminator_penalty(b, e, given, reals, N)


@pytest.mark.parametrize("every", [1, 16])
@pytest.mark.parametrize("label_dim", [0, 3])
@pytest.mark.parametrize("phase", [main_g, main_d, r1])
def test_micro_batches_add_up(phase: Callable[..., object], label_dim: int, every: int) -> None:
    """The gradient of 2 and 4 parts is that of the batch: groups of minibatch standard deviation included."""
    e = experiment(label_dim, d_regularizer=GradientPenalty(gamma=10.0, every=every))
    b, given = bound(e), latents(e)
    images, labels = torch.randn(N, 3, 8, 8) * torch.linspace(0.2, 3, N)[:, None, None, None], given.label
    network = b.g if phase is main_g else b.d
    (b.d if network is b.g else b.g).requires_grad_(False)

    def total(parts: int) -> Tensor:
        for k in range(parts):
            phase(b, e, given.part(k, parts), Reals(images, labels).part(k, parts))
        return gradients(network)

    whole = total(1)
    assert whole.norm() > 0
    for parts in (2, 4):
        assert distance(total(parts), whole) < 2e-5

    # Parts that cut the batch into runs would have other groups.
    for k in range(2):
        run = slice(k * N // 2, (k + 1) * N // 2)
        part = Latents(given.z[run], given.z2[run], given.cutoffs[run], given.label[run])
        phase(b, e, part, Reals(images[run], labels[run]))
    assert distance(gradients(network), whole) > 1e-4


# ---- what each phase is


def test_generator_main_is_the_mean_loss() -> None:
    e = experiment(3)
    b, given = bound(e), latents(e)
    stats = phases.generator_main(b, e, given, N)
    ours = gradients(b.g)
    gradients(b.d)
    loss = losses.generator_loss("nonsaturating", b.d(b.g.synthesis(b.mixed_ws(given)[0]), given.label))
    loss.mean().backward()
    assert distance(ours, gradients(b.g)) < 1e-5
    assert stats["loss_g"].item() == pytest.approx(loss.mean().item(), rel=1e-5)
    torch.testing.assert_close(stats["w_mean"], b.g.mapping(given.z, given.label)[:, 0].mean(0))


@pytest.mark.parametrize(("every", "gamma"), [(1, 10.0), (1, 0.0), (16, 10.0)])
def test_discriminator_main_includes_r1_where_it_is_not_lazy(every: int, gamma: float) -> None:
    e = experiment(d_regularizer=GradientPenalty(gamma=gamma, every=every))
    b, given, images = bound(e), latents(e), torch.randn(N, 3, 8, 8)
    label = given.label
    stats = phases.discriminator_main(b, e, given, Reals(images, label), N)
    assert all(p.grad is None for p in b.g.parameters())
    ours = gradients(b.d)
    fakes = b.g.synthesis(b.mixed_ws(given)[0]).detach()  # type: ignore[union-attr]
    real, fake = b.d(images), b.d(fakes)
    loss = losses.discriminator_loss("nonsaturating", real, fake)
    if every == 1 and gamma:
        loss = loss + regularizers.zero_centred_penalty(b.d, images, gamma)
    loss.mean().backward()
    assert distance(ours, gradients(b.d)) < 1e-5
    assert ("d_penalty" in stats) == (every == 1 and gamma > 0)
    assert stats["logits_real"].item() == pytest.approx(real.mean().item(), rel=1e-4)
    assert stats["logits_fake"].item() == pytest.approx(fake.mean().item(), rel=1e-4)
    assert stats["sign_real"].item() == pytest.approx(real.sign().mean().item())


def test_lazy_r1_is_multiplied_by_its_interval() -> None:
    images, label = torch.randn(N, 3, 8, 8), torch.zeros(N, 0)
    e = experiment(d_regularizer=GradientPenalty(gamma=10.0, every=16))
    b = bound(e)
    stats = phases.discriminator_penalty(b, e, latents(e), Reals(images, label), N)
    ours = gradients(b.d)
    penalty = regularizers.zero_centred_penalty(b.d, images, 10.0)
    (16 * penalty.mean()).backward()
    assert distance(ours, gradients(b.d)) < 1e-5
    assert stats["d_penalty"].item() == pytest.approx(penalty.mean().item(), rel=1e-5)
    assert stats["d_penalty"] > 0


def test_path_length_is_multiplied_by_its_interval() -> None:
    e = experiment()
    b, given, mean = bound(e), latents(e, 8), torch.tensor(0.3)
    results = []
    for cfg in (e.g_regularizer, replace(e.g_regularizer, every=8), replace(e.g_regularizer, weight=4.0)):
        torch.manual_seed(5)
        stats = phases.generator_path_length(b, replace(e, g_regularizer=cfg), given, 8, mean)
        results.append(gradients(b.g))
        lengths = stats["path_length"]
        assert stats["path_mean"].item() == pytest.approx(0.3 + 0.01 * (lengths.item() - 0.3), rel=1e-4)
        assert stats["path_penalty"] > 0
    assert results[0].norm() > 0
    assert distance(results[1], 2 * results[0]) < 1e-5
    assert distance(results[2], 2 * results[0]) < 1e-5


def test_path_length_follows_mixed_styles() -> None:
    """Styles are mixed in path length too; the running average of w takes those of the first latents."""
    e = experiment()
    b, given = bound(e), latents(e, 8)
    assert (given.cutoffs < e.generator.num_ws).any()
    values = []
    for z2 in (given.z2, given.z2 + 1):
        torch.manual_seed(5)
        stats = phases.generator_path_length(b, e, replace(given, z2=z2), 8, torch.tensor(0.0))
        torch.testing.assert_close(stats["w_mean"], b.g.mapping(given.z)[:, 0].mean(0))
        values.append(stats["path_length"].item())
    assert values[0] != pytest.approx(values[1], rel=1e-4)


def test_unmixed_batches_map_once() -> None:
    """z2 is not mapped where no sample needs it; the styles are those of z."""
    e = experiment()
    b, given = bound(e), latents(e)
    unmixed = replace(given, cutoffs=torch.full((N,), e.generator.num_ws))
    calls = []
    b.g.mapping_network.register_forward_hook(lambda *args: calls.append(1))
    ws, _ = b.mixed_ws(unmixed)
    assert len(calls) == 1
    torch.testing.assert_close(ws, b.g.mapping(given.z))
