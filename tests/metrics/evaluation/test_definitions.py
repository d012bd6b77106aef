"""Names of metrics say what a number is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from every import every
from styleloom.errors import UserError
from styleloom.metrics.evaluation.definitions import METRICS, parse, parse_all
from styleloom.metrics.evaluation.metric import Definition


@every(
    ("name", "expected"),
    [
        ("fid50k", Definition("fid50k", METRICS["fid"], 50_000, "inception-2015")),
        ("fid", Definition("fid", METRICS["fid"], 50_000, "inception-2015")),
        ("fid50k_full", Definition("fid50k_full", METRICS["fid"], 50_000, "inception-2015", choice="full")),
        (
            "fid10k_random",
            Definition("fid10k_random", METRICS["fid"], 10_000, "inception-2015", choice="random"),
        ),
        ("fid50k_mix3", Definition("fid50k_mix3", METRICS["fid"], 50_000, "inception-2015", latents=3)),
        ("fd256_lite0", Definition("fd256_lite0", METRICS["fd"], 256, "efficientnet-lite0")),
        ("fd5k_full_vgg16", Definition("fd5k_full_vgg16", METRICS["fd"], 5000, "vgg16", choice="full")),
        ("kid50k", Definition("kid50k", METRICS["kid"], 50_000, "inception-2015")),
        ("kid10k_lite0", Definition("kid10k_lite0", METRICS["kid"], 10_000, "efficientnet-lite0")),
        ("is50k", Definition("is50k", METRICS["is"], 50_000, "inception-2015")),
        ("pr50k3", Definition("pr50k3", METRICS["pr"], 50_000, "vgg16", neighbours=3)),
        ("pr50k5", Definition("pr50k5", METRICS["pr"], 50_000, "vgg16", neighbours=5)),
        ("pr500", Definition("pr500", METRICS["pr"], 500, "vgg16", neighbours=3)),
        ("pr10k3_lite0", Definition("pr10k3_lite0", METRICS["pr"], 10_000, "efficientnet-lite0")),
        (
            "ppl_zfull",
            Definition("ppl_zfull", METRICS["ppl"], 100_000, "lpips-vgg", space="z", sampling="full"),
        ),
        (
            "ppl_wend50k",
            Definition("ppl_wend50k", METRICS["ppl"], 50_000, "lpips-vgg", space="w", sampling="end"),
        ),
        (
            "ppl2_wend",
            Definition("ppl2_wend", METRICS["ppl2"], 50_000, "lpips-vgg", space="w", sampling="end"),
        ),
        (
            "ppl2_zfull1k_lite0",
            Definition(
                "ppl2_zfull1k_lite0", METRICS["ppl2"], 1000, "efficientnet-lite0", space="z", sampling="full"
            ),
        ),
        ("ppl_images", Definition("ppl_images", METRICS["ppl_images"], 1000, "lpips-vgg")),
        ("separability", Definition("separability", METRICS["separability"], 200_000)),
        ("separability_w1k", Definition("separability_w1k", METRICS["separability"], 1000, space="w")),
        (
            "separability_primal_z2k",
            Definition("separability_primal_z2k", METRICS["separability_primal"], 2000, space="z"),
        ),
        ("swd", Definition("swd", METRICS["swd"], 16_384)),
        ("ms_ssim2k", Definition("ms_ssim2k", METRICS["ms_ssim"], 2000, choice="random")),
        (
            "ms_ssim_per_channel2k",
            Definition("ms_ssim_per_channel2k", METRICS["ms_ssim_per_channel"], 2000, choice="random"),
        ),
        ("resolution_usage", Definition("resolution_usage", METRICS["resolution_usage"], 1024)),
        ("jacobian4", Definition("jacobian4", METRICS["jacobian"], 4)),
        ("stability", Definition("stability", METRICS["stability"], 36)),
    ],
)
def test_names(name: str, expected: Definition) -> None:
    assert parse(name) == expected


def test_counts_of_the_papers() -> None:
    """StyleGAN's path lengths are of 100,000 samples, StyleGAN2's of 50,000; all else as in the codes."""
    nums = {kind: metric.num for kind, metric in METRICS.items()}
    assert (nums["fid"], nums["is"], nums["pr"], nums["ppl"], nums["ppl2"]) == (5e4, 5e4, 5e4, 1e5, 5e4)
    assert (nums["separability"], nums["swd"], nums["ms_ssim"], nums["stability"]) == (2e5, 16384, 1e4, 36)


@every(
    "name",
    ["", "fid0", "fid50K", "fid50k_mix5", "fd50k", "fid50k_lite0", "ppl_xend", "pr50k0", "kid-10k", "FID"],
)
def test_unknown_names_are_refused_with_examples(name: str) -> None:
    with pytest.raises(UserError, match=r"metric: .* does not exist.*fid50k") as error:
        parse(name)
    assert repr(name) in str(error.value)


def test_a_near_name_is_suggested() -> None:
    with pytest.raises(UserError, match="did you mean 'fid50k'"):
        parse("fid_50k")


def test_an_unknown_network_is_refused_with_those_there_are() -> None:
    with pytest.raises(UserError, match=r"kid10k_lite1.*did you mean 'lite0'.*inception"):
        parse("kid10k_lite1")


def test_only_the_network_of_2015_is_called_fid() -> None:
    assert METRICS["fid"].network == "inception-2015"
    with pytest.raises(UserError):
        parse("fid50k_vgg16")


def test_lists() -> None:
    assert [d.name for d in parse_all("fid50k, kid50k")] == ["fid50k", "kid50k"]
    with pytest.raises(UserError, match="'fid50k' is given more than once"):
        parse_all("fid50k,fid50k")
    with pytest.raises(UserError, match="does not exist"):
        parse_all("fid50k,")


@given(st.sampled_from(["fid", "kid", "is", "swd", "jacobian"]), st.integers(1, 1000), st.booleans())
def test_the_number_counts(kind: str, number: int, thousands: bool) -> None:
    found = parse(f"{kind}{number}{'k' * thousands}")
    assert (found.metric.kind, found.num) == (kind, number * (1000 if thousands else 1))


def test_no_more_than_a_repeat_has_seeds() -> None:
    assert parse("fid1000k").num == 1_000_000
    with pytest.raises(UserError, match=r"fid1001k.*1,001,000; valid: at most 1,000,000"):
        parse("fid1001k")
    for name in ("ms_ssim600k", "ms_ssim_per_channel600k"):  # two images each
        with pytest.raises(UserError, match=f"{name} asks"):
            parse(name)


def test_every_example_is_valid() -> None:
    for metric in METRICS.values():
        for name in metric.example.split(", "):
            assert parse(name).metric is metric, name


def test_the_record_holds_all_that_a_name_says() -> None:
    assert parse("fid50k_mix3").record() == {
        "kind": "fid",
        "num": 50_000,
        "network": "inception-2015",
        "choice": "first",
        "latents": 3,
        "neighbours": 3,
        "space": None,
        "sampling": "end",
    }
