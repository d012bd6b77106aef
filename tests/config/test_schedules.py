"""Numbers by images seen: closed forms, text and JSON, and what is refused."""

from __future__ import annotations

import json
import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from every import every
from styleloom import presets
from styleloom.config import ByImages, Experiment, apply_overrides, from_json, to_json
from styleloom.config.schedules import Curve, Knot, at, by_images
from styleloom.config.serialize import differences
from styleloom.errors import UserError

FIELDS = (
    "learning_rate_factor",
    "d_regularizer.gamma",
    "d_regularizer.r2_gamma",
    "adam.beta2",
    "ema_half_life_kimg",
)


def test_values_are_the_closed_forms() -> None:
    """Linear, cosine (half a period) and step between knots; constant before the first and after the last."""
    warm = ByImages.parse("2:0,4:1,12:0.5:cosine,20:3:step")
    for kimg in (0, 1.9, 2, 3, 3.999, 4, 5, 8, 11, 12, 15, 19.999, 20, 1e6):
        if kimg < 2:
            expected = 0.0
        elif kimg < 4:
            expected = (kimg - 2) / 2
        elif kimg < 12:
            expected = 0.5 + 0.5 * (1 + math.cos(math.pi * (kimg - 4) / 8)) / 2
        else:
            expected = 0.5 if kimg < 20 else 3.0
        assert warm(kimg * 1000) == pytest.approx(expected, abs=1e-12), kimg
    assert [warm(knot.kimg * 1000) for knot in warm.knots] == [knot.value for knot in warm.knots]  # exactly


def test_progan_s_ramp() -> None:
    """The original runs: up linearly over the first 40 kimg. What was published later has none."""
    ramp = presets.get("progan").learning_rate_factor
    assert isinstance(ramp, ByImages)
    assert [ramp(kimg * 1000) for kimg in (0, 10, 20, 40, 19_000)] == [0, 0.25, 0.5, 1, 1]
    assert {presets.get(f"progan-{gpus}gpu").learning_rate_factor for gpus in (1, 2, 4, 8)} == {1}


NUMBERS = st.floats(0, 1e6) | st.integers(0, 10**6)


@given(
    st.lists(
        st.tuples(NUMBERS, NUMBERS, st.sampled_from(get_args(Curve))),
        min_size=2,
        unique_by=lambda k: float(k[0]),
    )
)
def test_any_number_by_images_survives_text_json_and_overrides(rows: list[tuple[float, float, str]]) -> None:
    knots = [Knot(*row) for row in sorted(rows)]  # type: ignore[arg-type]
    knots[0] = knots[0]._replace(curve="linear")
    number = ByImages(tuple(knots))
    assert ByImages.parse(str(number)) == number
    experiment = Experiment(learning_rate_factor=number, ema_half_life_kimg=number)
    assert from_json(json.loads(json.dumps(to_json(experiment)))) == experiment
    assert apply_overrides(Experiment(), [f"ema_half_life_kimg={number}"]).ema_half_life_kimg == number
    low, high = min(k.value for k in knots), max(k.value for k in knots)
    slack = 1e-9 * max(high, 1)
    for kimg in (0, *(k.kimg for k in knots), (knots[0].kimg + knots[1].kimg) / 2, 2e6):
        assert low - slack <= number(kimg * 1000) <= high + slack


def test_every_field_takes_a_constant_or_knots() -> None:
    """One leaf under the field's own name, so that differences and --allow-change name it."""
    for field in FIELDS:
        changed = apply_overrides(Experiment(), [f"{field}=0:0.25,8:0.75"])
        assert list(by_images(changed)) == [field]
        assert differences(Experiment(), changed)[field][1] == "0:0.25,8:0.75"
        assert at(Experiment(), 4000) == Experiment()
        assert differences(apply_overrides(Experiment(), [f"{field}=0.5"]), at(changed, 4000)) == {}
        back = apply_overrides(changed, [f"{field}=0.5"])
        assert by_images(back) == {}
        assert from_json(to_json(changed)) == changed


@every(
    ("override", "message"),
    [
        ("learning_rate_factor=0:0", "learning_rate_factor: .* two knots at least; write a constant"),
        ("learning_rate_factor=0", "learning_rate_factor: 0 is not valid, nothing would be learned"),
        ("learning_rate_factor=0:0,4:0", "learning_rate_factor: 0:0,4:0 is not valid, nothing would be"),
        ("learning_rate_factor=x", "learning_rate_factor: 'x' is not valid, .* or by images seen KIMG:VALUE"),
        ("learning_rate_factor=0:0,4", "learning_rate_factor: '4' is not valid; write KIMG:VALUE"),
        ("learning_rate_factor=0:0,4:1:cosine:2", "'4:1:cosine:2' is not valid; write KIMG:VALUE"),
        ("learning_rate_factor=0:0,4:nan", "4:nan: is not valid, both must be finite"),
        ("learning_rate_factor=0:0,4:1:cosin", "'cosin' is not valid, did you mean 'cosine'?"),
        ("learning_rate_factor=0:0:step,4:1", "curve: step is not valid, no knot is before the first one"),
        ("learning_rate_factor=4:0,4:1", "kimg: 4 is not valid after 4, knots must be in rising order"),
        ("learning_rate_factor=-1:0,4:1", "kimg: -1.0 is not valid, it must be at least 0"),
        ("learning_rate_factor=0:1,4:-1", "learning_rate_factor: -1.0 is not valid, it must be at least 0"),
        ("d_regularizer.gamma=0:1,4:-1", "d_regularizer.gamma: -1.0 is not valid"),
        ("d_regularizer.gamma.knots=1", "d_regularizer.gamma is a value and has no fields"),
        ("adam.beta2=0:0.9,4:1", "adam.beta2: 1 is not valid, it must be less than 1"),
        ("ema_half_life_kimg=0:1,4:-2", "ema_half_life_kimg: -2.0 is not valid"),
        ("learning_rate=0:0,40:0.001", "learning_rate: '0:0,40:0.001' is not valid, it must be a number"),
        (f"d_regularizer.gamma=0:1{'0' * 400},4:1", "d_regularizer.gamma: .* both must be finite"),
        (f"adam.beta2={','.join(f'{k}:0' for k in range(1001))}", "adam.beta2: 1001 knots are not valid; va"),
    ],
)
def test_refusals(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        apply_overrides(Experiment(), [override])


def test_knots_of_a_caller_are_checked() -> None:
    assert ByImages([(0, 1), [4, 0.5, "cosine"]]) == ByImages.parse("0:1,4:0.5:cosine")  # type: ignore[arg-type, list-item]
    for knots in (("ab", "cd"), ((0, "1"), (4, 1)), ((0, True), (4, 1)), ((0,), (4, 1)), (None, None)):
        with pytest.raises(UserError, match=r"knot: .* is not valid; valid: \(kimg, value\)"):
            ByImages(knots)  # type: ignore[arg-type]


def test_contradictions() -> None:
    with pytest.raises(UserError, match=r"ema_half_life_kimg: 0:1,4:2 is not valid with ema_beta 0\.9"):
        apply_overrides(Experiment(), ["ema_beta=0.9", "ema_half_life_kimg=0:1,4:2"])
    with pytest.raises(UserError, match=r"r2_gamma: 0:0,4:2 is not valid with d_regularizer.kind two-sided"):
        apply_overrides(Experiment(), ["d_regularizer.kind=two-sided", "d_regularizer.r2_gamma=0:0,4:2"])
