"""`styleloom directions` and `styleloom edit`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from docs.tiny_model import write_snapshot
from every import every
from styleloom.cli import main
from styleloom.cli.directions import parse_conditional, read_labels
from styleloom.cli.edit import parse_direction
from styleloom.config.networks import FeatureMaps
from styleloom.directions import discovery
from styleloom.errors import UserError
from styleloom.metrics.classifiers import training as classifier_training
from styleloom.metrics.classifiers.classifier import Classifier
from tiny import make_archive


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of 16 px, and the directions of SeFa in it."""
    root = tmp_path_factory.mktemp("directions")
    write_snapshot(root / "tiny.safetensors")
    words = [
        str(root / "tiny.safetensors"),
        "--out",
        str(root / "sefa.directions.safetensors"),
        "--count",
        "3",
    ]
    assert main(["directions", *words, "--samples", "500"]) == 0
    return root


def run(folder: Path, verb: str, *words: str) -> int:
    return main([verb, str(folder / "tiny.safetensors"), *words])


def test_table_and_document_agree(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--method", "pca", "--count", "2", "--layers", "0-2", "--conditional", "pca-1:pca-0"]
    out = tmp_path / "a.directions.safetensors"
    assert run(folder, "directions", *words, "--out", str(out), "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in document["directions"]] == ["pca-0", "pca-1", "pca-1|pca-0"]
    assert document["measure"] == "explained variance"
    assert document["layers"] == [0, 1, 2]
    assert run(folder, "directions", *words, "--out", str(out), "--overwrite") == 0
    shown = capsys.readouterr().out
    assert f"{document['directions'][0]['value']:.1%}" in shown
    assert "3 directions in" in shown
    assert run(folder, "directions", *words, "--out", str(out)) == 2
    assert "there already" in capsys.readouterr().err


def test_own_labels(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An attribute that few rows have is left out, and said so."""
    rows = [f"{seed},{seed % 2},{int(seed == 3)}" for seed in range(60)]
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(["seed,odd,rare", *rows]))
    out = tmp_path / "a.directions.safetensors"
    words = ["--method", "classifier", "--labels", str(labels), "--keep", "1", "--out", str(out), "--json"]
    assert run(folder, "directions", *words) == 0
    captured = capsys.readouterr()
    (row,) = json.loads(captured.out)["directions"]
    assert row["name"] == "odd"
    assert 0 <= row["value"] <= 1
    assert "attribute rare is left out: 1 of 60 images have it" in captured.err


def test_a_labelled_set(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A probe learns the classes of an archive; untrained images all fall on one side, or do not."""
    archive = make_archive(tmp_path, 60, 16, labels="folders")
    out = tmp_path / "a.directions.safetensors"
    words = ["--method", "classifier", "--data", str(archive), "--seeds", "0-63", "--out", str(out)]
    status = run(folder, "directions", *words)
    error = capsys.readouterr().err
    assert "accuracy of the probes on held-out images" in error
    assert status == 0 or "has enough images on both sides" in error or "have it" in error


CLASSIFIER = ["--method", "classifier"]


@every(
    ("words", "message"),
    [
        (["--method", "classifier"], "needs one of --data"),
        (["--labels", "a.csv"], "--labels: not valid with --method sefa"),
        (["--method", "classifier", "--data", "portraits", "--count", "2"], "--count: not valid"),
        (["--layers", "99"], "layers: 99"),
        (["--conditional", "sefa-0"], "--conditional: 'sefa-0' is not valid"),
        (["--conditional", "sefa-0:nothing"], "'nothing' does not exist"),
        (["--count", "999"], "count: 999"),
        (["--seeds", "0-9"], "--seeds: '0-9' is not valid with --method sefa"),
        (["--keep", "0.7"], "--keep: 0.7 is not valid with --method sefa"),
        ([*CLASSIFIER, "--data", "portraits", "--keep", "2"], "keep: 2.0 is not valid"),
        ([*CLASSIFIER, "--data", "portraits", "--seeds", ""], "--seeds: '' is not valid"),
        ([*CLASSIFIER, "--labels", "a.csv", "--seeds", "0-9"], "--seeds: '0-9' is not valid with --labels"),
        ([*CLASSIFIER, "--labels", "a.csv", "--attributes", "a"], "--attributes: 'a' is not valid with"),
        (["--out", "a.safetensors"], "is no name for directions"),
    ],
)
def test_directions_that_cannot_be(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    out = [] if "--out" in words else ["--out", str(tmp_path / "x.directions.safetensors")]
    assert run(folder, "directions", *words, *out) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
    assert not list(tmp_path.iterdir())


def test_conditional_names_are_checked_before_images_are_drawn(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels.csv").write_text("seed,a,b\n0,1,0\n1,0,1\n")
    monkeypatch.setattr(discovery, "latents_of", None)  # would fail with another error
    common = [*CLASSIFIER, "--labels", str(tmp_path / "labels.csv"), "--samples", "100"]
    common += ["--out", str(tmp_path / "x.directions.safetensors")]
    for wanted, message in (
        (["a:nothing"], "'nothing' does not exist"),
        (["a:a"], "orthogonal to others, at least one"),
        (["a:b", "a|b:c"], "'c' does not exist"),
        (["a:b", "a:b"], "'a|b' is there already"),
    ):
        assert run(folder, "directions", *common, "--conditional", *wanted) == 2
        assert message in capsys.readouterr().err.replace("\n", " ")


def test_directions_of_classifiers(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Classifiers of a folder, here with brightness for logits; those of --attributes alone."""
    full = classifier_training.classifier_config
    narrow = FeatureMaps(base=8192, max=8)
    monkeypatch.setattr(
        classifier_training, "classifier_config", lambda *given: replace(full(*given), features=narrow)
    )
    archive = make_archive(tmp_path, 24, 16, labels="folders")
    learn = ["train-classifiers", "--data", str(archive), "--out", str(tmp_path / "c"), "--kimg", "0.024"]
    assert main(learn) == 0
    monkeypatch.setattr(
        Classifier, "logits", lambda self, images: (light := images.mean((1, 2, 3))) - light.mean()
    )
    words = [*CLASSIFIER, "--classifiers", str(tmp_path / "c"), "--seeds", "0-63", "--samples", "100"]
    capsys.readouterr()
    for attributes, names in ([], ["a", "b"]), (["--attributes", "b"], ["b"]):
        out = tmp_path / f"{len(names)}.directions.safetensors"
        assert run(folder, "directions", *words, *attributes, "--out", str(out), "--json") == 0
        document = json.loads(capsys.readouterr().out)
        assert [row["name"] for row in document["directions"]] == names
        assert document["seeds"] == "0-63"
        assert document["classifiers"] == str(tmp_path / "c")
    out = tmp_path / "x.directions.safetensors"
    assert run(folder, "directions", *words, "--attributes", "c", "--out", str(out)) == 2
    assert "--attributes: 'c' is not there; valid: a, b" in capsys.readouterr().err


@every(
    ("content", "message"),
    [
        ("", "its first line must name"),
        ("a,b\n1,2\n", "its first line must name"),
        ("seed,a,a\n1,2,3\n", "its first line must name"),
        ("seed,a\n", "no rows but the first"),
        ("seed,a\n1\n", "row 2: 1 cells"),
        ("seed,a\n0-3,1\n", "row 2: one seed in each row"),
        ("seed,a\n1,yes\n", "'yes' is not valid"),
        ("seed,a\nx,1\n", "'x' is not valid"),
    ],
)
def test_labels_that_are_not_valid(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "labels.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        read_labels(tmp_path / "labels.csv")


def test_labels(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("\ufeffseed, smile,hat\n7,1,\n\n9,0,-1\n", encoding="utf-8")
    seeds, scores = read_labels(tmp_path / "labels.csv")
    assert seeds == [7, 9]
    assert {name: values.tolist() for name, values in scores.items()} == {"smile": [1, -1], "hat": [0, -1]}


def test_parsing() -> None:
    assert parse_conditional("smile: age, hat") == ("smile", ["age", "hat"])
    assert parse_direction("smile=-3..3", 3) == ("smile", [-3, 0, 3])
    assert parse_direction("a=b=1,-2", 7) == ("a=b", [1, -2])
    for text in ("smile", "=1", "smile=", "smile=a..b", "smile=nan", "smile=1..inf"):
        with pytest.raises(UserError, match="NAME=-3"):
            parse_direction(text, 7)
    with pytest.raises(UserError, match="--steps: 1"):
        parse_direction("smile=-3..3", 1)


def test_edit(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A block for each direction; the middle column is the image itself; kept latents give it again."""
    sheet, kept = tmp_path / "a.png", tmp_path / "a.latent.safetensors"
    common = ["--directions", str(folder / "sefa.directions.safetensors")]
    words = [*common, "--direction", "sefa-0=-3..3", "sefa-1=-1,0", "--steps", "3", "--seeds", "0,4"]
    assert run(folder, "edit", *words, "--out", str(sheet), "--save", str(kept), "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["images"]) == 2 * 3 + 2 * 2
    with Image.open(sheet) as image:
        pixels = np.array(image)
        assert json.loads(image.text["styleloom"])["images"] == document["images"]  # type: ignore[attr-defined]
    assert pixels.shape == (2 * 16 + 8 + 2 * 16, 3 * 16, 3)
    assert run(folder, "generate", "--seeds", "0,4", "--grid", "1x2", "--out", str(tmp_path / "b.png")) == 0
    with Image.open(tmp_path / "b.png") as image:
        assert np.array_equal(np.array(image), pixels[:32, 16:32])
        assert np.array_equal(np.array(image), pixels[40:, 16:32])
    assert (pixels[32:40] == 255).all()
    assert (pixels[40:, 32:] == 255).all()
    assert not np.array_equal(pixels[:32, :16], pixels[:32, 16:32])
    again = [*common, "--direction", "sefa-2=0", "--latents", str(kept), "--out", str(tmp_path / "c.png")]
    assert run(folder, "edit", *again) == 0
    with Image.open(tmp_path / "c.png") as image:
        column, record = np.array(image), json.loads(image.text["styleloom"])  # type: ignore[attr-defined]
    assert record["latents_sha256"] == {str(kept): hashlib.sha256(kept.read_bytes()).hexdigest()}
    assert np.array_equal(column[:16], pixels[:16, :16])
    assert np.array_equal(column[-32:-16], pixels[-16:, :16])


def test_edit_orthogonally(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--directions", str(folder / "sefa.directions.safetensors"), "--out", str(tmp_path / "a.png")]
    words = ["--direction", "sefa-0=2", "--seeds", "0", "--orthogonal-to", "sefa-1,sefa-2", "--json"]
    assert run(folder, "edit", *common, *words) == 0
    (record,) = json.loads(capsys.readouterr().out)["images"]
    assert record["edits"][0]["direction"] == "sefa-0|sefa-1,sefa-2"


def test_edit_along_a_direction_that_its_file_has_made_orthogonal(folder: Path, tmp_path: Path) -> None:
    out, pictures = tmp_path / "a.directions.safetensors", [tmp_path / "a.png", tmp_path / "b.png"]
    common = ["--samples", "500", "--count", "3", "--conditional", "sefa-0:sefa-1", "--out", str(out)]
    assert run(folder, "directions", *common) == 0
    for file, picture in zip((folder / "sefa.directions.safetensors", out), pictures, strict=True):
        words = [
            "--direction",
            "sefa-0=2",
            "--seeds",
            "0",
            "--orthogonal-to",
            "sefa-1",
            "--out",
            str(picture),
        ]
        assert run(folder, "edit", "--directions", str(file), *words) == 0
    a, b = (np.array(Image.open(picture)) for picture in pictures)
    assert np.array_equal(a, b)


@every(
    ("words", "message"),
    [
        (["--direction", "nothing=1"], "'nothing' does not exist"),
        (["--direction", "sefa-0"], "NAME=-3..3"),
        (["--direction", "sefa-0=1", "--layers", "99"], "layers: 99"),
        (
            ["--direction", "sefa-0=1", "--seeds", "1", "--latents", "a.latent.safetensors"],
            "--seeds: not valid",
        ),
        (["--direction", "sefa-0=1", "--latents", "a.latent.safetensors"], "there is no such file"),
        (["--direction", "sefa-0=1", "--latents", "a", "--noise", "fixed"], "--noise: 'fixed' is not valid"),
        (["--direction", "sefa-0=1", "--latents", "a", "--classes", "0"], "--classes: 0 is not valid"),
        (
            ["--direction", "sefa-0=1", "--latents", "a", "--truncation", "2"],
            "--truncation: '2' is not valid",
        ),
        (["--direction", "sefa-0=1", "--seeds", ""], "--seeds: '' is not valid"),
        (["--direction", "sefa-0=1..2..3"], "--direction: '1..2..3' is not valid"),
        (["--direction", "sefa-0=1", "--save", "a.safetensors"], "no name of a latent file"),
        (["--direction", "sefa-0=1", "--out", "a.jpg"], "a name that ends with .png"),
        (["--direction", "sefa-0=-1..1", "--seeds", "0-99999", "--steps", "99"], "too many for one picture"),
    ],
)
def test_edits_that_cannot_be(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    out = [] if "--out" in words else ["--out", str(tmp_path / "x.png")]
    common = ["--directions", str(folder / "sefa.directions.safetensors")]
    assert run(folder, "edit", *common, *words, *out) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
    assert not list(tmp_path.iterdir())
