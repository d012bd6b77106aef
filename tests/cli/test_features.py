"""`styleloom features list`, `fetch` and `check` as a user meets them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from styleloom.cli import main
from styleloom.features import registry
from styleloom.features.registry import NETWORKS, NetworkEntry
from styleloom.features.weights import EFFICIENTNET_LITE0, INCEPTION_2015, VGG16, WeightFile

CONTENT = b"weights of a test" * 100


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STYLELOOM_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WeightFile:
    """A network `tiny` whose weights can be fetched without a network."""
    (tmp_path / "served.pth").write_bytes(CONTENT)
    digest = hashlib.sha256(CONTENT).hexdigest()
    url = (tmp_path / "served.pth").as_uri()
    file = WeightFile("tiny.pth", url, digest, len(CONTENT), "MIT", "a test")
    monkeypatch.setattr(
        registry, "NETWORKS", {**NETWORKS, "tiny": NetworkEntry("t", "tiny one", "MIT", (file,))}
    )
    return file


def run_json(capsys: pytest.CaptureFixture[str], *argv: str, status: int = 0) -> Any:
    assert main(["features", *argv, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_list(tiny: WeightFile, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["features", "list"]) == 0
    out = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
    short = f"{VGG16.sha256[:12]}..."
    assert ["vgg16", VGG16.file, "553.4 MB", "BSD-3-Clause", short, "no"] in rows
    assert [row[0] for row in rows].count("lpips-vgg") == 2
    assert next(row for row in rows if row[0] == "efficientnet-lite0")[-1] == "yes"
    assert ["tiny", "tiny.pth", "1.7 kB", "MIT", f"{tiny.sha256[:12]}...", "no"] in rows
    assert "tiny: tiny one\n" in out
    assert str(folder) in out


def test_list_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = run_json(capsys, "list")
    assert document["folder"] == str(folder)
    networks = {network["name"]: network for network in document["networks"]}
    assert list(networks) == registry.names()
    inception = networks["inception-2015"]
    assert (inception["features"], inception["distance"]) == (True, False)
    assert (inception["default_layer"], inception["logits_layer"]) == ("pool3", "logits_unbiased")
    assert inception["weights"][0]["sha256"] == INCEPTION_2015.sha256
    assert inception["weights"][0]["path"] is None
    assert networks["efficientnet-lite0"]["weights"][0]["path"].endswith(EFFICIENTNET_LITE0.file)


def test_a_network_without_files_is_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "NETWORKS", {"bare": NetworkEntry("b", "no weights", "MIT")})
    assert main(["features", "list"]) == 0
    assert "│ bare    │ none" in capsys.readouterr().out


def test_fetch(tiny: WeightFile, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["features", "fetch", "tiny"]) == 0
    assert capsys.readouterr().out == f"tiny.pth: {folder / 'tiny.pth'}\n"
    assert (folder / "tiny.pth").read_bytes() == CONTENT
    document = run_json(capsys, "fetch", "tiny", "efficientnet-lite0")
    assert [file["file"] for file in document["files"]] == ["tiny.pth", EFFICIENTNET_LITE0.file]
    assert document["files"][0]["path"] == str(folder / "tiny.pth")


def test_fetch_all(
    tiny: WeightFile, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    two = {name: registry.NETWORKS[name] for name in ("tiny", "efficientnet-lite0")}
    monkeypatch.setattr(registry, "NETWORKS", two)
    assert [file["file"] for file in run_json(capsys, "fetch", "--all")["files"]] == [
        "tiny.pth",
        EFFICIENTNET_LITE0.file,
    ]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "names: give the networks to fetch, or --all"),
        (["vgg16", "--all"], "names: give the networks to fetch, or --all"),
        (["vgg61"], "no feature network 'vgg61', did you mean 'vgg16'"),
    ],
)
def test_what_cannot_be_fetched(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["features", "fetch", *argv]) == 2
    assert message in capsys.readouterr().err


def test_a_failed_fetch_is_one_message(
    tiny: WeightFile, tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "served.pth").unlink()
    assert main(["features", "fetch", "tiny"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"styleloom: error: cannot download {tiny.url}" in err
    assert list(folder.iterdir()) == []


def test_check(tiny: WeightFile, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Absent is reported, right is right, wrong fails."""
    assert main(["features", "check", "tiny"]) == 0
    assert capsys.readouterr().out == "tiny.pth: absent\n"
    folder.mkdir()
    path = folder / "tiny.pth"
    path.write_bytes(CONTENT)
    assert main(["features", "check", "tiny"]) == 0
    assert capsys.readouterr().out == f"tiny.pth: ok: {path}\n"
    path.write_bytes(b"x")
    assert main(["features", "check", "tiny"]) == 1
    found = hashlib.sha256(b"x").hexdigest()
    assert capsys.readouterr().out == (
        f"tiny.pth: wrong: {path} has SHA-256 {found}, expected {tiny.sha256}\n"
    )


def test_check_of_every_network(tiny: WeightFile, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder.mkdir()
    (folder / "tiny.pth").write_bytes(b"x")
    files = run_json(capsys, "check", status=1)["files"]
    status = {file["file"]: file["status"] for file in files}
    assert len(files) == len(status) == 5  # VGG-16, which two networks share, once
    assert status["tiny.pth"] == "wrong"
    assert status[VGG16.file] == "absent"
    assert status[EFFICIENTNET_LITE0.file] == "ok"
