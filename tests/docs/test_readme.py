"""README.md: its commands and programs run, its table is that of the presets, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from styleloom import presets
from styleloom.cli import main
from styleloom.data.conversion import MAX_PIXELS
from styleloom.data.dataset import open_dataset
from styleloom.metrics.evaluation.definitions import KINDS, parse

from .preset_table import BLOCK, README, table
from .tiny_model import RESOLUTION, experiment, write_photos, write_snapshot

ROOT = README.parent
TEXT = README.read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def commands(program: str) -> list[list[str]]:
    """The words after `program` of every command, in order."""
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith(f"{program} ")]


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
    if words[0] == "train-classifiers":
        return [*words, "--kimg", "0.016", "--held-out", "4"]
    words = [
        str(RESOLUTION) if before == "--resolution" else word
        for before, word in zip(["", *words], words, strict=False)
    ]
    return [*words, "--minutes", "1e-6"] if words[0] == "train" else words


def offline(metric: str) -> str:
    """A metric of the same kind, of 16 images or samples, in features that come with the package."""
    found = parse(metric)
    prefix = re.match(r"[a-z_]*?(?=_?\d)|[a-z_]+", metric.replace("ppl2", "ppl"))
    assert prefix is not None
    kind = {"fid": "fd"}.get(found.kind, prefix.group())
    name = f"{kind}16" + ("_lite0" if found.network else "")
    return parse(name).name


@pytest.fixture
def tiny_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("demo", "stylegan2-f"):
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


def test_there_are_commands_of_each_verb() -> None:
    verbs = {words[0] for words in commands("styleloom")}
    assert verbs >= {"train", "generate", "presets", "dataset", "evaluate", "metrics", "train-classifiers"}


@pytest.mark.usefixtures("tiny_presets")
def test_commands_run_in_order(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in commands("styleloom"):
        from_run = words[0] in ("generate", "evaluate") and words[1].endswith(".safetensors")
        snapshot = place / words[1] if from_run else None
        if snapshot is not None and not snapshot.exists():  # the test stopped training before its number
            shutil.copy(sorted(snapshot.parent.glob("snapshot-0*.safetensors"))[-1], snapshot)
        status = main(shortened(words))
        assert status == 0, f"styleloom {shlex.join(words)}: {capsys.readouterr().err}"
    assert (place / "sheet.png").is_file()
    assert (place / "grid.png").is_file()
    assert len(list((place / "generated").glob("*.png"))) == 17
    assert (place / "scores.json").is_file()


@pytest.mark.usefixtures("tiny_presets", "place")
@pytest.mark.parametrize("program", blocks("python"))
def test_programs_run(program: str) -> None:
    write_snapshot(Path("snapshot.safetensors"))
    exec(compile(program, "README.md", "exec"), {"__name__": "readme"})


def test_real_presets_can_be_planned(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--preset", "stylegan2-f", "--dry-run", "--json"]) == 0
    assert '"training_pflop"' in capsys.readouterr().out


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"^make ([\w-]+)", "\n".join(blocks("bash")), re.MULTILINE)
    named += re.findall(r"`make ([\w-]+)`", TEXT)
    assert {"demo", "test"} <= set(named) <= targets


def test_extras_exist() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    for extra in re.findall(r"'\.\[(\w+)\]'", TEXT):
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE)


def test_the_table_is_that_of_the_presets() -> None:
    found = BLOCK.search(TEXT)
    assert found is not None
    assert found.group() == table(), "run: python tests/docs/preset_table.py"


def test_names_of_metrics_exist() -> None:
    rows = TEXT.split("| metric | names |")[1].split("\n\n")[0]
    names = re.findall(r"`(\w+)`", rows)
    assert {parse(name).kind for name in names} == set(KINDS) - {"fd"}


def test_numbers_are_those_of_the_code() -> None:
    assert f"{MAX_PIXELS:,} pixels" in TEXT
    emoji = open_dataset("emoji")
    assert f"{len(emoji):,} images of {emoji.resolution}×{emoji.resolution} px" in TEXT


def test_pictures_exist() -> None:
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", TEXT):
        assert (ROOT / picture).is_file(), picture
