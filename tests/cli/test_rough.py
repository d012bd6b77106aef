"""What terminals, pipes, encodings, signals and odd names may do to any verb."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.progress import MofNCompleteColumn

import styleloom.cli
from every import every
from styleloom.cli import VERBS, hints, main, progress
from styleloom.cli.notes import notes_on_stderr
from styleloom.cli.progress import ProgressLine, counting
from styleloom.cli.report import PlainConsole, tell
from styleloom.cli.signals import TOGETHER_SEC, orderly_end
from styleloom.config.overrides import OTHER_NAMES, field_names
from styleloom.errors import nearest, shell_word, shown
from styleloom.presets import PRESETS
from styleloom.runs.directory import RunDirectory
from tiny import flags

SOURCE = Path(styleloom.cli.__file__).parents[2]

ODD = "a [bold]b[/bold] [/x] :smile: 'c' \"d\" $e é"
"""Markup, an emoji code, quotes and spaces: a folder's name of the user's."""

HOSTILE = "x\x1b]0;owned\x07\x1b[31m\u202e\r\n\udce9"
"""Sets a terminal's title and colour, turns the direction of writing, ends the line; no UTF-8."""


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "styleloom", *words]


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", **changes}


# ---- names


def test_names_are_printed_as_they_are_and_commands_can_be_pasted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / ODD
    archive, run = folder / "data.zip", folder / "run"
    verbs = (
        ["dataset", "build", "emoji", str(archive), "--resolution", "8"],
        ["dataset", "check", str(archive)],
        ["train", "--data", str(archive), *flags(), "--minutes", "1e-9", "--out", str(run)],
        ["generate", str(run / "snapshot-000000.safetensors"), "--seeds", "0", "--out", str(folder / "png")],
        ["evaluate", str(run), "--data", str(archive), "--metrics", "stability"],
    )
    for words in verbs:
        main(words)
        said = capsys.readouterr()
        everything = said.out + said.err
        assert ODD in everything, words
        for again in re.findall("continue with: styleloom (.*)", said.out):
            assert shlex.split(again) == ["train", "--resume", str(run)]
    assert main(["generate", str(folder / "none.safetensors")]) == 2
    assert ODD in capsys.readouterr().err


def test_control_characters_are_never_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = tmp_path / HOSTILE.replace("\r\n", "\n")
    hostile.mkdir()
    (hostile / "a.png").write_bytes(b"no image")
    long = "y" * 100_000
    for words in (
        [HOSTILE],
        ["presets", HOSTILE],
        ["presets", "--" + HOSTILE],
        ["generate", str(hostile)],
        ["generate", "portraits-64", "--seeds", HOSTILE],
        ["dataset", "build", str(hostile), str(tmp_path / "out.zip"), "--resolution", "8"],
        ["dataset", "check", str(hostile)],
        ["train", "--data", str(hostile)],
        ["train", "--data", "emoji", "--set", f"{HOSTILE}=1"],
        ["train", "--resume", str(hostile)],
        ["evaluate", str(hostile), "--data", "emoji"],
        ["evaluate", "portraits-64", "--metrics", HOSTILE],
        ["features", "fetch", HOSTILE],
        ["train-classifiers", "--data", str(hostile), "--out", "o"],
        [long],
        ["presets", long],
        ["generate", long],
        ["generate", "portraits-64", "--seeds", long],
        ["train", "--data", "emoji", "--set", f"{long}=1"],
        ["train", "--data", "emoji", "--set", f"batch={long}"],
        ["evaluate", "portraits-64", "--metrics", long],
        ["features", "fetch", long],
    ):
        assert main(words) == 2, words
        said = "".join(capsys.readouterr())
        assert all(c.isprintable() or c == "\n" for c in said), words
        assert len(said) < 25_000, words


def test_tables_and_bars_take_nothing_for_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    shown_on = io.StringIO()
    screen = PlainConsole(file=shown_on, force_terminal=True, width=150)
    monkeypatch.setattr(progress, "progress_console", lambda: screen)
    with counting("[/x] \x1b[31m", MofNCompleteColumn()) as report:
        report(1, 2)
    with ProgressLine("[/y]") as line:
        line.show("[/z] \x1b[32m", 0.5)
    said = shown_on.getvalue()
    for text in ("[/x] \\x1b[31m", "[/y]", "[/z] \\x1b[32m"):
        assert text in said


def test_a_word_for_a_shell_survives_it() -> None:
    for word in (ODD, HOSTILE, "plain", "", "back\\slash\t'x'"):
        told = subprocess.run(
            ["bash", "-c", f"printf %s {shell_word(word)}"], stdout=subprocess.PIPE, check=True
        ).stdout
        assert told == os.fsencode(word)
    assert shown("a b") == "a b"
    assert shown("a\nb") == "'a\\nb'"
    assert nearest("trian", ["x" * 10**6, "train"]) == "did you mean 'train'? "


# ---- streams


def test_any_encoding_and_any_stream(tmp_path: Path) -> None:
    """Everything is said in what the console's encoding can show; tables fall back to ASCII."""
    code = (
        "import io, json, sys; from styleloom.cli import main\n"
        "for encoding in ('ascii', 'cp1252'):\n"
        "    for words in json.loads(sys.argv[1]):\n"
        "        out, err = (io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2))\n"
        "        sys.stdout, sys.stderr = out, err\n"
        "        status = main(words)\n"
        "        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__\n"
        "        assert out.errors == err.errors == 'strict', words\n"
        "        out.flush(); err.flush()\n"
        "        said = out.buffer.getvalue().decode(encoding) + err.buffer.getvalue().decode(encoding)\n"
        "        assert status in (0, 2) and said, (encoding, words, status, said)\n"
    )
    folder = tmp_path / "é日本"
    verbs = [
        ["train", "--help"],
        ["evaluate", "--help"],
        ["metrics"],
        ["metrics", "--json"],
        ["features", "list"],
        ["presets", "demo"],
        ["presets", "diff", "stylegan-a", "stylegan-b"],
        ["trian", "é日本"],
        ["presets", "--日本"],
        ["dataset", "build", "emoji", str(folder / "data.zip"), "--resolution", "8", "--overwrite"],
        ["dataset", "check", str(folder / "data.zip")],
        ["dataset", "check", str(folder / "data.zip"), "--json"],
        ["generate", "portraits-64", "--seeds", "0", "--out", str(folder)],
        ["generate", "portraits-64", "--seeds", "0", "--out", str(folder), "--json"],
        ["train", "--resume", str(folder)],
        ["evaluate", str(folder / "nothing"), "--data", "emoji"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(verbs)], env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.name != "posix", reason="shells of POSIX")
def test_closed_and_full_streams() -> None:
    told = {
        "--version >&-": (0, "note: stdout is closed: what this command prints is lost\n"),
        "--version >&- 2>&- <&-": (0, ""),
        "trian 2>&-": (2, ""),
        "--version > /dev/full": (1, "styleloom: error: No space left on device\n"),
        "presets diff demo emoji-64 --json > /dev/full": (1, "styleloom: error: No space left on device\n"),
        "trian 2> /dev/full": (2, ""),
        "presets diff demo demo 2> /dev/full": (0, ""),
    }
    for words, (status, said) in told.items():
        line = f"{shlex.join(command())} {words}"
        done = subprocess.run(["sh", "-c", line], env=environment(), capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (status, said), words


def test_what_nobody_hears_ends_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str, /) -> int:
            raise OSError("No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    with notes_on_stderr():
        logging.getLogger("styleloom").warning("heard by nobody")
    tell("nor this")
    with ProgressLine("work") as line:
        line.show("half", 0.5, last=True)


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_readers_that_are_gone_end_no_training(tmp_path: Path) -> None:
    """`train 2>&1 | tee`, the terminal closed: stderr breaks at the first line, all is done and saved."""
    run = tmp_path / "run"
    data = ["dataset", "build", "emoji", str(tmp_path / "data.zip"), "--resolution", "8"]
    assert main(data) == 0
    words = shlex.join(
        command("train", "--data", str(tmp_path / "data.zip"), "--out", str(run), *flags(), "--device", "cpu")
    )
    line = f"({words} 2>&1 >/dev/null; echo $? > {tmp_path / 'status'}) | true"
    subprocess.run(["sh", "-c", line], env=environment(), check=True)
    assert (tmp_path / "status").read_text() == "0\n"
    assert [line["step"] for line in RunDirectory(run).stats.read()] == [2, 4, 6, 8]


@pytest.mark.skipif(os.name != "posix", reason="names of POSIX")
def test_a_name_that_is_no_utf_8_is_refused_before_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """safetensors opens names in UTF-8 alone."""
    unnamed = tmp_path / os.fsdecode(b"a\xff")
    assert main(["train", "--data", "emoji", "--out", str(unnamed), "--device", "cpu"]) == 2
    assert not unnamed.exists()
    assert "is no name in UTF-8" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="users and working directories of POSIX")
def test_strange_surroundings(tmp_path: Path) -> None:
    """No home and a C locale change nothing; a working directory that is gone is one message."""
    bare = {name: value for name, value in environment().items() if name not in ("HOME", "XDG_CACHE_HOME")}
    c_locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code = (
        "from styleloom.cli import main\n"
        "assert main(['features', 'list']) == main(['train', '--data', 'emoji', '--dry-run']) == 0"
    )
    done = subprocess.run([sys.executable, "-c", code], env=bare | c_locale, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    gone = tmp_path / "gone"
    gone.mkdir()
    line = f"cd {gone} && rmdir {gone} && exec {shlex.join(command('metrics'))}"
    done = subprocess.run(["sh", "-c", line], env=bare, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "styleloom: error: the working directory is gone: change to one that exists\n"


# ---- signals


SLOW = """
import dataclasses, sys, time, types
from styleloom.atomic import atomic_path
from styleloom.cli import VERBS, main

@dataclasses.dataclass
class Slow:
    out: str
    swallows: bool = False

    def run(self):
        with atomic_path(self.out) as partial:
            partial.write_text("half")
            try:
                print("ready", flush=True)
                time.sleep(60)
            except BaseException:  # as a library may
                if not self.swallows:
                    raise
            time.sleep(60)

sys.modules[VERBS["demo"].module] = types.SimpleNamespace(Demo=Slow)
sys.exit(main(["demo", *sys.argv[1:]]))
"""
"""A verb that is in the middle of writing a file."""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_signal_ends_a_verb_in_order(tmp_path: Path) -> None:
    for number, more in (
        (signal.SIGINT, []),
        (signal.SIGTERM, []),
        (signal.SIGHUP, []),
        (signal.SIGTERM, ["--swallows"]),
    ):
        words = [sys.executable, "-c", SLOW, "--out", str(tmp_path / "out"), *more]
        with subprocess.Popen(
            words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as running:
            assert running.stdout is not None
            assert running.stdout.readline() == "ready\n"
            assert len(list(tmp_path.iterdir())) == 1
            running.send_signal(number)
            said = running.communicate()[1]
        by = "" if number == signal.SIGINT else f" by {number.name}"
        assert (running.returncode, said) == (130, f"styleloom: error: interrupted{by}\n")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_signals_of_the_caller_are_left_alone() -> None:
    mine = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        with orderly_end():
            assert signal.getsignal(signal.SIGTERM) is not mine
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with orderly_end():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, mine)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_second_signal_ends_at_once() -> None:
    code = f"""
import os, signal, time
from styleloom.cli.signals import orderly_end

with orderly_end():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(9)
    finally:
        os.kill(os.getpid(), signal.SIGHUP)  # together with the first
        time.sleep({TOGETHER_SEC} + 0.1)
        print("unwinding", flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(9)
        print("still there")
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (130, "unwinding\n")


# ---- hints


def test_hints_name_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    fields = {name for experiment in PRESETS.values() for name in field_names(experiment)}
    assert set(OTHER_NAMES.values()) <= fields
    assert not {name.replace("_", "-") for name in OTHER_NAMES} & fields
    for meant in hints.OTHER_VERBS.values():
        assert meant.startswith("--") or any(meant.startswith(name) for name in VERBS), meant
    for verb, table in hints.OTHER_FLAGS.items():
        assert main([*verb.split(), "--help"]) == 0
        own = capsys.readouterr().out
        for word, advice in table.items():
            assert f"--{word} " not in own.replace(",", " "), (verb, word)
            for flag in (part for part in advice.split() if part.startswith("--")):
                assert flag.strip(":,;") in own or flag == "--nproc-per-node", (verb, word, advice)


@every(
    ("words", "hint"),
    [
        ("train --gamma 2", "--set d_regularizer.gamma=VALUE"),
        ("train --hflip", "--mirror on"),
        ("train --aug=ada", "--augment VALUE"),
        ("train --lr=0.1", "--set learning_rate=VALUE"),
        ("train --batch_size 8", "--batch VALUE"),
        ("train --ema-half-life-kimg 8", "--set ema_half_life_kimg=VALUE"),
        ("generate portraits-64 --trunc 0.5", "--truncation VALUE"),
        ("evaluate portraits-64 --gpus 2", "torchrun"),
        ("sample portraits-64", "did you mean 'generate'? "),
        ("train --data emoji --set r1=3", "did you mean 'd_regularizer.gamma'? "),
    ],
)
def test_names_of_other_codes_are_understood(
    words: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 2
    assert hint in capsys.readouterr().err
