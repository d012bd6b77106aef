"""`styleloom video`: files are decoded again."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from docs.tiny_model import write_snapshot
from every import every
from styleloom import sampling
from styleloom.cli import main
from styleloom.latents import save_latents
from styleloom.video import film
from styleloom.video.encoders import Frame

DIRECTIONS = ["--directions", "{folder}/a.directions.safetensors"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two snapshots, directions, and kept latents."""
    root = tmp_path_factory.mktemp("video")
    for number in (1, 2):
        write_snapshot(root / f"snapshot-00000{number}.safetensors")
    (root / "experiment.json").write_text("{}")
    words = ["--out", str(root / "a.directions.safetensors"), "--count", "1", "--samples", "100"]
    assert main(["directions", str(root / "snapshot-000001.safetensors"), *words]) == 0
    sampler = sampling.load(root / "snapshot-000001.safetensors")
    save_latents(root / "a.latent.safetensors", sampler.latents([0, 5, 6]))
    return root


def run(folder: Path, out: Path, *words: str) -> int:
    which = folder if "training" in words else folder / "snapshot-000001.safetensors"
    filled = [word.format(folder=folder) for word in words]
    return main(["video", str(which), "--out", str(out), "--fps", "10", "--seconds", "1.2", *filled])


@every(
    ("words", "size"),
    [
        (["--kind", "walk", "--seeds", "0-5", "--grid", "3x1", "--easing", "smooth"], (16, 48)),
        (["--kind", "walk", "--latents", "{folder}/a.latent.safetensors"], (16, 16)),
        (["--kind", "circle", "--zoom", "2"], (32, 32)),
        (["--kind", "truncation", "--grid", "2x2", "--range", "-0.5..1"], (32, 32)),
        (["--kind", "noise"], (16, 16)),
        (["--kind", "mix", "--sources", "3-5", "--styles", "0-1", "--noise", "fixed"], (16, 16)),
        (
            [
                "--kind",
                "edit",
                "--directions",
                "{folder}/a.directions.safetensors",
                "--direction",
                "sefa-0=-2..2",
            ],
            (16, 16),
        ),
        (["--kind", "latents", "--latents", "{folder}/a.latent.safetensors"], (16, 16)),
        (["--kind", "training", "--grid", "2x1"], (16, 32)),
    ],
)
def test_every_kind(folder: Path, tmp_path: Path, words: list[str], size: tuple[int, int]) -> None:
    """Twelve frames of the right size; the last is as near the first as any frame is to the next."""
    out = tmp_path / f"{len(list(tmp_path.iterdir()))}.mp4"
    assert run(folder, out, *words) == 0
    with av.open(str(out)) as file:
        frames = [frame.to_ndarray(format="rgb24").astype(float) for frame in file.decode(video=0)]
    assert len(frames) == 12
    assert frames[0].shape == (*size, 3)
    steps = [np.abs(frames[at - 1] - frames[at]).mean() for at in range(12)]
    assert steps[0] <= max(steps[1:]) * 1.5 + 0.5


def test_document_and_existing_files(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.webp"
    assert run(folder, out, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "file": str(out),
        "kind": "walk",
        "frames": 12,
        "fps": 10.0,
        "loop": True,
    }
    assert run(folder, out) == 2
    assert "there already" in capsys.readouterr().err
    assert run(folder, out, "--overwrite", "--no-loop") == 0


@every(
    ("words", "told"),
    [
        (["--kind", "walk", "--seeds", "0-2", "--truncation", "0.7"], {"seeds": "0-2", "truncation": 0.7}),
        (
            ["--kind", "training"],
            {"snapshots": ["snapshot-000001.safetensors", "snapshot-000002.safetensors"]},
        ),
        (["--latents", "{folder}/a.latent.safetensors"], {"files": ["a.latent.safetensors"]}),
        (
            ["--kind", "edit", *DIRECTIONS, "--direction", "sefa-0=-2..2"],
            {"files": ["a.directions.safetensors"], "direction": "sefa-0=-2..2"},
        ),
    ],
)
def test_videos_say_how_they_were_made(
    folder: Path, tmp_path: Path, words: list[str], told: dict[str, Any]
) -> None:
    assert run(folder, tmp_path / "a.mp4", *words, "--overwrite") == 0
    with av.open(str(tmp_path / "a.mp4")) as file:
        record = json.loads(file.metadata["comment"])
    told = told | {"command": "video", "fps": 10.0, "seconds": 1.2, "loop": True}
    if "snapshots" not in told:
        told["snapshot_sha256"] = digest(folder / "snapshot-000001.safetensors")
    told["files"] = {str(folder / name): digest(folder / name) for name in told.get("files", ())}
    assert {name: record[name] for name in told} == told


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_the_frames_so_far(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
) -> None:
    plain = film.as_frame
    made: list[int] = []

    def interrupted(*given: Any) -> Frame:
        made.append(1)
        if len(made) == 5:
            os.kill(os.getpid(), number)
        return plain(*given)

    monkeypatch.setattr(film, "as_frame", interrupted)
    assert run(folder, tmp_path / "a.mp4") == 130
    error = capsys.readouterr().err
    assert "a.mp4 has the 4 frames that were made so far" in error.replace("\n", " ")
    assert "interrupted" in error
    with av.open(str(tmp_path / "a.mp4")) as file:
        assert sum(1 for _ in file.decode(video=0)) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@every(
    ("words", "message"),
    [
        (["--kind", "mix"], "--sources: needed for --kind mix"),
        (["--styles", "0"], "--styles: not valid with --kind walk"),
        (["--kind", "mix", "--sources", "1", "--styles", "99"], "styles: '99' is not valid"),
        (["--kind", "latents"], "--latents: needed"),
        (["--kind", "circle", "--no-loop"], "--no-loop: not valid"),
        (["--grid", "2"], "--grid: '2' is not valid"),
        (["--seeds", "0-4", "--grid", "2x1"], "5 key frames for 2 cells"),
        (["--kind", "noise", "--seeds", "0,1"], "--seeds: 2 seeds for a grid of 1"),
        (["--kind", "noise", "--noise", "none"], "not valid without noise"),
        (["--kind", "truncation", "--range", "a"], "--range: 'a' is not valid"),
        (["--kind", "truncation", "--range", "0..nan"], "--range: '0..nan' is not valid"),
        (["--kind", "truncation", "--range", "0..1..2"], "--range: '0..1..2' is not valid"),
        (["--kind", "truncation", "--truncation", "0.5"], "--truncation: 0.5 is not valid with --kind trunc"),
        (["--latents", "{folder}/a.latent.safetensors", "--noise", "fixed"], "--noise: 'fixed' is not valid"),
        (["--latents", "{folder}/a.latent.safetensors", "--truncation", "0.5"], "--truncation: 0.5 is not"),
        (["--latents", "{folder}/a.latent.safetensors", "--classes", "1"], "--classes: 1 is not valid with"),
        (["--seeds", ""], "--seeds: '' is not valid"),
        (["--kind", "mix", "--sources", "", "--styles", "0"], "--sources: '' is not valid"),
        (
            ["--kind", "edit", *DIRECTIONS, "--direction", "sefa-0=1,2,3"],
            "--direction: 'sefa-0=1,2,3' is not",
        ),
        (["--kind", "edit", *DIRECTIONS, "--direction", "sefa-0=1..x"], "--direction: '1..x' is not valid"),
        (["--seconds", "0"], "--seconds: 0 is not valid"),
        (["--seconds", "1e9"], "at most 10,000,000"),
        (["--zoom", "0"], "--zoom: 0"),
        (["--zoom", "100000"], "frames of 1600000 x 1600000 px are too large; in .gif"),
        (["--out", "x.avi"], "no format of videos"),
        (["--latents", "nothing.latent.safetensors"], "there is no such file"),
    ],
)
def test_videos_that_cannot_be(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert run(folder, tmp_path / "a.gif", *words) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
    assert not list(tmp_path.iterdir())
