"""StyleGAN's presets: what each row changes, and the numbers that the paper and its authors' code give."""

from __future__ import annotations

from typing import Any

from every import every
from styleloom import presets
from styleloom.config import Adam, GradientPenalty
from styleloom.config.serialize import differences
from styleloom.presets import stylegan

from .rows import changed, values

LETTERS = "abcdef"
FFHQ = tuple(f"stylegan-{letter}" for letter in LETTERS)
CELEBAHQ = tuple(f"stylegan-{letter}-celebahq" for letter in LETTERS)
LSUN = {"stylegan-f-bedroom": (256, 70000), "stylegan-f-cat": (256, 70000), "stylegan-f-car": (512, 46000)}
STUDIES = (
    *(f"stylegan-mixing-{percent}" for percent in (0, 50, 90, 100)),
    *(f"stylegan-traditional-{layers}" for layers in (0, 8)),
    *(f"stylegan-styles-{layers}" for layers in (0, 1, 2, 8)),
)
TEXT = ("stylegan-c-paper", "stylegan-f-paper-blur", "stylegan-f-paper-mixing", "stylegan-f-celebahq-12m")

R1 = GradientPenalty("zero-centred", gamma=10, every=1)
WGAN_GP = GradientPenalty("two-sided", gamma=10, every=1, target=1)
RATE = [0.001, 0.001, 0.001, 0.001, 0.001, 0.0015, 0.002, 0.003, 0.003]
CELEBAHQ_RATE = [0.001, 0.001, 0.001, 0.001, 0.001, 0.0015, 0.002, 0.002, 0.002]
BATCH = [512, 256, 128, 64, 32, 32, 32, 32, 32]


def test_every_row_is_here() -> None:
    assert set(stylegan.PRESETS) == {*FFHQ, *CELEBAHQ, *LSUN, *STUDIES, *TEXT}


# ---- what each row changes


def test_a_is_progan_with_another_average() -> None:
    assert changed("progan-8gpu", "stylegan-a") == {"ema_beta": None}
    assert presets.get("stylegan-a").ema_half_life_kimg == 10


def test_b() -> None:
    """Networks with filters, from 8 px on, 25M images, non-saturating loss with R1, no drift."""
    fields = changed("stylegan-a", "stylegan-b")
    networks = {name for name in fields if name.startswith(("generator.", "discriminator."))}
    assert {name: new for name, new in fields.items() if name not in networks} == {
        "loss": "nonsaturating",
        "d_regularizer.kind": "zero-centred",
        "drift": 0,
        "total_kimg": 25000,
        "growth.initial_resolution": 8,
    }
    assert presets.get("stylegan-b").d_regularizer == R1


ROWS: dict[tuple[str, str], dict[str, Any]] = {
    ("stylegan-b", "stylegan-c"): {
        "generator.mapping.layers": 8,
        "generator.styles": "adain",
        "generator.normalization": ("instance",),
    },
    ("stylegan-c", "stylegan-d"): {"generator.input": "constant"},
    ("stylegan-d", "stylegan-e"): {"generator.noise": "per-channel"},
    ("stylegan-e", "stylegan-f"): {"style_mixing": 0.9},
    ("stylegan-a", "stylegan-a-celebahq"): {},
    ("stylegan-f-celebahq", "stylegan-f-celebahq-12m"): {"total_kimg": 12000},
    ("stylegan-e", "stylegan-mixing-0"): {},
    ("stylegan-f", "stylegan-mixing-50"): {"style_mixing": 0.5},
    ("stylegan-f", "stylegan-mixing-90"): {},
    ("stylegan-f", "stylegan-mixing-100"): {"style_mixing": 1},
    ("stylegan-b", "stylegan-traditional-0"): {},
    ("stylegan-b", "stylegan-traditional-8"): {"generator.mapping.layers": 8},
    ("stylegan-f", "stylegan-styles-0"): {"generator.mapping.layers": 0},
    ("stylegan-f", "stylegan-styles-1"): {"generator.mapping.layers": 1},
    ("stylegan-f", "stylegan-styles-2"): {"generator.mapping.layers": 2},
    ("stylegan-f", "stylegan-styles-8"): {},
    ("stylegan-c", "stylegan-c-paper"): {"generator.input": "z"},
    ("stylegan-f", "stylegan-f-paper-blur"): {
        "generator.blur_order": "paper",
        "discriminator.blur_order": "paper",
    },
}


@every(("before", "after"), ROWS)
def test_a_row_changes_what_the_paper_says_alone(before: str, after: str) -> None:
    assert changed(before, after) == ROWS[before, after]


def test_mixing_by_image() -> None:
    experiment = presets.get("stylegan-f-paper-mixing")
    assert set(values(experiment.style_mixing_unit)) == {1}
    assert {name.split(".")[0] for name in changed("stylegan-f", experiment.name)} == {"style_mixing_unit"}


@every("letter", "bcdef")
def test_celebahq_keeps_wgan_gp_and_lower_rates(letter: str) -> None:
    fields = set(changed(f"stylegan-{letter}", f"stylegan-{letter}-celebahq"))
    assert fields == {
        "loss",
        "d_regularizer.kind",
        "drift",
        "learning_rate.at.512",
        "learning_rate.at.1024",
    }


@every(("before", "after"), list(zip("bcde", "cdef", strict=True)))
def test_rows_of_celebahq_change_as_those_of_ffhq(before: str, after: str) -> None:
    ffhq = changed(f"stylegan-{before}", f"stylegan-{after}")
    assert changed(f"stylegan-{before}-celebahq", f"stylegan-{after}-celebahq") == ffhq


@every("name", LSUN)
def test_lsun(name: str) -> None:
    px, kimg = LSUN[name]
    assert changed("stylegan-f", name) == {
        "generator.resolution": px,
        "discriminator.resolution": px,
        "total_kimg": kimg,
        "data.mirror": "none",
    }


# ---- numbers


@every("name", stylegan.PRESETS)
def test_training(name: str) -> None:
    experiment = presets.get(name)
    of_a = name in ("stylegan-a", "stylegan-a-celebahq")
    celebahq = "celebahq" in name
    assert experiment.loss == ("wgan" if of_a or celebahq else "nonsaturating")
    assert experiment.d_regularizer == (WGAN_GP if of_a or celebahq else R1)
    assert experiment.drift == (0.001 if of_a or celebahq else 0)
    assert values(experiment.learning_rate) == (CELEBAHQ_RATE if celebahq and not of_a else RATE)
    assert values(experiment.batch) == BATCH
    assert experiment.growth.mode == "progressive"
    assert experiment.growth.initial_resolution == (4 if of_a else 8)
    assert (experiment.growth.stabilize_kimg, experiment.growth.fade_kimg) == (600, 600)
    if name in (*FFHQ, *CELEBAHQ, *STUDIES):
        assert experiment.total_kimg == (12000 if of_a else 25000)
        assert experiment.resolution == 1024
        assert experiment.data.mirror == "horizontal"
    assert experiment.adam == Adam(beta1=0, beta2=0.99, epsilon=1e-8)
    assert experiment.step_order == "d-first"
    assert (experiment.ema_half_life_kimg, experiment.ema_beta) == (10, None)
    assert (experiment.g_regularizer.weight, experiment.g_regularizer.every) == (0, 1)
    assert experiment.discriminator.minibatch_std.group_size == 4
    assert experiment.generator.features.base == experiment.discriminator.features.base == 8192


def test_networks_of_b_and_f() -> None:
    b, f = presets.get("stylegan-b").generator, presets.get("stylegan-f").generator
    assert (b.styles, b.input, b.noise, b.normalization) == ("none", "w", "none", ("pixel",))
    assert (f.styles, f.input, f.noise, f.normalization) == (
        "adain",
        "constant",
        "per-channel",
        ("instance",),
    )
    assert (b.mapping.layers, f.mapping.layers) == (0, 8)
    for network in (b, f, presets.get("stylegan-b").discriminator):
        assert network.blur == (1, 2, 1)
        assert network.blur_order == "code"
    assert (f.mapping.width, f.mapping.lr_multiplier, f.mapping.normalize_z) == (512, 0.01, True)
    assert (f.z_dim, f.w_dim, f.w_avg_beta) == (512, 512, 0.995)


def test_discriminators_are_the_same_from_b_on() -> None:
    first = presets.get("stylegan-b").discriminator
    assert all(presets.get(name).discriminator == first for name in (*FFHQ[2:], *CELEBAHQ[1:], *STUDIES))


def test_mixing_is_for_f_alone() -> None:
    assert [presets.get(name).style_mixing for name in FFHQ] == [0, 0, 0, 0, 0, 0.9]


def test_differences_are_seen() -> None:
    assert differences(presets.get("stylegan-e"), presets.get("stylegan-f"))["style_mixing"] == (0, 0.9)
