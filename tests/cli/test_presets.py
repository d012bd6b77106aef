"""`styleloom presets`, and with it the parameter counts that the papers print."""

from __future__ import annotations

import json
from typing import Any

import pytest

from every import every
from styleloom import presets
from styleloom.cli import main, report
from styleloom.cli.presets import penalty_name, summary
from styleloom.config import GradientPenalty, from_json
from styleloom.config.networks import FAMILIES
from styleloom.config.serialize import flatten

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


# The other families at 1024 px: generator, discriminator.
COUNTS = {
    "progan": (23_079_115, 23_087_249),
    "stylegan-a": (23_079_115, 23_087_249),
    "stylegan-b": (23_079_115, 23_087_249),
    "stylegan-c": (30_400_651, 23_087_249),
    "stylegan-d": (26_214_539, 23_087_249),
    "stylegan-e": (26_219_627, 23_087_249),
    "stylegan-f": (26_219_627, 23_087_249),
    "stylegan-traditional-8": (25_180_363, 23_087_249),
    "msg-progan": (23_079_115, 23_163_681),
    "msg-progan-lin-cat": (23_079_115, 28_210_753),
    "msg-progan-cat-lin": (23_079_115, 24_238_625),
    "msg-stylegan": (26_219_627, 24_238_625),
    "stylegan2-a": (26_219_627, 23_087_249),
    "stylegan2-b": (24_900_764, 23_087_249),
    "stylegan2-d": (24_900_764, 23_087_249),
}


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """What `styleloom presets argv` writes to stdout; it must succeed and leave stderr empty."""
    status = main(["presets", *argv])
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    return out


def run_json(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    return json.loads(run(capsys, *argv, "--json"))


@every("index", range(3))
@every("g", E_GENERATOR)
@every("d", E_DISCRIMINATOR)
def test_parameters_of_configuration_e(
    g: str, d: str, index: int, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = run_json(capsys, f"stylegan2-e-g-{g}-d-{d}", "--resolution", str(SIZES[index]))
    assert shown["generator_parameters"] == E_GENERATOR[g][index]
    assert shown["discriminator_parameters"] == E_DISCRIMINATOR[d][index]


@every("index", range(3))
def test_parameters_of_configuration_f(index: int, capsys: pytest.CaptureFixture[str]) -> None:
    shown = run_json(capsys, "stylegan2-f", "--resolution", str(SIZES[index]))
    assert shown["generator_parameters"] == F_GENERATOR[index]
    assert shown["discriminator_parameters"] == F_DISCRIMINATOR[index]


@pytest.fixture(scope="module")
def listed() -> list[dict[str, Any]]:
    """The rows of the whole list."""
    return [summary(experiment) for experiment in presets.PRESETS.values()]


@every("name", COUNTS)
def test_parameters_of_the_other_families(name: str, listed: list[dict[str, Any]]) -> None:
    row = next(row for row in listed if row["name"] == name)
    assert (row["generator_parameters"], row["discriminator_parameters"]) == COUNTS[name]


def test_the_list_has_a_row_for_each_preset(capsys: pytest.CaptureFixture[str]) -> None:
    rows = run_json(capsys)["presets"]
    assert [row["name"] for row in rows] == list(presets.names())
    by_name = {row["name"]: row for row in rows}
    assert by_name["stylegan2-f-car"] == {
        "name": "stylegan2-f-car",
        "source": "StyleGAN2 (Karras et al. 2020), Tables 1 and 3, row F, LSUN Car",
        "paper": "StyleGAN2 (Karras et al. 2020)",
        "place": "Tables 1 and 3, row F, LSUN Car",
        "resolution": 512,
        "generator_parameters": F_GENERATOR[1],
        "discriminator_parameters": F_DISCRIMINATOR[1],
        "total_kimg": 57000,
        "loss": "nonsaturating",
        "penalty": "R1 10",
        "gamma": 10,
    }


def test_equal_networks_are_counted_once() -> None:
    for count in (report._generator_parameters, report._discriminator_parameters):
        count.cache_clear()
    for experiment in presets.PRESETS.values():
        report.parameter_counts(experiment)
    info = report._generator_parameters.cache_info()
    assert info.misses < len(presets.PRESETS) / 2


def test_the_list_is_a_table_for_each_paper(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys).splitlines()
    assert max(map(len, lines)) <= 120
    for paper in presets.PAPERS:
        assert paper in lines
    after = lines.index("StyleGAN2 (Karras et al. 2020)")
    line = next(line for line in lines[after:] if line.startswith("stylegan2-f "))
    assert line.split() == [
        *("stylegan2-f", "Table", "1,", "row", "F,", "FFHQ"),
        *("1024", "30.37M", "29.01M", "25000", "non-sat.,", "R1", "10"),
    ]
    order = [name for line in lines for name in line.split()[:1] if name in presets.PRESETS]
    assert order == list(presets.names())


def test_the_list_by_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    rows = run_json(capsys, "stylegan2")["presets"]
    assert [row["name"] for row in rows] == list(presets.find("stylegan2"))
    assert {row["paper"] for row in rows} == {"StyleGAN2 (Karras et al. 2020)", presets.OWN}
    rows = run_json(capsys, "indian celebs")["presets"]
    assert [row["name"] for row in rows] == ["msg-progan-indian-celebs", "msg-stylegan-indian-celebs"]
    assert "msg-progan-cifar10-lr-0.001" in run(capsys, "cifar")


def test_the_list_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("styleloom.cli.report.PLAIN_WIDTH", 80)
    lines = run(capsys).splitlines()
    assert len(lines) == 2 * len(presets.names()) + len(presets.PAPERS)
    at = lines.index("stylegan2-f: Table 1, row F, FFHQ")
    assert lines[at + 1] == (
        "    1024 px, G 30,370,060 and D 29,012,513 parameters, 25000 kimg, nonsaturating, R1 10"
    )
    at = lines.index("msg-progan-bmsg: authors' earlier PyTorch code, FFHQ")
    assert lines[at + 1].endswith("6000 kimg, relativistic-hinge")


@every(
    ("penalty", "name"),
    [
        (GradientPenalty(gamma=0.5), "R1 0.5"),
        (GradientPenalty(gamma=10, r2_gamma=1), "R1 10, R2 1"),
        (GradientPenalty("two-sided", gamma=10), "GP 10"),
        (GradientPenalty("one-sided", gamma=10), "one-sided GP 10"),
        (GradientPenalty(gamma=0), "none"),
    ],
)
def test_names_of_penalties(penalty: GradientPenalty, name: str) -> None:
    assert penalty_name(penalty) == name


def table_of(lines: list[str]) -> dict[str, tuple[str, ...]]:
    """The rows of the table among `lines`: the first cell to the others."""
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    return {name: tuple(values) for name, *values in rows}


def test_the_json_of_a_preset_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["stylegan2-f"], ["stylegan2-f", "--all"], ["stylegan2-f-car"]):
        shown = run_json(capsys, *argv)
        assert from_json(shown["experiment"]) == presets.get(argv[0])


def test_a_preset_is_shown_where_it_differs_from_the_default_of_its_family(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = run(capsys, "stylegan2-f-car").splitlines()
    assert lines[:2] == [
        "stylegan2-f-car: StyleGAN2 (Karras et al. 2020), Tables 1 and 3, row F, LSUN Car",
        "differs from stylegan2-f, the default of the stylegan2 family, in:",
    ]
    assert table_of(lines) == {
        "generator.resolution": ("512", "1024"),
        "discriminator.resolution": ("512", "1024"),
        "total_kimg": ("57000", "25000"),
        "data.mirror": ("none", "horizontal"),
        "generator parameters": ("30,276,583", "30,370,060"),
        "discriminator parameters": ("28,982,849", "29,012,513"),
    }
    assert lines[-1] == "--all shows every field"


def test_the_family_is_that_of_the_networks(capsys: pytest.CaptureFixture[str]) -> None:
    defaults = {
        "stylegan-a": "progan",
        "stylegan2-a": "stylegan-f",
        "msg-progan-all": "msg-progan",
        "msg-stylegan-celebahq": "msg-stylegan",
        "demo": "stylegan2-f",
    }
    for name, default in defaults.items():
        assert f" {default}, the default of" in run(capsys, name).splitlines()[1], name
    assert set(presets.FAMILY_DEFAULTS) == set(FAMILIES)


def test_a_preset_that_differs_in_nothing_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "stylegan-mixing-90").splitlines()
    assert lines[1] == "the same experiment as stylegan-f, the default of the stylegan family"
    assert set(table_of(lines)) == {"generator parameters", "discriminator parameters"}


def test_every_field_is_shown_of_a_default_and_with_all(capsys: pytest.CaptureFixture[str]) -> None:
    headings = {
        ("stylegan2-f", "--resolution", "256"): "the default of the stylegan2 family; every field:",
        ("stylegan2-f-car", "--all"): "every field:",
    }
    for argv, heading in headings.items():
        lines = run(capsys, *argv).splitlines()
        assert lines[1] == heading
        fields = [name for name in flatten(presets.get(argv[0])) if name not in ("name", "source")]
        rows = table_of(lines)
        assert list(rows) == [*fields, "generator parameters", "discriminator parameters"]
        assert rows["generator.resample_filter"] == ("1,3,3,1",)
    assert rows["total_kimg"] == ("57000",)


def test_no_field_is_cut_at_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("styleloom.cli.report.PLAIN_WIDTH", 80)
    out = run(capsys, "diff", "progan", "stylegan-b")
    assert max(map(len, out.splitlines())) <= 80
    for field in ("discriminator.minibatch_std.group_size", "generator.mapping.normalize_z"):
        assert field in out


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
    assert list(table_of(out.splitlines())) == [
        "generator.features.base",
        "discriminator.features.base",
        "d_regularizer.gamma",
    ]


def compared(capsys: pytest.CaptureFixture[str], *pair: str) -> dict[str, tuple[str, str]]:
    """The rows of a comparison."""
    rows = table_of(run(capsys, "diff", *pair).splitlines())
    return {name: (old, new) for name, (old, new) in rows.items()}


def test_diff_is_short_where_rows_of_a_table_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert compared(capsys, "stylegan-b", "stylegan-c") == {
        "generator.mapping.layers": ("0", "8"),
        "generator.styles": ("none", "adain"),
        "generator.normalization": ("pixel", "instance"),
    }
    assert compared(capsys, "stylegan2-d", "stylegan2-e") == {
        "generator.architecture": ("growing", "skip"),
        "discriminator.architecture": ("growing", "resnet"),
        "d_regularizer.gamma": ("10", "100"),
        "growth.mode": ("progressive", "none"),
        "batch": ("32; 256 at 8 px, 128 at 16 px, 64 at 32 px", "32"),
        "style_mixing_unit": ("4; 32 at 8 px, 16 at 16 px, 8 at 32 px", "4"),
        "learning_rate": (
            "0.001; 0.0015 at 128 px, 0.002 at 256 px, 0.003 at 512 px, 0.003 at 1024 px",
            "0.002",
        ),
    }


def test_diff_of_families_marks_what_one_has_not(capsys: pytest.CaptureFixture[str]) -> None:
    rows = compared(capsys, "stylegan-a", "stylegan-b")
    assert rows["generator.family"] == ("progan", "stylegan")
    assert rows["generator.blur"] == ("-", "1,2,1")
    assert rows["discriminator.pooling"] == ("before", "-")
    assert rows["growth.initial_resolution"] == ("4", "8")


def test_diff_of_equals(capsys: pytest.CaptureFixture[str]) -> None:
    pair = ("stylegan2-e", "stylegan2-e-g-skip-d-resnet")
    assert run_json(capsys, "diff", *pair)["differences"] == {}
    assert "are the same experiment" in run(capsys, "diff", *pair)


@every(
    ("argv", "message"),
    [
        (["stylegan2-g"], "preset: 'stylegan2-g' does not exist, did you mean 'stylegan2-"),
        (["diff"], "presets diff: takes two presets, got 0: diff A B"),
        (["diff", "stylegan2-e"], "presets diff: takes two presets, got 1: diff A B"),
        (["diff", "stylegan2-e", "nothing"], "preset: 'nothing' does not exist"),
        (
            ["stylegan2-e", "stylegan2-f"],
            "takes one preset or word, got 2; to compare two: styleloom presets diff stylegan2-e stylegan2-f",
        ),
        (["stylegan2-e", "--resolution", "100"], "resolution: 100 is not a power of two"),
        (["--all"], "--all: only with the name of a preset; without a name all presets are listed"),
        (["indian", "--all"], "--all: only with the name of a preset"),
        (
            ["diff", "stylegan2-e", "stylegan2-f", "--all"],
            "--all: only with the name of a preset; diff",
        ),
        (["--device-table", "4"], "--device-table: only with the name of a preset, or with diff"),
        (["stylegan2-d", "--device-table", "4"], "device table: not valid for stylegan2-d, its batch"),
    ],
)
def test_errors(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("styleloom: error: ")
    assert message in err


# ---- tables for fewer devices


def test_a_preset_by_the_table_for_fewer_devices(capsys: pytest.CaptureFixture[str]) -> None:
    shown = run_json(capsys, "stylegan-f", "--device-table", "2")["experiment"]
    assert from_json(shown) == presets.for_devices(presets.get("stylegan-f"), 2)
    differences = run_json(capsys, "diff", "stylegan-e", "stylegan-f", "--device-table", "2")["differences"]
    assert set(differences) == {"style_mixing"}


def planned(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    capsys.readouterr()
    assert main(["train", "--dry-run", "--device", "cpu", "--json", *argv]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_dry_run_by_the_table_for_fewer_devices(capsys: pytest.CaptureFixture[str]) -> None:
    document = planned(capsys, "--preset", "stylegan-f", "--device-table", "4", "--resolution", "256")
    rows = [(r["kimg"], r["level"], r["alpha"], r["batch"], r["learning_rate"]) for r in document["timeline"]]
    assert rows == [
        (0, 1, 1, 256, 0.001),
        (600, 2, 0, 128, 0.001),
        (1200, 2, 1, 128, 0.001),
        (1800, 3, 0, 64, 0.001),
        (2400, 3, 1, 64, 0.001),
        (3000, 4, 0, 32, 0.001),
        (3600, 4, 1, 32, 0.001),
        (4200, 5, 0, 16, 0.0015),
        (4800, 5, 1, 16, 0.0015),
        (5400, 6, 0, 16, 0.002),
        (6000, 6, 1, 16, 0.002),
        (25000, 6, 1, 16, 0.002),
    ]
    assert from_json(document["experiment"]).style_mixing_unit(64) == 8  # 32 images on 4 devices


def test_the_command_line_goes_before_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--preset", "msg-progan", "--resolution", "16", "--device-table", "2")
    assert from_json(planned(capsys, *words)["experiment"]).batch(16) == 32
    assert from_json(planned(capsys, *words, "--batch", "12")["experiment"]).batch(16) == 12


def test_the_schedule_of_a_dry_run_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["train", "--dry-run", "--device", "cpu", "--preset", "stylegan-f", "--resolution", "16"]
    assert main([*argv, "--kimg", "900"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = next(index for index, line in enumerate(lines) if "learning rate" in line)
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines[at + 2 : at + 5]]
    assert cells == [
        ["0", "1", "8", "1", "256", "0.001"],
        ["600", "2", "16", "0 to 0.5", "128", "0.001"],
        ["900", "2", "16", "0.5", "128", "0.001"],
    ]


@every(
    ("argv", "message"),
    [
        (["--preset", "stylegan2-f", "--device-table", "4"], "device table: not valid for stylegan2-f"),
        (["--resume", "nowhere", "--device-table", "4"], "--device-table: not with --resume"),
    ],
)
def test_where_there_is_no_table(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--dry-run", *argv]) == 2
    assert message in capsys.readouterr().err


def test_a_number_of_devices_without_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--dry-run", "--preset", "stylegan-f", "--device-table", "3"]) == 2
    assert "--device-table" in capsys.readouterr().err
