"""Verdicts, files of calibrations, their picture, and which images they are of."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from every import every
from metrics.probed import labels, real
from styleloom.attribution import (
    Calibration,
    distances,
    generated_images,
    histogram,
    load_calibration,
    plot,
    real_images,
)
from styleloom.attribution.calibration import read_document, same_work, save_calibration
from styleloom.attribution.measuring import Method, check_method, method_of
from styleloom.data.dataset import open_dataset
from styleloom.data.reals import to_signed, to_uint8
from styleloom.errors import UserError
from styleloom.features.registry import load_distance
from styleloom.projection import Projection
from tiny import make_archive

SMALL, LARGE = [0.1 + i / 100 for i in range(20)], [0.6 + i / 100 for i in range(20)]


def record(name: str, values: list[float]) -> list[dict[str, Any]]:
    return [{"name": f"{name}{i}", "distance": value} for i, value in enumerate(values)]


def document() -> dict[str, Any]:
    method = Method("0" * 64, {"name": "squared"}, Projection(steps=3))
    return {
        "method": method.record(),
        "data": {"name": "x"},
        "generated": record("g", SMALL),
        "real": record("r", LARGE),
        "false_alarm": 0.05,
        "miss": 0.1,
    }


@every(
    ("generated", "reals", "distance", "kind", "note"),
    [
        (SMALL, LARGE, 0.2, "consistent with generated", None),
        (SMALL, LARGE, 0.7, "not consistent with generated", None),
        (SMALL, LARGE, 0.45, "undecided", "unlike both sets"),
        (SMALL, LARGE, 0.9, "not consistent with generated", "farther than every image"),
        (SMALL, LARGE, 0.05, "consistent with generated", "nearer than every image"),
        ([*SMALL, *LARGE], [*SMALL, *LARGE], 0.3, "undecided", None),
    ],
)
def test_verdicts(
    generated: list[float], reals: list[float], distance: float, kind: str, note: str | None
) -> None:
    verdict = Calibration(generated, reals).verdict(distance, ["of mine"])
    assert verdict.kind == kind
    assert verdict.reals_as_near.count == sum(value <= distance for value in reals)
    assert verdict.generated_as_far.count == sum(value >= distance for value in generated)
    assert verdict.notes[0] == "of mine"
    assert [note in told for told in verdict.notes[1:]] == ([True] if note else []) if note else True
    for part in (verdict.reals_as_near, verdict.generated_as_far):
        assert f"{part.count} of {part.of} ({part.low:.1%} to {part.high:.1%} of all)" in verdict.sentence()
    assert verdict.sentence().startswith(kind)


def test_files_come_back(tmp_path: Path) -> None:
    path = tmp_path / "x.attribution.json"
    save_calibration(path, document())
    found = load_calibration(path)
    assert (found.generated, found.real, found.false_alarm, found.miss) == (SMALL, LARGE, 0.05, 0.1)
    assert found.document["results"] == json.loads(json.dumps(found.results()))
    assert found.document["results"]["roc_area"]["value"] == 1
    assert found.document["results"]["detection"]["count"] == 20
    assert method_of(found) == Method("0" * 64, {"name": "squared"}, Projection(steps=3))


def test_a_file_on_its_way_is_no_calibration_yet(tmp_path: Path) -> None:
    path, begun = tmp_path / "x.attribution.json", document()
    begun["real"][3]["distance"] = None
    save_calibration(path, begun)
    assert "results" not in read_document(path)
    assert same_work(read_document(path), document())
    other = document()
    other["method"]["projection"]["steps"] = 4
    assert not same_work(begun, other)
    with pytest.raises(UserError, match="39 of 40 images were measured"):
        load_calibration(path)


def changed(*keys: Any, to: Any) -> Any:
    """The document of a file with one value replaced."""
    whole = copy.deepcopy({"format": "styleloom-attribution", "version": 1, **document()})
    inner: Any = whole
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = to
    return whole


@every(
    ("content", "message"),
    [
        (b"\xff\xfe", "cannot be read as JSON"),
        (b"[" * 100_000, "cannot be read as JSON"),
        ([], "is no calibration"),
        ({"format": "other"}, "is no calibration"),
        (changed("version", to=2), "version: 2 is not valid"),
        (changed("method", to=None), "method: None is not valid"),
        (changed("data", to=[]), "data: "),
        (changed("real", to={}), "real: "),
        (changed("real", 0, to=3), "real: 3 is not valid"),
        (changed("real", 0, "distance", to="near"), "distance: 'near' is not valid"),
        (changed("generated", 0, "distance", to=-1), "generated: distance"),
        (changed("generated", 0, "distance", to=math.nan), "distance: nan is not valid"),
        (changed("generated", to=[]), "generated: "),
        (changed("false_alarm", to="5%"), "false_alarm: '5%' is not valid"),
        (changed("false_alarm", to=0.01), "false_alarm: 20 images cannot show a rate of 0.01"),
        (changed("miss", to=0), "miss: 0 is not valid"),
    ],
)
def test_files_that_are_no_calibration(content: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.attribution.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(UserError, match=r"x\.attribution\.json: ") as refused:
        load_calibration(path)
    assert message in str(refused.value)


@every(
    ("keys", "value", "message"),
    [
        (("projection", "steps"), 0, "steps: 0 is not valid"),
        (("projection", "further"), 1, "projection: "),
        (("projection",), None, "projection: None"),
        (("distance",), {"name": 3}, "distance: "),
        (("precision",), "fp8", "precision: 'fp8'"),
        (("classes",), -1, "classes: -1"),
    ],
)
def test_methods_that_we_cannot_follow(keys: tuple[str, ...], value: Any, message: str) -> None:
    whole = changed("method", *keys, to=value)
    with pytest.raises(UserError) as refused:
        method_of(Calibration(SMALL, LARGE, document=whole))
    assert message in str(refused.value)


def test_names_and_places_of_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a name that ends with \.attribution\.json"):
        save_calibration(tmp_path / "x.json", document())
    with pytest.raises(UserError, match="there is no such file"):
        load_calibration(tmp_path / "x.attribution.json")


def test_other_generators_and_distances_are_refused() -> None:
    sampler, distance = real("stylegan2-f"), load_distance("efficientnet-lite0")
    method = Method(sampler.snapshot_sha256, distance.identity, Projection())
    check_method(method, sampler, distance)
    with pytest.raises(UserError, match="another snapshot"):
        check_method(Method("0" * 64, distance.identity, Projection()), sampler, distance)
    other = distance.identity | {"weights": "0" * 64}
    with pytest.raises(UserError, match="another distance"):
        check_method(Method(None, other, Projection()), sampler, distance)


# ---- images


def test_distances_are_those_of_the_projector() -> None:
    torch.manual_seed(0)
    sampler, options = real("stylegan2-f"), Projection(steps=3, w_samples=100)
    images = generated_images(sampler, range(3))
    assert torch.equal(images, to_signed(to_uint8(sampler.generate(range(3)))))
    steps: list[int] = []
    found = distances(sampler, images, options, batch=2, watch=lambda p: steps.append(p.steps_done))
    assert steps == [1, 2, 3] * 2
    assert found[:2] == sampler.project(images[:2], options).distance.tolist()
    assert found[2:] == sampler.project(images[2:], options).distance.tolist()


def test_real_images_are_those_that_training_did_not_see(tmp_path: Path) -> None:
    sampler = real("stylegan2-f", "data.held_out=6")
    dataset = open_dataset(make_archive(tmp_path, 20, 16))
    known = {"fingerprint": dataset.fingerprint}
    held = real_images(sampler, dataset, 5, known)
    assert "held out: the last 6" in held.record["part"]
    expected = to_signed(torch.from_numpy(dataset.images(np.array([14, 18]))))
    assert torch.equal(held.images([0, 4]), expected)
    assert held.records()[1] == {"position": 1, "name": dataset.source_name(15)}
    with pytest.raises(UserError, match="has 6 images"):
        real_images(sampler, dataset, 7, known)
    nothing = real("stylegan2-f", "data.held_out=0")
    assert real_images(nothing, dataset, 20, known).record["part"].startswith("training images")
    assert "not the set" in real_images(sampler, dataset, 20, {"fingerprint": "other"}).record["part"]
    assert "not known" in real_images(sampler, dataset, 20).record["part"]


def test_real_images_of_a_class(tmp_path: Path) -> None:
    sampler = real("stylegan2-f", "label_dim=2", "data.held_out=0")
    dataset = open_dataset(make_archive(tmp_path, 20, 16, labels="folders"))
    found = real_images(sampler, dataset, 10, classes=1)
    assert all(dataset.label(i).tolist() == [0, 1] for i in found.positions)
    assert found.record["class"] == 1
    for classes, count, message in ((1, 11, "has 10 images of class 1"), (2, 1, "no such class")):
        with pytest.raises(UserError, match=message):
            real_images(sampler, dataset, count, classes=classes)
    with pytest.raises(UserError, match="images of shape"):
        real_images(sampler, open_dataset(make_archive(tmp_path, 4, 8)), 1)


def test_labels_lead_to_their_own_start() -> None:
    torch.manual_seed(0)
    sampler, options = real("stylegan2-f", "label_dim=3"), Projection(steps=1, w_samples=50)
    images = generated_images(sampler, [0, 0], classes=1)
    one, other = distances(sampler, images, options, labels=labels(1, 2))
    assert one != other


# ---- the picture


@every(
    ("generated", "reals"),
    [(SMALL, LARGE), ([0.0, *SMALL], LARGE), ([0.0] * 20, [0.0] * 20), ([0.5] * 20, [0.5] * 20)],
)
def test_bins_hold_all_distances(generated: list[float], reals: list[float]) -> None:
    edges = plot.bin_edges(Calibration(generated, reals))
    assert len(edges) == plot.BINS + 1
    steps = np.diff(np.log(edges))
    assert (steps > 0).all()
    assert np.allclose(steps, steps[0])
    positive = [value for value in (*generated, *reals) if value]
    assert all(edges[0] * 0.999 <= value <= edges[-1] * 1.001 for value in positive)


def test_the_histogram_shows_both_sets(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    histogram(Calibration(SMALL, LARGE), tmp_path / "a.png")
    histogram(Calibration(LARGE, SMALL), tmp_path / "b.png")
    with Image.open(tmp_path / "a.png") as a, Image.open(tmp_path / "b.png") as b:
        ours, theirs = (np.asarray(image.convert("RGB")).astype(int) for image in (a, b))
    assert ours.shape == theirs.shape
    for pixels, order in ((ours, 1), (theirs, -1)):
        blueness = pixels[:, :, 2] - pixels[:, :, 0]
        generated, reals = (np.nonzero(where)[1].mean() for where in (blueness > 40, blueness < -40))
        assert (reals - generated) * order > 0.2 * pixels.shape[1]


def test_no_picture_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot, "can_draw", lambda: False)
    with pytest.raises(UserError, match="needs matplotlib"):
        histogram(Calibration(SMALL, LARGE), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
