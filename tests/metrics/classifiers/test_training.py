"""Attribute classifiers: what is learned, what is written, what is refused."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from data.images import build, encoded
from every import every
from styleloom.config.networks import DiscriminatorConfig, FeatureMaps
from styleloom.data import ImageDataset, open_dataset
from styleloom.data.pixels import box_mean
from styleloom.data.reals import to_signed
from styleloom.errors import UserError
from styleloom.metrics.classifiers import training as classifier_training
from styleloom.metrics.classifiers.attributes import Attribute, select_attributes
from styleloom.metrics.classifiers.classifier import FORMAT, ClassifierRecord, load_classifiers
from styleloom.metrics.classifiers.training import (
    ClassifierProgress,
    ClassifierSettings,
    classifier_config,
    file_name,
    logistic_loss,
    train_classifiers,
)
from styleloom.networks.build import build_discriminator, count_parameters
from styleloom.tensor_file import read_tensors, write_tensors

SETTINGS = ClassifierSettings(kimg=0.4, learning_rate=0.005, precision="fp32")

full_config = classifier_config


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of 8 channels; `full_config` gives the real one."""

    def config(dataset: ImageDataset, preset: str) -> DiscriminatorConfig:
        return replace(full_config(dataset, preset), features=FeatureMaps(base=8192, max=8))

    monkeypatch.setattr(classifier_training, "classifier_config", config)


def coloured(root: Path, labels: Callable[[bool, bool], Sequence[float]], number: int = 80) -> Path:
    """An archive of 8 px: red or blue, bright at the top or at the bottom, under noise; vectors as labels."""
    source = root / "coloured"
    source.mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(number):
        red, top = bool(i & 1), bool(i & 2)
        pixels = np.random.default_rng(i).normal(90, 20, (8, 8, 3))
        pixels[..., 0 if red else 2] += 70
        pixels[:4] += 40 if top else -40
        (source / f"{i:03d}.png").write_bytes(encoded(pixels.clip(0, 255).astype(np.uint8)))
        rows.append(f"{i:03d}.png," + ",".join(f"{value:g}" for value in labels(red, top)))
    table = root / "labels.csv"
    table.write_text("\n".join(rows))
    return build(source, root / "coloured.zip", 8, labels=str(table), overwrite=True)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return coloured(tmp_path_factory.mktemp("classifiers"), lambda red, top: (red, top))


@pytest.fixture
def dataset(archive: Path) -> ImageDataset:
    return open_dataset(archive)


@pytest.fixture(scope="module")
def trained(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both classifiers."""
    folder = tmp_path_factory.mktemp("classifiers") / "trained"
    with pytest.MonkeyPatch.context() as patch:
        features = FeatureMaps(base=8192, max=8)
        patch.setattr(
            classifier_training,
            "classifier_config",
            lambda d, p: replace(full_config(d, p), features=features),
        )
        train_classifiers(open_dataset(archive), folder, settings=SETTINGS, device="cpu")
    return folder


def reals(dataset: ImageDataset) -> tuple[Tensor, Tensor]:
    """All images in [-1, 1], and their labels."""
    indices = np.arange(len(dataset))
    return to_signed(torch.from_numpy(dataset.images(indices))), torch.from_numpy(dataset.labels(indices))


# ---- network and loss


def test_the_network_is_progans_discriminator_without_minibatch_statistics(tmp_path: Path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    for i in range(2):
        (folder / f"{i}.png").write_bytes(encoded(np.full((512, 512, 3), i, np.uint8)))
    config = full_config(open_dataset(build(folder, tmp_path / "large.zip", 512)))
    assert (config.resolution, config.channels, config.label_dim) == (256, 3, 0)
    with torch.device("meta"):
        network = build_discriminator(config)
    # ProGAN's at 256 px has 23,052,353; one input channel of the last 3x3 convolution is missing.
    assert count_parameters(network) == 23_052_353 - 9 * 512
    assert not any("blur" in name for name, _ in network.named_modules())


def test_grey_images_of_another_grid(tmp_path: Path) -> None:
    folder = tmp_path / "grey"
    folder.mkdir()
    (folder / "0.png").write_bytes(encoded(np.zeros((12, 16), np.uint8)))
    config = full_config(open_dataset(build(folder, tmp_path / "g.zip", 16, channels=1, grid=(3, 4))))
    assert (config.channels, config.size) == (1, (12, 16))


def test_the_loss_is_the_cross_entropy_of_two_classes() -> None:
    logits = torch.randn(20, generator=torch.Generator().manual_seed(0)) * 3
    targets = torch.arange(20) % 3 == 0
    p = torch.softmax(torch.stack([logits, -logits], 1), 1)
    expected = -torch.log(torch.where(targets, p[:, 0], p[:, 1]))
    torch.testing.assert_close(logistic_loss(logits, targets), expected, rtol=1e-4, atol=1e-6)
    assert logistic_loss(torch.tensor([-100.0]), torch.tensor([True])).item() == pytest.approx(200)


def test_the_papers_settings() -> None:
    settings = ClassifierSettings()
    assert (settings.images, settings.batch, settings.learning_rate, settings.mirror) == (
        150_000, 8, 0.001, False,
    )  # fmt: skip


# ---- training


def test_visible_attributes_are_learned(trained: Path, dataset: ImageDataset) -> None:
    found = load_classifiers(trained)
    assert [c.record.attribute for c in found] == ["attribute-00", "attribute-01"]
    images, labels = reals(dataset)
    logits = torch.stack([c.logits(images) for c in found], 1)
    assert logits.shape == labels.shape == (80, 2)
    assert ((logits > 0) == (labels > 0)).double().mean(0).tolist() == [1, 1]
    swapped = found[0].logits(images.flip(1))  # red and blue exchanged
    assert ((swapped < 0) == (labels[:, 0] > 0)).all()


def test_a_file_holds_weights_and_record(trained: Path, dataset: ImageDataset) -> None:
    classifier = load_classifiers(trained)[0]
    record = classifier.record
    assert record.share == 0.5
    assert record.images_seen == 400
    assert (record.data, record.data_fingerprint) == (dataset.name, dataset.fingerprint)
    assert record.settings["held_out"] == 8
    images, labels = (part[-8:] for part in reals(dataset))
    logits = classifier.logits(images)
    assert record.accuracy == ((logits > 0) == (labels[:, 0] > 0)).double().mean().item()
    assert record.loss == pytest.approx(logistic_loss(logits, labels[:, 0] > 0).mean().item(), rel=1e-5)
    network = build_discriminator(classifier.config)
    network.load_state_dict(load_file(classifier.path))
    with torch.no_grad():
        assert torch.equal(network(images), logits)
    assert not any(p.requires_grad for p in classifier.network.parameters())
    assert classifier.identity["weights"] != load_classifiers(trained)[1].identity["weights"]


def test_training_is_repeatable_and_leaves_the_global_generator_alone(
    trained: Path, archive: Path, tmp_path: Path
) -> None:
    torch.manual_seed(99)
    state = torch.get_rng_state()
    made = train_classifiers(open_dataset(archive), tmp_path / "again", ["1"], SETTINGS, "cpu")
    load_classifiers(tmp_path / "again")
    assert torch.equal(torch.get_rng_state(), state)
    (path,) = made  # the other attribute was not asked for, which changes nothing
    assert path.read_bytes() == (trained / path.name).read_bytes()


@pytest.mark.parametrize("change", [{"seed": 1}, {"mirror": True}, {"batch": 4}, {"learning_rate": 0.004}])
def test_every_setting_counts(
    change: dict[str, int], trained: Path, dataset: ImageDataset, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, kimg=0.016, **change)
    plain = replace(SETTINGS, kimg=0.016)
    ours, theirs = (
        load_file(next(iter(train_classifiers(dataset, tmp_path / name, ["0"], s, "cpu"))))
        for name, s in (("ours", settings), ("theirs", plain))
    )
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_number_of_images_is_exact(dataset: ImageDataset, tmp_path: Path) -> None:
    seen: list[ClassifierProgress] = []
    settings = replace(SETTINGS, kimg=0.021)
    made = train_classifiers(dataset, tmp_path / "c", ["0"], settings, "cpu", report=seen.append)
    assert seen[-1].images_seen == seen[-1].total_images == 21
    assert next(iter(made.values())).images_seen == 21
    assert (seen[-1].attribute, seen[-1].number, seen[-1].count) == ("attribute-00", 1, 1)
    assert 0 < seen[-1].loss < 5


def test_minus_one_and_one_mean_the_same(trained: Path, tmp_path: Path) -> None:
    archive = coloured(tmp_path, lambda red, top: (2 * red - 1, 2 * top - 1))
    made = train_classifiers(open_dataset(archive), tmp_path / "c", ["0"], SETTINGS, "cpu")
    (path,) = made
    ours, theirs = load_file(path), load_file(trained / path.name)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert made[path].share == 0.5


def test_larger_sets_are_reduced(
    archive: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same images, each pixel repeated: the classifier sees them at the lower resolution."""
    monkeypatch.setattr(classifier_training, "MAX_RESOLUTION", 8)
    source = archive.parent / "coloured"
    folder = tmp_path / "doubled"
    folder.mkdir()
    for path in source.iterdir():
        with Image.open(path) as image:
            (folder / path.name).write_bytes(encoded(image.resize((16, 16), Image.Resampling.NEAREST)))
    large = build(folder, tmp_path / "l.zip", 16, labels=str(archive.parent / "labels.csv"))
    (path,) = train_classifiers(open_dataset(large), tmp_path / "c", ["0"], SETTINGS, "cpu")
    ours, theirs = load_file(path), load_file(trained / path.name)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_loss_that_is_not_finite(dataset: ImageDataset, tmp_path: Path) -> None:
    settings = replace(SETTINGS, learning_rate=1e30)
    with pytest.raises(UserError, match=r"learning_rate: 1e\+30 makes the loss of attribute-00 nan"):
        train_classifiers(dataset, tmp_path / "c", ["0"], settings, "cpu")


# ---- going on


def test_an_interrupted_training_goes_on_with_the_next_attribute(
    trained: Path, dataset: ImageDataset, tmp_path: Path
) -> None:
    folder = tmp_path / "c"

    def interrupt(progress: ClassifierProgress) -> None:
        if progress.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_classifiers(dataset, folder, None, SETTINGS, "cpu", report=interrupt)
    (first,) = folder.iterdir()
    before = first.stat().st_mtime_ns
    seen: list[ClassifierProgress] = []
    made = train_classifiers(dataset, folder, None, SETTINGS, "cpu", report=seen.append)
    assert {(p.attribute, p.number, p.count) for p in seen} == {("attribute-01", 1, 1)}
    assert first.stat().st_mtime_ns == before  # written once
    assert list(made) == sorted(folder.iterdir())
    assert [path.read_bytes() for path in made] == [p.read_bytes() for p in sorted(trained.iterdir())]
    again = train_classifiers(dataset, folder, None, SETTINGS, "cpu", report=lambda _: pytest.fail("trains"))
    assert again == made


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 3}, r"another training \(seed 0\)"),
        ({"kimg": 0.5, "mirror": True}, r"\(kimg 0.4, mirror False\)"),
        ({"held_out": 9}, r"\(held_out 8\)"),
    ],
)
def test_classifiers_of_other_settings_are_refused(
    change: dict[str, float], message: str, trained: Path, dataset: ImageDataset
) -> None:
    with pytest.raises(UserError, match=message):
        train_classifiers(dataset, trained, None, replace(SETTINGS, **change), "cpu")


def test_classifiers_of_other_data_or_networks_are_refused(
    trained: Path, dataset: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_dataset(coloured(tmp_path, lambda red, top: (top, red)))
    with pytest.raises(UserError, match=r"another training \(data coloured\)"):
        train_classifiers(other, trained, None, SETTINGS, "cpu")
    monkeypatch.setattr(classifier_training, "classifier_config", full_config)
    with pytest.raises(UserError, match=r"\(features.max 8\)"):
        train_classifiers(dataset, trained, None, SETTINGS, "cpu")


def test_discriminators_of_pyramids_are_refused(dataset: ImageDataset) -> None:
    with pytest.raises(UserError, match="preset: msg-progan's discriminator takes pyramids of images"):
        full_config(dataset, "msg-progan")


def test_other_files_are_refused(trained: Path, dataset: ImageDataset, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    folder.mkdir()
    (folder / "x.safetensors").write_bytes(b"no")
    for use in (load_classifiers, lambda f: train_classifiers(dataset, f, None, SETTINGS, "cpu")):
        with pytest.raises(UserError, match=r"x\.safetensors: damaged"):
            use(folder)
    with pytest.raises(UserError, match="is a file; give a folder"):
        train_classifiers(dataset, folder / "x.safetensors", None, SETTINGS, "cpu")


# ---- attributes


def parts(archive: Path, held_out: int = 8) -> tuple[ImageDataset, ImageDataset]:
    return open_dataset(archive).split(held_out)


def test_attributes_by_name_and_number(tmp_path: Path) -> None:
    classes = ("ant", "bee", "cat", "3")
    folder = tmp_path / "classes"
    for i in range(40):
        path = folder / classes[i % 4] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(np.full((8, 8, 3), i, np.uint8)))
    training, held_out = parts(build(folder, tmp_path / "c.zip", 8, labels="folders"))
    everything = select_attributes(training, held_out)
    assert everything == [Attribute(i, name, 0.25) for i, name in enumerate(("3", "ant", "bee", "cat"))]
    chosen = select_attributes(training, held_out, ["cat", "1", "3", "ant"])  # "3" is a name first
    assert [a.name for a in chosen] == ["3", "ant", "cat"]
    for wrong in ("bat", "4", "-1", ""):
        with pytest.raises(
            UserError, match=rf"attributes: '{wrong}' does not exist.*3, ant, bee, cat.*0 to 3"
        ):
            select_attributes(training, held_out, [wrong])


def test_shares_are_of_the_whole_set(tmp_path: Path) -> None:
    archive = coloured(tmp_path, lambda red, top: (red and top, red))
    assert [a.share for a in select_attributes(*parts(archive))] == [0.25, 0.5]


def test_without_labels(tmp_path: Path, archive: Path) -> None:
    bare = build(archive.parent / "coloured", tmp_path / "bare.zip", 8)
    with pytest.raises(UserError, match=r"bare has no labels.*dataset build SOURCE DEST.zip --labels"):
        train_classifiers(open_dataset(bare), tmp_path / "c", settings=SETTINGS, device="cpu")


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        (lambda red, top: (red, 0.5 * top), "0, 0.5"),
        (lambda red, top: (red, red + top), "0, 1, 2"),
        (lambda red, top: (red, red - top), "-1, 0, 1"),
        (lambda red, top: (red, red - 2), "-2, -1"),
    ],
)
def test_values_that_are_not_binary(
    labels: Callable[[bool, bool], Sequence[float]],
    values: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    both = parts(coloured(tmp_path, labels))
    message = f"attribute attribute-01: the labels of coloured have the values {values}; valid: 0 and 1"
    with pytest.raises(UserError, match=message):
        select_attributes(*both, ["1"])
    assert [a.index for a in select_attributes(*both, ["attribute-00"])] == [0]
    caplog.set_level("INFO")
    assert [a.index for a in select_attributes(*both)] == [0]
    passed = "labels of coloured that are numbers, not yes or no, are passed over: attribute-01"
    assert caplog.messages == [passed]


def test_labels_of_numbers_alone_have_no_attributes(tmp_path: Path) -> None:
    both = parts(coloured(tmp_path, lambda red, top: (red / 4, top / 2)))
    with pytest.raises(UserError, match=r"attribute-00: .* values 0, 0\.25; valid: 0 and 1"):
        select_attributes(*both)


def test_attributes_of_the_portraits_are_those_of_yes_and_no() -> None:
    training, held_out = open_dataset("portraits", 8).split(400)
    found = select_attributes(training, held_out)
    assert [a.index for a in found] == list(range(15))
    assert [(a.name, round(a.share, 2)) for a in (found[0], found[14])] == [
        ("glasses", 0.33), ("checked-shirt", 0.26),
    ]  # fmt: skip
    assert select_attributes(training, held_out, ["hat"])[0].index == 8
    with pytest.raises(UserError, match=r"attribute skin-red: .*valid: 0 and 1"):
        select_attributes(training, held_out, ["hat", "skin-red"])


@pytest.mark.parametrize(("value", "share"), [(0, "none"), (1, "all"), (-1, "none")])
def test_attributes_that_do_not_vary(value: int, share: str, tmp_path: Path) -> None:
    both = parts(coloured(tmp_path, lambda red, top: (value, red)))
    with pytest.raises(UserError, match=f"attribute-00: {share} of the 72 training images of coloured"):
        select_attributes(*both)
    assert [a.index for a in select_attributes(*both, ["1"])] == [1]


@pytest.mark.parametrize("held_out", [0, -1, 80])
def test_both_parts_need_images(held_out: int, dataset: ImageDataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"held_out {held_out}.*valid: 1 to 79"):
        train_classifiers(dataset, tmp_path, None, replace(SETTINGS, held_out=held_out), "cpu")


@every("wrong", [{"kimg": 0}, {"kimg": float("nan")}, {"batch": 0}, {"learning_rate": 0.0}, {"seed": -1}])
def test_settings_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        ClassifierSettings(**wrong)  # type: ignore[arg-type]


def test_file_names() -> None:
    assert file_name(Attribute(5, "5_o_Clock / Shadow", 0.1)) == "005-5-o-clock-shadow.safetensors"
    assert file_name(Attribute(12, "猫", 0.1)) == "012.safetensors"


# ---- use


def test_larger_images_are_reduced_by_boxes(trained: Path) -> None:
    classifier = load_classifiers(trained)[0]
    images = torch.randn(3, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    assert torch.equal(classifier.logits(images), classifier.logits(box_mean(images, 3)))
    alone = torch.cat([classifier.logits(image[None]) for image in images])
    torch.testing.assert_close(classifier.logits(images), alone)


@pytest.mark.parametrize(
    "shape", [(2, 3, 4, 4), (2, 3, 8, 16), (2, 3, 16, 8), (2, 1, 8, 8), (2, 3, 12, 12), (3, 8, 8)]
)
def test_other_images_are_refused(shape: tuple[int, ...], trained: Path) -> None:
    with pytest.raises(UserError, match=r"takes \[3, 8, 8\] or a whole multiple"):
        load_classifiers(trained)[0].logits(torch.zeros(shape))


def test_folders_that_cannot_be_loaded(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no classifiers.*train-classifiers"):
        load_classifiers(tmp_path / "absent")
    folder = tmp_path / "twice"
    shutil.copytree(trained, folder)
    shutil.copy(next(trained.iterdir()), folder / "copy.safetensors")
    with pytest.raises(UserError, match="is also in"):
        load_classifiers(folder)


def test_a_record_that_cannot_be_read(trained: Path, tmp_path: Path) -> None:
    path = sorted(trained.iterdir())[0]
    with safe_open(str(path), "pt") as file:  # type: ignore[no-untyped-call]
        document = json.loads(file.metadata()["styleloom"])
    document = {**document, "version": 1}  # which needs no checksum: what is changed below has another
    del document["sha256"]
    assert set(document["record"]) == set(ClassifierRecord.__dataclass_fields__)
    for broken in ({"record": {}}, {"config": {"family": "none"}}):
        save_file(load_file(path), tmp_path / "x.safetensors", {"styleloom": json.dumps(document | broken)})
        with pytest.raises(UserError, match="its record cannot be read"):
            load_classifiers(tmp_path)


def test_a_file_cannot_ask_for_more_than_it_holds_nor_hold_nan(trained: Path, tmp_path: Path) -> None:
    path = sorted(trained.iterdir())[0]
    tensors, document = read_tensors(path, FORMAT)
    config = document["config"]
    for changed in ({"features": {**config["features"], "max": 2**20, "base": 2**24}}, {"resolution": 16384}):
        write_tensors(tmp_path / "x.safetensors", tensors, {**document, "config": {**config, **changed}})
        with pytest.raises(UserError, match="weights of another network"):
            load_classifiers(tmp_path)
    name = next(name for name in tensors if name.endswith("weight"))
    write_tensors(
        tmp_path / "x.safetensors", {**tensors, name: torch.full_like(tensors[name], math.nan)}, document
    )
    with pytest.raises(UserError, match=f"hold NaN or infinite numbers, first '{name}'"):
        load_classifiers(tmp_path)
