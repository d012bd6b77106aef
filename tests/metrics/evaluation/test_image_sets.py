"""Sets of images: by position, whatever the block; the authors' rules for reals; files of any origin."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data import raw_images
from data.images import encoded, make_folder, noise
from styleloom import snapshot
from styleloom.config import Experiment
from styleloom.data import open_dataset
from styleloom.data.loader import mirror_coins
from styleloom.data.reals import mirror, to_uint8
from styleloom.data.sources import open_source
from styleloom.errors import UserError
from styleloom.metrics.evaluation.image_sets import (
    DatasetImages,
    FileImages,
    GeneratedImages,
    Selection,
    first_seed,
    labels_of,
)
from styleloom.networks.build import build_generator
from styleloom.sampling import Sampler
from tiny import make_archive, tiny


def sampler(*overrides: str) -> Sampler:
    experiment: Experiment = tiny(*overrides)
    return Sampler(build_generator(experiment.generator).eval(), experiment)


def files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


# ---- data sets


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory):
    return open_dataset(make_archive(tmp_path_factory.mktemp("set"), 7))


def test_first_takes_the_stored_order_and_begins_again(dataset) -> None:
    images = DatasetImages(dataset).images(range(5, 10))
    expected = torch.from_numpy(dataset.images(np.array([5, 6, 0, 1, 2])))
    assert torch.equal(images, expected)


def test_mirroring_flips_by_position(dataset) -> None:
    plain, mirrored = DatasetImages(dataset), DatasetImages(dataset, Selection(mirror=True), seed=3)
    coins = torch.from_numpy(mirror_coins(3, np.arange(40)))
    assert torch.equal(mirrored.images(range(40)), mirror(plain.images(range(40)), coins))
    assert 8 < int(coins.sum()) < 32
    # A second round through the set has coins of its own.
    assert not torch.equal(mirrored.images(range(7)), mirrored.images(range(7, 14)))


def test_random_is_a_permutation_for_each_round(dataset) -> None:
    images = DatasetImages(dataset, Selection("random"), seed=1)
    stored = {image.numpy().tobytes() for image in DatasetImages(dataset).images(range(7))}
    for first in (0, 7, 14):
        found = [image.numpy().tobytes() for image in images.images(range(first, first + 7))]
        assert set(found) == stored
    assert not torch.equal(images.images(range(7)), DatasetImages(dataset).images(range(7)))


@pytest.mark.parametrize(
    "selection", [Selection(), Selection(mirror=True), Selection("random", mirror=True), Selection("full")]
)
def test_blocks_change_nothing(dataset, selection: Selection) -> None:
    images = DatasetImages(dataset, selection)
    whole = images.images(range(17))
    parts = torch.cat([images.images(range(i, min(i + 4, 17))) for i in range(0, 17, 4)])
    assert torch.equal(whole, parts)


def test_records_tell_apart_what_differs(dataset, tmp_path: Path) -> None:
    other = open_dataset(make_archive(tmp_path, 8))
    records = [
        DatasetImages(dataset).record(),
        DatasetImages(dataset, Selection(mirror=True)).record(),
        DatasetImages(dataset, Selection(mirror=True), seed=1).record(),
        DatasetImages(dataset, Selection("random")).record(),
        DatasetImages(dataset, Selection("full")).record(),
        DatasetImages(dataset.at(4)).record(),
        DatasetImages(other).record(),
    ]
    assert all(records[i] != records[j] for i in range(7) for j in range(i))
    assert DatasetImages(dataset, seed=9).record() == records[0]  # nothing is drawn


# ---- files


def test_files_of_a_folder_and_a_zip_are_the_same(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "images", 5, 12)
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for file in reversed(files(folder)):  # in another order
            archive.write(file, file.relative_to(folder))
    a, b = FileImages(open_source(folder)), FileImages(open_source(tmp_path / "images.zip"))
    assert (a.shape, a.available) == ((3, 12, 12), 5) == (b.shape, b.available)
    assert torch.equal(a.images(range(5)), b.images(range(5)))
    assert a.record()["fingerprint"] == b.record()["fingerprint"]
    expected = np.asarray(Image.open(files(folder)[3]).convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(a.images(range(3, 4))[0].numpy(), expected)


def test_files_need_not_be_square_or_powers_of_two(tmp_path: Path) -> None:
    for i in range(3):
        Image.new("L", (21, 13), i).save(tmp_path / f"{i}.png")
    images = FileImages(open_source(tmp_path))
    assert images.shape == (3, 13, 21)
    assert images.images(range(3)).amax((1, 2, 3)).tolist() == [0, 1, 2]
    assert FileImages(open_source(tmp_path), channels=1).images(range(2)).shape == (2, 1, 13, 21)


def test_every_file_of_another_size_is_named(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "images", 4, 8)
    Image.new("RGB", (9, 8)).save(folder / "wide.png")
    (folder / "broken.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"2 of 6 images.*most are 8x8 px") as error:
        FileImages(open_source(folder))
    assert "wide.png: 9x8 px" in str(error.value)
    assert "broken.png: not an image" in str(error.value)


def test_a_file_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "images", 3, 32)
    file = folder / "z.png"
    file.write_bytes(encoded(noise(32, 32))[:-200])
    images = FileImages(open_source(folder))
    with pytest.raises(UserError, match=file.name):
        images.images(range(4))


def test_turned_files_have_their_size_as_seen(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (10, 6)).save(tmp_path / "a.jpg", exif=exif)
    Image.new("RGB", (6, 10)).save(tmp_path / "b.png")
    images = FileImages(open_source(tmp_path))
    assert images.images(range(2)).shape == (2, *images.shape) == (2, 3, 10, 6)


def test_files_have_the_size_and_the_limits_that_reading_has(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (10, 6)).save(tmp_path / "a.tiff", exif=exif, compression="tiff_lzw")
    Image.new("RGB", (6, 10)).save(tmp_path / "b.png")
    images = FileImages(open_source(tmp_path))
    assert images.images(range(2)).shape == (2, *images.shape) == (2, 3, 10, 6)
    (tmp_path / "gif.png").write_bytes(encoded(noise(6, 10, 1), "GIF"))
    (tmp_path / "large.bmp").write_bytes(raw_images.bmp(2**15, 2**15, 24, b""))
    (tmp_path / "float.tiff").write_bytes(raw_images.tiff(6, 10, [32], 1, [bytes(240)], t339=[3]))
    with pytest.raises(UserError, match="3 of 5") as error:
        FileImages(open_source(tmp_path))
    for line in (
        "gif.png: not an image",
        "large.bmp: too many pixels",
        "float.tiff: a TIFF whose pixels are",
    ):
        assert line in str(error.value)


# ---- generated images


def test_positions_are_seeds() -> None:
    s = sampler()
    images = GeneratedImages(s, first_seed=5)
    assert torch.equal(images.images(range(2, 6)), to_uint8(s.generate([7, 8, 9, 10])))
    assert torch.equal(GeneratedImages(s, 7).images(range(4)), images.images(range(2, 6)))


def test_blocks_of_generated_images_change_nothing() -> None:
    images = GeneratedImages(sampler())
    whole = images.images(range(9))
    parts = torch.cat([images.images(range(i, i + 3)) for i in range(0, 9, 3)])
    assert (whole.int() - parts.int()).abs().max() <= 1  # rounding at the edge of a grey level


def test_repeats_take_other_seeds() -> None:
    assert first_seed(0, 0) == 0
    assert first_seed(1, 0) == first_seed(0, 1) == 2**20
    s = sampler()
    images = [GeneratedImages(s, first_seed(0, repeat)).images(range(1)) for repeat in range(4)]
    assert not any(torch.equal(images[i], images[j]) for i in range(4) for j in range(i))


def test_mixed_latents_give_other_images() -> None:
    s = sampler()
    one, two = GeneratedImages(s), GeneratedImages(s, num_latents=2)
    assert not torch.equal(one.images(range(4)), two.images(range(4)))
    assert one.record() != two.record()


def test_labels_are_drawn_as_they_occur(tmp_path: Path) -> None:
    labels = labels_of(open_dataset(make_archive(tmp_path, 20, labels="folders")))
    assert labels is not None
    images = GeneratedImages(sampler("label_dim=2"), labels=labels)
    seeds = list(range(400))
    drawn = images.labels(seeds)
    assert drawn is not None
    share, expected = drawn.mean(0), labels.mean(0)
    assert (share - expected).abs().max() < 4 * 0.5 / 400**0.5
    again = images.labels(seeds[100:])
    assert again is not None
    assert torch.equal(again, drawn[100:])


def test_a_generator_with_labels_needs_them() -> None:
    with pytest.raises(UserError, match="labels: this generator needs them"):
        GeneratedImages(sampler("label_dim=2"))


def test_nan_is_refused_with_its_seed() -> None:
    s = sampler()
    with torch.no_grad():
        s.generator.mapping_network.layers[0].weight.fill_(float("nan"))  # type: ignore[union-attr, operator]
    with pytest.raises(UserError, match=r"NaN or infinite pixels, first with seed 3"):
        GeneratedImages(s, first_seed=3).images(range(2))


def test_generated_images_come_from_snapshots(tmp_path: Path) -> None:
    s = sampler()
    snapshot.write_snapshot(tmp_path / "s.safetensors", s.generator, s.experiment)
    loaded = Sampler.of(snapshot.read_snapshot(tmp_path / "s.safetensors"), "cpu", "fp32")
    assert torch.equal(GeneratedImages(loaded).images(range(3)), GeneratedImages(s).images(range(3)))
