"""`project --paste-back`: results in the photographs that their targets were cut out of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from styleloom.data.archive_reader import open_archive
from styleloom.data.conversion import pixels_as_they_are
from styleloom.data.decoding import BadImageError
from styleloom.data.faces.pasting import pasted
from styleloom.data.sources import open_source, opened
from styleloom.errors import UserError, shown
from styleloom.images import save_png

SUFFIX = "-in-photograph"


class PasteBack:
    """The photographs of a data set that was built with --align.

    Args:
        source: where they are, as for `dataset build`.
    """

    def __init__(self, source: str) -> None:
        self._source = open_source(source)
        self._path = source

    def check(self, records: list[Mapping[str, Any]]) -> None:
        """Raise UserError where a target has no place in a photograph of the source."""
        known = set(self._source.names)
        without = [record.get("image", "a seed") for record in records if "face" not in record]
        if without:
            raise UserError(
                f"--paste-back: {shown(without[0])} was not cut out of a photograph ({len(without)} such "
                "targets); valid: data sets that dataset build --align made"
            )
        gone = [
            record["face"]["photograph"] for record in records if record["face"]["photograph"] not in known
        ]
        if gone:
            raise UserError(
                f"--paste-back: {shown(self._path)} has no {shown(gone[0])} ({len(gone)} are missing)"
            )

    def write(self, path: Path, face: Mapping[str, Any], pixels: Tensor, text: dict[str, str]) -> None:
        """Write the photograph with `pixels`, uint8 [C, H, W], in the place of its face."""
        name = face["photograph"]
        try:
            with opened(self._source, name) as data:
                photograph = pixels_as_they_are(data, 3)
        except (OSError, BadImageError) as error:
            raise UserError(f"--paste-back: {shown(self._path)}: {shown(name)}: {error}") from error
        colour = pixels.numpy()[:3] if len(pixels) >= 3 else np.repeat(pixels.numpy()[:1], 3, 0)
        save_png(path, torch.from_numpy(pasted(photograph, colour, np.array(face["square"]))), text)


def faces_of(path: str) -> dict[str, dict[str, Any]]:
    """Where each image of an archive was cut out, by its name in the archive; nothing for other sources."""
    reader = open_archive(path)
    try:
        faces = reader.index.faces or ()
        return {
            file: {"photograph": face.photograph, "square": [list(corner) for corner in face.square]}
            for file, face in zip(reader.index.files, faces, strict=False)
        }
    finally:
        reader.close()
