"""The wheel alone, outside the checkout: it generates, trains the demo and serves the app."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
pytest.importorskip("build", reason="needs the extra docs")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment that has the wheel, and what it depends on from this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    install = ["install", "--quiet", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True)
    ours = sysconfig.get_path("purelib")  # comes after the wheel's own files
    (site / "others.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    return folder / "bin" / "python"


def run(python: Path, *arguments: str, cwd: Path) -> str:
    done = subprocess.run([python, *arguments], cwd=cwd, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def environment() -> dict[str, str]:
    """Without this process's search path, in which the checkout may be."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def test_the_wheel_has_what_the_package_reads(wheel: Path) -> None:
    """Every file of the package that git knows, and nothing of the tests."""
    listed = subprocess.run(
        ["git", "ls-files", "styleloom"], cwd=ROOT / "src", check=True, capture_output=True, text=True
    )
    names = set(zipfile.ZipFile(wheel).namelist())
    assert set(listed.stdout.split()) <= names
    assert not [name for name in names if name.startswith("tests/")]


@pytest.mark.slow
def test_it_generates_and_trains(python: Path, tmp_path: Path) -> None:
    where = run(python, "-c", "import styleloom; print(styleloom.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(python.parents[1])
    seeds = ("--seeds", "0-3", "--grid", "2x2", "--out", "g.png")
    run(python, "-m", "styleloom", "generate", "portraits-64", *seeds, cwd=tmp_path)
    with Image.open(tmp_path / "g.png") as image:
        assert image.size == (128, 128)
    options = ("--minutes", "1", "--out", "demo", "--json")
    document = json.loads(run(python, "-m", "styleloom", "demo", *options, cwd=tmp_path))
    assert document["images_seen"] > 0
    assert document["swd_trained"] < document["swd_untrained"]


@pytest.mark.slow
def test_it_serves_the_app(python: Path, tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = subprocess.Popen(
        [python, "-m", "styleloom", "app", "portraits-64", "--port", str(port)],
        cwd=tmp_path,
        env=environment(),
    )
    try:
        page, deadline = "", time.monotonic() + 120
        while not page and app.poll() is None and time.monotonic() < deadline:
            time.sleep(1)
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
                    page = answer.read().decode()
            except OSError:
                continue
        assert "styleloom" in page
    finally:
        app.terminate()
        app.wait(30)
