"""Each rule on numbers made by hand, on both sides of its bounds."""

from __future__ import annotations

import math
from typing import Any

import pytest

from diagnosis.lines import lines
from every import every
from styleloom.diagnosis import Watch, episodes, examine
from tiny import tiny


def score(line: Any) -> float:
    return math.inf if line.get("swd") is None else float(line["swd"])


def found(changed: dict[str, Any], *overrides: str, count: int = 20) -> list[str]:
    return [finding.rule for finding in examine(tiny(*overrides), lines(count, **changed), score)]


def late(before: Any, after: Any) -> Any:
    """A number that changes after 10 ticks."""
    return lambda tick: before if tick < 10 else after


@every(
    ("rule", "changed"),
    [
        ("mode-collapse", {"distance_fake": 0.1, "nearest_fake": 0.08}),
        ("mode-collapse", {"nearest_fake": 0.02}),
        ("images-out-of-range", {"distance_fake": 3.0, "nearest_fake": 2.0}),
        ("discriminator-overfitting", {"logits_held_out": -0.6}),
        ("discriminator-overfitting", {"logits_held_out": None, "sign_real": 0.99}),
        ("learning-rate-too-high", {"loss_d": 4.0}),
        ("learning-rate-too-high", {"weight_growth_g": lambda tick: 1.0 + 0.1 * tick}),
        ("vanishing-gradients", {"grad_norm_g": late(2.0, 0.01)}),
        ("vanishing-gradients", {"grad_norm_d": late(1.0, 0.01), "grad_norm_d_penalty": 0.01}),
        ("exploding-gradients", {"grad_norm_g": late(2.0, 1e4), "grad_norm_g_path": 100.0}),
        ("indifferent-discriminator", {
            "logits_real": 0.001, "logits_fake": 0.0, "loss_d": 1.387, "grad_norm_d": late(1.0, 0.1),
        }),
        ("penalty-without-effect", {"d_penalty": 1e-7, "grad_norm_d_penalty": 1e-6}),
        ("penalty-without-effect", {"grad_norm_g_path": 1e-5}),
        ("penalty-too-strong", {"d_penalty": 9.0, "grad_norm_d_penalty": 300.0}),
        ("skipped-updates", {"skipped_g": lambda tick: 5 * tick}),
        ("no-improvement", {"swd": lambda tick: 50.0 if tick < 5 else 60.0}),
    ],
)  # fmt: skip
def test_each_rule_speaks_of_its_sickness_alone(rule: str, changed: dict[str, Any]) -> None:
    assert found(changed) == [rule]


@every(
    "changed",
    [
        {},
        {"distance_fake": 0.25, "nearest_fake": 0.15},
        {"logits_held_out": -0.1},
        {"sign_real": 0.9, "logits_held_out": None},
        {"d_penalty": None, "grad_norm_d_penalty": None, "grad_norm_g_path": None, "distance_real": None},
        {"grad_norm_g": late(2.0, 30.0)},
        {"skipped_g": 50, "skipped_d": 9},  # long ago
        {"swd": lambda tick: 80.0 - 2 * tick},
        {"swd": lambda tick: 50.0 if tick < 5 else None},  # too few measurements
        {"loss_d": None, "loss_g": None},
    ],
)
def test_healthy_numbers_say_nothing(changed: dict[str, Any]) -> None:
    assert found(changed) == []


def test_nothing_is_said_of_the_first_steps_or_of_no_statistics() -> None:
    early = lines(20, distance_fake=0.01, nearest_fake=0.01)
    for line in early:
        line["step"] = line["tick"] + 1
    assert examine(tiny(), early, score) == []
    assert examine(tiny(), [], score) == []


def test_a_level_is_judged_by_its_own_ticks() -> None:
    """Gradients of another level are no yardstick, and its distances no evidence."""
    before = lines(10, level=1, grad_norm_g=50.0, distance_fake=0.01, nearest_fake=0.01)
    after = [
        line | {"step": line["step"] + 1000, "images_seen": line["images_seen"] + 32000}
        for line in lines(10, level=2)
    ]
    assert examine(tiny(), [*before, *after], score) == []
    assert {f.rule for f in examine(tiny(), before, score)} == {"mode-collapse"}


def test_losses_without_a_scale_of_their_own() -> None:
    wgan = ("loss=wgan", "d_regularizer.kind=two-sided", "d_regularizer.every=1", "g_regularizer.weight=0")
    assert found({"loss_d": 30.0}, *wgan) == []
    assert found({"loss_d": -2.0, "d_penalty": 1e-6}, *wgan) == ["penalty-without-effect"]


def test_a_finding_has_its_numbers_and_what_to_try() -> None:
    (finding,) = examine(tiny(), lines(distance_fake=0.1, nearest_fake=0.06), score)
    assert finding.evidence == (
        "two of its images differ by 25% of what two real ones differ, the nearest of a batch by 20%"
    )
    assert finding.sentence().startswith("The generator makes few different images (mode collapse): two of")
    assert "--state" in finding.advice


def test_a_watch_says_what_is_new_and_says_it_again_when_it_comes_back() -> None:
    numbers = lines(40, skipped_d=lambda tick: 0 if tick < 10 else 30 if tick < 30 else 60)
    watch = Watch(tiny(), numbers[:5], score)
    said = {line["tick"]: [f.rule for f in watch.take(line)] for line in numbers[5:]}
    assert {tick for tick, rules in said.items() if rules} == {10, 30}
    assert Watch(tiny(), numbers[:11], score).take(numbers[11]) == []  # known before a resume


def test_episodes_of_a_run() -> None:
    numbers = lines(40, skipped_d=lambda tick: 0 if tick < 10 else 30, sign_real=1.0, logits_held_out=None)
    first, second = episodes(tiny(), numbers, score)
    assert (first.finding.rule, first.lasts) == ("discriminator-overfitting", True)
    assert first.to_kimg == pytest.approx(40 * 3.2)
    assert (second.finding.rule, second.lasts) == ("skipped-updates", False)
    assert (second.from_kimg, second.to_kimg) == (pytest.approx(11 * 3.2), pytest.approx(14 * 3.2))
