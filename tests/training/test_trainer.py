"""One training step against a plain re-implementation, and what surrounds it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from styleloom.config.seeds import MAX_TRAINING_SEED
from styleloom.errors import UserError
from styleloom.training import trainer as trainer_module
from tiny import steps

from .plain_training import Plain, Reals

ALWAYS = ["g_regularizer.every=1", "d_regularizer.every=1"]

PLAIN_CASES = {
    "f": [],
    "other intervals": ["g_regularizer.every=3", "d_regularizer.every=2", "ema_half_life_kimg=0.02"],
    "r1 in the main loss": ["d_regularizer.every=1", "d_regularizer.gamma=2"],
    "configuration c": ["g_regularizer.weight=0"],
    "no mixing": ["style_mixing=0"],
    "mixing always": ["style_mixing=1", "g_regularizer.batch_shrink=1"],
    "beta1": ["adam.beta1=0.5", "adam.beta2=0.9", "g_regularizer.every=2", "d_regularizer.every=2"],
    "rmsprop": ["optimizer=rmsprop", "g_regularizer.every=2", "d_regularizer.every=2"],
    "both in the main loss": [*ALWAYS, "step_order=d-first"],
    "r2 in the main loss": [*ALWAYS, "d_regularizer.r2_gamma=2", "g_regularizer.batch_shrink=1"],
    "wgan-gp in the main loss": [*ALWAYS, "d_regularizer.kind=two-sided", "d_regularizer.target=2"],
    "one-sided in the main loss": [*ALWAYS, "d_regularizer.kind=one-sided", "step_order=average-last"],
    "d first": ["step_order=d-first"],
    "pairs": ["loss=relativistic-pairing", "d_regularizer.r2_gamma=1", "d_regularizer.every=2"],
    "pairs in the main loss": ["loss=relativistic-pairing", *ALWAYS, "d_regularizer.r2_gamma=2"],
    "latents shared": ["step_order=average-last", "shared_latents=true"],
}


@pytest.mark.parametrize("name", PLAIN_CASES)
def test_steps_equal_a_plain_implementation(name: str, archive: Path, make: Any) -> None:
    """Adam's epsilon is large, so that gradients that are nothing but rounding do not become +-lr."""
    trainer = make(*PLAIN_CASES[name], "adam.epsilon=0.001", "batch=8", "d_regularizer.gamma=1")
    plain = Plain(trainer.experiment, Reals(archive, trainer.experiment))
    draws = plain.draws
    torch.manual_seed(7)
    noise = torch.get_rng_state()
    for _ in range(5):
        torch.set_rng_state(noise)
        trainer.step()
        after = torch.get_rng_state()
        torch.set_rng_state(noise)
        plain.step(8)
        assert torch.equal(torch.get_rng_state(), after)  # as much noise, in the same order
        noise = after
    assert torch.equal(draws.get_state(), trainer.inputs.draws.get_state())
    torch.testing.assert_close(plain.path_mean, trainer.path_mean)
    pairs = {
        "g": (trainer.g.state_dict(), plain.g.state_dict()),
        "ema": (trainer.ema.state_dict(), plain.ema),
        "d": (trainer.d.state_dict(), plain.d.state_dict()),
    }
    for ours, theirs in pairs.values():
        assert ours.keys() == theirs.keys()
        torch.testing.assert_close(dict(ours), dict(theirs), rtol=1e-4, atol=2e-6)


def test_the_plain_implementation_would_notice(archive: Path, make: Any) -> None:
    """A wrong R1 weight, interval or average shows beyond the tolerance of the comparison."""
    fields = ["adam.epsilon=0.001", "d_regularizer.gamma=1"]
    states = []
    for change in ("d_regularizer.gamma=1", "d_regularizer.gamma=1.01", "g_regularizer.weight=2.02"):
        states.append(steps(make(*fields, change), 1))
    d = [max((a - b).abs().max() for a, b in zip(states[0].d.parameters(), s.d.parameters(), strict=True))
         for s in states[1:]]  # fmt: skip
    g = max(
        (a - b).abs().max() for a, b in zip(states[0].g.parameters(), states[2].g.parameters(), strict=True)
    )
    assert d[0] > 4e-6
    assert g > 4e-6


# ---- order


def test_the_order_of_a_step(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """G, path length, average, D, R1 on D's own reals; both regularizers at step 0."""
    trainer = make("g_regularizer.every=2", "d_regularizer.every=3")
    events: list[str] = []
    reals: list[Tensor] = []
    for name in ("generator_main", "generator_path_length", "discriminator_main", "discriminator_penalty"):
        run = getattr(trainer_module.phases, name)

        def phase(*args: Any, name: str = name, run: Any = run) -> Any:
            events.append(name)
            if name.startswith("disc"):
                reals.append(args[3].images)
            return run(*args)

        monkeypatch.setattr(trainer_module.phases, name, phase)
    average = trainer_module.update_ema
    monkeypatch.setattr(trainer_module, "update_ema", lambda *a: (events.append("average"), average(*a)))
    for optimizer, name in ((trainer.opt_g, "adam g"), (trainer.opt_d, "adam d")):
        optimizer.register_step_post_hook(lambda *_, name=name: events.append(name))
    main_g, main_d = ["generator_main", "adam g"], ["discriminator_main", "adam d"]
    path, r1 = ["generator_path_length", "adam g"], ["discriminator_penalty", "adam d"]
    expected = [
        [*main_g, *path, "average", *main_d, *r1],
        [*main_g, "average", *main_d],
        [*main_g, *path, "average", *main_d],
        [*main_g, "average", *main_d, *r1],
    ]
    for step in expected:
        events.clear(), reals.clear()
        stats = trainer.step()
        assert events == step
        assert all(torch.equal(x, reals[0]) for x in reals)
        assert ("path_length" in stats) == ("generator_path_length" in step)
        assert ("d_penalty" in stats) == ("discriminator_penalty" in step)


def test_penalties_are_not_zero_where_they_are_configured(make: Any) -> None:
    stats = make().step()
    assert stats["path_penalty"] > 0
    assert stats["d_penalty"] > 0
    assert make("d_regularizer.every=1").step()["d_penalty"] > 0


@pytest.mark.parametrize(
    ("fields", "g", "d"),
    [
        ([], 4 / 5, 16 / 17),
        (["g_regularizer.every=8"], 8 / 9, 16 / 17),
        (["g_regularizer.weight=0"], 4 / 5, 16 / 17),  # configuration C
        (["d_regularizer.gamma=0"], 4 / 5, 16 / 17),
        (["g_regularizer.every=1", "d_regularizer.every=1"], 1, 1),  # A and B
    ],
)
def test_learning_rate_and_betas(fields: list[str], g: float, d: float, make: Any) -> None:
    trainer = make(*fields, "learning_rate=0.002", "learning_rate.at.8=0.004", "adam.beta1=0.5")
    for _ in range(2):  # at construction, and when a step has set the rate
        for optimizer, c in ((trainer.opt_g, g), (trainer.opt_d, d)):
            (group,) = optimizer.param_groups
            assert group["lr"] == pytest.approx(0.004 * c)
            assert group["betas"] == pytest.approx((0.5**c, 0.99**c))
            assert group["eps"] == 1e-8
        trainer.step()


def test_main_and_regularization_share_moments(make: Any) -> None:
    trainer = steps(make("g_regularizer.every=2", "d_regularizer.every=3"), 3)
    weight = trainer.g.synthesis_network.blocks[0].conv.weight
    assert trainer.opt_g.state[weight]["step"] == 3 + 2
    assert trainer.opt_d.state[next(trainer.d.parameters())]["step"] == 3 + 1


@pytest.mark.parametrize("order", ["g-first", "d-first", "average-last"])
def test_a_regularizer_of_every_step_takes_no_update_of_its_own(order: str, make: Any) -> None:
    """With interval 1 it is a term of the main loss, in micro-batches too."""
    for kind in ("zero-centred", "two-sided", "one-sided"):
        trainer = make(*ALWAYS, f"step_order={order}", f"d_regularizer.kind={kind}", "micro_batch=4")
        for count in (1, 2):
            stats = trainer.step()
            assert {"path_penalty", "d_penalty"} <= stats.keys()
            assert {name for name in stats if name.startswith("grad_norm")} == {"grad_norm_g", "grad_norm_d"}
            for optimizer in (trainer.opt_g, trainer.opt_d):
                assert {int(state["step"]) for state in optimizer.state.values()} == {count}


# ---- averages


def test_running_means_take_no_pass_that_is_not_finite(make: Any) -> None:
    """Else one such pass would leave the average of w, and all that is truncated towards it, NaN for good."""
    trainer = make()
    before = trainer.g.w_avg.clone()
    for bad in (torch.nan, torch.inf, -torch.inf):
        mean = torch.ones_like(before)
        mean[0] = bad
        trainer.g.update_w_avg(mean)
        assert torch.equal(trainer.g.w_avg, before)
    mean = torch.randn_like(before)
    trainer.g.update_w_avg(mean)
    assert torch.equal(trainer.g.w_avg, before.lerp(mean, 1 - trainer.g.w_avg_beta))


def test_w_avg_takes_every_mapping_pass(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make("g_regularizer.every=2")
    means: list[Tensor] = []
    update = trainer.g.update_w_avg
    monkeypatch.setattr(trainer.g, "update_w_avg", lambda w: (means.append(w), update(w)))
    assert not trainer.g.w_avg.any()
    steps(trainer, 2)
    assert len(means) == 3 + 2  # G, path length, D; G, D
    expected = torch.zeros(16)
    for mean in means:
        expected = 0.995 * expected + 0.005 * mean
    torch.testing.assert_close(trainer.g.w_avg, expected)


def test_w_avg_is_that_of_the_first_latent(make: Any) -> None:
    """Mixing changes neither the average nor the first latents."""
    averages = [make(f"style_mixing={p}", "learning_rate=1e-30") for p in (0, 1)]
    for trainer in averages:
        steps(trainer, 2)
    assert averages[0].g.w_avg.any()
    torch.testing.assert_close(averages[0].g.w_avg, averages[1].g.w_avg)


def test_the_half_life_of_the_average(make: Any) -> None:
    """After half_life images half of a constant difference is left."""
    trainer = make("ema_half_life_kimg=0.032", "learning_rate=1e-30")
    with torch.no_grad():
        for p in trainer.ema.parameters():
            p.add_(1)
    steps(trainer, 4)  # 32 images
    for ours, theirs in zip(trainer.ema.parameters(), trainer.g.parameters(), strict=True):
        torch.testing.assert_close(ours - theirs, torch.full_like(ours, 0.5), rtol=1e-4, atol=1e-4)
    assert not any(p.requires_grad for p in trainer.ema.parameters())


# ---- micro-batches


@pytest.mark.parametrize(
    "fields",
    [
        [],
        ["d_regularizer.every=1"],
        ["loss=wgan"],
        ["loss=relativistic-pairing", "d_regularizer.r2_gamma=1", "label_dim=2"],
        ["style_mixing=0"],
        ["label_dim=2"],
    ],
)
def test_micro_batches_add_up(fields: list[str], make: Any) -> None:
    """Noise maps are drawn in another order and switched off here, path length's y for the same reason."""
    common = [*fields, "batch=16", "g_regularizer.weight=0", "adam.epsilon=0.001", "data.mirror=horizontal"]
    trainers = [make(*common, f"micro_batch={size}") for size in (0, 8, 4)]
    results = []
    for trainer in trainers:
        for block in trainer.g.synthesis_network.blocks:
            for layer in (block.conv_up, block.conv):
                if layer is not None:
                    layer.noise.forward = lambda batch, noise: None
        results.append([trainer.step() for _ in range(3)])
    whole = trainers[0]
    for trainer, stats in zip(trainers[1:], results[1:], strict=True):
        for ours, theirs in zip(results[0], stats, strict=True):
            assert ours.keys() == theirs.keys()
            for name, value in ours.items():
                if not name.startswith(("distance_", "nearest_")):  # of pairs within a micro-batch
                    torch.testing.assert_close(value, theirs[name], rtol=1e-3, atol=1e-4)
        for a, b in ((whole.g, trainer.g), (whole.ema, trainer.ema), (whole.d, trainer.d)):
            for key, value in a.state_dict().items():
                torch.testing.assert_close(value, b.state_dict()[key], rtol=1e-4, atol=5e-6)


def test_micro_batches_keep_the_groups_of_minibatch_std(make: Any) -> None:
    """Groups of 4 in a batch of 16 are i, i + 4, ...: micro-batches k, k + parts, ... hold whole groups."""
    trainer = make("batch=16", "micro_batch=4")
    images = torch.randn(16, 3, 8, 8)
    with torch.no_grad():
        whole = trainer.d(images)
        for k in range(4):
            torch.testing.assert_close(trainer.d(images[k::4]), whole[k::4])
    shuffled = trainer.d(images[torch.randperm(16)])
    assert not torch.allclose(shuffled.sort().values, whole.sort().values)


def test_the_path_mean_is_the_average_over_micro_batches(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make("batch=16", "micro_batch=8")
    trainer.path_mean = torch.tensor(0.5)
    found: list[Tensor] = []
    run = trainer_module.phases.generator_path_length

    def phase(bound: Any, experiment: Any, latents: Any, batch: int, mean: Tensor, *rest: Any) -> Any:
        assert (len(latents), batch, mean) == (4, 8, 0.5)
        stats = run(bound, experiment, latents, batch, mean, *rest)
        found.append(stats["path_length"])
        return stats

    monkeypatch.setattr(trainer_module.phases, "generator_path_length", phase)
    trainer.step()
    assert len(found) == 2
    expected = sum(0.5 + 0.01 * (length - 0.5) for length in found) / 2
    torch.testing.assert_close(trainer.path_mean, expected)


@pytest.mark.parametrize("fields", [["batch=1"], ["batch=2"], ["batch=3"], ["batch=4", "micro_batch=4"]])
def test_small_batches(fields: list[str], make: Any) -> None:
    stats = steps(make(*fields), 2).step()
    assert all(torch.isfinite(value) for value in stats.values())


# ---- what a trainer refuses


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["resolution=16"], "has resolution 8, the experiment 16"),
        (["channels=1"], "has channels 3, the experiment 1; train with --set channels=3"),
        (["label_dim=3"], "has label_dim 2, the experiment 3"),
        (["data.held_out=20"], "held_out: 20 leaves nothing of 20 images"),
        (["seed=-1"], "seed: -1 is not valid"),
        ([f"seed={MAX_TRAINING_SEED + 1}"], "seed: .* is not valid"),
        (["total_kimg=0"], "total_kimg: 0 is not valid, it must be more than 0"),
        (["learning_rate=0"], "learning_rate: 0 is not valid"),
        (["learning_rate.at.8=-1"], "learning_rate.at.8: -1 is not valid"),
        (["run.tick_kimg=0"], "run.tick_kimg: 0 is not valid"),
        (["adam.beta1=1"], "adam.beta1: 1 is not valid"),
        (["adam.epsilon=0"], "adam.epsilon: 0 is not valid"),
        (["ema_half_life_kimg=-1"], "ema_half_life_kimg: -1 is not valid"),
    ],
)
def test_refusals(overrides: list[str], message: str, make: Any) -> None:
    with pytest.raises(UserError, match=message):
        make(*overrides)


def test_the_largest_seed_works(make: Any) -> None:
    assert make(f"seed={MAX_TRAINING_SEED}").step()["loss_g"] > 0


def test_seeds_and_equal_runs(make: Any) -> None:
    a, b, c = (steps(make(f"seed={seed}"), 2).state()[0] for seed in (0, 0, 1))
    assert all(torch.equal(t, b[name]) for name, t in a.items())
    assert not torch.equal(a["g.synthesis_network.const"], c["g.synthesis_network.const"])


def test_labels_reach_both_networks(make: Any) -> None:
    trainer = make("label_dim=2")
    before = trainer.g.mapping_network.label_weight.clone()
    trainer.step()
    assert not torch.equal(before, trainer.g.mapping_network.label_weight)


def test_held_out_images_are_never_trained_on(make: Any) -> None:
    trainer = make("data.held_out=5")
    assert (len(trainer.inputs.train_set), len(trainer.inputs.evaluation_set)) == (15, 5)
    seen = torch.cat([trainer.inputs.loader.next(15).indices for _ in range(3)])
    assert seen.max() == 14


def test_auto_precision_is_resolved_for_good(make: Any) -> None:
    assert make("precision=auto").experiment.precision in ("fp32", "bf16")
    trainer = make("precision=bf16")
    assert trainer.g.synthesis_network.trunk_dtype == trainer.ema.synthesis_network.trunk_dtype
    assert trainer.d.trunk_dtype == torch.bfloat16
    assert all(p.dtype == torch.float32 for p in (*trainer.g.parameters(), *trainer.d.parameters()))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_compiled_training_equals_plain_training(make: Any) -> None:
    """Compiled code draws noise maps and y in its own way: both are switched off."""
    results = []
    for mode in ("none", "first-order"):
        trainer = make(f"compile={mode}", "g_regularizer.weight=0", "adam.epsilon=0.001", "precision=fp32")
        for module in (*trainer.g.modules(), *trainer.ema.modules()):
            if hasattr(module, "noise"):
                module.noise = None
        results.append((trainer, [trainer.step() for _ in range(2)]))
    (plain, expected), (compiled, found) = results
    assert type(compiled._logits) is not type(plain._logits)
    for ours, theirs in zip(expected, found, strict=True):
        for name, value in ours.items():
            torch.testing.assert_close(value, theirs[name], rtol=1e-3, atol=1e-4)
    for a, b in ((plain.g, compiled.g), (plain.d, compiled.d)):
        for p, q in zip(a.parameters(), b.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-5)


# ---- numbers by images seen

SCHEDULES = [
    "learning_rate_factor=0:0,0.04:1",
    "d_regularizer.gamma=0:4,0.04:1:cosine",
    "adam.beta2=0:0.9,0.02:0.99:step",
    "ema_half_life_kimg=0:0,0.04:0.04",
]


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_every_step_takes_the_values_of_its_images(
    optimizer: str, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Learning rate and beta2 with the lazy correction, gamma in the penalty, the average's half-life."""
    trainer = make(*SCHEDULES, f"optimizer={optimizer}", "d_regularizer.every=2", "learning_rate=0.002")
    betas: list[float] = []
    average = trainer_module.update_ema
    monkeypatch.setattr(trainer_module, "update_ema", lambda *a: (betas.append(a[2]), average(*a)))
    weights: list[float] = []
    penalty = trainer_module.phases.regularizers.zero_centred_penalty
    monkeypatch.setattr(
        trainer_module.phases.regularizers,
        "zero_centred_penalty",
        lambda d, x, gamma, *a: (weights.append(gamma), penalty(d, x, gamma, *a))[1],
    )
    for step in range(7):
        seen = 8 * step
        before = [p.clone() for p in trainer.g.parameters()]
        trainer.step()
        moved = any(not torch.equal(a, b) for a, b in zip(before, trainer.g.parameters(), strict=True))
        assert moved == (step > 0)  # the ramp begins at zero
        for opt, c in ((trainer.opt_g, 4 / 5), (trainer.opt_d, 2 / 3)):
            (group,) = opt.param_groups
            assert group["lr"] == pytest.approx(0.002 * min(seen / 40, 1) * c)
            beta2 = (0.9 if seen < 20 else 0.99) ** c
            assert (group["alpha"] if optimizer == "rmsprop" else group["betas"][1]) == pytest.approx(beta2)
        half_life = min(seen, 40)
        assert betas[-1] == pytest.approx(0.5 ** (8 / half_life) if half_life else 0)
        if step % 2 == 0:
            way = min(seen / 40, 1)
            assert weights.pop() == pytest.approx(4 - 3 * (1 - math.cos(math.pi * way)) / 2)
        assert not weights


def test_latents_and_the_average_where_both_networks_share_them(make: Any) -> None:
    """BMSG-GAN's order: the average has seen the generator's last update, fakes are the same for both."""
    trainer = make("step_order=average-last", "shared_latents=true", "ema_beta=0")
    draws: list[Tensor] = []
    fakes = trainer_module.Adversaries.mixed_ws
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            trainer_module.Adversaries,
            "mixed_ws",
            lambda b, latents: (draws.append(latents.z), fakes(b, latents))[1],
        )
        steps(trainer, 2)
    assert len(draws) == 2 + 1 + 2  # D and G; path length, of its own, at step 0
    assert torch.equal(draws[0], draws[1])
    assert torch.equal(draws[3], draws[4])
    assert not torch.equal(draws[0], draws[3])
    for p, q in zip(trainer.ema.parameters(), trainer.g.parameters(), strict=True):
        assert torch.equal(p, q)


def test_unequal_path_length_batches_are_split_evenly(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third of a batch of 12 in three passes: 4 images, in passes of equal size for the running mean."""
    trainer = make("batch=12", "micro_batch=4", "g_regularizer.batch_shrink=3")
    sizes: list[int] = []
    run = trainer_module.phases.generator_path_length
    monkeypatch.setattr(
        trainer_module.phases,
        "generator_path_length",
        lambda bound, experiment, latents, *a: (
            sizes.append(len(latents)),
            run(bound, experiment, latents, *a),
        )[1],
    )
    trainer.step()
    assert sum(sizes) == 4
    assert len(set(sizes)) == 1
