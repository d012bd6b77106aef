"""The command line: `styleloom VERB ...`, one module for each verb.

Only the module of the verb in use is imported, so that `styleloom --help` does not wait for torch.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NamedTuple

from styleloom.errors import UserError, nearest, printable, quoted

USAGE_ERROR = 2
"""Exit status when the user can put it right: a flag, a field, a file."""

FAILURE = 1
INTERRUPTED = 130


class Verb(NamedTuple):
    """Where a verb lives: a dataclass in `module` that tyro fills in and whose `run()` returns the status."""

    module: str
    command: str
    summary: str


VERBS: dict[str, Verb] = {
    "dataset build": Verb("styleloom.cli.dataset", "DatasetBuild", "images to a dataset archive"),
    "dataset check": Verb("styleloom.cli.dataset", "DatasetCheck", "read an archive and report on it"),
    "train": Verb("styleloom.cli.train", "Train", "train a preset, or resume a run"),
    "generate": Verb("styleloom.cli.generate", "Generate", "images from a snapshot"),
    "evaluate": Verb("styleloom.cli.evaluate", "Evaluate", "measure a generator, or a set of images"),
    "metrics": Verb("styleloom.cli.evaluate", "Metrics", "list what evaluate can measure"),
    "features list": Verb("styleloom.cli.features", "FeaturesList", "networks of metrics and their weights"),
    "features fetch": Verb("styleloom.cli.features", "FeaturesFetch", "download weights and verify them"),
    "features check": Verb("styleloom.cli.features", "FeaturesCheck", "verify the weights that are here"),
    "train-classifiers": Verb(
        "styleloom.cli.classifiers", "TrainClassifiers", "attribute classifiers, for linear separability"
    ),
    "presets": Verb("styleloom.cli.presets", "Presets", "list the presets, show one, compare two"),
    "demo": Verb("styleloom.cli.demo", "Demo", "train a small model on images that come along"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status: 0, 1 on a failure, 2 on an error of the user, 130 when interrupted.

    Args:
        argv: words after `styleloom`; those of the process by default.
    """
    try:
        status = _dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()  # so that a closed pipe shows here, not at exit
        return status
    except UserError as error:
        return _failed(str(error), USAGE_ERROR)
    except KeyboardInterrupt:
        return _failed("interrupted", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to flush at exit
        return FAILURE
    except Exception as error:
        hint = "" if _debugging() else "\n(set STYLELOOM_DEBUG=1 for the traceback)"
        return _failed(f"{type(error).__name__}: {error}{hint}", FAILURE)


def _failed(message: str, status: int) -> int:
    """Report the error being handled, in one message."""
    if _debugging():
        traceback.print_exc()
    print(f"styleloom: error: {printable(message)}", file=sys.stderr)
    return status


def _debugging() -> bool:
    return os.environ.get("STYLELOOM_DEBUG", "0") not in ("", "0")


def _dispatch(argv: list[str]) -> int:
    if argv == ["--version"]:
        print(f"styleloom {_version()}")
        return 0
    if not argv:
        print(_usage(VERBS), file=sys.stderr)
        return USAGE_ERROR
    group = {name: verb for name, verb in VERBS.items() if name.startswith(f"{argv[0]} ")}
    if argv[0] in ("--help", "-h") or (group and argv[1:2] in (["--help"], ["-h"])):
        print(_usage(group or VERBS))
        return 0
    name = " ".join(argv[: 2 if group else 1])
    if name not in VERBS:
        valid = group or VERBS
        hint = nearest(name, valid)
        raise UserError(f"verb: {quoted(name)} does not exist, {hint}choose from {', '.join(valid)}")
    return _run(name, argv[len(name.split()) :])


def _run(name: str, argv: list[str]) -> int:
    """Fill in the verb's dataclass from `argv` and run it."""
    import tyro

    verb = VERBS[name]
    command = getattr(importlib.import_module(verb.module), verb.command)
    try:
        filled = tyro.cli(command, prog=f"styleloom {name}", args=argv)
    except SystemExit as done:  # tyro has printed help (0) or what is wrong with the flags (2)
        return done.code if isinstance(done.code, int) else FAILURE
    return filled.run()


def _usage(verbs: dict[str, Verb]) -> str:
    rows = "\n".join(f"  {name:<17} {verb.summary}" for name, verb in verbs.items())
    return (
        "usage: styleloom VERB [arguments]\n"
        "       styleloom VERB --help\n"
        "       styleloom --version\n\n"
        "Train, resume, sample and measure the style-based GANs.\n\n"
        f"verbs:\n{rows}"
    )


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("styleloom")
    except PackageNotFoundError:
        return "(not installed)"
