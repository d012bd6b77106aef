"""`styleloom train-classifiers` as it is typed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from styleloom.cli import main
from styleloom.cli.classifiers import ClassifiersProgress
from styleloom.config.networks import DiscriminatorConfig, FeatureMaps
from styleloom.data import ImageDataset
from styleloom.metrics.classifiers import training as classifier_training
from styleloom.metrics.classifiers.classifier import load_classifiers
from styleloom.metrics.classifiers.training import ClassifierProgress
from tiny import make_archive


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of 8 channels."""
    full = classifier_training.classifier_config

    def config(dataset: ImageDataset, preset: str) -> DiscriminatorConfig:
        return replace(full(dataset, preset), features=FeatureMaps(base=8192, max=8))

    monkeypatch.setattr(classifier_training, "classifier_config", config)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("archive"), labels="folders")


def words(archive: Path, out: Path, *more: str) -> list[str]:
    short = ["--kimg", "0.024", "--device", "cpu", "--precision", "fp32"]
    return ["train-classifiers", "--data", str(archive), "--out", str(out), *short, *more]


def test_a_table(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "c"
    assert main(words(archive, out)) == 0
    captured = capsys.readouterr()
    for file, name in (("000-a.safetensors", "a"), ("001-b.safetensors", "b")):
        (row,) = [line.split("│") for line in captured.out.splitlines() if file in line]
        assert [cell.strip() for cell in row[1:5]][::2] == [name, "50.00%"]
        assert row[4].strip() == str(out / file)
    assert "classifiers  a (1 of 2)  " in captured.err
    assert [c.record.attribute for c in load_classifiers(out)] == ["a", "b"]


def test_json_and_every_flag(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = (
        "--attributes b --batch 4 --learning-rate 0.01 --mirror --held-out 5 --seed 7 --preset demo --json"
    )
    assert main(words(archive, tmp_path, *flags.split())) == 0
    document = json.loads(capsys.readouterr().out)
    (row,) = document["classifiers"]
    assert (document["data"], document["out"]) == (str(archive), str(tmp_path))
    assert row["settings"] == {
        "kimg": 0.024, "batch": 4, "learning_rate": 0.01, "mirror": True,
        "held_out": 5, "precision": "fp32", "seed": 7, "preset": "demo",
    }  # fmt: skip
    assert (row["attribute"], row["index"], row["images_seen"]) == ("b", 1, 24)
    assert row["file"] == str(tmp_path / "001-b.safetensors")
    (classifier,) = load_classifiers(tmp_path)
    assert classifier.config.family == "stylegan2"  # the demo's discriminator
    assert row["accuracy"] * 5 == pytest.approx(round(row["accuracy"] * 5))


def test_a_second_call_trains_nothing(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(archive, tmp_path, "--json")) == 0
    first = capsys.readouterr()
    assert main(words(archive, tmp_path, "--json")) == 0
    second = capsys.readouterr()
    assert second.out == first.out
    assert "classifiers" in first.err
    assert "classifiers" not in second.err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--attributes", "c"], "attributes: 'c' does not exist"),
        (["--attributes", ","], "--attributes: ',' is not valid"),
        (["--kimg", "0"], "kimg: 0.0 is not valid"),
        (["--held-out", "20"], "held_out 20"),
        (["--device", "gpu"], "device: 'gpu' is not valid"),
        (["--precision", "tf32"], "tf32 needs a CUDA device"),
        (["--preset", "dem"], "preset: 'dem' does not exist"),
    ],
)
def test_errors(
    more: list[str], message: str, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(archive, tmp_path, *more)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert not list(tmp_path.iterdir())


def test_what_is_left_is_estimated_over_all_attributes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 1000.0
    monkeypatch.setattr("styleloom.cli.classifiers.time.monotonic", lambda: now)
    with ClassifiersProgress() as progress:
        now += 100
        progress(ClassifierProgress("smiling", 1, 4, 50_000, 150_000, 0.25))
        now += 10  # too soon for another line
        progress(ClassifierProgress("smiling", 1, 4, 55_000, 150_000, 0.25))
        now += 190
        progress(ClassifierProgress("[male]", 2, 4, 0, 150_000, 0.5))
    assert capsys.readouterr().err.splitlines() == [
        "classifiers  smiling (1 of 4)  50.0/150 kimg  500 images/s  ETA 18:20  loss 0.250",
        "classifiers  [male] (2 of 4)  0.0/150 kimg  500 images/s  ETA 15:00  loss 0.500",
    ]
