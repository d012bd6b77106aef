"""The command line: `styleloom VERB ...`.

Only the module of the verb in use is imported, so that `styleloom --help` does not wait for torch.

The verbs:

- train: `train`
- plan: `plan`
- run_report: `report`
- generate: `generate`
- project: `project`
- attribute: `attribute`
- mix: `mix`
- blend: `blend`
- inspect: `inspect`
- convert: `convert`
- export: `export`
- hub: `push` and `pull`
- evaluate: `evaluate` and `metrics`
- dataset: `dataset build`
- dataset_check: `dataset check`
- presets: `presets`
- features: `features list`, `features fetch` and `features check`
- classifiers: `train-classifiers`
- directions: `directions`
- edit: `edit`
- video: `video`
- figure: `figure`
- demo: `demo`
- app: `app`

What they share:

- processes: a command on the processes that torchrun started
- sheets: what is checked of pictures and other files before they are written
- wanted_images: the images of seeds or latent files that a command is to make
- report: results as JSON or tables on stdout
- progress: bars, or lines now and then, on stderr
- notes: what the library logs, on stderr
- training_images: what `train` does to images before the discriminator reads them
- training_plan: what `train --dry-run` and `plan` print
- training_run: what `train` says of a run, at its beginning and end
- generate_from: the picture of a file or a link, made again
- project_targets: the images that `project` projects
- project_output: the files that it writes
- paste_back: its results in the photographs of their targets
- attribute_calibrating: a calibration of `attribute`
- attribute_judging: its verdicts
- evaluation_images: the images that `evaluate` compares
- evaluation_tables: an evaluation as tables
- demo_measures: what `demo` measures of the generator that it trained
- demo_pictures: the sheets, the strip and the blind look of `demo`
- hints: what to type instead of the verbs and flags of other codes
- signals: Ctrl-C and other signals end a command in order
- streams: stdout and stderr take any text
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NamedTuple

from styleloom.allocator import keep_large_blocks
from styleloom.cli import hints
from styleloom.cli.notes import notes_on_stderr
from styleloom.cli.signals import INTERRUPTED, Interruption, orderly_end
from styleloom.cli.streams import discard, safe_streams
from styleloom.errors import ProcessLostError, UserError, nearest, printable, quoted, shown

USAGE_ERROR = 2
"""Exit status when the user can put it right: a flag, a field, a file."""

FAILURE = 1


class Verb(NamedTuple):
    """Where a verb lives: a dataclass in `module` that tyro fills in and whose `run()` returns the status."""

    module: str
    command: str
    summary: str


VERBS: dict[str, Verb] = {
    "dataset build": Verb("styleloom.cli.dataset", "DatasetBuild", "images to a dataset archive"),
    "dataset check": Verb(
        "styleloom.cli.dataset_check", "DatasetCheck", "read an archive, or other images, and report on them"
    ),
    "train": Verb("styleloom.cli.train", "Train", "train a preset, or resume a run"),
    "plan": Verb("styleloom.cli.plan", "PlanTraining", "what a training takes, and what fits"),
    "report": Verb("styleloom.cli.run_report", "Report", "one page of a training, or of several"),
    "generate": Verb("styleloom.cli.generate", "Generate", "images from a snapshot"),
    "project": Verb(
        "styleloom.cli.project", "Project", "the latents with which a generator makes given images"
    ),
    "attribute": Verb("styleloom.cli.attribute", "Attribute", "did this generator make that image?"),
    "mix": Verb("styleloom.cli.mix", "Mix", "a sheet of images that take some styles of others"),
    "blend": Verb("styleloom.cli.blend", "BlendTwo", "coarse layers of one generator, fine ones of another"),
    "inspect": Verb("styleloom.cli.inspect", "Inspect", "what a file of weights is, of any code"),
    "convert": Verb(
        "styleloom.cli.convert", "Convert", "a snapshot from another code's, or for other images"
    ),
    "export": Verb("styleloom.cli.export", "Export", "a generator in the format of another program"),
    "push": Verb("styleloom.cli.hub", "Push", "a model to a hub"),
    "pull": Verb("styleloom.cli.hub", "Pull", "a model from a hub"),
    "evaluate": Verb("styleloom.cli.evaluate", "Evaluate", "measure a generator, or a set of images"),
    "metrics": Verb("styleloom.cli.evaluate", "Metrics", "list what evaluate can measure"),
    "features list": Verb("styleloom.cli.features", "FeaturesList", "networks of metrics and their weights"),
    "features fetch": Verb("styleloom.cli.features", "FeaturesFetch", "download weights and verify them"),
    "features check": Verb("styleloom.cli.features", "FeaturesCheck", "verify the weights that are here"),
    "train-classifiers": Verb(
        "styleloom.cli.classifiers", "TrainClassifiers", "attribute classifiers, for linear separability"
    ),
    "directions": Verb("styleloom.cli.directions", "Directions", "directions in the latent space"),
    "edit": Verb("styleloom.cli.edit", "Edit", "images along directions"),
    "video": Verb("styleloom.cli.video", "Video", "films of a generator"),
    "figure": Verb("styleloom.cli.figure", "Figure", "the figures of the papers, by name"),
    "presets": Verb("styleloom.cli.presets", "Presets", "list the presets, show one, compare two"),
    "app": Verb("styleloom.cli.app", "App", "a web page: look at generators and steer them"),
    "demo": Verb("styleloom.cli.demo", "Demo", "train a small model on images that come along"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status: 0, 1 on a failure, 2 on an error of the user, 130 when interrupted.

    Args:
        argv: words after `styleloom`; those of the process by default.
    """
    with notes_on_stderr(), safe_streams(), orderly_end() as interruption:
        try:
            status = _dispatch(list(sys.argv[1:] if argv is None else argv))
            sys.stdout.flush()  # so that a closed pipe or a full disk shows here, not at exit
        except BaseException as error:
            status = _failed(error, interruption)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                discard(stream)  # nothing is left to flush at exit
        return status


def _failed(error: BaseException, interruption: Interruption) -> int:
    """Report `error`, which is being handled, in one message; the exit status."""
    if isinstance(error, KeyboardInterrupt) or interruption.name is not None:
        interruption.settle()
        by = "" if interruption.name in (None, "SIGINT") else f" by {interruption.name}"
        message, status = f"interrupted{by}", INTERRUPTED
    elif isinstance(error, UserError):
        message, status = str(error), USAGE_ERROR
    elif isinstance(error, ProcessLostError):
        message, status = str(error), FAILURE
    elif isinstance(error, BrokenPipeError):  # the reader has seen enough
        message, status = "", FAILURE
    elif isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f"{shown(error.filename)}: "
        message, status = f"{where}{error.strerror}", FAILURE
    elif isinstance(error, Exception):
        hint = "" if _debugging() else "\n(set STYLELOOM_DEBUG=1 for the traceback)"
        message, status = f"{type(error).__name__}: {error}{hint}", FAILURE
    else:
        raise error
    with contextlib.suppress(OSError):
        if _debugging():
            traceback.print_exc()
        if message:
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
        hint = hints.for_verb(name) or nearest(name, valid)
        raise UserError(f"verb: {quoted(name)} does not exist, {hint}choose from {', '.join(valid)}")
    return _run(name, argv[len(name.split()) :])


def _run(name: str, argv: list[str]) -> int:
    """Fill in the verb's dataclass from `argv` and run it."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UserError("the working directory is gone: change to one that exists") from None
    import tyro

    verb = VERBS[name]
    command = getattr(importlib.import_module(verb.module), verb.command)
    wrong = io.StringIO()  # tyro repeats the user's words, and styles them where stdout is a terminal
    try:
        with contextlib.ExitStack() as kept:
            kept.enter_context(contextlib.redirect_stderr(wrong))
            if not {"--help", "-h"} & set(argv):
                kept.enter_context(contextlib.redirect_stdout(wrong))
            filled = tyro.cli(command, prog=f"styleloom {name}", args=argv)
    except SystemExit as done:  # tyro has printed help (0) or what is wrong with the flags (2)
        status = done.code if isinstance(done.code, int) else FAILURE
        print(printable(wrong.getvalue()), end="", file=sys.stderr if status else sys.stdout)
        if status:
            for hint in hints.for_flags(name, command, argv):
                print(printable(f"hint: {hint}"), file=sys.stderr)
        return status
    keep_large_blocks()  # here, not in the library, whose process is its caller's
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
