"""What stands before D is seen by every pass of D, and by gradients; without it nothing changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from styleloom.config.experiment import GradientPenalty
from styleloom.training import phases
from styleloom.training.regularizers import scales, zero_centred_penalty
from styleloom.training.trainer import Trainer
from styleloom.types import Images
from tiny import assert_equal, make_archive, opened, steps, tiny


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("adversaries"))


def halved(images: Images) -> Images:
    """A transformation that shows in the numbers."""
    return images / 2 if isinstance(images, Tensor) else tuple(x / 2 for x in images)


# what D reads in a step with both lazy phases: reals and fakes of a main phase pass together
PASSES = {
    (): {"generator_main": [8], "discriminator_main": [16], "discriminator_penalty": [8]},
    ("d_regularizer.r2_gamma=1",): {
        "generator_main": [8],
        "discriminator_main": [16],
        "discriminator_penalty": [8, 8],
    },
    ("d_regularizer.every=1", "d_regularizer.kind=two-sided"): {
        "generator_main": [8],
        "discriminator_main": [16, 8],
    },
    ("loss=relativistic-hinge",): {
        "generator_main": [8, 8],
        "discriminator_main": [16],
        "discriminator_penalty": [8],
    },
    ("loss=relativistic-pairing", "d_regularizer.r2_gamma=1"): {
        "generator_main": [8, 8],
        "discriminator_main": [16],
        "discriminator_penalty": [8, 8],
    },
}


@pytest.mark.parametrize("fields", PASSES)
def test_every_pass_of_d_sees_the_transformation(
    fields: tuple[str, ...], archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Tensor] = []
    read: dict[str, list[Tensor]] = {}
    running = [""]

    def transform(images: Images) -> Images:
        result = halved(images)
        made.extend(scales(result))
        return result

    for name in ("generator_main", "discriminator_main", "discriminator_penalty"):
        run = getattr(phases, name)

        def phase(*args: Any, name: str = name, run: Any = run) -> Any:
            running[0] = name
            return run(*args)

        monkeypatch.setattr(phases, name, phase)
    trainer = Trainer(tiny(*fields), opened(archive), "cpu", before_d=transform)
    trainer.d.register_forward_pre_hook(lambda d, args: read.setdefault(running[0], []).append(args[0]))
    trainer.step()
    trainer.close()
    assert {name: [len(images) for images in found] for name, found in read.items()} == PASSES[fields]
    everything = [images for found in read.values() for images in found]
    assert len(everything) == len(made)
    assert all(images is transformed for images, transformed in zip(everything, made, strict=True))


def test_penalties_are_on_gradients_with_respect_to_the_images_before(archive: Path) -> None:
    trainer = Trainer(tiny(), opened(archive), "cpu", before_d=halved)
    now = trainer._begin_step()
    trainer.close()
    latents = trainer.inputs.latents(8, None)
    cfg = GradientPenalty(gamma=10.0)
    found = phases.gradient_penalties(now.nets, cfg, now.reals, None, latents.label)
    expected = zero_centred_penalty(lambda x, label: trainer.d(halved(x), label), now.reals.images, 10.0)
    torch.testing.assert_close(found, expected)
    after = zero_centred_penalty(trainer.d, halved(now.reals.images), 10.0)
    torch.testing.assert_close(found, after / 4)  # the chain rule's 1/2, squared


def test_gradients_of_g_flow_through_the_transformation(archive: Path) -> None:
    """Where nothing of the images is left, none reach G."""
    norms = []
    for transform in (halved, lambda images: images * 0):
        trainer = Trainer(tiny("g_regularizer.weight=0"), opened(archive), "cpu", before_d=transform)
        norms.append(float(trainer.step()["grad_norm_g"]))
        trainer.close()
    assert norms[0] > 0
    assert norms[1] == 0


def test_without_one_nothing_changes(archive: Path) -> None:
    states = []
    for options in ({}, {"before_d": lambda images: images}, {"before_d": halved}):
        trainer = steps(Trainer(tiny(), opened(archive), "cpu", **options), 2)
        states.append({name: t.clone() for name, t in trainer.state()[0].items()})
        trainer.close()
    assert_equal(states[0], states[1])
    assert any(not torch.equal(t, states[2][name]) for name, t in states[0].items())
