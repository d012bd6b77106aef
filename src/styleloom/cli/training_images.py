"""What `styleloom train` does to images before D: mirroring, which is asked for, and augmentation."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Literal, TypeAlias

from styleloom.config import Experiment
from styleloom.config.overrides import value_text
from styleloom.data.dataset import ImageDataset
from styleloom.errors import UserError, quoted, shown

logger = logging.getLogger(__name__)

Mirroring: TypeAlias = Literal["on", "off", "preset"]

MIRROR_FIELDS = {"on": "horizontal", "off": "none"}
"""What the flag sets `data.mirror` to; "preset" leaves it as it is."""


def unmirrored(experiment: Experiment) -> Experiment:
    """The experiment for images of one's own: mirrored only if that is asked for, which is logged.

    Presets of the papers mirror as their tables say. That ruins text, logos, and everything that has a left
    and a right side.
    """
    if experiment.data.mirror == "none":
        return experiment
    logger.warning(
        f"images are not mirrored, though {experiment.name} mirrors those of its paper; --mirror on flips "
        "them at random, --mirror off is without this note"
    )
    return replace(experiment, data=replace(experiment.data, mirror="none"))


def augmentation_fields(given: str | None) -> dict[str, str]:
    """The fields of the experiment that --augment sets: `ada`, `fixed:0.2`, `none`; none without the flag.

    Raises UserError for anything else.
    """
    if given is None:
        return {}
    mode, colon, p = given.partition(":")
    if mode not in ("ada", "fixed", "none") or bool(colon) != (mode == "fixed"):
        raise UserError(
            f"--augment: {quoted(given)} is not valid; valid: ada (the probability is steered), fixed:0.2 "
            "(it is always 0.2), none"
        )
    return {"augment.mode": mode, "augment.p": p if colon else "0"}


def note_unused_labels(experiment: Experiment, dataset: ImageDataset) -> None:
    """Log a warning where the data have labels and the experiment does not train with them."""
    if dataset.label_dim and not experiment.generator.label_dim:
        logger.warning(
            f"the labels of {shown(dataset.name)} are not used; "
            f"--set label_dim={dataset.label_dim} trains with them"
        )


def treatment(experiment: Experiment) -> str:
    """One line: what happens to images before the discriminator reads them."""
    mirror = "mirrored at random" if experiment.data.mirror == "horizontal" else "not mirrored"
    augment = experiment.augment
    if augment.mode == "none":
        return f"images {mirror}, not augmented"
    how = f"{augment.p:g}" if augment.mode == "fixed" else f"steered to a mean sign of {augment.target:g}"
    return f"images {mirror}, augmented by {value_text(augment.set)} with probability {how}"
