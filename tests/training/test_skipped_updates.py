"""Updates that are not finite are skipped, leave no trace, and end a run when they go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from styleloom.errors import UserError
from styleloom.training import trainer as trainer_module
from styleloom.training.trainer import Trainer
from tiny import steps


def infinite(trainer: Trainer, when: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make gradients of the named kinds of updates NaN."""
    update = trainer._update

    def poisoned(kind: str, now: Any) -> None:
        if kind in when:
            net = trainer.networks()[kind[0]]
            next(p.grad for p in net.parameters() if p.grad is not None).view(-1)[0] = torch.nan
        update(kind, now)

    monkeypatch.setattr(trainer, "_update", poisoned)


@pytest.mark.parametrize("kind", ["g", "g_path", "d", "d_penalty"])
def test_a_skipped_update_changes_nothing(kind: str, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = steps(make("g_regularizer.every=2", "d_regularizer.every=2"), 2)
    trainer._update, kept = trainer._update, trainer._update
    network, optimizer = (trainer.g, trainer.opt_g) if kind[0] == "g" else (trainer.d, trainer.opt_d)
    seen: list[bool] = []

    def watch(name: str, now: Any) -> None:
        if name != kind:
            kept(name, now)
            return
        next(p.grad for p in network.parameters() if p.grad is not None).view(-1)[0] = -torch.inf
        before = [p.clone() for p in network.parameters()]
        moments = [{k: v.clone() for k, v in optimizer.state[p].items()} for p in network.parameters()]
        kept(name, now)
        after = list(network.parameters())
        seen.append(all(torch.equal(a, b) for a, b in zip(before, after, strict=True)))
        for p, old in zip(after, moments, strict=True):
            seen.append(all(torch.equal(v, optimizer.state[p][k]) for k, v in old.items()))
        assert all(p.grad is None for p in network.parameters())

    monkeypatch.setattr(trainer, "_update", watch)
    stats = trainer.step()
    assert seen
    assert all(seen)
    assert trainer.skipped == {"g": int(kind[0] == "g"), "d": int(kind[0] == "d")}
    assert not torch.isfinite(stats["grad_norm_" + kind])


def test_a_path_length_that_is_nan_does_not_stay(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = steps(make("g_regularizer.every=1"), 1)
    before = trainer.path_mean.clone()
    lengths = trainer_module.phases.regularizers.path_lengths
    with monkeypatch.context() as patch:
        patch.setattr(trainer_module.phases.regularizers, "path_lengths", lambda *a: lengths(*a) * torch.nan)
        trainer.step()
    assert trainer.skipped["g"] == 1
    assert torch.equal(trainer.path_mean, before)
    trainer.step()
    assert trainer.skipped["g"] == 1
    assert torch.isfinite(trainer.path_mean)


@pytest.mark.parametrize("kind", ["g", "g_path", "d", "d_penalty"])
def test_too_many_skipped_updates_end_the_run(kind: str, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one kind: that the other updates succeed does not hide it."""
    trainer = make("run.max_skipped=3", "g_regularizer.every=2", "d_regularizer.every=2")
    infinite(trainer, {kind}, monkeypatch)
    with pytest.raises(UserError, match=rf"3 updates \({kind}\) in a row were skipped: .*learning rate"):
        steps(trainer, 10)
    assert trainer.step_count == (3 if "_" not in kind else 5)
    assert trainer.images_seen == trainer.inputs.loader.position == 8 * trainer.step_count  # between steps
    trainer.step()  # counted anew


def test_a_success_breaks_the_row(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make("run.max_skipped=2")
    when: set[str] = set()
    infinite(trainer, when, monkeypatch)
    for kinds in ({"g"}, set[str](), {"g"}, set[str]()):
        when.clear()
        when.update(kinds)
        trainer.step()
    assert trainer.skipped["g"] == 2


def test_an_image_that_cannot_be_read_changes_nothing(
    archive: Path, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = steps(make(), 1)
    before = {name: t.clone() for name, t in trainer.state()[0].items()}

    def broken(count: int) -> Any:
        raise UserError("x.zip: 3.png is damaged")

    monkeypatch.setattr(trainer.inputs.loader, "next", broken)
    with pytest.raises(UserError, match="damaged"):
        trainer.step()
    tensors, document = trainer.state()
    assert document["counters"]["step"] == 1
    assert all(torch.equal(before[name], t) for name, t in tensors.items())
