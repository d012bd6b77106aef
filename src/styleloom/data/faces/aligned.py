"""A source of the faces in another source: each cut out of its photograph and aligned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from styleloom.data.conversion import pixels_as_they_are
from styleloom.data.decoding import BadImageError, quiet
from styleloom.data.faces.alignment import RULES, Align, Points, aligned, side_of, square_of
from styleloom.data.faces.detector import SURE, find_faces
from styleloom.data.faces.landmarks import read_landmarks
from styleloom.data.faces.placed import Placed
from styleloom.data.label_files import some
from styleloom.data.labels import Labels
from styleloom.data.pixels import PixelArray, image_of
from styleloom.data.sources.source import Source, opened
from styleloom.errors import shown


@dataclass(frozen=True)
class FaceOptions:
    """How faces are found and cut out.

    Args:
        rule: whose alignment.
        size: side of the result, px.
        landmarks: a file of them; None to find faces.
        upscale: accept faces that are smaller than the result.
    """

    rule: Align
    size: int
    landmarks: Path | None = None
    upscale: bool = False


class FaceSource(Source):
    """The faces of `inner`, in its order, those of one photograph from left to right.

    The second face of a photograph is called `NAME#2`, and so on. Photographs without a face, and faces of
    which the detector is not sure, are listed in `remarks`; a photograph that cannot be read, and a face that
    is too small, are bad images.

    Raises UserError: no landmarks for an image, no detector.
    """

    def __init__(
        self, inner: Source, options: FaceOptions, progress: Callable[[int, int], None] | None = None
    ) -> None:
        super().__init__(inner.path, inner.name)
        self.kind = f"faces in {inner.kind}"
        self.inner, self.options = inner, options
        self.ignored, self.remarks = inner.ignored, list(inner.remarks)
        self.faces: dict[str, Placed] = {}
        self._unread: list[str] = []
        given = None if options.landmarks is None else read_landmarks(options.landmarks, inner.names)
        found = given if given is not None else self._found(progress)
        names: list[str] = []
        for photograph in inner.names:
            for number, landmarks in enumerate(found.get(photograph, []), start=1):
                name = photograph if number == 1 else f"{photograph}#{number}"
                square = square_of(landmarks, RULES[options.rule])
                self.faces[name] = Placed(photograph, tuple((float(x), float(y)) for x, y in square))
                names.append(name)
            if photograph in self._unread:
                names.append(photograph)
        self.names = tuple(names)

    def _found(self, progress: Callable[[int, int], None] | None) -> dict[str, list[Points]]:
        """The landmarks of all faces that are sure."""
        found: dict[str, list[Points]] = {}
        without: list[str] = []
        unsure: list[str] = []
        with quiet():
            for done, name in enumerate(self.inner.names, start=1):
                try:
                    faces = find_faces(self._photograph(name))
                except (OSError, BadImageError):
                    self._unread.append(name)
                    continue
                finally:
                    if progress is not None:
                        progress(done, len(self.inner.names))
                found[name] = [face.landmarks for face in faces if face.score >= SURE]
                unsure += [f"{shown(name)} ({face.score:.2f})" for face in faces if face.score < SURE]
                if not found[name]:
                    without.append(shown(name))
        if without:
            self.remarks.append(f"no face for certain in {len(without)} images: {some(without)}")
        if unsure:
            self.remarks.append(
                f"left out {len(unsure)} faces of which the detector is not sure (score below {SURE}): "
                f"{some(unsure)}"
            )
        return found

    def size(self, name: str) -> int:
        """Bytes of the photograph. Raises OSError."""
        return self.inner.size(self.faces[name].photograph if name in self.faces else name)

    def read(self, name: str) -> PixelArray:
        """The face, uint8 [3, size, size]. Raises OSError or BadImageError."""
        if name not in self.faces:
            self._photograph(name)
            raise BadImageError("it could not be read when faces were looked for")
        placed, options = self.faces[name], self.options
        square = np.array(placed.square, RULES[options.rule].precision)
        side = side_of(square)
        if side < options.size and not options.upscale:
            raise BadImageError(
                f"too small a face: {side:.0f} px, need at least {options.size} px (--upscale accepts it)"
            )
        photograph = image_of(self._photograph(placed.photograph))
        return aligned(photograph, square, options.size, rule=RULES[options.rule])[0]

    def _photograph(self, name: str) -> PixelArray:
        """Upright, uint8 [3, H, W]. Raises OSError or BadImageError."""
        with opened(self.inner, name) as data:
            return pixels_as_they_are(data, 3)

    def settings(self) -> str:
        """Where each face is, and whose alignment it has."""
        return repr(
            (self.options.rule, self.options.size, self.options.upscale, self.faces, self.inner.settings())
        )

    def own_labels(self) -> Labels | None:
        """Those of the photographs."""
        labels = self.inner.own_labels()
        if labels is None:
            return None
        named = {name: placed.photograph for name, placed in self.faces.items()}
        return replace(
            labels,
            by_name={name: labels.by_name[photo] for name, photo in named.items() if photo in labels.by_name},
        )

    def holds(self, path: Path) -> bool:
        """Whether writing to `path` would change the source."""
        return self.inner.holds(path)

    def close(self) -> None:
        """Close the source."""
        self.inner.close()
