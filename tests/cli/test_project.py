"""styleloom project: what it writes is what it shows, whatever images it is given."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from metrics.probed import real
from styleloom import cli
from styleloom.cli import project_output
from styleloom.data.reals import to_uint8
from styleloom.latents import load_latents
from styleloom.projection.projector import Projector
from styleloom.sampling import load
from styleloom.snapshot import write_snapshot

FILES = {"target.png", "projected.png", "projected.latent.safetensors", "result.json"}
QUICK = ("--steps", "5", "--distance", "efficientnet-lite0", "--device", "cpu")


def snapshot_of(path: Path, preset: str, *overrides: str) -> Path:
    sampler = real(preset, *overrides)
    write_snapshot(path, sampler.generator, sampler.experiment, images_seen=5)
    return path


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return snapshot_of(tmp_path_factory.mktemp("model") / "tiny.safetensors", "stylegan2-f")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images as the generator makes them, of 16 px."""
    path = tmp_path / "images"
    (path / "deep").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a.png", "deep/a.png"):
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).save(path / name)
    return path


def pixels(path: Path) -> Tensor:
    with Image.open(path) as image:
        array = np.array(image)
    return torch.from_numpy(array if array.ndim == 3 else array[:, :, None]).permute(2, 0, 1)


def project(snapshot: Path, *words: object) -> int:
    return cli.main(["project", str(snapshot), *map(str, words)])


def test_files_and_what_they_show(
    snapshot: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert project(snapshot, folder, "--seeds", "7,np:7", *QUICK, "--out", out, "--batch", 2, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    names = ["a", "a-2", "seed0007", "seed0007-2"]
    assert sorted(path.name for path in out.iterdir()) == [*names, "sheet.png"]
    sampler = load(snapshot, "cpu", "fp32")
    for name, listed in zip(names, document["results"], strict=True):
        steps = {f"step{n:04d}.png" for n in range(1, 6)}
        assert {path.name for path in (out / name).iterdir()} == FILES | steps
        result = json.loads((out / name / "result.json").read_text())
        assert result == listed
        assert len(result["distance_per_step"]) == result["steps_done"] == 5
        assert result["distance_identity"]["name"] == result["distance_name"] == "efficientnet-lite0"
        assert result["seconds"] > 0
        assert (result["precision"], result["device"]) == ("fp32", "cpu")
        assert result["snapshot_sha256"] == sampler.snapshot_sha256
        kept = load_latents(out / name / "projected.latent.safetensors")
        assert torch.equal(to_uint8(sampler.render(kept))[0], pixels(out / name / "projected.png"))
        assert torch.equal(pixels(out / name / "projected.png"), pixels(out / name / "step0005.png"))
        assert kept.images == [{"target": result["target"]}]
        with Image.open(out / name / "step0003.png") as image:
            assert json.loads(image.text["styleloom"])["projection"]["steps"] == 5  # type: ignore[attr-defined]
    assert torch.equal(pixels(out / "a/target.png"), pixels(folder / "a.png"))
    assert torch.equal(pixels(out / "seed0007/target.png"), to_uint8(sampler.generate([7]))[0])
    authors = sampler.render(sampler.latents([7], rng="numpy"))
    assert torch.equal(pixels(out / "seed0007-2/target.png"), to_uint8(authors)[0])
    # target, four steps and the result; the last step is the result
    assert pixels(out / "sheet.png").shape == (3, 4 * 16, 6 * 16)


def test_pictures_of_the_way_are_the_authors() -> None:
    """After 200, 400, ... of 1000 steps."""
    from styleloom.cli.project import pictured_steps

    assert pictured_steps(1000) == {200, 400, 600, 800, 1000}
    assert pictured_steps(5) == {1, 2, 3, 4, 5}
    assert pictured_steps(2) == {1, 2}


def test_tuning_and_going_on(snapshot: Path, folder: Path, tmp_path: Path) -> None:
    out, onward = tmp_path / "out", tmp_path / "onward"
    assert project(snapshot, folder / "a.png", *QUICK, "--tune", 3, "--out", out) == 0
    result = json.loads((out / "a/result.json").read_text())["tuned"]
    assert result["steps_done"] == len(result["per_step"]) == 3
    assert [step["locality"] > 0 for step in result["per_step"]] == [False, True, True]
    tuned = load(out / "a/tuned.safetensors", "cpu", "fp32")
    kept = load_latents(out / "a/tuned.latent.safetensors")
    assert torch.equal(to_uint8(tuned.render(kept))[0], pixels(out / "a/tuned.png"))
    assert pixels(out / "sheet.png").shape[2] == 7 * 16
    latent = out / "a/projected.latent.safetensors"
    words = ("--from", latent, "--space", "w+", "--no-locality", "--tune", 1, "--out", onward)
    assert project(snapshot, folder / "a.png", *QUICK, *words) == 0
    first = json.loads((onward / "a/result.json").read_text())
    assert first["tuned"]["per_step"][0]["locality"] == 0
    assert first["from"] == str(latent)


def test_ctrl_c_keeps_what_there_is(
    snapshot: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Projector.step

    def interrupted(self: Projector, draw: Tensor | None = None) -> Tensor:
        if self.steps_done == 3:
            raise KeyboardInterrupt
        return plain(self, draw)

    monkeypatch.setattr(Projector, "step", interrupted)
    assert project(snapshot, folder, *QUICK, "--out", tmp_path / "out", "--batch", 1) == 130
    assert json.loads((tmp_path / "out/a/result.json").read_text())["steps_done"] == 3
    assert {path.name for path in (tmp_path / "out/a").iterdir()} >= FILES
    assert not (tmp_path / "out/a-2").exists()
    assert (tmp_path / "out/sheet.png").exists()


def test_another_projection_leaves_no_file_of_the_last(snapshot: Path, folder: Path, tmp_path: Path) -> None:
    """A shorter one without tuning; what the user keeps there, and what the projection reads, stay."""
    out = tmp_path / "out"
    words = (folder / "a.png", *QUICK[2:], "--out", out)
    assert project(snapshot, *words, "--steps", 5, "--tune", 1) == 0
    (out / "a/notes.txt").write_text("mine")
    assert project(snapshot, *words, "--steps", 2, "--overwrite") == 0
    steps = {"step0001.png", "step0002.png"}
    assert {path.name for path in (out / "a").iterdir()} == FILES | steps | {"notes.txt"}
    assert project(snapshot, *words, "--steps", 2, "--tune", 1, "--overwrite") == 0
    own = {"tuned.safetensors", "tuned.latent.safetensors"}
    onward = ("--from", out / "a/tuned.latent.safetensors", "--steps", 1, "--overwrite")
    assert project(out / "a/tuned.safetensors", *words, *onward) == 0
    assert {path.name for path in (out / "a").iterdir()} == FILES | own | {"step0001.png", "notes.txt"}


def test_a_sheet_that_would_be_too_large_is_left_out(
    snapshot: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Two targets with six pictures each fit, and three with as many do not."""
    monkeypatch.setattr(project_output, "MAX_SHEET_PIXELS", 2 * 6 * 16 * 16)
    out = tmp_path / "out"
    assert project(snapshot, folder, *QUICK, "--out", out) == 0
    assert (out / "sheet.png").exists()
    assert "left out" not in capsys.readouterr().err
    assert project(snapshot, folder, "--seeds", 1, *QUICK, "--out", out, "--overwrite") == 0
    assert "sheet.png is left out: it would be too large" in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir()) == ["a", "a-2", "seed0001"]
    assert {path.name for path in (out / "seed0001").iterdir()} >= FILES


def test_channels_are_those_of_the_decoded_image(
    snapshot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Palettes and CMYK are ways to keep RGB; bitmaps are grey, and palettes may have transparency."""
    colours = Image.effect_noise((16, 16), 90).convert("RGB")
    colours.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.png")
    colours.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    files = [tmp_path / "palette.png", tmp_path / "cmyk.jpg"]
    assert project(snapshot, *files, *QUICK, "--out", tmp_path / "out", "--exact") == 0
    assert "converted" not in capsys.readouterr().err
    colours.convert("1").save(tmp_path / "bits.png")
    colours.convert("P").save(tmp_path / "clear.png", transparency=0)
    for name, kind in (("bits.png", "grey"), ("clear.png", "RGBA")):
        assert project(snapshot, tmp_path / name, *QUICK, "--out", tmp_path / "o", "--exact") == 2
        assert f"16 x 16 px, {kind}; the generator makes" in capsys.readouterr().err


def test_a_target_that_is_called_as_the_sheet(snapshot: Path, tmp_path: Path) -> None:
    Image.new("RGB", (16, 16), "#2080f0").save(tmp_path / "sheet.png.png")
    assert project(snapshot, tmp_path / "sheet.png.png", *QUICK, "--out", tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["sheet.png", "sheet.png-2"]
    assert (tmp_path / "out/sheet.png").is_file()


@pytest.mark.parametrize(
    ("overrides", "mode"),
    [
        (("channels=1", "generator.grid=3,4", "discriminator.grid=3,4"), "L"),
        (("channels=4",), "RGBA"),
        (("label_dim=3",), "RGB"),
    ],
)
def test_other_images_and_generators(
    overrides: tuple[str, ...], mode: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = snapshot_of(tmp_path / "m.safetensors", "stylegan2-f", *overrides)
    Image.new("RGB", (40, 24), "#2080f0").save(tmp_path / "blue.png")
    words = (tmp_path / "blue.png", *QUICK, "--out", tmp_path / "out")
    words += ("--classes", "2") if "label_dim=3" in overrides else ()
    assert project(model, *words, "--exact") == 2
    refused = capsys.readouterr().err
    assert "--exact" in refused
    assert "40 x 24 px, RGB; the generator makes" in refused
    assert project(model, *words) == 0
    assert "note: " in (noted := capsys.readouterr().err)
    assert "cropped in the middle, resized and converted" in noted
    with Image.open(tmp_path / "out/blue/projected.png") as image:
        assert image.mode == mode


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "targets: none given"),
        (("nowhere.png",), "no such target: nowhere.png"),
        (("{empty}",), "no images in it"),
        (("{text}",), "x.png"),
        (("{folder}", "--steps", "0"), "steps: 0 is not valid"),
        (("{folder}", "--batch", "0"), "--batch: 0 is not valid"),
        (("{folder}", "--distance", "lpips"), "no feature network 'lpips'"),
        (("{folder}", "--classes", "one"), "--classes: 'one' is not valid"),
        (("{folder}", "--classes", "1"), "class: this generator was trained without labels"),
        (("{folder}/a.png", "--from", "{other}"), "latents of another snapshot"),
        (("{folder}", "--out", "{there}"), "there already; choose another --out"),
        (("{folder}", "--out", "{text}"), "is a file; valid: a folder"),
    ],
)
def test_refusals(
    words: tuple[str, ...],
    message: str,
    snapshot: Path,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "there/a").mkdir(parents=True)
    (tmp_path / "x.png").write_text("no image")
    places = {"empty": tmp_path / "empty", "text": tmp_path / "x.png", "folder": folder}
    places |= {"there": tmp_path / "there", "other": tmp_path / "o/a/projected.latent.safetensors"}
    if "{other}" in words:
        torch.manual_seed(1)  # other weights than those of the fixture
        other = snapshot_of(tmp_path / "other.safetensors", "stylegan2-f")
        assert project(other, folder / "a.png", *QUICK, "--out", tmp_path / "o") == 0
    given = [word.format(**places) for word in words]
    given += [] if "--out" in words else ["--out", str(tmp_path / "out")]
    assert project(snapshot, *given, *(() if "--steps" in words or "--distance" in words else QUICK)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_generators_without_styles(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = snapshot_of(tmp_path / "m.safetensors", "progan")
    assert project(model, folder, *QUICK, "--out", tmp_path / "out") == 2
    assert "images are projected to w, but this generator has no styles" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_paste_back(snapshot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Results are put into the photographs that a data set of faces was built from."""
    photos, eyes = tmp_path / "photos", [[40, 50], [60, 50], [50, 60], [42, 80], [58, 80]]
    photos.mkdir()
    grey = np.full((120, 110, 3), 99, np.uint8)
    Image.fromarray(grey).save(photos / "p.png")
    (tmp_path / "l.json").write_text(json.dumps({"p.png": eyes}))
    faces = str(tmp_path / "faces.zip")
    words = ["--resolution", "16", "--align", "ffhq", "--landmarks", str(tmp_path / "l.json")]
    assert cli.main(["dataset", "build", str(photos), faces, *words]) == 0
    out = tmp_path / "out"
    assert project(snapshot, faces, "--out", out, *QUICK, "--paste-back", photos) == 0
    pasted = pixels(out / "00000000" / "projected-in-photograph.png")
    face = pixels(out / "00000000" / "projected.png")
    assert pasted.shape == (3, 120, 110)
    assert (pasted[:, :, 107:] == 99).all()
    assert (pasted[:, 45:60, 45:60].float().mean() - face[:, 7:9, 7:9].float().mean()).abs() < 40
    assert not (pasted == 99).all()
    Image.fromarray(grey[:16, :16]).save(tmp_path / "x.png")
    capsys.readouterr()
    assert (
        project(snapshot, tmp_path / "x.png", "--out", out, *QUICK, "--paste-back", photos, "--overwrite")
        == 2
    )
    assert "was not cut out of a photograph" in capsys.readouterr().err
    (photos / "p.png").rename(photos / "q.png")
    assert project(snapshot, faces, "--out", out, *QUICK, "--paste-back", photos, "--overwrite") == 2
    assert "has no p.png" in capsys.readouterr().err
