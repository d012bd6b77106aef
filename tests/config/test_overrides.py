"""`field=value` as the fields' types read it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from every import every
from styleloom.config import ByResolution, Experiment, apply_overrides, to_json
from styleloom.config.overrides import field_names
from styleloom.config.seeds import MAX_TRAINING_SEED
from styleloom.config.serialize import differences, flatten
from styleloom.errors import UserError

BASE = Experiment()


@every(
    ("overrides", "changed"),
    [
        ([], {}),
        (["generator.features.base=8192"], {"generator.features.base": 8192}),
        (["generator.features.base=8.192e3"], {"generator.features.base": 8192}),
        (["generator.features.base=8_192"], {"generator.features.base": 8192}),
        (["d_regularizer.gamma=100"], {"d_regularizer.gamma": 100}),
        (["d_regularizer.gamma = 0.5"], {"d_regularizer.gamma": 0.5}),
        (["d_regularizer.gamma=1e-3"], {"d_regularizer.gamma": 0.001}),
        (["batch=64"], {"batch.base": 64}),
        (["batch.base=64"], {"batch.base": 64}),
        (["batch.at.64=16"], {"batch.at.64": 16}),
        (["batch.at.64=16", "batch=8"], {"batch.base": 8}),  # one number is for every resolution
        (["batch=8", "batch.at.64=16"], {"batch.base": 8, "batch.at.64": 16}),
        (["generator.resample_filter=1,2,1"], {"generator.resample_filter": (1, 2, 1)}),
        (["generator.resample_filter=[1, 2.5, 1]"], {"generator.resample_filter": (1, 2.5, 1)}),
        (["generator.clamp=256"], {"generator.clamp": 256}),
        (["generator.clamp=256", "generator.clamp=none"], {}),
        (["generator.clamp=256", "generator.clamp=None"], {}),
        (["generator.mapping.normalize_z=false"], {"generator.mapping.normalize_z": False}),
        (["loss=wgan", "precision=bf16"], {"loss": "wgan", "precision": "bf16"}),
        (["name=a=b"], {"name": "a=b"}),
        (["seed=1234567890123456789"], {"seed": 1234567890123456789}),
        (["seed=1", "seed=2"], {"seed": 2}),
        (["resolution=64"], {"generator.resolution": 64, "discriminator.resolution": 64}),
        (["channels=1"], {"generator.channels": 1, "discriminator.channels": 1}),
        (["label_dim=10"], {"generator.label_dim": 10, "discriminator.label_dim": 10}),
        # Each alone contradicts the rest; together they do not.
        (["batch=64", "micro_batch=64"], {"batch.base": 64, "micro_batch": 64}),
        (["micro_batch=64", "batch=64"], {"batch.base": 64, "micro_batch": 64}),
        (
            ["generator.resolution=64", "discriminator.resolution=64"],
            {"generator.resolution": 64, "discriminator.resolution": 64},
        ),
    ],
)
def test_overrides_change_what_they_name(overrides: list[str], changed: dict[str, object]) -> None:
    result = apply_overrides(BASE, overrides)
    assert {name: new for name, (_, new) in differences(BASE, result).items()} == changed


def test_one_number_clears_the_table() -> None:
    assert apply_overrides(BASE, ["run.tick_kimg=1"]).run.tick_kimg == ByResolution(1)


def test_rows_of_a_table_stay_in_order_of_resolution() -> None:
    result = apply_overrides(BASE, ["batch.at.128=8", "batch.at.16=64", "batch.at.64=16"])
    assert result.batch == ByResolution(32, ((16, 64), (64, 16), (128, 8)))


def test_the_top_level_is_with_data() -> None:
    overrides = ["resolution=64", "channels=1", "label_dim=3"]
    assert apply_overrides(BASE, overrides) == BASE.with_data(resolution=64, channels=1, label_dim=3)


@given(st.floats(0, allow_infinity=False))
def test_any_float_is_read_exactly(value: float) -> None:
    assert apply_overrides(BASE, [f"d_regularizer.gamma={value!r}"]).d_regularizer.gamma == value


@given(st.integers(1, MAX_TRAINING_SEED))
def test_any_whole_number_is_read_exactly(value: int) -> None:
    assert apply_overrides(BASE, [f"seed={value}"]).seed == value


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=9).filter(lambda taps: abs(sum(taps)) > 1e-6))
def test_any_list_is_read_exactly(taps: list[float]) -> None:
    text = ",".join(map(repr, taps))
    assert apply_overrides(BASE, [f"generator.resample_filter={text}"]).generator.resample_filter == tuple(
        taps
    )


@given(st.text().filter(lambda text: text == text.strip()))
def test_any_text_is_read_exactly(text: str) -> None:
    assert apply_overrides(BASE, [f"source={text}"]).source == text


@given(st.text(max_size=30))
def test_any_override_works_or_is_an_error_of_the_user(text: str) -> None:
    for override in (text, f"seed={text}", f"batch.at.{text}=4", f"loss={text}", f"total_kimg={text}"):
        try:
            apply_overrides(BASE, [override])
        except UserError:
            continue


@every("name", field_names(BASE))
def test_every_named_field_can_be_set_to_its_own_value(name: str) -> None:
    values = {**flatten(BASE), "resolution": 1024, "channels": 3, "label_dim": 0, "grid": (4, 4)}
    names = ("batch", "learning_rate", "style_mixing_unit", "run.tick_kimg")
    tables = {table: values.get(f"{table}.base") for table in names}
    value = {**values, **tables}[name]
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    result = apply_overrides(BASE, [f"{name}={text}"])
    if name in tables:
        result = replace(result, run=BASE.run)
    assert result == BASE


def test_whole_numbers_print_without_a_point() -> None:
    assert json.dumps(to_json(apply_overrides(BASE, ["batch=64"]))["batch"]) == '{"base": 64, "at": {}}'


@every(
    ("override", "message"),
    [
        ("batch", "override 'batch': write FIELD=VALUE, for example batch=64"),
        ("=3", "override '=3': write FIELD=VALUE"),
        ("gamma=10", "gamma: no such field, did you mean 'd_regularizer.gamma'? fields of experiment: name,"),
        ("total-kimg=5", "total-kimg: no such field, did you mean 'total_kimg'?"),
        ("resolutoin=64", "did you mean 'resolution'?"),
        ("features.base=1", "did you mean 'generator.features.base'?"),
        (
            "generator.featurs.base=1",
            "generator.featurs.base: no such field, did you mean 'generator.features.base'? "
            "fields of generator: resolution, channels,",
        ),
        (
            "generator.features.bse=1",
            "did you mean 'generator.features.base'? fields of generator.features: base, max, min, decay",
        ),
        ("generator.family=stylegan", "generator.family: no such field"),
        ("generator=stylegan2", "generator: a group of fields, set them one by one: resolution, channels"),
        ("run=1", "run: a group of fields"),
        ("loss.x=1", "loss.x: loss is a value and has no fields"),
        ("batch.bass=3", "batch.bass: no such field, did you mean 'batch.base'? fields of batch: base, at"),
        ("batch.base.x=3", "batch.base.x: batch.base is a number and has no fields"),
        ("batch.at=16", "batch.at: name a resolution, for example batch.at.64=16"),
        ("batch.at.63=16", "batch.at.63: 63 is not a power of two of at least 4; the nearest: 32 or 64"),
        ("batch.at.x=16", "batch.at.x: 'x' is not a resolution; valid: powers of two of at least 4"),
        ("batch.at.64=x", "batch.at.64: 'x' is not valid, it must be a finite number"),
        ("batch=x", "batch: 'x' is not valid, it must be a number"),
        ("seed=1.5", "seed: '1.5' is not valid, it must be a whole number"),
        ("seed=inf", "seed: 'inf' is not valid, it must be a whole number"),
        ("seed=nan", "seed: 'nan' is not valid, it must be a whole number"),
        ("seed=", "seed: '' is not valid, it must be a whole number"),
        ("seed=none", "seed: 'none' is not valid, it must be a whole number"),
        ("total_kimg=inf", "total_kimg: inf is not valid, it must be a finite number"),
        ("generator.clamp=high", "generator.clamp: 'high' is not valid, it must be a finite number or none"),
        ("generator.resample_filter=1,a", "generator.resample_filter: 'a' is not valid"),
        ("generator.resample_filter=", "generator.resample_filter (number of taps): 0 is not valid"),
        ("generator.mapping.normalize_z=yes", "'yes' is not valid, it must be true or false"),
        (
            "loss=wgn",
            "loss: 'wgn' is not valid, did you mean 'wgan'? choose from nonsaturating, saturating, wgan",
        ),
        ("resolution=x", "resolution: 'x' is not valid, it must be a whole number"),
        (
            "resolution=100",
            "generator.resolution: 100 is not a power of two of at least 8; the nearest: 64 or 128",
        ),
        ("generator.resolution=64", "generator.resolution is 64 and discriminator.resolution is 1024"),
        (
            "micro_batch=5",
            "micro_batch: 5 does not divide batch 32; valid: 4, 8, 16, 0 (0 is the whole batch)",
        ),
        ("generator.features.base=0", "generator.features.base: 0 is not valid, it must be at least 1"),
        ("discriminator.projection.layers=-1", "discriminator.projection.layers: -1 is not valid"),
    ],
)
def test_wrong_overrides_are_named(override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        apply_overrides(BASE, [override])
    assert message in str(caught.value)
