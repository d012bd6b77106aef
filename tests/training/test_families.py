"""What the families bring to training besides growing: labels, grids, channels, losses, optimizers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from data.images import build, make_folder
from presets.shrink import BATCH, RESOLUTION, shrink
from styleloom import presets
from styleloom.config import Adam, Experiment, GradientPenalty
from styleloom.errors import UserError
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.sampling import Sampler
from styleloom.training import losses, phases, regularizers
from styleloom.training.adversaries import Adversaries, split_outputs
from styleloom.training.inputs import Latents, Reals
from styleloom.training.optim import build_optimizer, lazy_factor
from styleloom.training.trainer import Trainer
from styleloom.types import Images
from tiny import make_archive, opened, same_state, steps, tiny

FAMILIES = ("progan", "stylegan-f", "msg-progan", "msg-stylegan", "stylegan2-d", "stylegan2-f")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families")


def bound(e: Experiment) -> Adversaries:
    g, d = build_generator(e.generator), build_discriminator(e.discriminator)
    return Adversaries(g, d, None, g.synthesis_network, d)


def latents(e: Experiment, n: int = BATCH) -> Latents:
    cfg = e.generator
    label = torch.eye(cfg.label_dim)[torch.arange(n) % cfg.label_dim] if cfg.label_dim else torch.zeros(n, 0)
    z, z2 = torch.randn(2, n, cfg.z_dim)
    return Latents(z, z2, torch.full((n,), cfg.num_ws), label)


def some_reals(e: Experiment, n: int = BATCH) -> Reals:
    cfg = e.generator
    sides = cfg.pyramid_sides or (cfg.resolution,)
    images = tuple(torch.randn(n, cfg.channels, *cfg.size_at(side)) for side in sides)
    label = torch.eye(cfg.label_dim)[torch.arange(n) % cfg.label_dim] if cfg.label_dim else torch.zeros(n, 0)
    return Reals(images if cfg.pyramid_sides else images[0], label)


def gradient(network: nn.Module) -> Tensor:
    found = [torch.zeros_like(p) if p.grad is None else p.grad for p in network.parameters()]
    network.zero_grad(set_to_none=True)
    return torch.cat([g.flatten() for g in found])


# ---- data of every shape


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("channels", [1, 4])
def test_channels(name: str, channels: int, folder: Path) -> None:
    archive = make_archive(folder, 8, RESOLUTION, channels)
    trainer = steps(
        Trainer(shrink(presets.get(name)).with_data(channels=channels), opened(archive), "cpu"), 2
    )
    images = Sampler(trainer.ema, trainer.experiment).generate([1, 2])
    assert images.shape == (2, channels, RESOLUTION, RESOLUTION)
    trainer.close()


@pytest.mark.parametrize("name", FAMILIES)
def test_rectangles(name: str, folder: Path) -> None:
    """4:3, from a grid of 3 x 4 px: native pixels, no black bars; resumed in the middle."""
    source = make_folder(folder / "wide", 8, 16)
    dest = folder / "wide.zip"
    if not dest.exists():
        build(source, dest, RESOLUTION, grid=(3, 4))
    small = shrink(presets.get(name)).with_data(grid=(3, 4))
    trainer = steps(Trainer(small, opened(dest), "cpu"), 3)
    tensors, document = trainer.state()
    tensors = {key: t.clone() for key, t in tensors.items()}
    steps(trainer, 8)
    assert Sampler(trainer.ema, trainer.experiment).generate([1]).shape == (1, 3, 12, 16)
    other = Trainer(small, opened(dest), "cpu")
    other.load_state(tensors, document)
    same_state(steps(other, 8), trainer)
    with pytest.raises(UserError, match=r"grid \(3, 4\).*--set grid=3,4"):
        Trainer(shrink(presets.get(name)), opened(dest), "cpu")


@pytest.mark.parametrize("name", FAMILIES)
def test_labels(name: str, folder: Path) -> None:
    """Classes decide the images, and both networks learn from them."""
    archive = make_archive(folder, 8, RESOLUTION, 3, "folders")
    small = shrink(presets.get(name)).with_data(label_dim=2)
    trainer = Trainer(small, opened(archive), "cpu")
    stats = trainer.step()
    classifies = getattr(small.discriminator, "classifies", False)
    assert ("label_loss_g" in stats) == ("label_loss_d" in stats) == classifies == (name == "progan")
    sampler = Sampler(trainer.ema, trainer.experiment)
    a, b = sampler.generate([5], classes=0), sampler.generate([5], classes=1)
    assert not torch.equal(a, b)
    steps(trainer, 9)
    trainer.close()


# ---- losses


def test_ac_gan() -> None:
    """Both losses gain the cross-entropy of the class logits, for reals and fakes, times its weight."""
    e = replace(shrink(presets.get("progan")).with_data(label_dim=2), label_weight=0.7)
    e = replace(e, d_regularizer=GradientPenalty(gamma=0), drift=0.0)
    b, given, reals = bound(e), latents(e), some_reals(e)
    phases.generator_main(b, e, given, BATCH)
    ours = gradient(b.g)
    gradient(b.d)
    scores, classes = split_outputs(b.d(b.g.synthesis(b.mixed_ws(given)[0]), given.label))
    assert classes is not None
    (-scores + 0.7 * losses.label_loss(classes, given.label)).mean().backward()
    torch.testing.assert_close(ours, gradient(b.g))
    gradient(b.d)

    phases.discriminator_main(b, e, given, reals, BATCH)
    ours = gradient(b.d)
    fakes = b.fakes(given)[0]
    (real, real_classes), (fake, fake_classes) = (split_outputs(b.d(x, None)) for x in (reals.images, fakes))
    assert real_classes is not None
    assert fake_classes is not None
    label = losses.label_loss(real_classes, reals.label) + losses.label_loss(fake_classes, given.label)
    (fake - real + 0.7 * label).mean().backward()
    torch.testing.assert_close(ours, gradient(b.d))
    without = replace(e, label_weight=0.0)
    phases.discriminator_main(b, without, given, reals, BATCH)
    assert not torch.allclose(ours, gradient(b.d))


PENALTIES = {
    "r1": GradientPenalty("zero-centred", 3.0, 1),
    "r2": GradientPenalty("zero-centred", 0.0, 1, r2_gamma=2.0),
    "r1 and r2": GradientPenalty("zero-centred", 3.0, 1, r2_gamma=2.0),
    "wgan-gp": GradientPenalty("two-sided", 10.0, 1),
    "target": GradientPenalty("two-sided", 10.0, 1, target=0.05),
    "one-sided": GradientPenalty("one-sided", 10.0, 1, target=0.05),
}


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("name", ["progan", "msg-progan", "msg-stylegan"])
def test_penalties(name: str, penalty: str) -> None:
    """In the main loss or lazily: what is configured, not zero, mean over scales, written out here."""
    cfg = PENALTIES[penalty]
    e = replace(shrink(presets.get(name)), d_regularizer=cfg, loss="wgan", drift=0.25)
    b, given, reals = bound(e), latents(e), some_reals(e)
    fakes = b.fakes(given)[0]

    def norms(images: Images) -> Tensor:
        xs = [x.detach().requires_grad_() for x in regularizers.scales(images)]
        found = torch.autograd.grad(
            b.discriminate(regularizers.like(images, xs)).sum(), xs, create_graph=True
        )
        return torch.stack([g.flatten(1).norm(dim=1) for g in found])  # [K, N]

    torch.manual_seed(3)
    b.fakes(given)  # its noise maps come first
    u = torch.rand(BATCH).reshape(-1, 1, 1, 1)
    pairs = zip(regularizers.scales(reals.images), regularizers.scales(fakes), strict=True)
    between = regularizers.like(reals.images, [r + u * (f - r) for r, f in pairs])
    excess = norms(between) - cfg.target
    expected = {
        "zero-centred": (norms(reals.images) ** 2).mean() * cfg.gamma / 2
        + (norms(fakes) ** 2).mean() * cfg.r2_gamma / 2,
        "two-sided": (excess**2).mean() * cfg.gamma / cfg.target**2,
        "one-sided": (excess.relu() ** 2).mean() * cfg.gamma / cfg.target**2,
    }[cfg.kind]
    torch.manual_seed(3)
    stats = phases.discriminator_main(b, e, given, reals, BATCH)
    assert expected > 0
    torch.testing.assert_close(stats["d_penalty"], expected.detach(), rtol=1e-4, atol=1e-6)
    ours = gradient(b.d)
    real, fake = b.discriminate(reals.images), b.discriminate(fakes)
    (expected + (fake - real + 0.25 * real.square()).mean()).backward()
    torch.testing.assert_close(ours, gradient(b.d), rtol=1e-3, atol=1e-5)

    lazy = replace(e, d_regularizer=replace(cfg, every=4))
    torch.manual_seed(3)
    stats = phases.discriminator_penalty(b, lazy, given, reals, BATCH)
    torch.testing.assert_close(stats["d_penalty"], expected.detach(), rtol=1e-4, atol=1e-6)
    assert gradient(b.d).norm() > 0
    assert "d_penalty" not in phases.discriminator_main(b, lazy, given, reals, BATCH)


@pytest.mark.parametrize("name", ["msg-progan", "msg-stylegan"])
def test_the_penalty_over_scales_moves_the_weights(name: str, folder: Path) -> None:
    """Nobody else's MSG-ProGAN has one: with it, the discriminator goes elsewhere."""
    archive = make_archive(folder, 8, RESOLUTION)
    small = shrink(presets.get(name))
    weights = []
    for gamma in (small.d_regularizer.gamma, 0.0):
        e = replace(small, d_regularizer=replace(small.d_regularizer, gamma=gamma))
        trainer = Trainer(e, opened(archive), "cpu")
        stats = trainer.step()
        assert ("d_penalty" in stats) == (gamma > 0)
        weights.append(torch.cat([p.detach().flatten() for p in trainer.d.parameters()]))
        trainer.close()
    assert not torch.equal(*weights)


def test_relativistic_generator_sees_reals(folder: Path) -> None:
    e = replace(shrink(presets.get("msg-progan")), loss="relativistic-hinge")
    b, given = bound(e), latents(e)
    found = []
    for scale in (1.0, 5.0):
        reals = some_reals(e)
        reals = Reals(tuple(x * scale for x in reals.images), reals.label)
        phases.generator_main(b, e, given, BATCH, reals)
        found.append(gradient(b.g))
    with pytest.raises(UserError, match="micro_batch: 4 is not valid with loss relativistic-hinge"):
        replace(e, micro_batch=4)
    real = b.discriminate(reals.images)
    fake = b.discriminate(b.g.synthesis(b.mixed_ws(given)[0]))
    losses.generator_loss("relativistic-hinge", fake, real.detach()).mean().backward()
    torch.testing.assert_close(found[1], gradient(b.g))


def test_pairs_have_the_label_of_the_real(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """G's fakes have the labels of the reals that they are compared with; with other losses, drawn ones."""
    archive = make_archive(folder / "pairs", 32, labels="folders")
    given: dict[str, tuple[Tensor, Tensor]] = {}
    run = phases.generator_main

    def watched(nets: Any, e: Experiment, latents: Latents, batch: int, reals: Reals | None = None) -> Any:
        assert reals is not None
        given[e.loss] = (latents.label, reals.label)
        return run(nets, e, latents, batch, reals)

    monkeypatch.setattr(phases, "generator_main", watched)
    for loss in ("relativistic-pairing", "relativistic-hinge"):
        trainer = Trainer(tiny(f"loss={loss}", "label_dim=2"), opened(archive), "cpu")
        trainer.step()
        trainer.close()
    assert torch.equal(*given["relativistic-pairing"])
    assert not torch.equal(*given["relativistic-hinge"])


# ---- optimizers


@pytest.mark.parametrize("every", [1, 4])
def test_rmsprop_is_adam_without_correction(every: int) -> None:
    """alpha = beta2^c, rate c lr, the same epsilon; after many steps the two agree."""
    c = lazy_factor(every)
    parameters = [nn.Parameter(torch.ones(3)) for _ in range(2)]
    kinds: Any = ("adam", "rmsprop")
    optimizers = [
        build_optimizer(kind, [p], 0.01, Adam(0.0, 0.9, 1e-8), every)
        for kind, p in zip(kinds, parameters, strict=True)
    ]
    group = optimizers[1].param_groups[0]
    assert group["lr"] == pytest.approx(0.01 * c)
    assert group["alpha"] == pytest.approx(0.9**c)
    for step in range(300):
        before = [p.detach().clone() for p in parameters]
        for optimizer, p in zip(optimizers, parameters, strict=True):
            p.grad = torch.tensor([1.0, -3.0, 0.1]) * (1 + 0.5 * (step % 3))
            optimizer.step()
    moves = [p.detach() - b for p, b in zip(parameters, before, strict=True)]
    torch.testing.assert_close(*moves, rtol=1e-4, atol=1e-9)


# ---- contradictions between networks


def test_families_must_agree() -> None:
    msg, progan = shrink(presets.get("msg-progan")), shrink(presets.get("progan"))
    with pytest.raises(UserError, match=r"generator.pyramid_sides is .* must agree"):
        replace(msg, discriminator=progan.discriminator)
    with pytest.raises(UserError, match=r"pyramid_sides"):
        replace(msg, generator=replace(msg.generator, connections="none"))  # type: ignore[call-arg]
    with pytest.raises(UserError, match=r"style_mixing: 0.9 is not valid, the progan generator"):
        replace(progan, style_mixing=0.9)
    with pytest.raises(UserError, match=r"d_regularizer.r2_gamma: 1.0 is not valid with .*two-sided"):
        GradientPenalty("two-sided", r2_gamma=1.0)
