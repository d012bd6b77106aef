"""README.md and the pages of docs/: commands and programs run, and their facts are those of the code."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from styleloom import presets
from styleloom.cli import VERBS, main
from styleloom.data.conversion import MAX_PIXELS
from styleloom.data.dataset import open_dataset
from styleloom.data.sources import EMBEDDED_SETS
from styleloom.metrics.evaluation.definitions import METRICS, parse

from .pages import DOCUMENTS, README, REPRODUCE, ROOT, blocks, commands
from .preset_table import BLOCK, table
from .tiny_model import RESOLUTION, experiment, write_photos, write_snapshot

SEQUENCES = (
    (README,),
    tuple(
        f"docs/{page}.md"
        for page in (
            "presets",
            "data",
            "training",
            "report",
            "augmentation",
            "generating",
            "projecting",
            "attribution",
            "measuring",
        )
    ),
    ("docs/command-line.md",),
    ("docs/steering.md",),
    ("docs/figures.md",),
    ("docs/continuing.md",),
    ("docs/exporting.md",),
    ("docs/weights.md",),
    ("docs/app.md",),
    ("docs/planning.md",),
)
"""Pages whose commands run one after the other in one folder: a page may use what an earlier one made."""

MADE = {
    "docs/weights.md": ("portraits.png", "portraits.safetensors"),
    "docs/steering.md": ("edited.png", "edited.latent.safetensors", "walk.mp4", "psi.webm"),
    "docs/figures.md": ("mixing.png", "psi.png", "portraits.png", "features.png"),
    "docs/exporting.md": (
        "portraits-pt2/generator.pt2",
        "portraits-onnx/synthesis.onnx",
        "portraits.pt",
        "portraits.pkl",
        "from-folder/seed0003.png",
    ),
    README: ("sheet.png", "photos.zip", "generated/seed0015.png", "runs/photos/stats.jsonl"),
    "docs/measuring.md": (
        "portraits.attribution.json",
        "portraits.png",
        "grid.png",
        "noise.png",
        "generated/seed0042-psi0.7.png",
        "scores.json",
        "runs/photos/report.html",
        "compared.html",
    ),
}
"""Files that are there after a sequence, by its last page."""


def shortened(words: list[str]) -> list[str]:
    """The same command at 16 px; training stops after one step, metrics take 16 images and no download."""
    if "--dry-run" in words or words[0] == "presets":
        return words
    previous = ["", *words]
    words = [
        ",".join(map(offline, word.split(","))) if before == "--metrics" else word
        for before, word in zip(previous, words, strict=False)
    ]
    if words[0] == "evaluate":
        return ["2" if before == "--repeats" else word for before, word in zip(previous, words, strict=False)]
    if words[0] == "project":
        return [*words, "--steps", "2", *(["--tune", "1"] if "--tune" in words else [])]
    if words[0] == "attribute" and "--data" in words:
        return [*words, "--count", "3", "--steps", "2", "--false-alarm", "0.25", "--miss", "0.25"]
    if words[0] == "train-classifiers":
        return [*words, "--kimg", "0.016", "--held-out", "4"]
    words = [
        {"--resolution": str(RESOLUTION), "--at": str(RESOLUTION // 2)}.get(before, word)
        for before, word in zip(["", *words], words, strict=False)
    ]
    if words[:2] == ["train", "--data"] and "--resolution" not in words:
        words += ["--resolution", str(RESOLUTION)]
    return [*words, "--minutes", "1e-6"] if words[0] == "train" and "--help" not in words else words


def offline(metric: str) -> str:
    """A metric of the same kind, of 16 images or samples, in features that come with the package."""
    found = parse(metric)
    prefix = re.match(r"[a-z_]*?(?=_?\d)|[a-z_]+", metric.replace("ppl2", "ppl"))
    assert prefix is not None
    kind = {"fid": "fd"}.get(found.metric.kind, prefix.group())
    name = f"{kind}16" + ("_lite0" if found.network else "")
    return parse(name).name


@pytest.fixture
def tiny_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("demo", "portraits-64", "stylegan2-f"):
        monkeypatch.setitem(presets.PRESETS, name, experiment(name))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run in, with photos, and labelled ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STYLELOOM_STATISTICS", str(tmp_path / "statistics"))
    write_photos(tmp_path / "photos")
    write_photos(tmp_path / "faces", side=RESOLUTION)
    rows = [f"{index:03d}.png,{index % 2},{index // 2 % 2}" for index in range(40)]
    (tmp_path / "faces.csv").write_text("\n".join(rows))
    words = ["--resolution", str(RESOLUTION), "--labels", "faces.csv"]
    assert main(["dataset", "build", "faces", "faces.zip", *words]) == 0
    return tmp_path


def test_every_page_with_commands_is_in_a_sequence() -> None:
    told = {page for sequence in SEQUENCES for page in sequence}
    with_commands = {page for page, text in DOCUMENTS.items() if commands(text, "styleloom")}
    assert with_commands - {REPRODUCE} == told
    verbs = {" ".join(words[:2]) for page in told for words in commands(DOCUMENTS[page], "styleloom")}
    for verb in set(VERBS) - {
        "demo",
        "app",
        "features list",
        "features fetch",
        "features check",
        "push",
        "pull",
    }:
        assert any(f"{words} ".startswith(f"{verb} ") for words in verbs), verb


@pytest.mark.usefixtures("tiny_presets")
@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda sequence: sequence[0])
def test_commands_run_in_order(
    sequence: tuple[str, ...], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (words for page in sequence for words in commands(DOCUMENTS[page], "styleloom")):
        from_run = words[0] in ("generate", "evaluate") and words[1].endswith(".safetensors")
        snapshot = place / words[1] if from_run else None
        if snapshot is not None and not snapshot.exists():  # the test stopped training before its number
            shutil.copy(sorted(snapshot.parent.glob("snapshot-0*.safetensors"))[-1], snapshot)
        status = main(shortened(words))
        assert status == 0, f"styleloom {shlex.join(words)}: {capsys.readouterr().err}"
    for file in MADE.get(sequence[-1], ()):
        assert (place / file).is_file(), file


@pytest.mark.usefixtures("tiny_presets", "place")
def test_programs_run() -> None:
    write_snapshot(Path("snapshot.safetensors"))
    programs = [(page, program) for page, text in DOCUMENTS.items() for program in blocks(text, "python")]
    assert {README, "docs/python.md"} == {page for page, _ in programs}
    for page, program in programs:
        exec(compile(program, page, "exec"), {"__name__": "page"})


def test_scripts_that_are_named_exist_with_their_options() -> None:
    found = [words for text in DOCUMENTS.values() for words in commands(text, "python")]
    assert len(found) > 5
    for script, *words in found:
        text = (ROOT / script).read_text()
        for word in words:
            if word.startswith("--"):
                assert f"    {word[2:].replace('-', '_')}: " in text, f"{script} {word}"


def test_real_presets_can_be_planned(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--preset", "stylegan2-f", "--dry-run", "--json"]) == 0
    assert '"training_pflop"' in capsys.readouterr().out


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page, text in DOCUMENTS.items():
        named = set(
            re.findall(r"^make ([\w-]+)|`make ([\w-]+)", "\n".join(blocks(text, "bash")) + text, re.MULTILINE)
        )
        assert {first or second for first, second in named} <= targets, page
    assert re.search(r"^make demo\nmake test$", DOCUMENTS[README], re.MULTILINE)


def test_extras_exist() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    named = {extra for text in DOCUMENTS.values() for extra in re.findall(r"'\.\[(\w+)\]'", text)}
    assert "metrics" in named
    for extra in named:
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra


def test_the_tables_of_presets_are_those_of_the_code() -> None:
    found = BLOCK.search(DOCUMENTS["docs/presets.md"])
    assert found is not None
    assert found.group() == table(), "run: python tests/docs/preset_table.py"


def test_names_of_metrics_exist() -> None:
    rows = DOCUMENTS["docs/measuring.md"].split("| metric | names |")[1].split("\n\n")[0]
    names = re.findall(r"`(\w+)`", rows)
    assert {parse(name).metric.kind for name in names} == set(METRICS) - {"fd"}


def test_numbers_are_those_of_the_code() -> None:
    text = DOCUMENTS["docs/data.md"]
    assert f"{MAX_PIXELS:,} pixels" in text
    for name in EMBEDDED_SETS:
        dataset = open_dataset(name)
        assert f"| `{name}` | {len(dataset):,} images of {dataset.resolution}×{dataset.resolution} px" in text
        for place in dataset.classes or ():
            color, _, channel = place.rpartition("-")
            told = channel in ("red", "green", "blue")
            assert (f" {color}" if told else f"`{place}`") in text, place


def test_environment_variables_are_all_told() -> None:
    package = ROOT / "src" / "styleloom"
    read = {name for path in package.rglob("*.py") for name in re.findall(r"STYLELOOM_\w+", path.read_text())}
    assert read == set(re.findall(r"STYLELOOM_\w+", DOCUMENTS["docs/command-line.md"]))
