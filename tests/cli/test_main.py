"""What all verbs share: dispatch, exit status, and errors without tracebacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar, NoReturn

import pytest

import styleloom.cli
from every import every
from styleloom.cli import VERBS, main
from styleloom.data.sources import EMBEDDED_SETS
from styleloom.errors import UserError

SOURCE = Path(styleloom.cli.__file__).parents[2]


@dataclass(frozen=True)
class Command:
    """A verb that does what a test says."""

    actions: ClassVar[list[Callable[[], int]]] = []

    def run(self) -> int:
        return self.actions[-1]()


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], int]], None]:
    """Makes `styleloom train` do something else."""

    def install(action: Callable[[], int]) -> None:
        monkeypatch.setattr(Command, "actions", [action])
        monkeypatch.setitem(sys.modules, VERBS["train"].module, SimpleNamespace(Train=Command))  # type: ignore

    return install


def raising(error: BaseException) -> Callable[[], int]:
    def action() -> NoReturn:
        raise error

    return action


def process(*argv: str, **kwargs: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), **kwargs}
    command = [sys.executable, "-m", "styleloom", *argv]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def test_the_status_of_the_verb_is_returned(verb: Callable[[Callable[[], int]], None]) -> None:
    verb(lambda: 7)
    assert main(["train"]) == 7


@every(
    ("error", "status", "message"),
    [
        (UserError("batch: 3 is not valid"), 2, "styleloom: error: batch: 3 is not valid\n"),
        (KeyboardInterrupt(), 130, "styleloom: error: interrupted\n"),
        (
            ZeroDivisionError("by zero"),
            1,
            "styleloom: error: ZeroDivisionError: by zero\n(set STYLELOOM_DEBUG=1 for the traceback)\n",
        ),
    ],
)
def test_errors_are_one_message(
    error: BaseException,
    status: int,
    message: str,
    verb: Callable[[Callable[[], int]], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("STYLELOOM_DEBUG", raising=False)
    verb(raising(error))
    assert main(["train"]) == status
    assert capsys.readouterr() == ("", message)


def test_debug_shows_the_traceback(
    verb: Callable[[Callable[[], int]], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STYLELOOM_DEBUG", "1")
    verb(raising(UserError("batch: 3 is not valid")))
    assert main(["train"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("styleloom: error: batch: 3 is not valid\n")


@every(
    ("argv", "message"),
    [
        (
            ["trian"],
            "verb: 'trian' does not exist, did you mean 'train'? choose from dataset build, dataset check,",
        ),
        (["zzz"], "verb: 'zzz' does not exist, choose from dataset build, "),
        (["dataset"], "verb: 'dataset' does not exist, "),
        (
            ["dataset", "bild"],
            "verb: 'dataset bild' does not exist, did you mean 'dataset build'? choose from",
        ),
        (["--verbose"], "verb: '--verbose' does not exist"),
    ],
)
def test_unknown_verbs(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert "Traceback" not in err


@every("argv", [["presets", "--jsn"], ["presets", "--resolution", "x"]])
def test_wrong_flags(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert argv[1] in err


@every("argv", [["--help"], ["-h"]])
def test_help_lists_the_verbs(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert all(f"  {name} " in out for name in VERBS)


def test_help_of_a_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataset", "--help"]) == 0
    out = capsys.readouterr().out
    assert "dataset build" in out
    assert "dataset check" in out
    assert "presets" not in out


def test_help_of_a_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets", "--help"]) == 0
    assert "usage: styleloom presets" in capsys.readouterr().out


def test_nothing_is_an_error_that_shows_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "presets" in err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("styleloom ")


def test_argv_of_the_process_is_the_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["styleloom", "--help"])
    assert main() == 0
    assert "verbs:" in capsys.readouterr().out


WITHOUT_TORCH = [
    *([*name.split(), "--help"] for name in VERBS),
    *([*name.split(), "--no-such-flag"] for name in VERBS),
    ["generate", "portraits-64", "--seeds", "9-1"],
    ["generate", "portraits-64", "--grid", "8"],
    ["generate", "portraits-64", "--truncation", "high"],
    ["generate", "portraits-64", "--classes", "cat"],
    ["generate", "portraits-64", "--batch", "0"],
    ["evaluate", "portraits-64", "--repeats", "0"],
    ["train", "--preset", "no-such"],
    ["train", "--data", "emoji", "--set", "no.such=1"],
    ["train", "--data", "no-such.zip"],
    ["train", "--minutes", "0"],
    ["dataset", "build", "no-such", "made.zip", "--resolution", "32"],
    ["features", "fetch"],
    ["train-classifiers", "--data", "no-such.zip", "--out", "made"],
]
"""Help, and mistakes that can be seen at once."""


def test_help_and_mistakes_do_not_wait_for_torch() -> None:
    code = (
        "import json, sys; from styleloom.cli import main\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    status = main(words)\n"
        "    assert status == (0 if '--help' in words else 2), (words, status)\n"
        "    assert 'torch' not in sys.modules, words\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, json.dumps(WITHOUT_TORCH)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )


def test_a_closed_pipe_is_quiet() -> None:
    with process("--help") as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()  # before the process has written anything
        assert running.stderr.read() == ""
    assert running.returncode == 1


def test_as_a_module() -> None:
    with process("trian") as running:
        out, err = running.communicate()
    assert running.returncode == 2
    assert out == ""
    assert err.startswith("styleloom: error: verb: 'trian' does not exist, did you mean 'train'?")


@every("name", VERBS)
def test_every_verb_is_installed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--help"]) == 0
    assert f"usage: styleloom {name}" in capsys.readouterr().out


@every("verb", ["train", "evaluate", "dataset build", "dataset check"])
def test_help_names_every_embedded_set(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*verb.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert [name for name in EMBEDDED_SETS if name not in text] == []


@every("words", [["train"], ["evaluate", "portraits-64", "--data", "portraits-64", "--metrics", "swd16"]])
def test_messages_name_every_embedded_set(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--device", "cpu"]) == 2
    text = capsys.readouterr().err
    assert all(name in text for name in EMBEDDED_SETS), text
