"""Statistics of real images, kept between evaluations.

A statistic is stored under everything that it depends on: the images (content, recipe, shape, choice, seed),
the feature network (weights and resize rule), the layer, what is kept and of how many images. The same
description is stored inside the file and compared on reading, so that statistics of other images cannot be
taken by accident, whatever a file is called.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from styleloom.errors import UserError, shown
from styleloom.features.weights import user_cache
from styleloom.tensor_file import read_tensors, write_tensors

logger = logging.getLogger(__name__)

FORMAT = "styleloom-statistics"
VERSION = 1
"""Version of what the numbers mean. It goes up whenever images, features or statistics are computed in
another way, so that statistics of before are not found any more."""


def cache_folder(given: Path | str | None = None) -> Path | None:
    """The folder that is `given`, else that of the environment variable STYLELOOM_STATISTICS, else one in the
    user's cache. None keeps nothing: for the name "none", and where the user has no cache folder, of which
    one warning tells.

    Raises UserError when what is named is there and no folder.
    """
    named = given or os.environ.get("STYLELOOM_STATISTICS")
    if named:
        folder = None if str(named) == "none" else Path(named)
        if folder is not None and folder.exists() and not folder.is_dir():
            raise UserError(f"cache: {shown(folder)} is no folder; valid: a folder, or none")
        return folder
    cache = user_cache()
    if cache is None:
        _note_no_folder()
    return None if cache is None else cache / "styleloom" / "statistics"


@functools.cache
def _note_no_folder() -> None:
    logger.warning(
        "statistics of real images are not kept, HOME is not set and the user's cache folder is unknown; the "
        "variable STYLELOOM_STATISTICS or --cache names a folder, or none"
    )


@dataclass
class StatisticsCache:
    """Tensors in files, each found by a description of what it was computed from.

    Args:
        folder: where they are; None keeps nothing.
    """

    folder: Path | None
    _failed: bool = field(default=False, init=False)

    def path(self, key: Mapping[str, Any]) -> Path:
        """The file of a description, with a folder or without."""
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return (self.folder or Path()) / f"{digest[:32]}.safetensors"

    def get(self, key: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The tensors of exactly this description, with the record that `put` was given; None without any.

        A damaged or foreign file, or one that may not be read, counts as none, and a warning says so.
        """
        path = self.path(key)
        try:
            if self.folder is None or not path.exists():
                return None
            tensors, document = read_tensors(path, FORMAT)
        except (UserError, OSError) as error:
            logger.warning(f"statistics are made anew: {error}")
            return None
        made = document.get("made")
        expected = (VERSION, json.loads(json.dumps(key)))
        if (document.get("statistics"), document.get("key")) != expected or not isinstance(made, dict):
            logger.warning(f"statistics are made anew: {shown(path)} holds those of something else")
            return None
        return tensors, made

    def put(self, key: Mapping[str, Any], tensors: Mapping[str, Tensor], made: Mapping[str, Any]) -> None:
        """Keep tensors, with what they were made on (`environment.record`).

        Where writing fails, one warning tells of it, nothing more is written, and the evaluation goes on.
        """
        if self.folder is None or self._failed:
            return
        document = {"format": FORMAT, "statistics": VERSION, "key": key, "made": made}
        try:
            write_tensors(self.path(key), tensors, document)
        except UserError as error:
            self._failed = True
            logger.warning(f"statistics of real images are not kept: {error}")
