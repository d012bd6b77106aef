"""Sources and crops against what the authors' own tools wrote and read.

`STYLELOOM_GOLDEN_DATA=FOLDER` names a set: FOLDER/{tfrecords,ada_datasets,lmdb,cifar_mnist,...}. Which files
there are, with which settings, is read from the set.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from styleloom.cli import main
from styleloom.data import (
    BuildOptions,
    ConversionOptions,
    ImageDataset,
    build_dataset,
    open_dataset,
    open_source,
)
from styleloom.data.faces.alignment import RULES, aligned, square_of
from styleloom.data.pixels import box_mean_u8
from styleloom.data.sources import Source, SourceOptions
from styleloom.errors import UserError

FOLDER = Path(os.environ.get("STYLELOOM_GOLDEN_DATA") or Path(__file__).parent / "golden-data")

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="no golden data: see STYLELOOM_GOLDEN_DATA")


def recorded(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Settings and arrays of one file."""
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files if name != "meta"}
        return json.loads(str(stored["meta"])), arrays


def all_of(source: Source) -> np.ndarray:
    """uint8 [N, C, H, W] of a source of pixels."""
    return np.stack([np.asarray(source.read(name)) for name in source.names])


def labels_of(source: Source, names: Sequence[str]) -> np.ndarray:
    """float32 [N, K] of a source; K is 0 without labels."""
    own = source.own_labels()
    if own is None:
        return np.zeros((len(names), 0), np.float32)
    rows = np.zeros((len(names), own.label_dim), np.float32)
    for row, name in zip(rows, names, strict=True):
        label = own.by_name[name]
        if isinstance(label, tuple):
            row[:] = label
        else:
            row[label] = 1
    return rows


def built(source: Path, folder: Path, build: dict[str, Any], **conversion: Any) -> ImageDataset:
    """The archive of a source, opened."""
    opened = open_source(source)
    dest = folder / f"{len(list(folder.glob('*.zip')))}.zip"
    options = BuildOptions(ConversionOptions(**conversion), **({"order": "source"} | build))
    build_dataset(opened, dest, options)
    opened.close()
    return open_dataset(dest)


def images(dataset: ImageDataset) -> np.ndarray:
    return dataset.images(np.arange(len(dataset)))


# ---- TFRecords


@pytest.mark.parametrize(
    "path", sorted((FOLDER / "tfrecords").glob("*.expected.npz")), ids=lambda path: path.name.split(".")[0]
)
def test_tfrecords(path: Path, tmp_path: Path) -> None:
    """Every level and the labels, from the folder and from each file; an archive of them has the same."""
    meta, arrays = recorded(path)
    folder = path.parent / meta["dataset"]
    levels = {array.shape[-1]: array for name, array in arrays.items() if name.startswith("lod")}
    assert levels
    expected = arrays.get("labels", np.zeros((len(arrays["lod0"]), 0), np.float32))
    for side, pixels in levels.items():
        source = open_source(folder, SourceOptions(level=side))
        np.testing.assert_array_equal(all_of(source), pixels)
        np.testing.assert_array_equal(labels_of(source, source.names), expected)
        source.close()
    assert open_source(folder).names
    top = levels[max(levels)]
    labels = "keep" if expected.shape[1] else None
    dataset = built(
        folder, tmp_path, {"labels": labels}, resolution=top.shape[-1], channels=top.shape[1], crop="none"
    )
    np.testing.assert_array_equal(images(dataset), top)
    np.testing.assert_array_equal(dataset.labels(np.arange(len(dataset))), expected)
    for side, pixels in levels.items():
        np.testing.assert_array_equal(images(dataset.at(side)), pixels)


def test_single_resolution_tfrecords() -> None:
    """Folders that the authors' readers refuse: they hold one level of another set."""
    others = {path.name.split(".")[0] for path in (FOLDER / "tfrecords").glob("*.expected.npz")}
    alone = [
        path
        for path in (FOLDER / "tfrecords").iterdir()
        if path.is_dir() and path.name not in others and len(list(path.glob("*.tfrecords"))) == 1
    ]
    for folder in alone:
        source = open_source(folder)
        same = next(
            arrays
            for path in sorted((FOLDER / "tfrecords").glob("*.expected.npz"))
            for _, arrays in [recorded(path)]
            if arrays["lod0"].shape[1:] == np.asarray(source.read(source.names[0])).shape
            and (arrays["lod0"][0] == source.read(source.names[0])).all()
        )
        np.testing.assert_array_equal(all_of(source), same["lod0"])


def test_broken_tfrecords(tmp_path: Path) -> None:
    """As many records come before the damage as TensorFlow read, and the message says what it is."""
    behaviour = json.loads((FOLDER / "tfrecords" / "behaviour.json").read_text())
    folders = [path for path in (FOLDER / "tfrecords").iterdir() if path.name.startswith("broken")]
    for name, outcome in behaviour["broken_files"].items():
        path = next(folder / name for folder in folders if (folder / name).exists())
        good = int(outcome.split()[0])
        if "no error" in outcome and not good:
            with pytest.raises(UserError, match="no images"):
                open_source(path)
            continue
        source = open_source(path)
        for image in source.names[:good]:
            source.read(image)
        with pytest.raises(OSError, match=f"record {good} of .*(cut off|checksum)"):
            source.read(source.names[good])
        with pytest.raises(UserError, match=rf"bad(.|\n)*record {good} "):
            build_dataset(source, tmp_path / "x.zip", BuildOptions(ConversionOptions(16, upscale=True)))


# ---- StyleGAN2-ADA


def test_ada_datasets(tmp_path: Path) -> None:
    """Read as they are: order, pixels and labels. A label that is missing is named."""
    meta, arrays = recorded(FOLDER / "ada_datasets" / "expected.npz")
    compared = 0
    for key, case in meta["datasets"].items():
        name, mode = key.split("|")
        path = FOLDER / "ada_datasets" / name
        if mode != "labels":
            continue
        if "error" in case:
            missing = case["error"].split("'")[1]
            with pytest.raises(UserError, match=f"{missing}.*without a label"):
                open_dataset(path)
            continue
        dataset = open_dataset(path)
        order = np.arange(len(dataset))
        assert [dataset.source_name(int(i)) for i in order] == case["files"]
        assert (dataset.channels, *dataset.size) == tuple(case["image_shape"])
        assert dataset.has_vectors == (case["has_labels"] and not case["has_onehot"])
        np.testing.assert_array_equal(images(dataset), arrays[f"{name}|labels|images"])
        np.testing.assert_array_equal(dataset.labels(order), arrays[f"{name}|labels|labels"])
        labels = "keep" if case["has_labels"] else None
        size = {"resolution": case["image_shape"][-1], "channels": case["image_shape"][0]}
        archive = built(path, tmp_path, {"labels": labels}, **size)
        assert sorted(archive.source_name(i) for i in range(len(archive))) == sorted(case["files"])
        dataset.close()
        compared += 1
    assert compared


# ---- LMDB and the crops


CROPS = {"center-crop": "center", "center-crop-wide": "center-crop-wide", None: "stretch"}


def conversion_of(name: str, result: dict[str, Any]) -> dict[str, Any]:
    """Our options for one of the recorded runs."""
    common = {"background": "none"}
    if "args" not in result:  # ProGAN's and StyleGAN's tools
        if "wide" in name:
            return common | {
                "crop": "center-crop-wide",
                "resolution": result["width"],
                "wide_height": result["height"],
            }
        return common | {"crop": "center", "resolution": result["resolution"], "upscale": True}
    args = dict(zip(result["args"][::2], result["args"][1::2], strict=True))
    crop = CROPS[args.get("--transform")]
    options = common | {"crop": crop, "resolution": int(args["--width"])}
    options["filter"] = args.get("--resize-filter", "lanczos")
    if crop == "center-crop-wide":
        return options | {"wide_height": int(args["--height"])}
    return options | {"upscale": True}


def test_lmdb(tmp_path: Path) -> None:
    """Keys in order, the crops of three tools, undecodable entries left out."""
    meta, arrays = recorded(FOLDER / "lmdb" / "expected.npz")
    source = open_source(FOLDER / "lmdb" / meta["lmdb"])
    assert list(source.names) == meta["cursor_order"]
    source.close()
    compared = 0
    for name, result in meta["results"].items():
        if name not in arrays:
            continue
        path = FOLDER / "lmdb" / meta["odd_lmdb" if ".odd" in name else "lmdb"]
        dataset = built(path, tmp_path, {"skip_bad": True}, **conversion_of(name, result))
        np.testing.assert_array_equal(images(dataset), arrays[name], err_msg=name)
        compared += 1
    assert compared


# ---- CIFAR and MNIST


def test_cifar() -> None:
    """Each batch, the set, and its tar; the pickle that would run something is refused."""
    _, arrays = recorded(FOLDER / "cifar_mnist" / "expected.npz")
    folder = FOLDER / "cifar_mnist" / "cifar-10-batches-py"
    for path in [path for path in sorted(folder.iterdir()) if f"cifar.{path.name}.images" in arrays]:
        source = open_source(path)
        np.testing.assert_array_equal(all_of(source), arrays[f"cifar.{path.name}.images"])
        labels = arrays[f"cifar.{path.name}.labels"]
        np.testing.assert_array_equal(labels_of(source, source.names).argmax(1), labels)
    for path in (folder, *(FOLDER / "cifar_mnist").glob("cifar*.tar.gz")):
        source = open_source(path)
        np.testing.assert_array_equal(all_of(source), arrays["ada.cifar10.images"])
        labels = labels_of(source, source.names)
        np.testing.assert_array_equal(labels.argmax(1), arrays["ada.cifar10.labels"])
        assert (source.own_labels() or pytest.fail("no labels")).label_dim == 10
    for path in (FOLDER / "cifar_mnist" / "unsafe").iterdir():
        for unsafe in (path, path.parent):
            with pytest.raises(UserError, match="refused"):
                open_source(unsafe)
    assert "GOLD_UNSAFE_PICKLE_RAN" not in os.environ


def test_cifar_and_mnist_in_progans_order(tmp_path: Path) -> None:
    """Shuffled as ProGAN's tool does, with its labels; MNIST has a border."""
    _, arrays = recorded(FOLDER / "cifar_mnist" / "expected.npz")
    for kind, path, crop in (("cifar10", "cifar-10-batches-py", "none"), ("mnist", "", "border")):
        shape = arrays[f"progan.{kind}.images"].shape
        for order, prefix in (("shuffled", "progan"), ("source", "ada")):
            dataset = built(
                FOLDER / "cifar_mnist" / path,
                tmp_path,
                {"labels": "keep", "order": order},
                resolution=shape[-1],
                channels=shape[1],
                crop=crop,
            )
            np.testing.assert_array_equal(images(dataset), arrays[f"{prefix}.{kind}.images"])
            labels = dataset.labels(np.arange(len(dataset)))
            if prefix == "progan":
                np.testing.assert_array_equal(labels, arrays[f"progan.{kind}.onehot"])
            else:
                np.testing.assert_array_equal(labels.argmax(1), arrays[f"ada.{kind}.labels"])


def test_idx() -> None:
    _, arrays = recorded(FOLDER / "cifar_mnist" / "expected.npz")
    for path in sorted((FOLDER / "cifar_mnist").glob("*images-idx3-ubyte*")):
        part = path.name.split("-")[0]
        if f"mnist.{part}.images" not in arrays:
            with pytest.raises(UserError, match=r"begins with|bytes where|cut off"):
                open_source(path)
            continue
        source = open_source(path)
        np.testing.assert_array_equal(all_of(source)[:, 0], arrays[f"mnist.{part}.images"])
        labels = labels_of(source, source.names)
        np.testing.assert_array_equal(labels.argmax(1), arrays[f"mnist.{part}.labels"])


# ---- faces


def picture(path: Path) -> np.ndarray:
    """uint8 [H, W, 3]."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_ffhq_alignment() -> None:
    """Squares, steps on the way and pixels, for every setting and photograph."""
    folder = FOLDER / "align"
    meta, arrays = recorded(folder / "expected.npz")
    entries = json.loads((folder / "landmarks.json").read_text())
    seed = int(meta["random"].split("seed ")[1].split(",")[0])
    compared = 0
    for setting, case in meta["settings"].items():
        options = case["kwargs"]
        rng = np.random.RandomState(seed)
        rng.normal(0, 1, 2 * len(entries))
        for photo in case["photos"]:
            entry = entries[str(photo["photo"])]["in_the_wild"]
            shift = None
            for _ in range(photo["tries"]):
                shift = rng.normal(0, 1, (2,)) * options.get("random_shift", 0)
            landmarks = np.array(entry["face_landmarks"])
            square = square_of(landmarks, RULES["ffhq"], options.get("rotate_level", True), shift)
            name = f"{photo['photo']}"
            np.testing.assert_array_equal(square, arrays[f"{setting}.quad{name}"])
            image = Image.fromarray(picture(folder / entry["file_path"]))
            found, done = aligned(
                image,
                square,
                options["output_size"],
                options["transform_size"],
                pad=options.get("enable_padding", True),
            )
            corners = arrays[f"{setting}.transform_quad{name}"].flatten()
            np.testing.assert_array_equal(done["corners"], corners)
            assert list(done.get("crop", [])) == list(photo["crop_box"] or [])
            assert list(done.get("shrink", [])) == list(photo["shrink_size"] or [])
            assert list(done.get("pad", [])) == list(photo["pad_left_top_right_bottom"] or [])
            np.testing.assert_array_equal(found.transpose(1, 2, 0), arrays[f"{setting}.out{name}"])
            compared += 1
    assert compared


def test_aligned_data_set(tmp_path: Path) -> None:
    """`dataset build --align ffhq` with the file of landmarks makes the images that were recorded."""
    photos = sorted((FOLDER / "align" / "photos").iterdir())
    expected = {path.name: path for path in (FOLDER / "align" / "aligned256").glob("*.png")}
    if not expected:
        pytest.skip("no images that were recorded as files")
    size = picture(next(iter(expected.values()))).shape[1]
    words = ["dataset", "build", str(FOLDER / "align" / "photos"), str(tmp_path / "x.zip"), "--upscale"]
    words += ["--align", "ffhq", "--landmarks", str(FOLDER / "align" / "landmarks.json")]
    assert main([*words, "--resolution", str(size), "--order", "source"]) == 0
    dataset = open_dataset(tmp_path / "x.zip")
    assert len(dataset) == len(photos)
    for i, path in enumerate(sorted(expected.values())):
        np.testing.assert_array_equal(dataset.image(i).transpose(1, 2, 0), picture(path))


def test_celeba_hq_alignment() -> None:
    """Squares exactly; pixels as another version of Pillow made them, so within one step."""
    folder = FOLDER / "celebahq"
    meta, arrays = recorded(folder / "expected.npz")
    photos = sorted((folder / "photos").iterdir())
    for number, landmarks in enumerate(arrays["landmarks"]):
        square = square_of(landmarks, RULES["celeba-hq"])
        np.testing.assert_array_equal(square, arrays[f"quad.{number}"])
        steps = next(case for case in meta["steps"] if case["photo"] == number)["steps_in_order"]
        image = Image.fromarray(picture(photos[number]))
        found, done = aligned(image, square, 1024, 4096, RULES["celeba-hq"])
        recorded_corners = next(step[1][1] for step in steps if step[0] == "transform")
        np.testing.assert_allclose(done["corners"], recorded_corners, rtol=1e-6)
        small = box_mean_u8(found, 4).astype(int)
        assert np.abs(small - arrays[f"out256.{number}"]).max() <= 1
