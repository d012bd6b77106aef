"""Faces: where they are cut out, how they are found and come back. The authors' pixels: tests/parity."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from styleloom.cli import main
from styleloom.data import open_dataset, open_source
from styleloom.data.archive_reader import open_archive
from styleloom.data.faces import aligned as aligned_source
from styleloom.data.faces.aligned import FaceOptions, FaceSource
from styleloom.data.faces.alignment import RULES, aligned, square_of
from styleloom.data.faces.detector import Face
from styleloom.data.faces.pasting import pasted
from styleloom.errors import UserError

from .images import encoded

FIVE = np.array([[40.0, 50], [60, 50], [50, 60], [42, 80], [58, 80]])
"""Eyes 20 px apart, the mouth 30 px below them."""


def smooth(height: int, width: int) -> np.ndarray:
    """A photograph without sharp edges, uint8 [3, H, W]."""
    y, x = np.mgrid[:height, :width]
    return np.stack([128 + 100 * np.sin((x + k * y) / 19) for k in (0, 1, 2)]).astype(np.uint8)


def turned(points: np.ndarray, degrees: float) -> np.ndarray:
    """About (50, 50)."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (points - 50) @ np.array([[c, s], [-s, c]]) + 50


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, name in enumerate(("a.png", "b.png")):
        (folder / name).write_bytes(encoded(smooth(160, 120 + 8 * i).transpose(1, 2, 0)))
    return folder


def test_square() -> None:
    """Half a side is the larger of 2 x 20 and 1.8 x 30; the centre a tenth of the way from eyes to mouth."""
    square = square_of(FIVE, RULES["ffhq"])
    np.testing.assert_allclose(square, [[-4, -1], [-4, 107], [104, 107], [104, -1]])
    np.testing.assert_allclose(square_of(turned(FIVE, 30), RULES["ffhq"]), turned(square, 30))
    points = np.zeros((68, 2))
    points[36:42], points[42:48], points[48], points[54] = FIVE[0], FIVE[1], FIVE[3], FIVE[4]
    np.testing.assert_allclose(square_of(points, RULES["ffhq"]), square)
    other = square_of(FIVE, RULES["celeba-hq"])
    np.testing.assert_allclose(other, square + 0.5)


def test_pixels_of_a_square_of_whole_pixels() -> None:
    """A square on the grid is cut out as it is; what lies beyond the photograph is no black edge."""
    photograph = smooth(300, 300)
    corners = np.array([[60, 80], [60, 180], [160, 180], [160, 80]]) - 0.5
    found, done = aligned(Image.fromarray(photograph.transpose(1, 2, 0)), corners, 100)
    assert np.abs(found.astype(int) - photograph[:, 80:180, 60:160]).mean() < 1
    assert "pad" not in done
    found, done = aligned(Image.fromarray(photograph.transpose(1, 2, 0)), corners - [100, 0], 100)
    assert "pad" in done
    assert found[:, :, 0].mean() > 60


@pytest.mark.parametrize("degrees", [0, 25])
def test_a_face_comes_back_to_its_place(degrees: float) -> None:
    """Pasted back unchanged it changes nothing that is seen; a changed one is seen where it was alone."""
    photograph = smooth(110, 120)
    square = square_of(turned(FIVE, degrees) * 0.6 + 20, RULES["ffhq"])
    face, _ = aligned(Image.fromarray(photograph.transpose(1, 2, 0)), square, 64)
    same = pasted(photograph, face, square)
    assert np.abs(same.astype(int) - photograph).max() <= 6
    other = pasted(photograph, np.full_like(face, 255), square)
    middle = square.mean(0).round().astype(int)
    assert (other[:, middle[1], middle[0]] == 255).all()
    np.testing.assert_array_equal(other[:, :5, :5], photograph[:, :5, :5])


def test_data_set_of_a_landmarks_file(photos: Path, tmp_path: Path) -> None:
    """FFHQ's form and names with faces; several faces of a photograph; places stay in the index."""
    two = [(FIVE + 20).tolist(), (FIVE * 0.9 + 5).tolist()]
    entry = {"in_the_wild": {"file_path": "in-the-wild/b.png", "face_landmarks": (FIVE + 10).tolist()}}
    (tmp_path / "l.json").write_text(json.dumps({"a.png": two, "7": entry}))
    words = ["--align", "ffhq", "--landmarks", str(tmp_path / "l.json"), "--resolution", "64"]
    dest = str(tmp_path / "x.zip")
    assert main(["dataset", "build", str(photos), dest, *words, "--order", "source"]) == 0
    dataset, index = open_dataset(dest), open_archive(dest).index
    assert [dataset.source_name(i) for i in range(3)] == ["a.png", "a.png#2", "b.png"]
    assert index.recipe.align == "ffhq"
    assert index.faces is not None
    assert [face.photograph for face in index.faces] == ["a.png", "a.png", "b.png"]
    np.testing.assert_allclose(index.faces[0].square, square_of(FIVE + 20, RULES["ffhq"]))
    with Image.open(photos / "a.png") as image:
        expected, _ = aligned(image, square_of(FIVE + 20, RULES["ffhq"]), 64)
    np.testing.assert_array_equal(dataset.image(0), expected)


def test_bad_landmarks_and_small_faces_are_named(photos: Path, tmp_path: Path) -> None:
    source = open_source(photos)
    file = tmp_path / "l.json"
    for content, message in (
        ({"a.png": FIVE.tolist()}, "1 images without landmarks: b.png"),
        ({"gone.png": FIVE.tolist()}, "2 images without landmarks: a.png, b.png"),
        (
            {"a.png": [[1, 2]], "b.png": [["x", 2]] * 5},
            r"'a.png': points of shape \[1, 2\].*'b.png': its points",
        ),
        ([1], "expected FFHQ's metadata"),
    ):
        file.write_text(json.dumps(content))
        with pytest.raises(UserError, match=message):
            FaceSource(source, FaceOptions("ffhq", 64, file))
    file.write_text(json.dumps({"a.png": FIVE.tolist(), "b.png": (FIVE / 2).tolist()}))
    words = [str(photos), str(tmp_path / "x.zip"), "--align", "ffhq", "--landmarks", str(file)]
    assert main(["dataset", "build", *words, "--resolution", "64"]) == 2
    assert main(["dataset", "build", *words, "--resolution", "64", "--upscale"]) == 0
    assert main(["dataset", "build", *words, "--resolution", "64", "--skip-bad", "--overwrite"]) == 0
    assert len(open_dataset(tmp_path / "x.zip")) == 1


def test_faces_that_are_found(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are sure are taken; the others, and photographs without one, are listed."""
    (photos / "bad.png").write_bytes(b"no image")
    found = {120: [Face(FIVE, 1.5), Face(FIVE + 30, 0.9), Face(FIVE, 0.1)], 128: [Face(FIVE, -0.2)]}
    monkeypatch.setattr(aligned_source, "find_faces", lambda pixels: found[pixels.shape[2]])
    source = FaceSource(open_source(photos), FaceOptions("ffhq", 64))
    assert source.names == ("a.png", "a.png#2", "bad.png")
    assert source.remarks == [
        "no face for certain in 1 images: b.png",
        "left out 2 faces of which the detector is not sure (score below 0.3): a.png (0.10), b.png (-0.20)",
    ]
    assert source.read("a.png#2").shape == (3, 64, 64)


def test_the_detector_finds_a_face() -> None:
    """Of a photograph that a package of the tests brings along: eyes above the mouth, within the picture."""
    pytest.importorskip("dlib")
    matplotlib = pytest.importorskip("matplotlib")
    from styleloom.data.faces.detector import SURE, find_faces

    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    (face,) = [face for face in find_faces(pixels) if face.score >= SURE]
    eyes, mouth = face.landmarks[36:48].mean(0), face.landmarks[48:60].mean(0)
    assert 0 < eyes[1] < mouth[1] < pixels.shape[1]
    assert abs(eyes[0] - mouth[0]) < 0.5 * (mouth[1] - eyes[1])
