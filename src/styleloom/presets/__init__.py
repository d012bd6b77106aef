"""Every named experiment: one file for each paper, merged here.

In the order in which to read, which is the order in which the rows build on each other:

- schedules: batch and learning rate by resolution, for 1, 2, 4 and 8 devices
- progan: ProGAN
- stylegan: StyleGAN, from ProGAN on 8 GPUs
- msg: MSG-GAN
- stylegan2: StyleGAN2, from StyleGAN F
- demo: the demo and the model in the package, which are no rows of a paper
"""

from __future__ import annotations

import difflib

from styleloom.config.experiment import Experiment
from styleloom.errors import UserError, cut, nearest, quoted
from styleloom.presets import demo, msg, progan, stylegan, stylegan2
from styleloom.presets.schedules import DEVICE_COUNTS, Devices, for_devices

OWN = "styleloom"

DEFAULT = "stylegan2-f"
"""The preset of a training that names none."""

PAPERS: dict[str, dict[str, Experiment]] = {
    progan.PAPER: progan.PRESETS,
    stylegan.PAPER: stylegan.PRESETS,
    msg.PAPER: msg.PRESETS,
    stylegan2.PAPER: stylegan2.PRESETS,
    OWN: demo.PRESETS,
}
"""Experiments by paper and name: the papers as they appeared, rows as in their tables, then our own."""

PRESETS: dict[str, Experiment] = {
    name: experiment for group in PAPERS.values() for name, experiment in group.items()
}
"""Experiments by name, in the same order."""

FAMILY_DEFAULTS: dict[str, Experiment] = {
    experiment.generator.family: experiment
    for experiment in (
        progan.PROGAN,
        stylegan.F_FFHQ,
        msg.PROGAN_FFHQ,
        msg.STYLEGAN_FFHQ,
        stylegan2.F_FFHQ,
    )
}
"""The default experiment of each family of networks: the main one of its paper, at 1024 x 1024 px."""

__all__ = [
    "DEFAULT",
    "DEVICE_COUNTS",
    "FAMILY_DEFAULTS",
    "OWN",
    "PAPERS",
    "PRESETS",
    "Devices",
    "find",
    "for_devices",
    "get",
    "names",
    "place",
]

CLOSE = 5
"""Most names that the error for an unknown preset suggests."""


def names() -> tuple[str, ...]:
    """The names of all presets."""
    return tuple(PRESETS)


def get(name: str) -> Experiment:
    """The preset `name`.

    Raises:
        UserError: there is none of that name; the message gives the nearest ones.
    """
    if name not in PRESETS:
        close = difflib.get_close_matches(cut(name), PRESETS, CLOSE, cutoff=0.5)
        some = f"choose for example from {', '.join(close)}; " if close else ""
        raise UserError(
            f"preset: {quoted(name)} does not exist, {nearest(name, PRESETS)}{some}"
            f"`styleloom presets` lists all {len(PRESETS)}"
        )
    return PRESETS[name]


def find(word: str) -> tuple[str, ...]:
    """Names of the presets whose name or source has `word` in it, whatever the case; perhaps none."""
    word = word.lower()
    return tuple(name for name, e in PRESETS.items() if word in name.lower() or word in e.source.lower())


def place(experiment: Experiment) -> tuple[str, str]:
    """The paper of `experiment`, and where it is there: table, row, data."""
    for paper in PAPERS:
        if experiment.source.startswith(f"{paper}, "):
            return paper, experiment.source.removeprefix(f"{paper}, ")
    return OWN, experiment.source
