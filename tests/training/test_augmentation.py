"""Augmentation in training: every family, exact resume with p, old states, what D reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from presets.shrink import RESOLUTION, shrink
from styleloom import presets
from styleloom.config import Augmentation
from styleloom.errors import UserError
from styleloom.training.trainer import Trainer
from tiny import assert_equal, make_archive, opened, same_state, steps, tiny

ADA: Any = Augmentation("ada", 0.5, set=("bgcfnc",), every=4, kimg=0.2)
FAMILIES = ("progan", "stylegan-f", "msg-progan", "msg-stylegan", "stylegan2-d", "stylegan2-f")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("augmentation")


def copied(trainer: Trainer) -> Any:
    tensors, document = trainer.state()
    return {name: t.clone() for name, t in tensors.items()}, document


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_resumes_exactly_between_two_adjustments(name: str, folder: Path) -> None:
    """Growing levels and pyramids, grey images; the state is that of step 6, p moves at 4, 8, 12."""
    archive = make_archive(folder, 8, RESOLUTION, 1)
    experiment = replace(shrink(presets.get(name)).with_data(channels=1), augment=ADA)
    trainer = steps(Trainer(experiment, opened(archive), "cpu"), 6)
    state, p = copied(trainer), trainer.augment.p
    assert p != 0.5
    steps(trainer, 6)
    assert trainer.augment.p != p
    torch.manual_seed(99)
    other = Trainer(experiment, opened(archive), "cpu")
    other.load_state(*state)
    assert other.augment.p == p
    steps(other, 6)
    same_state(trainer, other)
    for each in (trainer, other):
        each.close()


def test_p_follows_the_signs_of_d(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up while reals are all above zero, down while they are below, and in the statistics."""
    trainer = Trainer(tiny(augment=replace(ADA, kimg=1.0, every=1)), opened(make_archive(folder)), "cpu")
    step, seen = Trainer._end_step, []
    for sign in (1.0, 1.0, -1.0):

        def ended(self: Trainer, now: Any, sign: float = sign) -> Any:
            now.stats["sign_real"] = torch.tensor(sign)
            return step(self, now)

        monkeypatch.setattr(Trainer, "_end_step", ended)
        seen.append(float(trainer.step()["augment_p"]))
    trainer.close()
    torch.testing.assert_close(seen, [0.508, 0.516, 0.508], rtol=1e-5, atol=0)


def test_d_reads_transformed_images_in_every_pass(folder: Path) -> None:
    """Without probability it reads the images themselves, and training takes the steps of one without."""
    read: list[Tensor] = []
    states = []
    for augment in (Augmentation(), Augmentation("fixed", 0.0), Augmentation("fixed", 1.0, ("brightness",))):
        trainer = Trainer(tiny(augment=augment), opened(make_archive(folder)), "cpu")
        trainer.d.register_forward_pre_hook(lambda d, args: read.append(args[0].detach()))
        trainer.step()
        states.append(copied(trainer)[0])
        trainer.close()
    plain, transformed = read[: len(read) // 3], read[-len(read) // 3 :]
    assert len(plain) == len(transformed) == 3
    assert all(not torch.equal(a, b) for a, b in zip(plain, transformed, strict=True))
    assert_equal(states[0], states[1])
    assert any(not torch.equal(t, states[2][name]) for name, t in states[0].items())


def test_states_from_before(folder: Path) -> None:
    """A state without p begins with that of the settings; p of another kind is damage."""
    archive = make_archive(folder)
    old = steps(Trainer(tiny(), opened(archive), "cpu"), 2)
    tensors, document = copied(old)
    assert not any(name.startswith("augment.") for name in tensors)
    trainer = Trainer(tiny(augment=ADA), opened(archive), "cpu")
    trainer.load_state(tensors, document)
    assert (trainer.augment.p, trainer.step_count) == (0.5, 2)
    wrong = {**trainer.state()[0], "augment.p": torch.zeros(2)}
    with pytest.raises(UserError, match=r"damaged, augment\.p is"):
        trainer.load_state(wrong, document)
    for each in (old, trainer):
        each.close()
