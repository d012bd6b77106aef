"""`styleloom dataset build` and `check` as a user meets them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import tyro
from PIL import Image

from every import every
from styleloom.cli.dataset import DatasetBuild
from styleloom.cli.dataset_check import DatasetCheck
from styleloom.data import open_dataset
from styleloom.errors import UserError


def run(*arguments: str) -> int:
    """Parse as the command line does, and run."""
    verb = {"build": DatasetBuild, "check": DatasetCheck}[arguments[0]]
    return tyro.cli(verb, args=list(arguments[1:])).run()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(6):
        path = tmp_path / "faces" / ("ab"[i % 2]) / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.RandomState(i // 2 * 2 if i < 2 else i).randint(0, 256, (20, 16, 3), np.uint8)
        Image.fromarray(pixels).save(path)
    (tmp_path / "faces" / "notes.txt").write_text("x")
    return tmp_path / "faces"


def test_build_reports_on_stdout_and_warns_on_stderr(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dest = tmp_path / "x.zip"
    assert run("build", str(folder), str(dest), "--resolution", "16", "--labels", "folders") == 0
    out, err = capsys.readouterr()
    assert out == f"wrote {dest}: 6 images, 16x16 px, 3 channels, label_dim 2\n"
    assert "passed over 1 files that are not images: 1 .txt" in err
    assert len(open_dataset(dest)) == 6


def test_build_json_is_one_document(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a" / "bad.png").write_bytes(b"")
    arguments = ["--resolution", "8", "--crop", "pad", "--filter", "box", "--channels", "1", "--workers", "2"]
    arguments += ["--max-images", "6"]
    assert run("build", str(folder), str(tmp_path / "x.zip"), *arguments, "--skip-bad", "--json") == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["num_images"] == 6
    assert document["skipped"] == [{"name": "a/bad.png", "reason": "empty file (0 bytes)"}]
    assert document["ignored"] == {".txt": 1}
    recipe = document["recipe"]
    assert (recipe["crop"], recipe["filter"], recipe["channels"], recipe["num_skipped"]) == (
        "pad",
        "box",
        1,
        1,
    )
    assert "a/bad.png: empty file" in err


def test_build_errors(folder: Path, tmp_path: Path) -> None:
    dest = str(tmp_path / "x.zip")
    for arguments, message in [
        ((dest, "--resolution", "100"), "nearest: 64 and 128"),
        (
            (dest, "--resolution", "32"),
            "6 of 6 images are bad(.|\n)*too small: 16x20 px, need at least 32x32",
        ),
        ((str(tmp_path / "x.tar"), "--resolution", "16"), "ends in .zip"),
        ((dest, "--resolution", "16", "--labels", str(tmp_path / "no.csv")), "cannot be read"),
    ]:
        with pytest.raises(UserError, match=message):
            run("build", str(folder), *arguments)
        assert not Path(dest).exists()
    assert run("build", str(folder), dest, "--resolution", "32", "--upscale") == 0
    with pytest.raises(UserError, match="--overwrite"):
        run("build", str(folder), dest, "--resolution", "16")
    assert run("build", str(folder), dest, "--resolution", "16", "--overwrite") == 0
    assert open_dataset(dest).resolution == 16


def test_unknown_labels_are_reported(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{'ab'[i % 2]}/{i}.png,{i % 3}\n" for i in range(6)]
    (tmp_path / "l.csv").write_text("".join([*rows, "gone.png,0\n"]))
    labels = str(tmp_path / "l.csv")
    assert run("build", str(folder), str(tmp_path / "x.zip"), "--resolution", "16", "--labels", labels) == 0
    assert "1 labels name no image of the source: gone.png" in capsys.readouterr().err


def test_check_reports_and_fails_on_problems(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dest = tmp_path / "x.zip"
    run("build", str(folder), str(dest), "--resolution", "16", "--labels", "folders")
    capsys.readouterr()
    assert run("check", str(dest)) == 0
    out = capsys.readouterr().out
    for line in ("6 images, 16x16 px", "class 1 b: 3 images", "crop: center", "1 groups", "no problems"):
        assert line in out
    assert run("check", str(dest), "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is True
    assert [sorted(group) for group in document["duplicates"]] == [["a/0.png", "b/1.png"]]
    assert document["class_counts"] == {"0": 3, "1": 3}
    content = bytearray(dest.read_bytes())
    content[content.index(b"IDAT") + 30] ^= 1
    dest.write_bytes(content)
    assert run("check", str(dest)) == 2
    assert "problem: " in capsys.readouterr().out
    assert run("check", str(dest), "--json") == 2
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert "00000000.png is damaged" in document["problems"][0]


def test_rectangular_images(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dest = str(tmp_path / "x.zip")
    arguments = ["build", str(folder), dest, "--resolution", "16", "--grid", "5,4"]
    assert run(*arguments) == 0
    size = "16x20 px (width x height; grid 5,4)"
    assert capsys.readouterr().out == f"wrote {dest}: 6 images, {size}, 3 channels, no labels\n"
    dataset = open_dataset(dest)
    assert (dataset.resolution, dataset.grid, dataset.size) == (16, (5, 4), (20, 16))
    assert run("check", dest) == 0
    out = capsys.readouterr().out
    for line in (f"6 images, {size}", "  resolution: 16\n", "  grid: 5,4\n", "no problems"):
        assert line in out
    for document in (["check", dest, "--json"], [*arguments, "--overwrite", "--json"]):
        assert run(*document) == 0
        printed = json.loads(capsys.readouterr().out)
        assert (printed["resolution"], printed["grid"], printed["size"]) == (16, [5, 4], [20, 16])
        assert printed["recipe"]["grid"] == [5, 4]


@every(
    ("arguments", "message"),
    [
        (("--grid", "3"), "grid '3': valid: HEIGHT,WIDTH, e.g. 4,4"),
        (("--grid", "3x4"), "grid '3x4': valid"),
        (("--grid", "1,4"), "grid 1,4: valid: height,width of 2 to 16"),
        (("--grid", "4,20"), "grid 4,20: valid"),
        (("--grid", "3,4", "--crop", "lsun-car"), "grid 3,4: crop lsun-car .*valid: 4,4"),
    ],
)
def test_grids_that_are_refused(
    folder: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run("build", str(folder), str(tmp_path / "x.zip"), "--resolution", "512", *arguments)
    assert not (tmp_path / "x.zip").exists()


def test_check_emoji(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", "emoji", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["num_images"], document["resolution"], document["duplicates"]) == (1870, 64, [])
    assert (document["grid"], document["size"]) == ([4, 4], [64, 64])


def test_build_emoji_smaller(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("build", "emoji", str(tmp_path / "e.zip"), "--resolution", "32", "--json") == 0
    assert json.loads(capsys.readouterr().out)["num_images"] == 1870
    assert Image.open(io.BytesIO(open_dataset(tmp_path / "e.zip")._reader.read(0))).size == (32, 32)


def test_large_images_have_a_flag(folder: Path, tmp_path: Path) -> None:
    Image.new("L", (1200, 1000)).save(folder / "a" / "large.png")
    arguments = ["build", str(folder), str(tmp_path / "x.zip"), "--resolution", "16", "--max-megapixels"]
    with pytest.raises(UserError, match=r"a/large.png: too many .*1200x1000 px.*--max-megapixels allows"):
        run(*arguments, "1.1")
    assert run(*arguments, "1.2") == 0
    for value in ("0", "-1", "nan", "inf", "3000"):
        with pytest.raises(UserError, match=r"--max-megapixels: .* is not valid; valid: 1 to 2147"):
            run(*arguments, value)


def test_check_of_other_sources(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sizes, labels, copies, near-copies, blanks, odd shapes, bad files, and a sheet of some images."""
    folder = tmp_path / "some"
    (folder / "b").mkdir(parents=True)
    y, x = np.mgrid[:64, :64]
    for i in range(4):
        waves = 120 + 100 * np.sin(x / (3 + i)) * np.cos(y / (5 - i))
        Image.fromarray(waves.astype(np.uint8)).save(folder / f"{i}.png")
    Image.fromarray((waves + 1).astype(np.uint8)).save(folder / "b" / "like-3.png")
    Image.fromarray(waves.astype(np.uint8)).save(folder / "b" / "same-3.png")
    Image.fromarray(np.full((64, 64), 7, np.uint8)).save(folder / "blank.png")
    Image.fromarray(waves[:20].astype(np.uint8)).save(folder / "wide.png")
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    labels = {"labels": [[name, i % 3] for i, name in enumerate(names)]}
    (folder / "dataset.json").write_text(json.dumps(labels))
    sheet = tmp_path / "sheet.png"
    assert run("check", str(folder), "--json", "--sheet", str(sheet)) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["kind"], document["num_images"], document["label_dim"]) == ("a folder of images", 8, 3)
    assert document["class_counts"] == {"0": 3, "1": 3, "2": 2}
    assert document["duplicates"] == [["3.png", "b/same-3.png"]]
    assert document["near_duplicates"] == [["3.png", "b/like-3.png"]]
    assert (document["blank"], document["odd_aspect_ratios"]) == (["blank.png"], ["wide.png"])
    assert document["sizes"] == [[64, 64, 7], [64, 20, 1]]
    assert any("--augment ada" in sentence for sentence in document["advice"])
    assert any("weight of R1" in sentence for sentence in document["advice"])
    with Image.open(sheet) as image:
        assert image.size == (8 * 96, 96)
    with pytest.raises(UserError, match="--overwrite"):
        run("check", str(folder), "--sheet", str(sheet))
    (folder / "0.png").write_bytes(b"")
    (folder / "dataset.json").write_text(json.dumps({"labels": labels["labels"][1:]}))
    assert run("check", str(folder)) == 2
    out = capsys.readouterr().out
    for line in ("0.png: empty file", "without a label", "near-duplicates: 1 groups", "2 problems"):
        assert line in out
