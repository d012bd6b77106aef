"""Files that want to run code, claim what they do not hold, or are damaged: one sentence, no more."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

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


@pytest.mark.slow
def test_files_made_here(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    deep: list[Any] = []
    for _ in range(20):
        deep = [deep] * 10
    contents = {
        "runs.pkl": pickle.dumps({"G_ema": _Runs(mark)}),
        "bomb.pkl": pickle.dumps({"G_ema": deep}),
        "claim.pkl": b"\x80\x04\x8e" + (1 << 40).to_bytes(8, "little") + b"ab.",
        "memo.pkl": b"\x80\x02Nr\xff\xff\xff\x7f.",
        "deep.pkl": b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b".",
        "short.pkl": pickle.dumps({"G_ema": 1})[:-3],
        "empty.pt": b"",
    }
    files = []
    for name, content in contents.items():
        files.append(tmp_path / name)
        files[-1].write_bytes(content)
    wrong = {t["file"]: p for t in guarded(files, tmp_path) if (p := problems(t, False))}
    assert not wrong
    assert not mark.exists()
