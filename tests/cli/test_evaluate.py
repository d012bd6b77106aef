"""`styleloom evaluate` and `styleloom metrics`: from the words of a command line to what is written."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from data.images import make_folder
from metrics.plugged import DIM, Projection, plugged
from styleloom import snapshot
from styleloom.cli import main
from styleloom.data import open_dataset
from styleloom.distributed import Processes
from styleloom.errors import UserError
from styleloom.features.weights import EFFICIENTNET_LITE0, locate_weights
from styleloom.metrics.evaluation.cache import _note_no_folder
from styleloom.networks.build import build_generator
from styleloom.presets import get
from styleloom.runs.directory import RunDirectory
from styleloom.runs.fit import fit, start
from tiny import make_archive, tiny


@pytest.fixture(autouse=True)
def projection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Projection]:
    monkeypatch.setenv("STYLELOOM_STATISTICS", str(tmp_path / "statistics"))
    with plugged(Projection()) as network:
        yield network


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("evaluate"), 20)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    experiment = tiny("data.mirror=horizontal")
    path = tmp_path_factory.mktemp("made") / "snapshot.safetensors"
    snapshot.write_snapshot(path, build_generator(experiment.generator), experiment, images_seen=1000)
    return path


def run(*words: object) -> int:
    return main(["evaluate", *map(str, words), "--device", "cpu"])


def test_a_table_and_a_record(
    made: Path, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "record.json"
    metrics = "fd24_proj,kid24_proj,ppl2_wend8_proj"
    assert run(made, "--data", archive, "--metrics", metrics, "--repeats", 3, "--out", out) == 0
    shown = capsys.readouterr().out
    document = json.loads(out.read_text())
    for name in metrics.split(","):
        assert name in shown
        assert f"{document['metrics'][name]['values'][name]['mean']:.5g}" in shown
    assert "mean of 3" in shown
    assert "95 % interval" in shown
    assert "24 real images of" in shown
    assert "some of them several times" in shown
    assert "mirrored at random" in shown
    assert str(out) in shown
    assert document["subject"]["info"]["images_seen"] == 1000
    assert document["data"]["fingerprint"] == open_dataset(archive).fingerprint
    assert document["metrics"]["fd24_proj"]["reals"]["mirror"] is True


def test_the_record_is_enough_to_repeat_the_evaluation(
    made: Path, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (made, "--data", archive, "--metrics", "fd24_proj,ppl_zfull8_proj", "--json", "--cache", "none")
    documents = []
    for seed in (3, 3, 4):
        assert run(*words, "--seed", seed) == 0
        documents.append(json.loads(capsys.readouterr().out))
    assert documents[0]["metrics"] == documents[1]["metrics"]
    values = [d["metrics"]["fd24_proj"]["values"] for d in documents]
    assert values[0] != values[2]


@pytest.mark.parametrize(("flag", "expected"), [("auto", True), ("on", True), ("off", False)])
def test_mirroring(
    made: Path, archive: Path, flag: str, expected: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(made, "--data", archive, "--metrics", "fd8_proj", "--mirror", flag, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["metrics"]["fd8_proj"]["reals"]["mirror"] is expected


def test_images_of_any_origin(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_folder(tmp_path / "images", 20, 8)
    for subject, data in ((folder, archive), (archive, folder), (folder, folder), (archive, archive)):
        assert run(subject, "--data", data, "--metrics", "fd20_proj,pr20_proj", "--json") == 0
        values = json.loads(capsys.readouterr().out)["metrics"]
        assert values["fd20_proj"]["values"]["fd20_proj"]["mean"] == pytest.approx(0, abs=1e-6)
        assert values["pr20_proj"]["values"]["pr20_proj recall"]["mean"] == 1


def test_embedded_sets_come_at_the_size_of_the_subject(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_folder(tmp_path / "images", 8, 16)
    assert run(folder, "--data", "emoji", "--metrics", "fd8_proj", "--json") == 0
    assert json.loads(capsys.readouterr().out)["data"]["shape"] == [3, 16, 16]


def test_every_snapshot_of_a_run(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment = tiny("run.tick_kimg=0.032", "run.snapshot_every=1", "total_kimg=0.096")
    experiment = replace(experiment, run=replace(experiment.run, keep_snapshots=0))
    trainer, directory = start(tmp_path / "run", experiment, open_dataset(archive), "cpu")
    fit(trainer, directory)
    trainer.close()
    assert len(directory.snapshots()) == 3  # all of the same thousand images
    assert run(directory.path, "--data", archive, "--metrics", "fd16_proj,stability4", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    values = [d["metrics"]["fd16_proj"]["values"]["fd16_proj"]["mean"] for d in document["snapshots"]]
    assert len(values) == 3
    assert document["best"]["value"] == min(values)
    changes = [row["change"] for row in document["stability"]["stability4"]["changes"]]
    assert [list(change) for change in changes] == [["8"], ["8"]]
    assert all(change["8"] > 0 for change in changes)
    assert run(directory.path, "--data", archive, "--metrics", "fd16_proj,stability4") == 0
    assert "best by fd16_proj" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--metrics", "fid50"), None),
        (("--metrics", "fid_50k"), "metric: 'fid_50k' does not exist"),
        (("--metrics", "fd8_proj", "--batch", "0"), "--batch: 0 is not valid"),
        (("--metrics", "fd8_proj", "--repeats", "0"), "--repeats: 0 is not valid"),
        (("--metrics", "fd8_proj", "--seed", "-1"), "--seed: -1 is not valid"),
        (("--metrics", "fd8_proj", "--seed", "4096"), "--seed: 4096 is not valid, 0 to 4095"),
        (("--metrics", "fd8_proj", "--weights", "nowhere.pth"), "--weights: there is no file nowhere.pth"),
        (("--metrics", "separability"), "separability: needs classifiers"),
        (("--metrics", "separability", "--classifiers", "nowhere"), "nowhere: no classifiers"),
        (("--metrics", "stability"), "stability: compares snapshots"),
    ],
)
def test_refusals(
    made: Path,
    archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    message: str | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("STYLELOOM_WEIGHTS", str(tmp_path / "no-weights"))
    out = tmp_path / "out.json"
    assert run(made, "--data", archive, "--out", out, *words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    if message is None:  # absent weights: the file, its hash, where it goes, and how to get it
        message = "styleloom features fetch inception-2015"
        assert "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2" in printed.err
        assert str(tmp_path / "no-weights") in printed.err
    assert message in printed.err
    assert not out.exists()


def test_weights_are_told_by_their_hash(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """EfficientNet-Lite0's file under another name, where its package is not found; and one with a change."""
    own = locate_weights(EFFICIENTNET_LITE0)
    assert own is not None
    file = tmp_path / "renamed.bin"
    file.write_bytes(own.read_bytes())
    monkeypatch.setattr("styleloom.features.weights.locate_weights", lambda file: None)
    words = (made, "--metrics", "is16_lite0")
    assert run(*words) == 2
    assert run(*words, "--weights", file) == 0
    capsys.readouterr()
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert run(*words, "--weights", file) == 2
    assert "renamed.bin has the SHA-256" in capsys.readouterr().err


def test_files_that_are_not_there(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("nowhere", "--metrics", "is16_proj") == 2
    assert "no such source: nowhere" in capsys.readouterr().err
    assert run(made, "--data", "nowhere.zip", "--metrics", "fd16_proj") == 2
    assert "no such source: nowhere.zip" in capsys.readouterr().err


def test_data_that_are_no_images(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(made, "--data", made, "--metrics", "fd16_proj") == 2
    assert "snapshot.safetensors is a snapshot; valid: an archive" in capsys.readouterr().err
    folder = make_folder(tmp_path / "run", 20, 8)
    (folder / "experiment.json").touch()
    assert run(made, "--data", folder, "--metrics", "fd16_proj") == 2
    assert "run is a run directory; valid: an archive" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_refused_first(
    made: Path, tmp_path: Path, projection: Projection, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert run(made, "--metrics", "is16_proj", "--out", tmp_path / "file" / "x.json") == 2
    assert "x.json cannot be written" in capsys.readouterr().err
    assert projection.calls == 0


def test_the_best_of_a_growing_run_is_one_of_full_size(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Snapshots of a run from 4 to 8 px: at their level two are too small for SWD; at full size all are
    measured."""
    small = tiny()
    growing = get("stylegan2-d").with_data(resolution=8)
    shape = {"z_dim": 16, "w_dim": 16, "features": small.generator.features}
    experiment = replace(
        growing,
        generator=replace(growing.generator, **shape),
        growth=replace(growing.growth, initial_resolution=4, stabilize_kimg=1, fade_kimg=1),
    )
    folder = RunDirectory.create(tmp_path / "run")
    folder.write_experiment(experiment, {})
    for kimg in (0, 1, 2):
        generator = build_generator(experiment.generator)
        folder.save_snapshot(generator, experiment, {"images_seen": kimg * 1000}, keep=0)
    words = (folder.path, "--data", archive, "--metrics", "fd16_proj,swd16", "--json")
    assert run(*words) == 0
    document = json.loads(capsys.readouterr().out)
    assert [d["subject"]["level"] for d in document["snapshots"]] == [0, 0, None]
    assert document["best"]["snapshot"].endswith("snapshot-000002.safetensors")
    assert run(*words, "--measure-at", "level") == 0
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert "snapshot-000000.safetensors is left out: swd16: images of 4x4 px are too small" in printed.err
    assert document["best"]["snapshot"].endswith("snapshot-000002.safetensors")
    for path in folder.snapshots()[1:]:
        path.unlink()
    assert run(folder.path, "--data", archive, "--metrics", "swd16", "--measure-at", "level") == 2
    assert "none of its snapshots can be measured so" in capsys.readouterr().err


def test_no_data_no_comparison(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(made, "--metrics", "fd16_proj") == 2
    assert "fd16_proj: needs real images to compare with; give them with --data" in capsys.readouterr().err
    capsys.readouterr()
    assert run(made, "--metrics", "is16_proj,ppl2_zend8_proj") == 0
    assert "standard error" in capsys.readouterr().out


def test_an_interruption_leaves_no_record(
    made: Path, archive: Path, tmp_path: Path, projection: Projection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(projection, "features", interrupt)
    out = tmp_path / "out.json"
    assert run(made, "--data", archive, "--metrics", "fd8_proj", "--out", out) == 130
    assert not out.exists()
    assert not (tmp_path / "statistics").exists()


def test_the_list_of_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics"]) == 0
    shown = capsys.readouterr().out
    assert "fid50k" in shown
    assert "ppl2_wend" in shown
    assert main(["metrics", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["fid"]["network"] == "inception-2015"
    assert document["ppl"]["num"] == 100_000


def test_the_number_of_processes_changes_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two processes, started as users start them, against one: every number is the same, bit for bit."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("STYLELOOM_STATISTICS", "none")
    metrics = "fd18_lite0,kid18_lite0,pr18_lite0,swd18,ms_ssim8,ppl2_wend10_lite0,resolution_usage10"
    words = ["evaluate", "portraits-64", "--data", "emoji", "--metrics", metrics, "--batch", "4"]
    assert main([*words, "--out", str(tmp_path / "1.json")]) == 0
    launcher = ["torch.distributed.run", "--nproc-per-node=2", "--master-port=0", "--standalone", "-m"]
    command = [sys.executable, "-m", *launcher, "styleloom", *words, "--out", str(tmp_path / "2.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for printed in (capsys.readouterr().out, done.stdout):
        assert printed.count("fd18_lite0") == 3  # one table with two notes, from the first process
    one, two = (json.loads((tmp_path / f"{count}.json").read_text()) for count in (1, 2))
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["metrics"].keys() == two["metrics"].keys()
    for name, entry in one["metrics"].items():
        assert two["metrics"][name]["values"] == entry["values"], name


# ---- what goes wrong


def test_without_a_home_nothing_is_kept(
    made: Path, archive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """HOME is not set and the system does not know the user."""

    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("STYLELOOM_STATISTICS", "STYLELOOM_WEIGHTS", "HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", unknown)
    _note_no_folder.cache_clear()
    words = (made, "--data", archive, "--metrics", "fd16_proj,fd16_lite0")
    assert run(*words, "--cache", "none") == 0
    assert "HOME" not in capsys.readouterr().err
    assert run(*words) == 0
    assert capsys.readouterr().err.count("statistics of real images are not kept, HOME is not set") == 1
    assert main(["features", "list"]) == 0
    assert "STYLELOOM_WEIGHTS" in capsys.readouterr().out
    assert main(["features", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["folder"] is None


def test_metrics_without_a_value_are_named(
    made: Path, archive: Path, tmp_path: Path, projection: Projection, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A path length that is not finite; the rest is measured and written."""
    monkeypatch.setattr(projection, "distance", lambda a, b: torch.full((len(a),), torch.nan))
    out = tmp_path / "out.json"
    words = (made, "--data", archive, "--metrics", "fd16_proj,ppl2_wend8_proj", "--out", out)
    assert run(*words) == 1
    shown = capsys.readouterr().out
    assert "ppl2_wend8_proj has no value: path lengths: 8 given, 8 not finite" in shown
    document = json.loads(out.read_text())
    assert document["metrics"]["fd16_proj"]["values"]
    assert document["metrics"]["ppl2_wend8_proj"]["values"] == {}


def test_an_output_is_tried_before_the_work(
    made: Path, archive: Path, tmp_path: Path, projection: Projection, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that the file system does not take, and the name of what is measured."""
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(made.read_bytes())
    for out, message in ((tmp_path / ("x" * 300), "cannot be written"), (copy, "is what is measured")):
        assert run(copy, "--data", archive, "--metrics", "fd16_proj", "--out", out) == 2
        assert message in capsys.readouterr().err
    assert projection.calls == 0
    assert copy.read_bytes() == made.read_bytes()
    assert sorted(tmp_path.iterdir()) == [copy]


def test_what_was_measured_is_shown_where_it_cannot_be_written(
    made: Path,
    archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(path: Path, text: str) -> None:
        raise UserError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr("styleloom.cli.evaluate.write_text", full)
    assert run(made, "--data", archive, "--metrics", "fd16_proj", "--out", tmp_path / "out.json") == 2
    printed = capsys.readouterr()
    assert "fd16_proj" in printed.out
    assert "written to" not in printed.out
    assert "No space left" in printed.err


def test_one_process_of_a_machine_says_what_is_wrong(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, told in ((0, 1), (1, 0)):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        monkeypatch.setattr(Processes, "join", lambda rank=rank: Processes(rank, 2, rank))
        for words in (("--metrics", "fid_50k"), ("--batch", 0), ("--weights", "nowhere")):
            assert run(made, *words) == 2
            assert capsys.readouterr().err.count("styleloom: error") == told


def test_an_image_that_cannot_be_read_is_named(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_folder(tmp_path / "images", 16, 8)
    damaged = sorted(file for file in folder.rglob("*") if file.is_file())[5]
    damaged.write_bytes(damaged.read_bytes()[:-30])
    assert run(folder, "--data", archive, "--metrics", "fd16_proj") == 2
    assert damaged.name in capsys.readouterr().err


# ---- two sets of images


def test_reals_of_files_are_mirrored_on_request(
    made: Path, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Against a folder and an archive, measured images as well, and for a snapshot and files."""
    folder = make_folder(tmp_path / "images", 20, 8)
    cases = [
        (folder, folder, "auto", False, False),
        (folder, folder, "on", True, False),
        (folder, folder, "both", True, True),
        (folder, archive, "on", True, False),
        (archive, folder, "both", True, True),
        (folder, archive, "both", True, True),
        (made, folder, "on", True, None),
        (made, folder, "off", False, None),
    ]
    for subject, data, flag, reals, images in cases:
        words = (subject, "--data", data, "--metrics", "fd20_proj", "--mirror", flag)
        assert run(*words, "--json") == 0
        document = json.loads(capsys.readouterr().out)
        assert document["metrics"]["fd20_proj"]["reals"]["mirror"] is reals, flag
        assert document["subject"]["images"].get("mirror") is images, flag
        value = document["metrics"]["fd20_proj"]["values"]["fd20_proj"]["mean"]
        if subject == data:  # flipped alike, or one of the two alone
            assert (abs(value) < 1e-6) == (reals == images), flag
    assert run(folder, "--data", archive, "--metrics", "fd20_proj", "--mirror", "both") == 0
    printed = capsys.readouterr().out
    assert printed.count("mirrored at random") == 2
    assert run(made, "--data", archive, "--metrics", "fd20_proj", "--mirror", "both") == 2
    assert (
        "--mirror both: a generator's images are not flipped; valid: auto, on, off" in capsys.readouterr().err
    )


def test_all_of_both_sets(
    made: Path, archive: Path, tmp_path: Path, projection: Projection, capsys: pytest.CaptureFixture[str]
) -> None:
    """The number of a metric of all images is that of a metric which counts them."""
    folder = make_folder(tmp_path / "images", 26, 8)
    names = "fdall_proj,kidall_proj,prall3_proj,isall_proj,swdall"
    assert run(folder, "--data", archive, "--metrics", names, "--json", "--cache", "none") == 0
    document = json.loads(capsys.readouterr().out)
    assert projection.calls == 26 + 20
    used = {
        name: (entry["num"], entry.get("reals", {}).get("used"))
        for name, entry in document["metrics"].items()
    }
    assert used == {
        "fdall_proj": (26, 20),
        "kidall_proj": (26, 20),
        "prall3_proj": (26, 20),
        "isall_proj": (26, None),
        "swdall": (20, 20),
    }
    names = "fd26_full_proj,kid26_proj,is26_proj,swd26"
    assert run(folder, "--data", archive, "--metrics", names, "--json") == 0
    counted = json.loads(capsys.readouterr().out)["metrics"]
    for a, b in zip(("fdall_proj", "kidall_proj", "isall_proj", "swdall"), names.split(","), strict=True):
        pair = (document["metrics"][a], counted[b])
        ours, theirs = (next(iter(entry["values"].values()))["mean"] for entry in pair)
        assert ours == pytest.approx(theirs, rel=1e-9), a
    assert run(made, "--data", archive, "--metrics", "fdall_proj") == 2
    assert (
        "fdall_proj: a generator makes as many images as one likes; valid: a number"
        in capsys.readouterr().err
    )


def test_fewer_images_than_features_are_mentioned(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As many as features are too few, one more is not."""
    folder = make_folder(tmp_path / "images", 20, 8)
    for count, too_few in ((DIM, True), (DIM + 1, False)):
        assert run(folder, "--data", archive, "--metrics", f"fd{count}_proj,kid{count}_proj") == 0
        printed = capsys.readouterr().out
        assert (f"{count} images are no more than the {DIM} features" in printed) == too_few
        assert printed.count("covariances are singular") == too_few


def test_images_of_other_sizes_are_resized_on_request(
    made: Path, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused without a filter; with one the record and the table say how many were resized."""
    large, mixed = make_folder(tmp_path / "large", 20, 16), make_folder(tmp_path / "mixed", 20, 8)
    for file in sorted(file for file in mixed.rglob("*") if file.is_file())[:3]:
        Image.open(file).resize((24, 24), Image.Resampling.BICUBIC).save(file)
    stored = make_archive(tmp_path, 20, side=16)
    pairs = [
        (made, large, 20),
        (made, mixed, 3),
        (made, stored, 20),
        (archive, large, 0),
        (archive, mixed, 3),
    ]
    for subject, data, resized in pairs:
        words = (subject, "--data", data, "--metrics", "fd20_proj")
        assert run(*words) == 2, (subject, data)
        assert "px" in capsys.readouterr().err
        assert run(*words, "--resize", "box") == 0
        printed = capsys.readouterr().out
        assert f"{resized or 20} of 20 resized by box" in printed
        assert run(*words, "--resize", "box", "--json") == 0
        document = json.loads(capsys.readouterr().out)
        found = document["metrics"]["fd20_proj"]["reals"].get("resize", {"count": 0})["count"]
        assert found == resized
        side = 16 if data == large and subject == archive else 8  # data decide where there is no snapshot
        assert document["subject"]["images"]["shape"] == [3, side, side]
    assert run(mixed, "--data", archive, "--metrics", "fd20_proj", "--resize", "lanczos", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["subject"]["images"]["resize"] == {"filter": "lanczos", "count": 3}
    wide = tmp_path / "wide"
    wide.mkdir()
    Image.new("RGB", (24, 8)).save(wide / "a.png")
    assert run(archive, "--data", wide, "--metrics", "fd20_proj", "--resize", "box") == 2
    assert "cannot be resized to 24x8 px; valid: the same proportions" in capsys.readouterr().err


def test_the_best_snapshot_of_a_run_and_files_that_cannot_be_read(
    archive: Path, tmp_path: Path, projection: Projection, capsys: pytest.CaptureFixture[str]
) -> None:
    """The best one is measured where no numbered one is the same; a damaged one costs no other."""
    experiment = tiny()
    folder = RunDirectory.create(tmp_path / "run")
    folder.write_experiment(experiment, {})
    for kimg in (1, 2, 3):
        info = {"images_seen": kimg * 1000}
        generator = build_generator(experiment.generator)
        folder.save_snapshot(generator, experiment, info, keep=0)
        if kimg == 1:
            folder.save_best(generator, experiment, info)
    words = (folder.path, "--data", archive, "--metrics", "fd16_proj", "--json")

    def measured() -> list[str]:
        assert run(*words) == 0
        document = json.loads(capsys.readouterr().out)
        return [Path(d["subject"]["path"]).stem.partition("-")[2] for d in document["snapshots"]]

    assert measured() == ["000001", "000002", "000003"]
    projection.calls = 0
    words = (*words, "--cache", "none")
    assert measured() == ["000001", "000002", "000003"]
    assert projection.calls == 3 * 16 + 16  # the reals are looked at once, whatever is kept
    folder.snapshots()[0].unlink()
    assert measured() == ["000002", "000003", "best"]
    damaged = folder.snapshots()[0]
    damaged.write_bytes(damaged.read_bytes()[:-100])
    assert run(*words) == 0
    printed = capsys.readouterr()
    assert f"note: {damaged} is left out: " in printed.err
    assert len(json.loads(printed.out)["snapshots"]) == 2
    assert run(folder.path, "--data", "nowhere.zip", "--metrics", "fd16_proj") == 2
    assert capsys.readouterr().err.count("nowhere.zip") == 1
