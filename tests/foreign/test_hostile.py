"""Files that want to run code, claim what they do not hold, or are damaged: one sentence, no more."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from styleloom.cli import main

from .golden_weights import FOLDER, manifest, needs_golden

TESTS = Path(__file__).parents[1]
SECONDS = 20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and /proc are Linux's")


def guarded(files: Sequence[Path], folder: Path) -> list[dict[str, Any]]:
    """What `inspect` and `generate` did with each file, in a process with limits."""
    words = [sys.executable, "-m", "foreign.guarded", str(folder), *map(str, files)]
    done = subprocess.run(words, cwd=TESTS, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def problems(told: dict[str, Any], may_be_read: bool) -> str | None:
    """What is wrong with what a file did; None for nothing."""
    sentence = told["errors"]
    if told["seconds"] > SECONDS:
        return f"{told['seconds']:.0f} s"
    if told["status"] == 0:
        return None if may_be_read else "was read"
    if told["status"] != 2 or len(sentence) != 1 or len(sentence[0]) > 1500:
        return f"status {told['status']}, {str(sentence)[:300]}"
    return None


@needs_golden
@pytest.mark.slow
def test_recorded_hostile_files(tmp_path: Path) -> None:
    cases = [*manifest("hostile"), *(case | {"expect": "or_read"} for case in manifest("twins"))]
    for case in cases:
        assert not case["pwned"] or not os.path.lexists(case["pwned"]), "left over from another test"
    told = guarded([FOLDER / case["file"] for case in cases], tmp_path)
    expected = {str(FOLDER / case["file"]): "or_read" in case["expect"] for case in cases}
    assert len(told) == 2 * len(cases)
    wrong = {f"{t['verb']} {t['file']}": p for t in told if (p := problems(t, expected[t["file"]]))}
    appeared = [case["pwned"] for case in cases if case["pwned"] and os.path.lexists(case["pwned"])]
    assert not wrong
    assert not appeared


class _Runs:
    """Writes a file when it is unpickled the usual way."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


class _Nested:
    """A storage, as PyTorch's own pickles hold it, with another pickle inside."""

    def __init__(self, inside: bytes) -> None:
        self.inside = inside

    def __reduce__(self) -> tuple[Any, tuple[bytes]]:
        return torch.storage._load_from_bytes, (self.inside,)


def made_here(folder: Path, mark: Path) -> list[Path]:
    """One file of each kind of attack; those that run something make `mark`."""
    deep: list[Any] = []
    for _ in range(20):
        deep = [deep] * 10
    runs, archive, claims = pickle.dumps({"G_ema": _Runs(mark)}), io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("archive/data.pkl", runs)
    torch.save({"g_ema": torch.zeros(4)}, claims)
    contents = {
        "runs.pkl": runs,
        "runs-as-text.pkl": pickle.dumps(_Runs(mark), 0),
        "runs-in-gzip.pkl": gzip.compress(runs),
        "runs-in-storage.pkl": pickle.dumps({"G_ema": _Nested(runs)}),
        "runs.pt": archive.getvalue(),
        "bomb.pkl": pickle.dumps({"G_ema": deep}),
        "bomb-in-gzip.pkl": gzip.compress(bytes(1 << 26), 1),
        "claim.pkl": b"\x80\x04\x8e" + (1 << 40).to_bytes(8, "little") + b"ab.",
        "claim.pt": claims.getvalue().replace(b"K\x04", b"K\xff"),
        "memo.pkl": b"\x80\x02Nr\xff\xff\xff\x7f.",
        "deep.pkl": b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b".",
        "short.pkl": pickle.dumps({"G_ema": 1})[:-3],
        "short.pt": claims.getvalue()[:-100],
        "empty.pt": b"",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]


def one_sentence(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["inspect", str(file)]) == 2, file
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("styleloom: error: "), file
    assert len(line) < 1500, file


def test_one_sentence_and_little_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mark = tmp_path / "ran"
    files = made_here(tmp_path, mark)
    one_sentence(files[0], capsys)  # what is loaded late is loaded now
    for file in files:
        tracemalloc.start()
        try:
            one_sentence(file, capsys)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 64 << 20, f"{file}: {peak:,} bytes"
    assert not mark.exists()


@needs_golden
def test_one_sentence_of_each_recorded_file(capsys: pytest.CaptureFixture[str]) -> None:
    """Limits of the process are for the slow tests."""
    cases = [case for case in manifest("hostile") if "or_read" not in case["expect"]]
    for case in cases:
        one_sentence(FOLDER / case["file"], capsys)
    assert not [case for case in cases if case["pwned"] and os.path.lexists(case["pwned"])]


@pytest.mark.slow
def test_files_made_here(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    files = made_here(tmp_path, mark)
    wrong = {t["file"]: p for t in guarded(files, tmp_path) if (p := problems(t, False))}
    assert not wrong
    assert not mark.exists()
