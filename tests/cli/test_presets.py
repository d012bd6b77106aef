"""`styleloom presets`, and with it the parameter counts that the papers print."""

from __future__ import annotations

import json
from typing import Any

import pytest

from styleloom import presets
from styleloom.cli import main
from styleloom.config import from_json

# Trainable parameters at 1024, 512 and 256 px.
SIZES = (1024, 512, 256)
E_GENERATOR = {
    "orig": (23_596_292, 23_572_978, 23_512_528),
    "skip": (24_900_764, 24_860_935, 24_767_458),
    "resnet": (24_557_316, 24_533_490, 24_470_992),
}
E_DISCRIMINATOR = {
    "orig": (23_077_137, 23_070_241, 23_042_625),
    "skip": (23_087_249, 23_080_225, 23_052_353),
    "resnet": (24_038_161, 24_030_753, 24_001_089),
}
F_GENERATOR = (30_370_060, 30_276_583, 30_034_338)
F_DISCRIMINATOR = (29_012_513, 28_982_849, 28_864_129)


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """What `styleloom presets argv` writes to stdout; it must succeed and leave stderr empty."""
    status = main(["presets", *argv])
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    return out


def run_json(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    return json.loads(run(capsys, *argv, "--json"))


@pytest.mark.parametrize("index", range(3), ids=map(str, SIZES))
@pytest.mark.parametrize("g", E_GENERATOR)
@pytest.mark.parametrize("d", E_DISCRIMINATOR)
def test_parameters_of_configuration_e(
    g: str, d: str, index: int, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = run_json(capsys, f"stylegan2-e-g-{g}-d-{d}", "--resolution", str(SIZES[index]))
    assert shown["generator_parameters"] == E_GENERATOR[g][index]
    assert shown["discriminator_parameters"] == E_DISCRIMINATOR[d][index]


@pytest.mark.parametrize("index", range(3), ids=map(str, SIZES))
def test_parameters_of_configuration_f(index: int, capsys: pytest.CaptureFixture[str]) -> None:
    shown = run_json(capsys, "stylegan2-f", "--resolution", str(SIZES[index]))
    assert shown["generator_parameters"] == F_GENERATOR[index]
    assert shown["discriminator_parameters"] == F_DISCRIMINATOR[index]


def test_the_list_has_a_row_for_each_preset(capsys: pytest.CaptureFixture[str]) -> None:
    rows = run_json(capsys)["presets"]
    assert [row["name"] for row in rows] == list(presets.names())
    by_name = {row["name"]: row for row in rows}
    assert by_name["stylegan2-f-car"] == {
        "name": "stylegan2-f-car",
        "source": "StyleGAN2 (Karras et al. 2020), Tables 1 and 3, row F, LSUN Car",
        "resolution": 512,
        "generator_parameters": F_GENERATOR[1],
        "discriminator_parameters": F_DISCRIMINATOR[1],
        "total_kimg": 57000,
        "loss": "nonsaturating",
        "gamma": 10,
    }


def test_the_list_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys)
    line = next(line for line in out.splitlines() if " stylegan2-f " in line)
    for text in ("StyleGAN2 (Karras et al. 2020), Table 1, row F, FFHQ", "1024", "30,370,060", "29,012,513"):
        assert text in line


def test_the_list_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("styleloom.cli.report.PLAIN_WIDTH", 80)
    lines = run(capsys).splitlines()
    assert len(lines) == 2 * len(presets.names())
    at = lines.index("stylegan2-f: StyleGAN2 (Karras et al. 2020), Table 1, row F, FFHQ")
    assert lines[at + 1] == (
        "    1024 px, G 30,370,060 and D 29,012,513 parameters, 25000 kimg, nonsaturating, gamma 10"
    )


def test_one_preset_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    shown = run_json(capsys, "stylegan2-f")
    assert from_json(shown["experiment"]) == presets.get("stylegan2-f")
    out = run(capsys, "stylegan2-f", "--resolution", "256")
    assert out.startswith("stylegan2-f: StyleGAN2")
    for text in ("generator.features.base", "16384", "1,3,3,1", "none", "true", "30,034,338"):
        assert text in out


def test_diff(capsys: pytest.CaptureFixture[str]) -> None:
    shown = run_json(capsys, "diff", "stylegan2-e", "stylegan2-f")
    assert shown == {
        "a": "stylegan2-e",
        "b": "stylegan2-f",
        "differences": {
            "generator.features.base": {"old": 8192, "new": 16384},
            "discriminator.features.base": {"old": 8192, "new": 16384},
            "d_regularizer.gamma": {"old": 100, "new": 10},
        },
    }
    out = run(capsys, "diff", "stylegan2-e", "stylegan2-f")
    assert "d_regularizer.gamma" in out
    assert "source" not in out


def test_diff_of_equals(capsys: pytest.CaptureFixture[str]) -> None:
    pair = ("stylegan2-e", "stylegan2-e-g-skip-d-resnet")
    assert run_json(capsys, "diff", *pair)["differences"] == {}
    assert "are the same experiment" in run(capsys, "diff", *pair)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["stylegan2-g"], "preset: 'stylegan2-g' does not exist, did you mean 'stylegan2-"),
        (["diff"], "presets diff: takes two presets, got 0: diff A B"),
        (["diff", "stylegan2-e"], "presets diff: takes two presets, got 1: diff A B"),
        (["diff", "stylegan2-e", "nothing"], "preset: 'nothing' does not exist"),
        (
            ["stylegan2-e", "stylegan2-f"],
            "takes one preset, got 2; to compare two: styleloom presets diff stylegan2-e stylegan2-f",
        ),
        (["stylegan2-e", "--resolution", "100"], "resolution: 100 is not a power of two"),
    ],
)
def test_errors(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("styleloom: error: ")
    assert message in err
