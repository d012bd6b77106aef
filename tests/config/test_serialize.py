"""Experiments to JSON and back, and the differences between two."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from every import every
from styleloom import presets
from styleloom.config import (
    ByResolution,
    Experiment,
    FeatureMaps,
    Mapping,
    RunOptions,
    apply_overrides,
    from_json,
    to_json,
)
from styleloom.config.serialize import FAMILIES, differences, flatten, network_from_json
from styleloom.errors import UserError


@every("name", presets.names())
def test_presets_survive_a_round_trip(name: str) -> None:
    experiment = presets.get(name)
    written = json.dumps(to_json(experiment), allow_nan=False)
    assert from_json(json.loads(written)) == experiment
    assert json.dumps(to_json(from_json(json.loads(written)))) == written


@pytest.mark.parametrize("role", ["generator", "discriminator"])
def test_networks_carry_their_family_and_come_back_alone(role: Any) -> None:
    network = getattr(presets.get("stylegan2-e"), role)
    data = to_json(network)
    assert data["family"] == "stylegan2"
    assert network_from_json(json.loads(json.dumps(data)), role) == network
    assert type(network) is getattr(FAMILIES["stylegan2"], role)


def test_numbers_by_resolution_are_written_as_base_and_table() -> None:
    batch = ByResolution(32, ((64, 16), (128, 8.0)))
    data = to_json(Experiment(batch=batch))
    assert data["batch"] == {"base": 32, "at": {"64": 16, "128": 8.0}}
    assert from_json(data).batch == batch


@given(
    st.lists(
        st.tuples(st.sampled_from([2**k for k in range(2, 11)]), st.floats(1e-6, 1e6)),
        unique_by=lambda row: row[0],
    ),
    st.floats(1e-6, 1e6),
)
def test_any_number_by_resolution_survives(rows: list[tuple[int, float]], base: float) -> None:
    experiment = Experiment(learning_rate=ByResolution(base, tuple(rows)))
    assert from_json(json.loads(json.dumps(to_json(experiment)))) == experiment


def test_missing_fields_take_the_default_of_the_field_that_holds_them() -> None:
    assert from_json({}) == Experiment()
    partial = from_json({"run": {"keep_states": 7}, "generator": {"features": {"base": 8192}}})
    assert partial.run == replace(RunOptions(), keep_states=7)
    assert partial.generator.features == FeatureMaps(base=8192)
    projected = from_json({"discriminator": {"projection": {"layers": 4}}}).discriminator.projection
    assert projected == Mapping(layers=4, labels="embed")  # the default of `projection`, not of Mapping
    assert from_json({"run": {"tick_kimg": {"base": 2}}}).run.tick_kimg == ByResolution(2)


@every(
    ("data", "message"),
    [
        ([], "experiment: [] is not valid, it must be an object with fields"),
        ({"lossy": 1}, "lossy: no such field, did you mean 'loss'? fields of experiment: name, source,"),
        (
            {"generator": {"features": {"bas": 1}}},
            "generator.features.bas: no such field, did you mean 'base'? "
            "fields of generator.features: base, max, min, decay",
        ),
        ({"generator": 3}, "generator: 3 is not valid, it must be an object with fields"),
        ({"generator": {"family": "stylegan9"}}, "generator.family: 'stylegan9' is not valid"),
        ({"adam": {"family": "stylegan2"}}, "adam.family: no such field"),
        ({"seed": 1.5}, "seed: 1.5 is not valid, it must be a whole number"),
        ({"seed": True}, "seed: True is not valid, it must be a whole number"),
        ({"seed": None}, "seed: None is not valid, it must be a whole number"),
        ({"total_kimg": "many"}, "total_kimg: 'many' is not valid, it must be a finite number"),
        ({"total_kimg": float("nan")}, "total_kimg: nan is not valid, it must be a finite number"),
        ({"total_kimg": 10**400}, "it must be a finite number"),
        ({"name": 3}, "name: 3 is not valid, it must be text"),
        ({"loss": "wgan-gp"}, "loss: 'wgan-gp' is not valid, did you mean 'wgan'? choose from nonsaturating"),
        ({"loss": ["wgan"]}, "loss: ['wgan'] is not valid"),
        (
            {"generator": {"clamp": "high"}},
            "generator.clamp: 'high' is not valid, it must be a finite number or none",
        ),
        (
            {"generator": {"mapping": {"normalize_z": 1}}},
            "generator.mapping.normalize_z: 1 is not valid, it must be true or false",
        ),
        (
            {"generator": {"resample_filter": 3}},
            "generator.resample_filter: 3 is not valid, it must be a list, each item a finite number",
        ),
        ({"generator": {"resample_filter": ["a"]}}, "generator.resample_filter: 'a' is not valid"),
        ({"batch": 64}, "batch: 64 is not valid, it must be an object with fields"),
        ({"batch": {}}, "batch.base: missing, it must be a number"),
        ({"batch": {"base": 32, "bass": 1}}, "batch.bass: no such field, did you mean 'base'?"),
        (
            {"batch": {"base": 32, "at": {"63": 1}}},
            "batch.at.63: 63 is not a power of two of at least 4; the nearest: 32 or 64",
        ),
        (
            {"batch": {"base": 32, "at": {"x": 1}}},
            "batch.at.x: 'x' is not a resolution; valid: powers of two",
        ),
        ({"batch": {"base": 32, "at": {"64": "a"}}}, "batch.at.64: 'a' is not valid"),
        # Checks of the classes themselves, named in full.
        ({"generator": {"features": {"base": 0}}}, "generator.features.base: 0 is not valid"),
        (
            {"discriminator": {"projection": {"layers": -1}}},
            "discriminator.projection.layers: -1 is not valid",
        ),
        ({"generator": {"resolution": 100}}, "generator.resolution: 100 is not a power of two"),
    ],
)
def test_wrong_data_is_named(data: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        from_json(data)
    assert message in str(caught.value)


@every(
    ("data", "message"),
    [
        (
            {"resolution": 64},
            "generator.family: missing, choose from progan, stylegan, msg-progan, msg-stylegan, stylegan2",
        ),
        ("stylegan2", "generator: 'stylegan2' is not valid, it must be an object"),
        ({"family": "stylegan2", "z_dimm": 3}, "generator.z_dimm: no such field, did you mean 'z_dim'?"),
    ],
)
def test_a_network_alone_is_checked(data: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        network_from_json(data, "generator")
    assert message in str(caught.value)


def test_differences_are_dotted() -> None:
    a = presets.get("stylegan2-f")
    b = replace(
        a,
        generator=replace(a.generator, resample_filter=(1, 2, 1), clamp=256),
        batch=ByResolution(32, ((64, 16),)),
    )
    assert differences(a, a) == {}
    assert differences(a, b) == {
        "generator.resample_filter": ((1, 3, 3, 1), (1, 2, 1)),
        "generator.clamp": (None, 256),
        "batch.at.64": (None, 16),
    }
    assert differences(b.generator, a.generator)["clamp"] == (256, None)


def test_equal_numbers_do_not_differ_by_their_type() -> None:
    experiment = Experiment()
    assert (
        differences(
            experiment, replace(experiment, d_regularizer=replace(experiment.d_regularizer, gamma=10))
        )
        == {}
    )


def test_flatten_names_every_field_once() -> None:
    names = list(flatten(Experiment()))
    assert len(names) == len(set(names))
    assert {
        "name",
        "generator.family",
        "generator.features.base",
        "batch.base",
        "run.tick_kimg.at.64",
    } <= set(names)


def test_the_size_of_measurements_of_a_growing_run() -> None:
    """It comes back, and experiments written before it was a field have the default."""
    experiment = apply_overrides(presets.get("stylegan-f"), ["run.measure_at=level"])
    document = to_json(experiment)
    assert from_json(document) == experiment
    del document["run"]["measure_at"]
    assert from_json(document).run.measure_at == "full" == presets.get("stylegan-f").run.measure_at
    with pytest.raises(UserError, match=r"run.measure_at: 'half' is not valid.*full, level"):
        apply_overrides(experiment, ["run.measure_at=half"])
