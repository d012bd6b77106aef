"""Progressive growing in training: work at the active level equals the authors' at full resolution."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from presets.shrink import BATCH, RESOLUTION, STEPS_PER_PHASE, shrink
from styleloom import presets, sampling, snapshot
from styleloom.config import Adam, ByResolution, Experiment, GradientPenalty, Growth
from styleloom.config.growth import active_ws, phase_at
from styleloom.errors import UserError
from styleloom.networks.build import build_discriminator
from styleloom.runs.fit import fit, resume, start
from styleloom.sampling import Sampler
from styleloom.training.cutoffs import draw_cutoffs
from styleloom.training.regularizers import between, path_lengths, wgan_gradient_penalty, zero_centred_penalty
from styleloom.training.trainer import Trainer
from styleloom.types import GrowthState
from tiny import assert_equal, make_archive, opened, same_state, steps

GROWING = ("progan", "stylegan-a", "stylegan-f", "stylegan2-a", "stylegan2-d")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("growing"), 12, RESOLUTION)


# ---- penalties: at the active level as at full resolution


@pytest.mark.parametrize("family", ["progan", "stylegan-f", "stylegan2-d"])
@pytest.mark.parametrize(("level", "alpha"), [(0, 1.0), (1, 0.3), (1, 1.0), (2, 0.6), (2, 1.0)])
def test_penalties_equal_those_at_full_resolution(family: str, level: int, alpha: float) -> None:
    """The authors' discriminator reads repeated pixels, averages them, and is derived by them."""
    d = build_discriminator(shrink(presets.get(family)).discriminator)
    growth, factor = GrowthState(level, alpha), RESOLUTION // (4 << level)
    native = torch.randn(BATCH, 3, 4 << level, 4 << level)
    other, u = torch.randn_like(native), torch.rand(BATCH)

    def ours(images: Any, label: Tensor | None = None) -> Tensor:
        return d(images, label, growth)

    def theirs(images: Any, label: Tensor | None = None) -> Tensor:
        return d(F.avg_pool2d(images, factor), label, growth)

    def up(x: Tensor) -> Tensor:
        return x.repeat_interleave(factor, 2).repeat_interleave(factor, 3)

    scale = 1 / factor
    torch.testing.assert_close(
        zero_centred_penalty(ours, native, 10.0, gradient_scale=scale),
        zero_centred_penalty(theirs, up(native), 10.0),
    )
    for one_sided in (False, True):
        torch.testing.assert_close(
            wgan_gradient_penalty(
                ours, between(native, other, u), target=0.01, gradient_scale=scale, one_sided=one_sided
            ),
            wgan_gradient_penalty(
                theirs, between(up(native), up(other), u), target=0.01, one_sided=one_sided
            ),
        )


def test_trainer_scales_penalties(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the trainer binds: 1/2^k at k levels below the full resolution."""
    found = []
    from styleloom.training import phases

    original = phases.discriminator_main

    def spy(bound: Any, *rest: Any) -> Any:
        found.append((bound.growth.level if bound.growth else 2, bound.gradient_scale))
        return original(bound, *rest)

    monkeypatch.setattr(phases, "discriminator_main", spy)
    steps(Trainer(shrink(presets.get("progan")), opened(archive), "cpu"), 5 * STEPS_PER_PHASE)
    assert set(found) == {(0, 0.25), (1, 0.5), (2, 1.0)}


@given(st.integers(0, 3))
@settings(max_examples=4, deadline=None)
def test_path_lengths_need_no_scale(k: int) -> None:
    """Noise on repeated pixels adds up to noise of 2^k times the deviation, which the area takes back."""
    weight, factor = torch.randn(3 * 16, 2 * 5), 2**k
    ws = torch.randn(3, 2, 5, requires_grad=True)
    native = (ws.flatten(1) @ weight.t()).reshape(3, 3, 4, 4)
    full = native.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    y = torch.randn_like(full)
    summed = F.avg_pool2d(y, factor) * factor  # N(0, 1) again
    torch.testing.assert_close(path_lengths(full, ws, y), path_lengths(native, ws, summed))


# ---- transitions


@pytest.mark.parametrize("name", GROWING)
def test_optimizers_start_anew_where_a_fade_begins_or_ends(name: str, archive: Path) -> None:
    small = shrink(presets.get(name))
    trainer = Trainer(small, opened(archive), "cpu")
    ages = []
    for _ in range(4 * STEPS_PER_PHASE):
        phase = phase_at(trainer.images_seen, small.growth, RESOLUTION)
        trainer.step()
        ages.append((phase, max(int(s["step"]) for s in trainer.opt_d.state.values())))
    first = {}
    for index, (phase, age) in enumerate(ages):
        first.setdefault(phase, (index, age))
    assert len(first) >= 3
    lazy = small.d_regularizer.every > 1
    for index, age in first.values():
        # one update, and one more where the lazy penalty falls due: at step 0
        assert age == 1 + (lazy and index % small.d_regularizer.every == 0)
    trainer.close()


@pytest.mark.parametrize("name", ["stylegan-f", "stylegan2-d"])
def test_all_parameters_of_a_level_have_taken_as_many_steps(name: str, archive: Path) -> None:
    """In the authors' graph one count of steps serves the whole optimizer, and begins anew with it.

    Lazy steps count for what they do not reach; a level that becomes active is corrected like the others.
    Those that are not active have no moments: zeros would not move them.
    """
    experiment = shrink(presets.get(name))
    lazy = replace(experiment.d_regularizer, every=2 if experiment.d_regularizer.every > 1 else 1)
    trainer = Trainer(replace(experiment, d_regularizer=lazy), opened(archive), "cpu")
    phase, seen = None, set()
    for _ in range(5 * STEPS_PER_PHASE):
        if phase != (now := phase_at(trainer.images_seen, experiment.growth, RESOLUTION)):
            phase, expected = now, {"g": 0, "d": 0}
        stats = trainer.step()
        for key in expected:
            expected[key] += sum(stat.startswith(f"grad_norm_{key}") for stat in stats)
        for network, optimizer, key in ((trainer.g, trainer.opt_g, "g"), (trainer.d, trainer.opt_d, "d")):
            states = [optimizer.state[p] for p in network.parameters() if p in optimizer.state]
            assert {int(state["step"]) for state in states} == {expected[key]}
            seen.add((phase, len(states)))
    assert len(seen) > 5
    trainer.close()


def test_batch_and_rate_follow_the_level(archive: Path) -> None:
    """The new level's values hold from the beginning of its fade; samples continue in their order."""
    small = shrink(presets.get("stylegan-f"))
    small = replace(
        small,
        batch=ByResolution(4, ((8, 8), (16, 4))),
        learning_rate=ByResolution(0.001, ((16, 0.003),)),
        growth=Growth("progressive", 8, 0.016, 0.016),
    )
    trainer = Trainer(small, opened(archive), "cpu")
    rows = []
    for _ in range(5):
        before = trainer.images_seen
        trainer.step()
        rows.append((trainer.images_seen - before, trainer.opt_g.param_groups[0]["lr"]))
        assert trainer.inputs.loader.position == trainer.images_seen
        side = 8 if before <= 16 else 16  # at 16 images the fade has not begun
        assert trainer.inputs.loader.dataset.resolution == side
    assert rows == [(8, 0.001), (8, 0.001), (8, 0.001), (4, 0.003), (4, 0.003)]


@given(level=st.integers(0, 7), probability=st.sampled_from([0.5, 1.0]))
@settings(max_examples=20, deadline=None)
def test_mixing_cuts_among_active_layers(level: int, probability: float) -> None:
    active = active_ws(GrowthState(level, 0.5), 18)
    assert active == 2 * (level + 1)
    cuts = draw_cutoffs(4000, 18, probability, torch.Generator().manual_seed(level), active, 1)
    mixed = cuts[cuts < 18]
    assert len(mixed) > 1500
    assert set(mixed.tolist()) == set(range(1, active))


def test_the_average_moves_before_g_where_d_is_first(archive: Path) -> None:
    for name, moved in (("stylegan-f", False), ("stylegan2-d", True)):
        trainer = Trainer(shrink(presets.get(name)), opened(archive), "cpu")
        start_weights = [p.clone() for p in trainer.ema.parameters()]
        trainer.step()
        same = all(torch.equal(a, b) for a, b in zip(start_weights, trainer.ema.parameters(), strict=True))
        assert same != moved
        assert any(not torch.equal(a, b) for a, b in zip(start_weights, trainer.g.parameters(), strict=True))


# ---- a whole run


def growing_run(name: str) -> Experiment:
    small = shrink(presets.get(name))
    run = replace(
        small.run, tick_kimg=ByResolution(BATCH / 1000), sample_every=1, snapshot_every=1, state_every=1,
        keep_snapshots=0, swd_images=4,
    )  # fmt: skip
    growth = replace(small.growth, stabilize_kimg=0.016, fade_kimg=0.016)
    return replace(small, run=run, batch=ByResolution(BATCH, ((8, 8),)), growth=growth, total_kimg=0.088)


@pytest.mark.parametrize("name", ["progan", "stylegan2-d"])
def test_an_interrupted_growing_run_continues_exactly(name: str, archive: Path, tmp_path: Path) -> None:
    """Stopped in a fade and at a change of batch, through the run directory."""
    experiment = growing_run(name)
    whole, run = start(tmp_path / "whole", experiment, opened(archive), "cpu")
    assert fit(whole, run)
    parts, directory = start(tmp_path / "parts", experiment, opened(archive), "cpu")
    while parts.images_seen < experiment.total_kimg * 1000:
        fit(parts, directory, max_minutes=0)  # one step
        parts.close()
        parts, directory = resume(directory.path, opened(archive), device="cpu")
    same_state(parts, whole)
    lines = directory.stats.read()
    assert [line["step"] for line in lines] == list(range(1, parts.step_count + 1))
    levels = [line["level"] for line in lines]
    assert levels[-1] is None
    assert 1 in levels
    assert any(line["alpha"] not in (None, 1.0) for line in lines)


def test_pictures_and_snapshots_of_a_growing_run(archive: Path, tmp_path: Path) -> None:
    """Grids keep one size; a snapshot makes images of the level it was taken at, faded as it was."""
    experiment = growing_run("stylegan2-d")
    trainer, run = start(tmp_path / "run", experiment, opened(archive), "cpu")
    found, complete = set(), False
    while not complete:
        complete = fit(trainer, run, max_minutes=0)  # one step
        sampler = sampling.load(run.snapshots()[-1], "cpu", "fp32")
        images = sampler.generate([0, 1])
        assert images.shape[2:] == sampler.size == (sampler.resolution,) * 2
        expected = Sampler(trainer.ema, trainer.experiment, trainer.growth).generate([0, 1])
        assert torch.equal(images, expected)
        found.add((sampler.resolution, sampler.growth is None))
        if trainer.growth is not None:  # distances of lower levels are no rivals
            assert not (run.path / "snapshot-best.safetensors").exists()
    assert found >= {(8, False), (16, False), (16, True)}
    sizes = set()
    for file in run.path.glob("fakes-*.png"):
        with Image.open(file) as picture:
            sizes.add(picture.size)
    assert sizes == {(16 * RESOLUTION, 8 * RESOLUTION)}
    full = [line["swd"] for line in run.stats.read() if line["swd"] is not None and line["level"] is None]
    assert snapshot.read_snapshot(run.path / "snapshot-best.safetensors").info["swd"] == min(full)
    trainer.close()


def test_noise_of_inactive_levels_is_not_drawn(archive: Path) -> None:
    """It would take the memory of the full resolution; the maps in use are the same."""
    trainer = Trainer(shrink(presets.get("stylegan2-d")), opened(archive), "cpu")
    growing = Sampler(trainer.ema, trainer.experiment, GrowthState(1, 1.0))
    z, maps = growing.draw([3, 4])
    other_z, all_maps = Sampler(trainer.ema, trainer.experiment).draw([3, 4])
    assert torch.equal(z, other_z)
    active = active_ws(growing.growth, 6) - 1  # 4 px has one
    assert all(torch.equal(a, b) for a, b in zip(maps[:active], all_maps, strict=False))
    assert [m.numel() for m in maps[active:]] == [0] * (len(all_maps) - active)
    assert len(maps) == len(all_maps) > active
    trainer.close()


def test_levels_that_do_not_fit_in_memory_are_decoded(
    archive: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Slower, and said once for the level; the same steps."""
    small = shrink(presets.get("stylegan2-d"))
    a = steps(Trainer(small, opened(archive), "cpu"), 3)
    assert "--cache-gib" not in caplog.text
    b = steps(Trainer(small, opened(archive), "cpu", cache_gib=0), 3)
    assert caplog.text.count("the images of 8 px take more than 0 GiB") == 1
    same_state(a, b)
    a.close(), b.close()


# ---- contradictions


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"growth": Growth("progressive", 32)}, "growth.initial_resolution"),
        ({"compile": "first-order"}, "compile"),
        ({"optimizer": "rmsprop", "adam": Adam(beta1=0.5)}, "adam.beta1: 0.5 is not valid with optimizer"),
    ],
)
def test_contradictions_of_growing(change: dict[str, Any], word: str) -> None:
    with pytest.raises(UserError, match=word):
        replace(shrink(presets.get("stylegan-f")), **change)


def test_what_cannot_be_is_refused_at_construction() -> None:
    with pytest.raises(UserError, match=r"growth.stabilize_kimg: 0 is not valid together"):
        Growth("progressive", 8, 0, 0)
    with pytest.raises(UserError, match=r"d_regularizer.target: 2 is not valid with .* zero-centred"):
        GradientPenalty(target=2)
    for name in ("progan", "stylegan-b", "stylegan-traditional-8"):
        small = shrink(presets.get(name))
        message = rf"run.sample_truncation: 0.7 is not valid, the {small.generator.family} generator"
        with pytest.raises(UserError, match=message):
            replace(small, run=replace(small.run, sample_truncation=0.7))
    traditional = presets.get("stylegan-traditional-8").generator
    assert traditional.has_w  # whose path length Table 4 has, though nothing is truncated
    assert not traditional.truncates


def test_networks_that_do_not_grow_are_refused() -> None:
    small = shrink(presets.get("stylegan2-f"))
    with pytest.raises(UserError, match=r"growth.mode: 'progressive'.*stylegan2 generator"):
        replace(small, growth=Growth("progressive"))


def test_states_of_different_levels_differ(archive: Path) -> None:
    """The comparison above would notice."""
    small = shrink(presets.get("stylegan2-d"))
    a, b = (Trainer(small, opened(archive), "cpu") for _ in range(2))
    steps(a, 3), steps(b, 2)
    with pytest.raises(AssertionError):
        assert_equal(a.state()[0], b.state()[0])
