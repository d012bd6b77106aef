"""Memory settings: in processes of their own, because they hold for a process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from styleloom import allocator, cli

CODE = "from styleloom.allocator import keep_large_blocks as k; print(k(), k())"


def run(code: str = CODE, **environment: str) -> str:
    """Standard output of a fresh Python."""
    kept = {k: v for k, v in os.environ.items() if k != "STYLELOOM_MALLOC"}
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.run(
        [sys.executable, "-c", code],
        env=kept | environment | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout.strip()


def glibc() -> bool:
    """Whether this is Linux with glibc."""
    return sys.platform == "linux" and "CS_GNU_LIBC_VERSION" in os.confstr_names


@pytest.mark.skipif(not glibc(), reason="needs glibc")
def test_it_is_done_and_says_so() -> None:
    assert run() == "True True"


def test_the_environment_can_forbid_it() -> None:
    assert run(STYLELOOM_MALLOC="default") == "False False"


@pytest.mark.skipif(not glibc(), reason="needs glibc")
def test_large_blocks_stay_in_the_process() -> None:
    """The purpose: freed memory is not given back, so that the next block does not fault it in again.

    More than 117 of 160 MiB.
    """
    code = """
import ctypes
from pathlib import Path
from styleloom.allocator import keep_large_blocks
keep_large_blocks()
c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes, c.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
pages = lambda: int(Path("/proc/self/statm").read_text().split()[1])
before = pages()
block = c.malloc(160 << 20)
ctypes.memset(block, 1, 160 << 20)
c.free(block)
print(pages() - before > 30_000)
"""
    assert run(code) == "True"
    assert run(code, STYLELOOM_MALLOC="default") == "False"


@pytest.mark.skipif(not glibc(), reason="needs glibc")
def test_the_library_leaves_the_process_of_its_host_alone() -> None:
    """After generating, what numpy frees goes back to the system; in the command line it stays."""
    code = """
import sys
from pathlib import Path
import numpy as np
import styleloom
pages = lambda: int(Path("/proc/self/statm").read_text().split()[1])
if "cli" in sys.argv:
    from styleloom.cli import main
    main(["presets", "demo", "--json"])
else:
    styleloom.load("portraits-64", "cpu", "fp32").generate([0])
before = pages()
blocks = [np.ones(40 << 20, np.uint8) for _ in range(4)]
del blocks
print(pages() - before < 20_000)
"""
    assert run(code) == "True"
    assert run(code.replace('"cli" in sys.argv', "True")).splitlines()[-1] == "False"


def test_the_command_line_asks_for_it_before_a_verb_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """On every system; not for help and not for flags that are wrong, after which nothing runs."""
    asked: list[bool] = []
    monkeypatch.setattr(cli, "keep_large_blocks", lambda: asked.append(True))
    assert cli.main(["presets", "demo", "--no-such-flag"]) != 0
    assert cli.main(["presets", "--help"]) == 0
    assert asked == []
    assert cli.main(["presets", "demo", "--json"]) == 0
    assert asked == [True]


def test_the_library_does_not_even_import_it() -> None:
    code = """
import sys
import styleloom
styleloom.load("portraits-64", "cpu", "fp32").generate([0])
styleloom.Trainer, styleloom.open_dataset, styleloom.preset("demo")
print("styleloom.allocator" in sys.modules)
"""
    assert run(code) == "False"


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(name: object) -> None:
        raise AssertionError("not to be opened")

    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    monkeypatch.setattr(allocator.ctypes, "CDLL", no_library)
    assert allocator.keep_large_blocks.__wrapped__() is False


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STYLELOOM_MALLOC", raising=False)
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: object())
    assert allocator.keep_large_blocks.__wrapped__() is False
