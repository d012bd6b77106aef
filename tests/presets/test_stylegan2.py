"""StyleGAN2's presets: what each row changes, and the numbers that the paper and its authors' code give."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

from every import every
from styleloom import presets
from styleloom.config import Adam, Experiment, GradientPenalty
from styleloom.presets import stylegan2

from .rows import changed, values

LETTERS = "abcdef"
FFHQ = tuple(f"stylegan2-{letter}" for letter in LETTERS)
CAR = tuple(f"stylegan2-{letter}-car" for letter in LETTERS)
GROWING = ("a", "b", "c", "d")

# name: feature maps base, px, gamma, kimg, mirror
TABLE = {
    **dict.fromkeys(FFHQ[:4], (8192, 1024, 10, 25000, "horizontal")),
    "stylegan2-e": (8192, 1024, 100, 25000, "horizontal"),
    "stylegan2-f": (16384, 1024, 10, 25000, "horizontal"),
    **dict.fromkeys(CAR[:4], (8192, 512, 10, 57000, "none")),
    "stylegan2-e-car": (8192, 512, 100, 57000, "none"),
    "stylegan2-f-car": (16384, 512, 10, 57000, "none"),
    "stylegan2-a-large": (16384, 1024, 10, 25000, "horizontal"),
    "stylegan2-a-cat": (8192, 256, 10, 88000, "none"),
    "stylegan2-f-cat": (16384, 256, 10, 88000, "none"),
    "stylegan2-a-church": (8192, 256, 100, 48000, "none"),
    "stylegan2-f-church": (16384, 256, 100, 48000, "none"),
    "stylegan2-f-church-88m": (16384, 256, 100, 88000, "none"),
    "stylegan2-a-horse": (8192, 256, 100, 100000, "none"),
    "stylegan2-f-horse": (16384, 256, 100, 100000, "none"),
    "stylegan2-b-explicit": (8192, 1024, 10, 25000, "horizontal"),
    "stylegan2-b-no-normalization": (8192, 1024, 10, 25000, "horizontal"),
    "stylegan2-c-full-rate": (8192, 1024, 10, 25000, "horizontal"),
    "stylegan2-f-paper-lazy8": (16384, 1024, 10, 25000, "horizontal"),
    "stylegan2-f-paper-mixing": (16384, 1024, 10, 25000, "horizontal"),
}
ARCHITECTURES = ("orig", "skip", "resnet")
CELLS = {
    f"stylegan2-e-g-{g}-d-{d}{suffix}": (g, d, suffix)
    for suffix, g, d in product(("", "-car"), ARCHITECTURES, ARCHITECTURES)
}


def row_of(name: str) -> str:
    """The row of Table 1 that a preset belongs to."""
    return name.split("-")[1]


def test_every_row_is_here() -> None:
    assert set(stylegan2.PRESETS) == set(TABLE) | set(CELLS)
    assert set(stylegan2.PRESETS) <= set(presets.PRESETS)


# ---- what each row changes

ROWS: dict[tuple[str, str], dict[str, Any]] = {
    ("stylegan2-b", "stylegan2-b-explicit"): {"generator.normalization": "explicit"},
    ("stylegan2-b", "stylegan2-b-no-normalization"): {"generator.normalization": "none"},
    ("stylegan2-b", "stylegan2-c"): {"d_regularizer.every": 16, "g_regularizer.every": 4},
    ("stylegan2-c", "stylegan2-d"): {"g_regularizer.weight": 2},
    ("stylegan2-e", "stylegan2-f"): {
        "generator.features.base": 16384,
        "discriminator.features.base": 16384,
        "d_regularizer.gamma": 10,
    },
    ("stylegan2-a", "stylegan2-a-large"): {
        "generator.features.base": 16384,
        "discriminator.features.base": 16384,
    },
    ("stylegan2-f", "stylegan2-f-paper-lazy8"): {"g_regularizer.every": 8},
    ("stylegan2-c", "stylegan2-c-full-rate"): {"g_regularizer.every": 1},
    ("stylegan2-f-church", "stylegan2-f-church-88m"): {"total_kimg": 88000},
}


@every(("before", "after"), ROWS)
def test_a_row_changes_what_the_paper_says_alone(before: str, after: str) -> None:
    assert changed(before, after) == ROWS[before, after]


def test_a_is_stylegan_in_the_training_of_this_paper() -> None:
    """The same networks and tables, but the generator's step first. (4 px is below where both start.)"""
    assert changed("stylegan-f", "stylegan2-a") == {
        "step_order": "g-first",
        "batch.at.4": None,
        "style_mixing_unit.at.4": None,
    }


def test_b_has_other_networks_alone() -> None:
    fields = changed("stylegan2-a", "stylegan2-b")
    assert {name.split(".")[0] for name in fields} == {"generator", "discriminator"}
    b = presets.get("stylegan2-b")
    assert (b.generator.architecture, b.discriminator.architecture) == ("growing", "growing")


def test_e_does_not_grow() -> None:
    fields = changed("stylegan2-d", "stylegan2-e")
    tables = {name: new for name, new in fields.items() if name.split(".")[0] in ("batch", "learning_rate")}
    units = {name for name in fields if name.startswith("style_mixing_unit")}
    assert {name: new for name, new in fields.items() if name not in tables and name not in units} == {
        "generator.architecture": "skip",
        "discriminator.architecture": "resnet",
        "growth.mode": "none",
        "d_regularizer.gamma": 100,
    }
    assert {new for name, new in tables.items() if name != "learning_rate.base"} == {None}
    assert tables["learning_rate.base"] == 0.002


@every(("before", "after"), list(pairwise(LETTERS)))
def test_rows_of_car_change_as_those_of_ffhq(before: str, after: str) -> None:
    ffhq = changed(f"stylegan2-{before}", f"stylegan2-{after}")
    assert changed(f"stylegan2-{before}-car", f"stylegan2-{after}-car") == ffhq


@every("name", CELLS)
def test_cells_of_table_2_change_the_architecture_alone(name: str) -> None:
    g, d, suffix = CELLS[name]
    experiment = presets.get(name)
    assert (experiment.generator.architecture, experiment.discriminator.architecture) == (g, d)
    assert experiment.d_regularizer.gamma == 100
    assert set(changed(f"stylegan2-e{suffix}", name)) <= {
        "generator.architecture",
        "discriminator.architecture",
    }


@every("name", ["stylegan2-a", "stylegan2-f"])
@every("category", ["cat", "church", "horse", "car"])
def test_other_data(name: str, category: str) -> None:
    assert set(changed(name, f"{name}-{category}")) <= {
        "generator.resolution",
        "discriminator.resolution",
        "total_kimg",
        "data.mirror",
        "d_regularizer.gamma",
    }


# ---- numbers


@every("name", TABLE)
def test_rows(name: str) -> None:
    base, px, gamma, kimg, mirror = TABLE[name]
    experiment = presets.get(name)
    assert (experiment.generator.features.base, experiment.discriminator.features.base) == (base, base)
    assert experiment.resolution == px
    assert experiment.d_regularizer.gamma == gamma
    assert experiment.total_kimg == kimg
    assert experiment.data.mirror == mirror
    if row_of(name) in "ef":
        architectures = (experiment.generator.architecture, experiment.discriminator.architecture)
        assert architectures == ("skip", "resnet")


@every("name", [name for name in TABLE if row_of(name) in GROWING])
def test_growing_rows(name: str) -> None:
    """One table of batches, whatever the devices; minibatches of 32, 16 and 8 on each of 8, then 4."""
    experiment = presets.get(name)
    assert experiment.growth.mode == "progressive"
    assert experiment.growth.initial_resolution == 8
    assert (experiment.growth.stabilize_kimg, experiment.growth.fade_kimg) == (600, 600)
    assert values(experiment.batch, first=8) == [256, 128, 64, 32, 32, 32, 32, 32]
    assert values(experiment.style_mixing_unit, first=8) == [32, 16, 8, 4, 4, 4, 4, 4]
    assert values(experiment.learning_rate, first=8) == [
        *(0.001, 0.001, 0.001, 0.001, 0.0015, 0.002, 0.003, 0.003),
    ]


@every("name", [name for name in stylegan2.PRESETS if row_of(name) in "ef"])
def test_rows_that_do_not_grow(name: str) -> None:
    experiment = presets.get(name)
    assert experiment.growth.mode == "none"
    assert set(values(experiment.learning_rate)) == {0.002}
    assert set(values(experiment.batch)) == {32}
    assert set(values(experiment.style_mixing_unit)) == {1 if name.endswith("mixing") else 4}


@every("name", stylegan2.PRESETS)
def test_regularization(name: str) -> None:
    """R1 in every step of A and B, lazy from C on; path length from D on."""
    experiment = presets.get(name)
    row = row_of(name)
    gamma = experiment.d_regularizer.gamma
    every = 1 if row in "ab" else 16
    assert experiment.d_regularizer == GradientPenalty("zero-centred", gamma=gamma, every=every)
    path = experiment.g_regularizer
    assert path.weight == (2 if row in "def" else 0)
    intervals = {"stylegan2-c-full-rate": 1, "stylegan2-f-paper-lazy8": 8}
    assert path.every == intervals.get(name, 1 if row in "ab" else 4)
    assert (path.decay, path.batch_shrink) == (0.01, 2)


@every("name", stylegan2.PRESETS)
def test_what_all_of_the_paper_shares(name: str) -> None:
    experiment: Experiment = presets.get(name)
    assert experiment.loss == "nonsaturating"
    assert experiment.step_order == "g-first"
    assert experiment.adam == Adam(beta1=0, beta2=0.99, epsilon=1e-8)
    assert (experiment.ema_half_life_kimg, experiment.ema_beta) == (10, None)
    assert experiment.style_mixing == 0.9
    assert experiment.drift == 0
    for network in (experiment.generator, experiment.discriminator):
        assert (network.features.max, network.features.min, network.features.decay) == (512, 1, 1)
        assert (network.channels, network.label_dim) == (3, 0)
        if row_of(name) != "a":
            assert network.resample_filter == (1, 3, 3, 1)
            assert network.clamp is None
    mapping = experiment.generator.mapping
    assert (mapping.layers, mapping.width, mapping.lr_multiplier, mapping.normalize_z) == (8, 512, 0.01, True)
    assert (experiment.generator.z_dim, experiment.generator.w_dim) == (512, 512)
    assert experiment.generator.w_avg_beta == 0.995
    std = experiment.discriminator.minibatch_std
    assert (std.group_size, std.features) == (4, 1)


def test_feature_maps_of_both_sizes() -> None:
    sides = [2**r for r in range(2, 11)]
    e, f = (presets.get(f"stylegan2-{row}").generator.features for row in "ef")
    assert [e.at_side(side) for side in sides] == [512, 512, 512, 512, 256, 128, 64, 32, 16]
    assert [f.at_side(side) for side in sides] == [512, 512, 512, 512, 512, 256, 128, 64, 32]
