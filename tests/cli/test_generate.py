"""`styleloom generate` as it is typed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import styleloom
from every import every
from styleloom.cli import main
from styleloom.cli.wanted_images import MAX_IMAGES, parse_numbered, parse_seeds, parse_truncation
from styleloom.config.seeds import MAX_IMAGE_SEED
from styleloom.errors import UserError
from styleloom.images import grid
from styleloom.networks.build import build_generator
from styleloom.snapshot import write_snapshot
from tiny import tiny


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("generate") / "snapshot-000001.safetensors"
    write_snapshot(path, build_generator(tiny().generator), tiny())
    return path


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("generate") / "labelled.safetensors"
    experiment = tiny("label_dim=3", "channels=1")
    generator = build_generator(experiment.generator)
    for name, t in generator.state_dict().items():
        if name.endswith("strength"):
            t.fill_(0.3)
    write_snapshot(path, generator, experiment)
    return path


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_grid(snapshot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.png"
    words = [
        "--grid",
        "4x2",
        "--out",
        str(out),
        "--truncation",
        "0.7",
        "--device",
        "cpu",
        "--precision",
        "fp32",
    ]
    assert main(["generate", str(snapshot), "--seeds", "0-7", *words]) == 0
    assert capsys.readouterr().out == f"8 images in {out}\n"
    expected = grid(styleloom.load(snapshot, "cpu", "fp32").generate(range(8), 0.7), 4)
    assert (pixels(out) == expected.permute(1, 2, 0).numpy()).all()
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]


def test_single_images(snapshot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "images"
    words = ["--seeds", "3,10-11", "--out", str(out), "--batch", "2", "--json", "--device", "cpu"]
    assert main(["generate", str(snapshot), *words]) == 0
    files = [str(out / f"seed{seed:04d}.png") for seed in (3, 10, 11)]
    document = json.loads(capsys.readouterr().out)
    assert (document["snapshot"], document["seeds"], document["files"]) == (str(snapshot), [3, 10, 11], files)
    assert document["snapshot_sha256"] == hashlib.sha256(snapshot.read_bytes()).hexdigest()
    assert document["images"] == [{"seed": 3}, {"seed": 10}, {"seed": 11}]
    assert sorted(map(str, out.iterdir())) == files
    one = tmp_path / "one"
    assert main(["generate", str(snapshot), "--seeds", "11", "--out", str(one), "--device", "cpu"]) == 0
    assert (pixels(one / "seed0011.png") == pixels(out / "seed0011.png")).all()


def test_a_grid_in_a_folder(snapshot: Path, tmp_path: Path) -> None:
    assert (
        main(["generate", str(snapshot), "--seeds", "0-2", "--grid", "2x2", "--out", str(tmp_path / "d")])
        == 0
    )
    assert pixels(tmp_path / "d" / "grid.png").shape == (16, 16, 3)


def test_classes(labelled: Path, tmp_path: Path) -> None:
    words = ["--seeds", "0-2", "--grid", "3x1", "--precision", "fp32"]
    for name, classes in (("one", "1"), ("many", "0,1,2")):
        out = str(tmp_path / f"{name}.png")
        assert main(["generate", str(labelled), *words, "--classes", classes, "--out", out]) == 0
    one, many = pixels(tmp_path / "one.png"), pixels(tmp_path / "many.png")
    assert one.shape == (8, 24)
    assert (one[:, 8:16] == many[:, 8:16]).all()
    assert (one[:, :8] != many[:, :8]).any()


@pytest.mark.parametrize("extra", [["--noise", "fixed"], ["--noise", "none"], ["--truncation", "1,1,0.5,0.5"],
                                   ["--truncation", "-0.5", "--truncation-layers", "2"]])  # fmt: skip
def test_options(extra: list[str], snapshot: Path, tmp_path: Path) -> None:
    assert main(["generate", str(snapshot), "--seeds", "0", "--out", str(tmp_path), *extra]) == 0
    (file,) = tmp_path.iterdir()
    assert pixels(file).shape == (8, 8, 3)


@every(
    ("extra", "parts"),
    [
        (["--seeds", "x"], ["--seeds: 'x' is not valid", "0-63"]),
        (["--seeds", ""], ["--seeds: '' is not valid"]),
        (["--seeds", "5-3"], ["--seeds: '5-3' is not valid"]),
        (["--seeds", "1,,2"], ["--seeds: '' is not valid"]),
        (["--seeds", "²"], ["--seeds: '²' is not valid"]),
        (["--seeds", "0-3-5"], ["--seeds: '0-3-5' is not valid"]),
        (["--seeds", str(MAX_IMAGE_SEED + 1)], [f"the largest seed is {MAX_IMAGE_SEED}"]),
        (["--seeds", "0-4000000000"], ["at most 1000000 images"]),
        (["--truncation", "much"], ["--truncation: 'much' is not valid"]),
        (["--truncation", "nan"], ["--truncation: 'nan' is not valid"]),
        (["--truncation", "0.5,,1"], ["--truncation: '0.5,,1' is not valid"]),
        (["--truncation", "0.5,1"], ["truncation: 2 values given", "4 layers"]),
        (["--truncation-layers", "9"], ["truncation layers: 9 is not valid; a whole number, 0 to 4"]),
        (["--truncation", "0.5", "--truncation-layers", "-1"], ["truncation layers: -1"]),
        (["--grid", "4"], ["--grid: '4' is not valid; COLUMNSxROWS"]),
        (["--grid", "0x4"], ["--grid: '0x4' is not valid"]),
        (["--grid", "4x2x1"], ["--grid: '4x2x1' is not valid"]),
        (["--grid", "2x2"], ["--grid: 2x2 has no room for 16 seeds"]),
        (["--classes", "0"], ["class: this generator was trained without labels"]),
        (["--classes", "cat"], ["--classes: 'cat' is not valid"]),
        (["--batch", "0"], ["--batch: 0 is not valid"]),
        (["--device", "gpu"], ["device: 'gpu' is not valid"]),
        (["--device", "cpu", "--precision", "tf32"], ["precision: tf32 needs a CUDA device"]),
    ],
)
def test_refusals(
    extra: list[str],
    parts: list[str],
    snapshot: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["generate", str(snapshot), "--out", str(tmp_path / "out"), *extra]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("styleloom: error: ")
    assert len(err.splitlines()) == 1
    for part in parts:
        assert part in err
    assert list(tmp_path.iterdir()) == []


@every("classes", ["3", "0,1", "0,1,7"])
def test_classes_that_do_not_exist(
    classes: str, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--seeds", "0-2", "--out", str(tmp_path / "out"), "--classes", classes]
    assert main(["generate", str(labelled), *words]) == 2
    assert ("each of 3 images" if classes == "0,1" else "0 to 2") in capsys.readouterr().err
    assert main(["generate", str(labelled), "--seeds", "0-2", "--out", str(tmp_path / "out")]) == 2
    assert "class: this generator needs one, 0 to 2" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_snapshots_that_cannot_be_used(
    snapshot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.safetensors"
    out = ["--out", str(tmp_path / "out")]
    assert main(["generate", str(bad), *out]) == 2
    assert f"{bad}: there is no such file" in capsys.readouterr().err
    for content in (b"", b"junk", snapshot.read_bytes()[:3000]):
        bad.write_bytes(content)
        assert main(["generate", str(bad), *out]) == 2
        assert f"{bad}: damaged or half-written" in capsys.readouterr().err
    write_snapshot(bad, build_generator(tiny("generator.w_dim=8").generator), tiny())
    assert main(["generate", str(bad), *out]) == 2
    assert f"{bad}: weights of another network" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["bad.safetensors"]


def test_nowhere_to_write(snapshot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert main(["generate", str(snapshot), "--seeds", "0", "--out", str(file)]) == 2
    assert f"--out: {file} is a file; give a folder" in capsys.readouterr().err
    target = file / "x.png"
    assert main(["generate", str(snapshot), "--seeds", "0", "--grid", "1x1", "--out", str(target)]) == 2
    assert f"cannot write {target}: " in capsys.readouterr().err
    assert file.read_text() == "mine"


def test_a_full_disk(snapshot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An older picture stays as it was."""
    resource = pytest.importorskip("resource")
    out = tmp_path / "x.png"
    out.write_bytes(b"older")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        assert (
            main(
                [
                    "generate",
                    str(snapshot),
                    "--seeds",
                    "0-7",
                    "--grid",
                    "4x2",
                    "--out",
                    str(out),
                    "--overwrite",
                ]
            )
            == 2
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert f"cannot write {out}: File too large" in capsys.readouterr().err
    assert out.read_bytes() == b"older"
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]


def test_parsing() -> None:
    assert parse_seeds("0-3,7") == [0, 1, 2, 3, 7]
    assert parse_seeds(" 5 ") == [5]
    assert len(parse_seeds(f"1-{MAX_IMAGES}")) == MAX_IMAGES
    with pytest.raises(UserError, match="at most"):
        parse_seeds(f"0-{MAX_IMAGES - 1},5")
    assert parse_numbered("0-1,np:85-86,torch:7, np:1") == (
        [0, 1, 85, 86, 7, 1],
        ["torch", "torch", "numpy", "numpy", "torch", "numpy"],
    )
    assert parse_numbered("0,torch:1", "numpy") == ([0, 1], ["numpy", "torch"])
    for wrong in ("numpy85", "x:1", "np:", "np:np:1", ":1"):
        with pytest.raises(UserError, match="--seeds: "):
            parse_numbered(wrong)
    assert parse_truncation("0.7") == 0.7
    assert parse_truncation("1,0.5") == [1, 0.5]


def test_images_are_written_as_they_come(
    snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory holds one batch, not all."""
    sizes: list[int] = []
    forward = styleloom.Sampler.images

    def counted(*args: object, **kwargs: object) -> object:
        for images in forward(*args, **kwargs):  # type: ignore[arg-type]
            sizes.append(len(list(tmp_path.glob("*.png"))))
            yield images

    monkeypatch.setattr(styleloom.Sampler, "images", counted)
    assert main(["generate", str(snapshot), "--seeds", "0-5", "--batch", "2", "--out", str(tmp_path)]) == 0
    assert sizes == [0, 2, 4]
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_names_tell_apart_what_differs(labelled: Path, tmp_path: Path) -> None:
    """Nothing is written twice within a call, nor over older files unless asked."""
    out = tmp_path / "out"

    def generate(*words: str) -> set[str]:
        before = {p.name for p in out.glob("*")}
        assert main(["generate", str(labelled), "--out", str(out), "--device", "cpu", *words]) == 0
        return {p.name for p in out.glob("*")} - before

    assert generate("--seeds", "7,7,7", "--classes", "0,1,2") == {f"seed0007-class{c}.png" for c in range(3)}
    assert generate("--seeds", "8", "--classes", "0,1") == {"seed0008-class0.png", "seed0008-class1.png"}
    again = generate("--seeds", "1,1,1", "--classes", "0")
    assert again == {"seed0001-class0.png", "seed0001-class0-2.png", "seed0001-class0-3.png"}
    assert (pixels(out / "seed0001-class0.png") == pixels(out / "seed0001-class0-3.png")).all()
    for psi in ("0.5", "0.7", "0.5,0.5,1,1"):
        assert len(generate("--seeds", "1", "--classes", "0", "--truncation", psi)) == 1
    assert len(generate("--seeds", "1", "--classes", "0", "--noise", "none")) == 1
    noises = generate("--seeds", "5", "--classes", "0", "--noise-seed", "5-7")
    assert noises == {f"seed0005-class0-noise{n}.png" for n in (5, 6, 7)}
    assert len(generate("--seeds", "5", "--label", "0,0.5,0.5")) == 1
    labels = tmp_path / "labels.txt"
    labels.write_text("1,0,0\n0,1,0\n")
    first, second = sorted(generate("--seeds", "7", "--label", str(labels)))
    found = {pixels(out / name).tobytes() for name in (first, second)}
    assert found == {pixels(out / f"seed0007-class{c}.png").tobytes() for c in (0, 1)}
    stamps = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    words = ["generate", str(labelled), "--seeds", "7,9", "--classes", "0", "--out", str(out)]
    assert main(words) == 2
    assert {p.name: p.stat().st_mtime_ns for p in out.iterdir()} == stamps
    assert main([*words, "--overwrite"]) == 0


def test_a_picture_says_how_it_was_made(labelled: Path, tmp_path: Path) -> None:
    words = ["generate", str(labelled), "--seeds", "3-4", "--classes", "1", "--truncation", "0.7"]
    sheet = tmp_path / "sheet.png"
    assert main([*words, "--grid", "2x1", "--out", str(sheet)]) == 0
    assert main([*words, "--out", str(tmp_path)]) == 0
    for path in (sheet, tmp_path / "seed0003-class1-psi0.7.png"):
        with Image.open(path) as image:
            assert image.text["Software"] == f"styleloom {styleloom.__version__}"  # type: ignore[attr-defined]
            record = json.loads(image.text["styleloom"])  # type: ignore[attr-defined]
        assert record["truncation"] == 0.7
        assert record["noise"] == "random"
        assert record["snapshot_sha256"] == hashlib.sha256(labelled.read_bytes()).hexdigest()
        first = record["images"][0] if path == sheet else record
        assert (first["seed"], first["class"]) == (3, 1)


def test_grids_have_the_rows_that_were_asked_for(
    snapshot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.png"
    words = ["generate", str(snapshot), "--seeds", "0-3", "--out"]
    assert main([*words, str(out), "--grid", "3x3"]) == 0
    assert pixels(out).shape == (24, 24, 3)
    assert (pixels(out)[8:, 8:] == 255).all()
    for path, grid_shape, message in (
        (out, "3x3", "there already"),
        (tmp_path / "y.png", "1000000x1000000", "at most 4194304 places"),
        (tmp_path / "sheet.jpg", "3x3", "a name that ends with .png"),
        (tmp_path / "z.png", None, "a folder, or --grid"),
    ):
        assert main([*words, str(path), *(["--grid", grid_shape] if grid_shape else [])]) == 2
        assert message in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]


# ---- latents


def test_seeds_of_numpy(snapshot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["generate", str(snapshot), "--out", str(out), "--device", "cpu", "--precision", "fp32"]
    assert main([*words, "--seeds", "3,np:3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == [{"seed": 3}, {"seed": 3, "rng": "numpy"}]
    assert {p.name for p in out.iterdir()} == {"seed0003.png", "seed0003-np.png"}
    g = styleloom.load(snapshot, "cpu", "fp32")
    expected = styleloom.to_uint8(g.render(g.latents([3], rng="numpy")))[0].permute(1, 2, 0).numpy()
    assert (pixels(out / "seed0003-np.png") == expected).all()
    assert (pixels(out / "seed0003.png") != expected).any()
    assert main([*words, "--seeds", "3", "--rng", "numpy", "--overwrite"]) == 0
    assert (pixels(out / "seed0003-np.png") == expected).all()
    with Image.open(out / "seed0003-np.png") as image:
        assert json.loads(image.text["styleloom"])["rng"] == "numpy"  # type: ignore[attr-defined]


def test_latents_are_kept_and_shown_again(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same bits in files of one image and of several, and other noise where it is asked for."""
    first, again = tmp_path / "first", tmp_path / "again"
    files = [tmp_path / name for name in ("a.latent.safetensors", "b.latent.safetensors")]
    words = ["generate", str(labelled), "--device", "cpu"]
    made = ["--classes", "0,1", "--truncation", "0.5", "--out", str(first)]
    assert main([*words, "--seeds", "4,np:5", *made, "--save-latents", str(files[0])]) == 0
    assert main([*words, "--seeds", "6", *made, "--noise", "fixed", "--save-latents", str(files[1])]) == 0
    shown = ["--latents", *map(str, files), "--out", str(again)]
    capsys.readouterr()
    assert main([*words, *shown, "--json"]) == 0
    images = json.loads(capsys.readouterr().out)["images"]
    assert [(image["seed"], image["latents"], image["index"]) for image in images] == [
        (4, "a.latent.safetensors", 0),
        (5, "a.latent.safetensors", 1),
        (6, "b.latent.safetensors", 0),
        (6, "b.latent.safetensors", 1),
    ]
    names = {p.name: pixels(p).tobytes() for p in again.iterdir()}
    assert set(names) == {"a-0000.png", "a-0001.png", "b-0000.png", "b-0001.png"}
    assert names["a-0000.png"] == pixels(first / "seed0004-class0-psi0.5.png").tobytes()
    assert names["a-0001.png"] == pixels(first / "seed0005-np-class1-psi0.5.png").tobytes()
    assert names["b-0001.png"] == pixels(first / "seed0006-class1-noise-fixed-psi0.5.png").tobytes()
    assert main([*words, *shown]) == 2  # they are there
    one = tmp_path / "one.latent.safetensors"
    nine = [*words, "--seeds", "9", "--classes", "2", "--out", str(first)]
    assert main([*nine, "--save-latents", str(one)]) == 0
    assert main([*words, "--latents", str(one), "--noise-seed", "8-10", "--out", str(again)]) == 0
    assert pixels(again / "one-noise9.png").tobytes() == pixels(first / "seed0009-class2.png").tobytes()
    assert pixels(again / "one-noise8.png").tobytes() != pixels(again / "one-noise9.png").tobytes()
    assert main([*words, "--latents", str(one), "--noise", "none", "--out", str(again)]) == 0
    assert pixels(again / "one-noise-none.png").tobytes() != pixels(again / "one-noise9.png").tobytes()
    sheet = tmp_path / "sheet.png"
    assert main([*words, "--latents", *map(str, files), "--grid", "2x2", "--out", str(sheet)]) == 0
    assert pixels(sheet)[:8, 8:].tobytes() == names["a-0001.png"]


def test_latents_that_cannot_be_shown(
    snapshot: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, out = tmp_path / "kept.latent.safetensors", tmp_path / "out"
    words = ["generate", str(snapshot), "--out", str(out)]
    assert main([*words, "--seeds", "100-101", "--save-latents", str(kept)]) == 0
    elsewhere = ["generate", str(labelled), "--out", str(tmp_path / "elsewhere")]
    capsys.readouterr()
    refused: list[tuple[list[str], str]] = [
        (
            [*words, "--seeds", "5", "--save-latents", "x.safetensors"],
            "valid: a name that ends with .latent.safetensors",
        ),
        ([*words, "--seeds", "5", "--save-latents", str(kept)], "--save-latents: "),
        ([*words, "--latents", str(kept), "--seeds", "3"], "--seeds: '3' is not valid with --latents"),
        ([*words, "--latents", str(kept), "--truncation", "0.7"], "--truncation: '0.7' is not valid with"),
        ([*words, "--latents", str(kept), "--rng", "numpy"], "--rng: 'numpy' is not valid with --latents"),
        (
            [*words, "--latents", str(kept), "--noise-seed", "1-3"],
            "--latents: 2 values; one, or one for each of 3",
        ),
        ([*words, "--latents", str(kept), "--grid", "1x1"], "--grid: 1x1 has no room for 2 latents"),
        ([*words, "--latents", str(snapshot)], "not a styleloom-latents (found: 'styleloom-snapshot')"),
        ([*words, "--latents", "no.latent.safetensors"], "no.latent.safetensors: there is no such file"),
        ([*elsewhere, "--latents", str(kept)], f"{kept}: latents of another snapshot"),
    ]
    for command, message in refused:
        assert main(command) == 2, command
        *_, error = capsys.readouterr().err.splitlines()  # after notes
        assert error.startswith("styleloom: error: ")
        assert message in error
    assert not (tmp_path / "elsewhere").exists()
