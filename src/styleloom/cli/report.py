"""What verbs print: one JSON document or tables on stdout; progress goes to stderr."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from styleloom.config.experiment import Experiment
from styleloom.config.networks import DiscriminatorConfig, GeneratorConfig
from styleloom.config.overrides import value_text
from styleloom.config.serialize import flatten
from styleloom.errors import printable

PLAIN_WIDTH = 200
"""Columns of tables that do not go to a terminal: enough to leave every row on one line."""


def print_json(document: Mapping[str, Any]) -> None:
    """Write `document` to stdout as the one JSON document of this command."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


class PlainConsole(Console):
    """A console for text of any origin: nothing is markup, control characters are escaped, in tables too."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError as other streams do; rich would end the process, with a training unsaved."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    def render_str(self, text: str, *, style: str | Style = "", **options: Any) -> Text:
        """Escape control characters; rich calls this for every plain string that it prints."""
        return super().render_str(printable(text), style=style, **options)


def console() -> Console:
    """A console on stdout, for results."""
    return PlainConsole(width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def progress_console() -> Console:
    """A console on stderr, for everything that is not a result."""
    return PlainConsole(stderr=True)


def say(message: str) -> None:
    """Print one result on stdout unchanged: neither wrapped nor taken for markup."""
    console().print(message, soft_wrap=True)


def tell(message: str) -> None:
    """Print one line on stderr about what the command is doing, unchanged."""
    with contextlib.suppress(OSError):  # a reader that is gone ends no work
        progress_console().print(message, soft_wrap=True)


def experiment_table(experiment: Experiment) -> Table:
    """Every field of `experiment` under the dotted name that overrides use, with its value."""
    table = Table("field", "value")
    for name, value in flatten(experiment).items():
        if name not in ("name", "source"):
            table.add_row(name, value_text(value))
    return table


def parameter_counts(experiment: Experiment) -> tuple[int, int]:
    """Trainable parameters of the generator and of the discriminator, counted without allocating them."""
    return _generator_parameters(experiment.generator), _discriminator_parameters(experiment.discriminator)


# Presets share networks, so that each is built once. torch is imported late: it takes a second.


@functools.cache
def _generator_parameters(config: GeneratorConfig) -> int:
    from styleloom.networks.build import build_generator, count_parameters, weightless

    with weightless():
        return count_parameters(build_generator(config))


@functools.cache
def _discriminator_parameters(config: DiscriminatorConfig) -> int:
    from styleloom.networks.build import build_discriminator, count_parameters, weightless

    with weightless():
        return count_parameters(build_discriminator(config))
