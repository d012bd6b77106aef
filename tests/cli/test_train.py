"""`styleloom train` as it is typed, and everything that can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from data.images import make_folder
from every import every
from styleloom.cli import main
from styleloom.config import from_json
from styleloom.runs import fit
from styleloom.runs.directory import RunDirectory
from tiny import flags, make_archive, tiny


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("train"), labels="folders")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, archive: Path) -> Path:
    """A complete run; copy it before changing it."""
    out = tmp_path_factory.mktemp("trained") / "run"
    assert main(["train", "--data", str(archive), "--out", str(out), "--device", "cpu", *flags()]) == 0
    return out


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    import shutil

    return shutil.copytree(trained, tmp_path / "run")


def refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one message of a command that ends with status 2 and prints nothing else."""
    capsys.readouterr()
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert err.count("styleloom: error: ") == 1
    return err.partition("styleloom: error: ")[2].strip()


# ---- the way of a new user


def test_from_images_to_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, data, run = make_folder(tmp_path / "faces", 12, side=10), tmp_path / "d.zip", tmp_path / "run"
    assert main(["dataset", "build", str(folder), str(data), "--resolution", "8"]) == 0
    capsys.readouterr()
    words = [*flags(), "--kimg", "0.032"]
    assert main(["train", "--data", str(data), "--out", str(run), "--json", *words]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == {
        "run": str(run),
        "complete": True,
        "images_seen": 32,
        "steps": 4,
        "skipped_updates": {"g": 0, "d": 0},
        "snapshot": str(run / "snapshot-000000.safetensors"),
    }
    sheet = tmp_path / "x.png"
    command = ["generate", result["snapshot"], "--seeds", "0-7", "--grid", "4x2", "--out", str(sheet)]
    assert main(command) == 0
    assert sheet.read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert main(["train", "--resume", str(run)]) == 0
    out = capsys.readouterr().out
    assert f"{run}: 0.032 kimg, complete" in out
    assert "snapshot-000000.safetensors" in out


def test_results_on_stdout_progress_on_stderr(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out_dir = tmp_path / "run"
    command = ["train", "--data", str(archive), "--out", str(out_dir), "--minutes", "1e-9", *flags()]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert f"stopped; continue with: styleloom train --resume {out_dir}" in out
    assert len(out.splitlines()) == 2
    assert "images/s" in err
    assert "ETA" in err
    assert "tiny" not in out
    assert f"20 images, in {out_dir}" in err
    assert "note: the labels of" in err
    assert "--set label_dim=2" in err
    assert main(["train", "--resume", str(out_dir), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["complete"] is True


def test_flags_reach_the_experiment(archive: Path, tmp_path: Path) -> None:
    command = ["train", "--data", str(archive), "--out", str(tmp_path / "run"), "--device", "cpu", *flags()]
    command += ["--batch", "4", "--micro-batch", "4", "--kimg", "0.008", "--seed", "5", "--precision", "bf16"]
    command += ["--resolution", "8", "--set", "label_dim=2", "--set", "batch.at.16=8", "--workers", "0"]
    assert main(command) == 0
    experiment, data = RunDirectory(tmp_path / "run").read_experiment()
    assert experiment.batch(8) == experiment.micro_batch == 4
    assert experiment.batch(16) == 8
    assert (experiment.total_kimg, experiment.seed, experiment.precision) == (0.008, 5, "bf16")
    assert experiment.generator.label_dim == experiment.discriminator.label_dim == 2
    assert data["path"] == str(archive)


def test_the_default_folder_is_that_of_the_preset(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--data", str(archive), *flags("total_kimg=0.008")]) == 0
    assert (tmp_path / "runs" / "demo" / "experiment.json").is_file()


def test_channels_and_resolution_come_from_the_data(tmp_path: Path) -> None:
    grey = make_archive(tmp_path, side=16, channels=1)
    command = ["train", "--data", str(grey), "--out", str(tmp_path / "run"), *flags("total_kimg=0.008")]
    assert main(command) == 0
    experiment, _ = RunDirectory(tmp_path / "run").read_experiment()
    assert (experiment.generator.channels, experiment.resolution) == (1, 16)
    assert main(["generate", str(tmp_path / "run" / "snapshot-000000.safetensors"), "--seeds", "0", "--out",
                 str(tmp_path / "images")]) == 0  # fmt: skip


# ---- dry run


@pytest.mark.parametrize("data", [False, True])
def test_a_dry_run_writes_nothing(
    data: bool,
    archive: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["train", "--dry-run", "--device", "cpu", *flags()]
    command += ["--data", str(archive)] if data else ["--resolution", "8"]
    assert main(command) == 0
    out = capsys.readouterr().out
    for part in ("d_regularizer.gamma", "learning rate", "mapping_network", "total", "PFLOP", "device cpu"):
        assert part in out
    assert main([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert from_json(document["experiment"]).resolution == 8
    assert document["device"] == "cpu"
    assert document["precision"] == "fp32"
    assert document["training_pflop"] > 0
    assert document["timeline"][0]["batch"] == 8
    assert {row["network"] for row in document["parameters"]} == {"generator", "discriminator"}
    assert main([*command, "--metrics", "fid50q"]) == 2
    assert "fid50q" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_of_a_resume(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted((p, p.stat().st_mtime_ns) for p in copied.rglob("*"))
    assert main(["train", "--resume", str(copied), "--dry-run", "--json", "--kimg", "5"]) == 0
    assert json.loads(capsys.readouterr().out)["experiment"]["total_kimg"] == 5
    assert before == sorted((p, p.stat().st_mtime_ns) for p in copied.rglob("*"))


# ---- what is refused


CASES: list[tuple[list[str], list[str]]] = [
    (["--preset", "stylegan2-g"], ["preset: 'stylegan2-g' does not exist", "did you mean 'stylegan2-"]),
    (["--set", "d_regularizer.gama=1"], ["d_regularizer.gama: no such field", "'d_regularizer.gamma'"]),
    (["--set", "batch"], ["override 'batch': write FIELD=VALUE"]),
    (["--set", "loss=hing"], ["loss: 'hing' is not valid", "nonsaturating, saturating, wgan"]),
    (["--resolution", "100"], ["resolution", "100", "128"]),
    (["--resolution", "16"], ["stored at 8 px, not 16 px"]),
    (["--set", "resolution=16"], ["stored at 8 px, not 16 px"]),
    (["--set", "channels=1"], ["channels 3, the experiment 1", "--set channels=3"]),
    (["--set", "label_dim=7"], ["label_dim 2, the experiment 7"]),
    (["--data", "nowhere.zip"], ["nowhere.zip"]),
    (["--batch", "6"], ["batch 6", "groups of 4", "multiples of 4"]),
    (
        ["--batch", "16", "--micro-batch", "6"],
        ["micro_batch: 6 does not divide batch 16; valid: 4, 8, 0 (0 is the whole batch)"],
    ),
    (
        ["--batch", "16", "--micro-batch", "2"],
        ["micro_batch: 2 is smaller than", "valid: 4, 8, 0 (0 is the whole batch)"],
    ),
    (["--batch", "0"], ["batch: 0 is not valid"]),
    (["--batch", "-8"], ["batch: -8 is not valid"]),
    (["--micro-batch", "-1"], ["micro_batch: -1 is not valid"]),
    (["--kimg", "0"], ["total_kimg: 0.0 is not valid, it must be more than 0"]),
    (["--kimg", "-1"], ["total_kimg: -1.0 is not valid"]),
    (["--kimg", "nan"], ["total_kimg", "finite"]),
    (["--kimg", "inf"], ["total_kimg", "finite"]),
    (["--seed", "-1"], ["seed: -1 is not valid, it must lie in [0, "]),
    (["--seed", str(2**64)], ["seed: 18446744073709551616 is not valid"]),
    (["--minutes", "0"], ["--minutes: 0 is not valid"]),
    (["--minutes", "-3"], ["--minutes: -3 is not valid"]),
    (["--minutes", "nan"], ["--minutes: nan is not valid"]),
    (["--workers", "-1"], ["workers -1: valid: 0 or more"]),
    (["--device", "gpu"], ["device: 'gpu' is not valid", "auto, cpu, cuda, mps"]),
    (["--precision", "fp8"], ["precision: 'fp8' is not valid", "auto, fp32, bf16, tf32"]),
    (
        ["--precision", "tf32", "--device", "cpu"],
        ["precision: tf32 needs a CUDA device", "valid: auto, fp32, bf16"],
    ),
    (["--set", "data.held_out=20"], ["data.held_out: 20 leaves nothing of 20 images"]),
    (["--set", "learning_rate=-0.1"], ["learning_rate: -0.1 is not valid"]),
    (["--set", "run.tick_kimg=0"], ["run.tick_kimg: 0 is not valid"]),
    (["--set", "run.state_every=0"], ["run.state_every: 0 is not valid"]),
    (
        ["--batch", "4", "--set", "batch=8"],
        ["--set batch=8: batch is already given as a flag, 4; give it once"],
    ),
    (["--allow-change", "batch"], ["--allow-change: only with --resume"]),
]


@every(("extra", "parts"), CASES)
def test_refusals(
    extra: list[str],
    parts: list[str],
    archive: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Status 2, one message, and no folder."""
    out = tmp_path / "deep" / "run"
    command = ["train", "--data", str(archive), "--out", str(out), *flags()]
    if "--preset" in extra:
        command = ["train", "--data", str(archive), "--out", str(out)]
    if "--data" in extra:
        command = ["train", "--out", str(out), *flags()]
    message = refused([*command, *extra], capsys)
    assert "\n" not in message
    for part in parts:
        assert part in message
    assert not (tmp_path / "deep").exists()


@every("words", [["--batch", "many"], ["--kimg", "x"], ["--precison", "fp32"], ["extra"]])
def test_flags_that_cannot_be_parsed(
    words: list[str], archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--data", str(archive), "--out", str(tmp_path / "run"), *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words[0] in err
    assert list(tmp_path.iterdir()) == []


def test_no_data(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "--data: needed" in refused(["train", *flags()], capsys)
    assert list(tmp_path.iterdir()) == []


@every("content", [b"", b"PK", b"x" * 1000])
def test_data_that_are_no_archive(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "d.zip").write_bytes(content)
    message = refused(
        ["train", "--data", str(tmp_path / "d.zip"), "--out", str(tmp_path / "r"), *flags()], capsys
    )
    assert "d.zip" in message
    assert not (tmp_path / "r").exists()


def test_an_empty_folder_makes_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    command = ["dataset", "build", str(tmp_path / "empty"), str(tmp_path / "d.zip"), "--resolution", "8"]
    assert "empty: no images in it" in refused(command, capsys)
    assert not (tmp_path / "d.zip").exists()


def test_out_that_exists(copied: Path, archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()}
    message = refused(["train", "--data", str(archive), "--out", str(copied), *flags()], capsys)
    assert f"{copied}: exists already" in message
    assert f"--resume {copied}" in message
    assert before == {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()}


def test_out_that_cannot_be_written(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    command = ["train", "--data", str(archive), "--out", str(tmp_path / "file" / "run"), *flags()]
    assert f"cannot write {tmp_path / 'file' / 'run'}: " in refused(command, capsys)


def test_a_full_disk(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At the start nothing is left; later the last complete state."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        command = ["train", "--data", str(archive), "--out", str(tmp_path / "run"), *flags()]
        message = refused(command, capsys)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert message.startswith(f"cannot write {tmp_path / 'run' / 'state-000000000.safetensors'}: ")
    assert list(tmp_path.iterdir()) == []


# ---- resume


@every(
    ("extra", "parts"),
    [
        (["--batch", "16"], ["batch.base: 8 -> 16", "--allow-change batch.base"]),
        (["--kimg", "1"], ["total_kimg: 0.064 -> 1", "--allow-change total_kimg"]),
        (["--precision", "bf16"], ["precision: 'fp32' -> 'bf16'", "--allow-change precision"]),
        (["--seed", "3"], ["seed: 0 -> 3"]),
        (["--set", "d_regularizer.gamma=3"], ["d_regularizer.gamma: 0.5 -> 3"]),
        (["--allow-change", "batch.base"], ["--allow-change batch.base: that does not differ"]),
        (["--preset", "demo"], ["--preset: not with --resume"]),
        (["--out", "x"], ["--out: not with --resume"]),
        (["--data", "nowhere.zip"], ["nowhere.zip"]),
    ],
)
def test_what_resume_refuses(
    extra: list[str], parts: list[str], copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()}
    message = refused(["train", "--resume", str(copied), *extra], capsys)
    for part in parts:
        assert part in message
    assert before == {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()}


def test_resume_with_permission(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "--resume", str(copied), "--kimg", "0.096", "--batch", "16", "--json"]
    command += ["--allow-change", "kimg", "--allow-change", "batch", "--set", "run.keep_states=0"]
    capsys.readouterr()
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["images_seen"] == 96
    experiment, _ = RunDirectory(copied).read_experiment()
    assert (experiment.batch.base, experiment.run.keep_states) == (16, 0)


def test_resume_with_other_data(copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = make_archive(tmp_path, 9)
    command = ["train", "--resume", str(copied), "--data", str(other)]
    assert "--allow-change data" in refused(command, capsys)
    assert main([*command, "--allow-change", "data"]) == 0


def test_an_edited_experiment(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = copied / "experiment.json"
    file.write_text(file.read_text().replace('"gamma": 0.5', '"gamma": 2.5'))
    assert "d_regularizer.gamma: 0.5 -> 2.5" in refused(["train", "--resume", str(copied)], capsys)
    file.write_text(file.read_text().replace('"gamma": 2.5', '"gama": 0.5'))
    assert f"{file}: d_regularizer.gama: no such field" in refused(["train", "--resume", str(copied)], capsys)
    file.write_text("{")
    assert f"{file}: damaged" in refused(["train", "--resume", str(copied)], capsys)


def test_resume_of_what_is_no_run(copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path, tmp_path / "nothing", copied / "experiment.json"):
        assert f"{path}: not a run directory" in refused(["train", "--resume", str(path)], capsys)
    (tmp_path / "network.pkl").touch()
    message = refused(["train", "--resume", str(tmp_path / "network.pkl")], capsys)
    assert f"to begin a training with its networks, type: --init {tmp_path / 'network.pkl'}" in message
    for state in copied.glob("state-*"):
        state.unlink()
    assert "has no training state" in refused(["train", "--resume", str(copied)], capsys)


def test_data_that_have_moved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, run = make_archive(tmp_path), tmp_path / "run"
    assert main(["train", "--data", str(data), "--out", str(run), *flags("total_kimg=0.008")]) == 0
    moved = data.rename(tmp_path / "moved.zip")
    message = refused(["train", "--resume", str(run)], capsys)
    assert str(data) in message
    assert "elsewhere now, name them with --data" in message
    assert main(["train", "--resume", str(run), "--data", str(moved)]) == 0  # the same content


def test_skipped_updates_are_reported(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = fit.start

    def poisoned(*args: Any, **kwargs: Any) -> Any:
        trainer, run = start(*args, **kwargs)
        update = trainer._update

        def _update(kind: str, now: Any) -> None:
            if trainer.step_count in bad and kind == "d":
                next(trainer.d.parameters()).grad.view(-1)[0] = torch.nan
            update(kind, now)

        monkeypatch.setattr(trainer, "_update", _update)
        return trainer, run

    monkeypatch.setattr(fit, "start", poisoned)
    bad = range(3, 5)
    command = ["train", "--data", str(archive), *flags("run.max_skipped=3")]
    assert main([*command, "--out", str(tmp_path / "a"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["skipped_updates"] == {"g": 0, "d": 2}
    assert RunDirectory(tmp_path / "a").stats.read()[-1]["skipped_d"] == 2
    bad = range(3, 100)
    message = refused([*command, "--out", str(tmp_path / "b")], capsys)
    assert message.startswith("3 updates (d) in a row were skipped: ")
    assert "learning rate" in message
    monkeypatch.undo()
    assert main(["train", "--resume", str(tmp_path / "b")]) == 0


def test_the_experiment_that_is_trained_is_the_tiny_one(trained: Path) -> None:
    """`flags` and `tiny` say the same."""
    experiment, _ = RunDirectory(trained).read_experiment()
    expected = tiny()
    assert experiment.generator == expected.generator
    assert experiment.discriminator == expected.discriminator
    assert experiment.run == expected.run


def test_a_run_that_ends_while_it_grows_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """In the dry run as in a run: pictures would stay small."""
    words = ["train", "--preset", "stylegan-f", "--resolution", "64", "--dry-run", "--kimg"]
    assert main([*words, "100"]) == 0
    assert "after 100 kimg the networks are at 8 px of 64" in capsys.readouterr().err
    assert main([*words, "4000"]) == 0
    assert "note" not in capsys.readouterr().err


# ---- what happens to images


@every(
    ("words", "mirror"),
    [
        ("--preset stylegan2-f", "none"),
        ("--preset stylegan2-f --mirror off", "none"),
        ("--preset stylegan2-f --mirror on", "horizontal"),
        ("--preset stylegan2-f --mirror preset", "horizontal"),
        ("--preset stylegan2-f --set data.mirror=horizontal", "horizontal"),
        ("--preset stylegan2-f-cat --mirror preset", "none"),
    ],
)
def test_own_images_are_mirrored_only_if_that_is_asked_for(
    words: str, mirror: str, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plan says it; a preset's own choice that is not followed is told, once."""
    argv = ["train", "--data", str(archive), *words.split(), "--dry-run"]
    assert main([*argv, "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["experiment"]["data"]["mirror"] == mirror
    assert err.count("not mirrored, though stylegan2-f mirrors") == (words == "--preset stylegan2-f")
    assert main(argv) == 0
    assert ("images not mirrored" in capsys.readouterr().out) == (mirror == "none")


def test_without_images_of_ones_own_presets_are_as_their_papers(capsys: pytest.CaptureFixture[str]) -> None:
    for data in ([], ["--data", "emoji"]):
        assert main(["train", *data, "--preset", "stylegan2-f", "--dry-run", "--json"]) == 0
        out, err = capsys.readouterr()
        assert json.loads(out)["experiment"]["data"]["mirror"] == "horizontal"
        assert err == ""


@every(
    ("words", "expected"),
    [
        ("--augment ada", ("ada", 0, ["bgc"])),
        ("--augment fixed:0.2 --augment-set blit,noise", ("fixed", 0.2, ["blit", "noise"])),
        ("--augment none", ("none", 0, ["bgc"])),
        ("", ("none", 0, ["bgc"])),
    ],
)
def test_augmentation_of_the_command_line(
    words: str, expected: tuple[Any, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--preset", "demo", *words.split(), "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["experiment"]["augment"]
    assert (found["mode"], found["p"], found["set"]) == expected


@every(
    ("words", "message"),
    [
        ("--augment fixed", "--augment: 'fixed' is not valid; valid: ada"),
        ("--augment ada:0.3", "--augment: 'ada:0.3' is not valid"),
        ("--augment fixed:2", "augment.p: 2 is not valid, it must lie in [0, 1]"),
        ("--augment fixed:x", "augment.p"),
        ("--augment ada --augment-set bcg", "augment.set: 'bcg' is not valid, did you mean 'bg'"),
        ("--augment ada --set augment.mode=fixed", "already given as a flag"),
    ],
)
def test_augmentation_that_there_is_not(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in refused(["train", "--preset", "demo", *words.split(), "--dry-run"], capsys)


def test_augmentation_begins_in_a_run_from_before(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A state without p is continued with it, where that is allowed; p is in the statistics."""
    words = ["train", "--resume", str(copied), "--kimg", "0.096", "--augment", "ada"]
    assert "--allow-change augment.mode" in refused([*words, "--allow-change", "kimg"], capsys)
    allowed = ["--allow-change", "kimg", "--allow-change", "augment"]
    assert main([*words, *allowed, "--set", "augment.every=1"]) == 0
    assert RunDirectory(copied).stats.read()[-1]["augment_p"] >= 0
    assert main(["train", "--resume", str(copied)]) == 0
