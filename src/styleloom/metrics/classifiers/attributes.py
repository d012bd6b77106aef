"""Binary attributes of labelled data sets."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from styleloom.data.dataset import ImageDataset
from styleloom.errors import UserError, nearest, quoted

logger = logging.getLogger(__name__)

_LABELS_PER_PIECE = 4096


@dataclass(frozen=True)
class Attribute:
    """One binary attribute: a place in the labels.

    Args:
        index: of the place, from 0.
        name: of the class; "attribute-00" where classes have no names.
        share: of the data set's images that have it.
    """

    index: int
    name: str
    share: float


def select_attributes(
    training: ImageDataset, held_out: ImageDataset, chosen: Sequence[str] | None = None
) -> list[Attribute]:
    """The attributes of a labelled set, in the order of the labels.

    Each place of a label vector with values 0 and 1, or -1 and 1, is an attribute. In a data set with classes
    each class is an attribute: whether the image is of that class.

    Args:
        training, held_out: the two parts of the set.
        chosen: names, or places in the label (counted from 0); None for all. Places that hold other numbers
            are then passed over, and logged at level INFO.

    Raises UserError: no labels, no attribute among them, an attribute that does not exist, that is chosen and
    not binary, or that all images of the training part share.
    """
    if not training.label_dim:
        raise UserError(
            f"{training.name} has no labels; add them with: styleloom dataset build SOURCE DEST.zip "
            "--labels folders (or a CSV or JSON file)"
        )
    names = training.classes or tuple(f"attribute-{index:02d}" for index in range(training.label_dim))
    seen = _tally(training)
    both, number = seen + _tally(held_out), len(training) + len(held_out)
    wanted = range(len(names)) if chosen is None else _indices(names, chosen)
    numbers = [index for index in wanted if not _is_binary(both[:, index], number)]
    if numbers and (chosen is not None or len(numbers) == len(names)):
        raise UserError(
            f"attribute {names[numbers[0]]}: the labels of {training.name} have the values "
            f"{_values(training, held_out, numbers[0])}; valid: 0 and 1, or -1 and 1"
        )
    if numbers:
        listed = ", ".join(names[index] for index in numbers)
        logger.info(f"labels of {training.name} that are numbers, not yes or no, are passed over: {listed}")
    result = []
    for index in wanted:
        if index in numbers:
            continue
        if seen[2, index] in (0, len(training)):
            share = "all" if seen[2, index] else "none"
            raise UserError(
                f"attribute {names[index]}: {share} of the {len(training)} training images of "
                f"{training.name} have it, there is nothing to learn; name the others with --attributes"
            )
        result.append(Attribute(index, names[index], int(both[2, index]) / number))
    return result


def _is_binary(counts: NDArray[np.int64], number: int) -> bool:
    """Whether all of `number` values are 0 and 1, or all -1 and 1; `counts` is of -1, 0 and 1."""
    minus, zero, one = counts
    return bool(minus + zero + one == number and not (minus and zero))


def _indices(names: Sequence[str], chosen: Sequence[str]) -> list[int]:
    """The place of each chosen attribute, sorted, each once."""
    found = set()
    for text in chosen:
        if text in names:
            found.add(names.index(text))
        elif text.isdecimal() and int(text) < len(names):
            found.add(int(text))
        else:
            raise UserError(
                f"attributes: {quoted(text)} does not exist, {nearest(text, names)}choose from "
                f"{', '.join(names)}, or by number: 0 to {len(names) - 1}"
            )
    return sorted(found)


def _tally(dataset: ImageDataset) -> NDArray[np.int64]:
    """How often each place of the labels has the value -1, 0 and 1: [3, K]."""
    counts = np.zeros((3, dataset.label_dim), np.int64)
    for start in range(0, len(dataset), _LABELS_PER_PIECE):
        labels = dataset.labels(np.arange(start, min(start + _LABELS_PER_PIECE, len(dataset))))
        counts += np.stack([(labels == value).sum(axis=0) for value in (-1, 0, 1)])
    return counts


def _values(training: ImageDataset, held_out: ImageDataset, index: int) -> str:
    """The first few values that the labels have at a place."""
    values = sorted({float(part.label(i)[index]) for part in (training, held_out) for i in range(len(part))})
    return ", ".join(f"{value:g}" for value in values[:5]) + (", ..." if len(values) > 5 else "")
