"""Every preset builds, trains both networks at every level, is saved, resumed bit for bit, and planned."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from every import every
from presets.shrink import BATCH, RESOLUTION, STEPS_PER_PHASE, shrink
from styleloom import presets, snapshot
from styleloom.config import Experiment, from_json, to_json
from styleloom.networks.assembly import finest
from styleloom.runs.plan import parameter_table, timeline, training_flops
from styleloom.sampling import Sampler
from styleloom.training.trainer import Trainer
from tiny import make_archive, opened, same_state, steps

SMALL = {name: shrink(presets.get(name)) for name in presets.names()}
"""Presets differ in fields that miniatures share: each miniature is trained once."""


DISTINCT = {small: name for name, small in reversed(SMALL.items())}
NAMES = [name for name, small in SMALL.items() if DISTINCT[small] == name]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("presets"), 12, RESOLUTION)


def levels(small: Experiment) -> int:
    """Levels that a growing experiment passes; 1 otherwise."""
    if small.growth.mode == "none":
        return 1
    return int(math.log2(RESOLUTION // small.growth.initial_resolution)) + 1


@every("name", presets.names())
def test_json_and_plan(name: str) -> None:
    """The preset itself, at full size: nothing is allocated."""
    experiment = presets.get(name)
    assert from_json(json.loads(json.dumps(to_json(experiment)))) == experiment
    rows = timeline(experiment)
    assert rows[0]["kimg"] == 0
    assert rows[-1]["kimg"] == experiment.total_kimg
    assert rows[-1]["resolution"] == experiment.resolution


@pytest.mark.parametrize("name", NAMES)
def test_trains_at_every_level(name: str, archive: Path, tmp_path: Path) -> None:
    small = SMALL[name]
    trainer = Trainer(small, opened(archive), "cpu")
    seen: set[int | None] = set()
    penalties: list[float] = []
    networks = (trainer.g, trainer.d)
    previous = [[p.detach().clone() for p in network.parameters()] for network in networks]
    for _ in range((2 * levels(small) - 1) * STEPS_PER_PHASE):
        growth = trainer.growth
        stats = trainer.step()
        seen.add(None if growth is None else growth.level)
        assert all(bool(torch.isfinite(value).all()) for value in stats.values())
        penalties.append(stats.get("d_penalty", torch.zeros(())).item())
        for network, before in zip(networks, previous, strict=True):  # at this very level, both moved
            moved = any(not torch.equal(p, b) for p, b in zip(network.parameters(), before, strict=True))
            assert moved == (trainer.opt_g.param_groups[0]["lr"] > 0)  # a ramp begins at zero
        previous = [[p.detach().clone() for p in network.parameters()] for network in networks]
    assert trainer.growth is None  # at full resolution
    first = int(math.log2(small.growth.initial_resolution)) - 2
    expected = {None} if small.growth.mode == "none" else {None, *range(first, first + levels(small))}
    assert seen == expected
    assert trainer.skipped == {"g": 0, "d": 0}
    if small.d_regularizer.kind != "one-sided":  # which is 0 where norms stay below the target
        assert (max(penalties) > 0) == small.d_regularizer.active

    path = tmp_path / "snapshot.safetensors"
    snapshot.write_snapshot(path, trainer.ema, trainer.experiment, images_seen=trainer.images_seen)
    loaded = Sampler.of(snapshot.read_snapshot(path), "cpu", "fp32")
    images = loaded.generate(range(3))
    assert images.shape == (3, 3, RESOLUTION, RESOLUTION)
    assert torch.equal(images, Sampler(trainer.ema, trainer.experiment).generate(range(3)))
    z, maps = loaded.draw(range(3))
    with torch.no_grad():  # a pass of three images, where the sampler's has its own size: rounding differs
        torch.testing.assert_close(finest(trainer.ema(z, noise=maps)), images, rtol=0, atol=1e-4)
    trainer.close()


@pytest.mark.parametrize("name", NAMES)
def test_resumes_bit_for_bit(name: str, archive: Path) -> None:
    """From the middle of a fade, where there is one, across its end; else from the middle of the lazy
    intervals."""
    small = SMALL[name]
    before, after = STEPS_PER_PHASE + 1, STEPS_PER_PHASE + 1
    straight = steps(Trainer(small, opened(archive), "cpu"), before)
    if small.growth.mode == "progressive":
        assert straight.growth is not None
        assert 0 < straight.growth.alpha < 1
    tensors, document = straight.state()
    tensors = {key: t.clone() for key, t in tensors.items()}
    document = json.loads(json.dumps(document))
    steps(straight, after)
    torch.manual_seed(123)  # whatever else happens
    other = Trainer(small, opened(archive), "cpu")
    other.load_state(tensors, document)
    same_state(steps(other, after), straight)


@pytest.mark.parametrize("name", NAMES)
def test_micro_batches_and_plan_of_the_miniature(name: str, archive: Path) -> None:
    small = SMALL[name]
    assert training_flops(small) > 0
    totals = {network: count for network, part, count in parameter_table(small) if part == "total"}
    assert set(totals) == {"generator", "discriminator"}
    if small.loss == "relativistic-hinge":  # compares with the whole batch, and says so
        return
    micro = max(small.discriminator.minibatch_std.group_size, BATCH)
    parts = replace(small, batch=replace(small.batch, base=2 * micro), micro_batch=micro)
    trainer = steps(Trainer(parts, opened(archive), "cpu"), 2)
    assert trainer.images_seen == 4 * micro
    trainer.close()
