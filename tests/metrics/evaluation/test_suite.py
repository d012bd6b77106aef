"""Evaluations: every metric runs, shared passes, cached reals, repeats, and refusals before work begins."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.images import make_folder
from metrics.plugged import Projection, plugged
from metrics.probed import real
from styleloom.data import open_dataset
from styleloom.data.sources import open_source
from styleloom.errors import UserError
from styleloom.metrics.evaluation.cache import StatisticsCache
from styleloom.metrics.evaluation.collect import FeatureNetworks
from styleloom.metrics.evaluation.definitions import parse_all
from styleloom.metrics.evaluation.image_sets import DatasetImages, FileImages
from styleloom.metrics.evaluation.measure import UnmeasurableError, errors
from styleloom.metrics.evaluation.subject import RealImages, Subject
from styleloom.metrics.evaluation.suite import Evaluation, primary_value
from styleloom.metrics.fid import frechet_distance
from styleloom.metrics.moments import Moments
from styleloom.networks.assembly import Trunk
from styleloom.networks.build import build_generator
from styleloom.presets import get
from styleloom.sampling import Sampler
from styleloom.tensor_file import read_tensors, write_tensors
from styleloom.types import GrowthState
from tiny import make_archive, tiny

SETS = (
    "fd24_proj,fd24_full_proj,fd24_random_proj,kid24_proj,is24_proj,pr24_proj,swd24,ms_ssim12,"
    "ms_ssim_per_channel12"
)
PROBES = "ppl_zfull16_proj,ppl2_wend16_proj,ppl_images8_proj,resolution_usage8,jacobian2"
TWO_LEVELS = ("resolution=16",)


@pytest.fixture
def projection() -> Iterator[Projection]:
    with plugged(Projection()) as network:
        yield network


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("suite"), 20, side=16)


@pytest.fixture
def subject(archive: Path) -> Subject:
    experiment = tiny(*TWO_LEVELS)
    generator = build_generator(experiment.generator).eval().requires_grad_(False)
    return Subject(
        "s", {"path": "s"}, Sampler(generator, experiment), RealImages(open_dataset(archive), mirror=True)
    )


def evaluation(names: str, **fields) -> Evaluation:
    return Evaluation(parse_all(names), FeatureNetworks(torch.device("cpu")), **fields)


def test_every_metric_of_sets_and_generators(projection: Projection, subject: Subject) -> None:
    document = evaluation(f"{SETS},{PROBES}").run(subject, repeats=2)
    assert document == json.loads(json.dumps(document, allow_nan=False))
    assert list(document["metrics"]) == f"{SETS},{PROBES}".split(",")
    for name, entry in document["metrics"].items():
        first = next(iter(entry["values"].values()))
        assert (first["n"], len(first["each"])) == (2, 2), name
        assert first["low"] <= first["mean"] <= first["high"]
        assert first["each"][0] != first["each"][1], name  # repeats take other latents
        assert entry["definition"]
    assert document["networks"] == {
        kind: {"projection": projection.identity} for kind in ("features", "distances")
    }
    assert (document["truncation"], document["seed"], document["first_seeds"]) == ("none", 0, [0, 2**20])
    assert document["environment"]["versions"]["torch"] == torch.__version__
    reals = document["metrics"]["fd24_proj"]["reals"]
    assert (reals["mirror"], reals["choice"], reals["used"], reals["count"]) == (True, "first", 24, 20)
    full = document["metrics"]["fd24_full_proj"]["reals"]
    assert (full["mirror"], full["choice"], full["used"]) == (False, "full", 20)
    assert document["metrics"]["kid24_proj"]["reals"]["used"] == 20  # reals do not repeat there


def test_the_number_is_that_of_its_definition(projection: Projection, subject: Subject) -> None:
    """A Fréchet distance, from images that are made and looked at here once more."""
    document = evaluation("fd24_proj").run(subject)
    assert isinstance(subject.source, Sampler)
    assert subject.reals is not None
    fakes, reals = Moments(), Moments()
    fakes.add(projection.features(subject.images().images(range(24)), ["out"])["out"])
    reals.add(projection.features(subject.reals.images("first").images(range(24)), ["out"])["out"])
    assert primary_value(document, "fd24_proj") == pytest.approx(frechet_distance(reals, fakes), rel=1e-6)


@pytest.mark.parametrize("batch", [1, 5, 7, 100])
def test_the_batch_changes_nothing_but_rounding(projection: Projection, subject: Subject, batch: int) -> None:
    names = f"{SETS},{PROBES}"
    whole = evaluation(names, batch=8).run(subject)
    other = evaluation(names, batch=batch).run(subject)
    for name in names.split(","):
        for label, value in whole["metrics"][name]["values"].items():
            found = other["metrics"][name]["values"][label]["mean"]
            # Path lengths divide by 1e-8 what float32 images differ by.
            tolerance = 2e-2 if "ppl" in name else 2e-3
            assert found == pytest.approx(value["mean"], rel=tolerance, abs=1e-4), label


def test_images_are_made_once_for_all_metrics(projection: Projection, subject: Subject) -> None:
    evaluation("fd24_proj,kid24_proj,pr24_proj,is24_proj").run(subject)
    assert projection.calls == 24 + 24  # generated and real; the layers share a pass, too


def test_reals_are_looked_at_once_for_all_repeats(projection: Projection, subject: Subject) -> None:
    evaluation("fd24_proj").run(subject, repeats=3)
    assert projection.calls == 3 * 24 + 24


def test_cached_reals_give_the_same_numbers(projection: Projection, subject: Subject, tmp_path: Path) -> None:
    cache = StatisticsCache(tmp_path)
    names = "fd24_proj,kid24_proj"
    first = evaluation(names, cache=cache).run(subject)
    assert projection.calls == 48
    again = evaluation(names, cache=cache).run(subject)
    assert projection.calls == 48 + 24
    for name in names.split(","):
        assert again["metrics"][name]["values"] == first["metrics"][name]["values"]
        assert first["metrics"][name]["reals"]["statistics"] == "computed"
        assert again["metrics"][name]["reals"]["statistics"] == "cached"
        assert again["metrics"][name]["reals"]["made"] == first["metrics"][name]["reals"]["made"]


@pytest.mark.parametrize("changed", ["images", "size", "mirror", "seed", "count", "weights", "rule"])
def test_statistics_of_anything_else_are_not_taken(
    projection: Projection, subject: Subject, tmp_path: Path, archive: Path, changed: str
) -> None:
    cache = StatisticsCache(tmp_path / "cache")
    evaluation("fd24_proj", cache=cache).run(subject)
    reals = subject.reals
    assert reals is not None
    names = {"count": "fd25_proj", "rule": "fd24_random_proj"}.get(changed, "fd24_proj")
    if changed == "images":
        reals = replace(reals, source=open_dataset(make_archive(tmp_path, 21, side=16)))
    elif changed == "size":
        experiment = tiny()
        sampler = Sampler(build_generator(experiment.generator).eval(), experiment)
        subject = replace(subject, source=sampler)
        reals = replace(reals, source=open_dataset(archive).at(8))
    elif changed == "mirror":
        reals = replace(reals, mirror=False)
    elif changed == "seed":
        reals = replace(reals, seed=5)
    elif changed == "weights":
        projection.weights = "w2"
    projection.calls = 0
    document = evaluation(names, cache=cache).run(replace(subject, reals=reals))
    number = int(names[2:4])
    assert projection.calls == 2 * number
    assert document["metrics"][names]["reals"]["statistics"] == "computed"


def test_a_renamed_archive_finds_its_statistics(
    projection: Projection, subject: Subject, tmp_path: Path, archive: Path
) -> None:
    cache = StatisticsCache(tmp_path / "cache")
    evaluation("fd24_proj", cache=cache).run(subject)
    copy = tmp_path / "other-name.zip"
    copy.write_bytes(archive.read_bytes())
    reals = RealImages(open_dataset(copy), mirror=True)
    document = evaluation("fd24_proj", cache=cache).run(replace(subject, reals=reals))
    assert document["metrics"]["fd24_proj"]["reals"]["statistics"] == "cached"


def test_nothing_global_is_touched(projection: Projection, subject: Subject) -> None:
    assert isinstance(subject.source, Sampler)
    trunk = subject.source.generator.synthesis_network
    assert isinstance(trunk, Trunk)
    trunk.trunk_dtype = torch.bfloat16
    torch.manual_seed(7)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index, union-attr]
    evaluation(f"{SETS},{PROBES}").run(subject)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # type: ignore[index, arg-type]
    assert trunk.trunk_dtype == torch.bfloat16


def test_metrics_are_computed_in_float32(projection: Projection, subject: Subject) -> None:
    exact = evaluation("fd24_proj").run(subject)
    assert isinstance(subject.source, Sampler)
    trunk = subject.source.generator.synthesis_network
    assert isinstance(trunk, Trunk)
    trunk.trunk_dtype = torch.bfloat16
    assert evaluation("fd24_proj").run(subject)["metrics"] == exact["metrics"]


def test_two_sets_of_images(projection: Projection, archive: Path, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "images", 20, 16)  # what the archive was made of
    files = FileImages(open_source(folder))
    same = Subject("folder", {"path": "folder"}, files, RealImages(open_dataset(archive)))
    document = evaluation("fd20_full_proj,kid20_proj,pr20_proj").run(same)
    values = {name: e["values"] for name, e in document["metrics"].items()}
    assert values["fd20_full_proj"]["fd20_full_proj"]["mean"] == pytest.approx(0, abs=1e-6)
    assert values["pr20_proj"]["pr20_proj precision"]["mean"] == 1
    assert values["pr20_proj"]["pr20_proj recall"]["mean"] == 1
    backwards = Subject("set", {"path": "set"}, DatasetImages(open_dataset(archive)), RealImages(files))
    assert primary_value(evaluation("fd20_proj").run(backwards), "fd20_proj") == pytest.approx(0, abs=1e-6)


def test_mixed_latents_are_compared_apart(projection: Projection, subject: Subject) -> None:
    document = evaluation("fd24_proj,fd24_mix2_proj,fd24_mix1_proj").run(subject)
    one, two, alone = (primary_value(document, name) for name in document["metrics"])
    assert one == alone != two


def test_growing_snapshots_are_compared_at_their_level(projection: Projection, archive: Path) -> None:
    experiment = tiny(*TWO_LEVELS)
    growing = get("stylegan2-d").with_data(resolution=16)
    shape = replace(growing.generator, z_dim=16, w_dim=16, features=experiment.generator.features)
    growing = replace(growing, generator=shape)
    sampler = Sampler(build_generator(growing.generator).eval(), growing, GrowthState(1, 0.5))
    at_level = Subject("s", {"path": "s"}, sampler, RealImages(open_dataset(archive).at(8)))
    assert primary_value(evaluation("fd24_proj").run(at_level), "fd24_proj") > 0
    with pytest.raises(UserError, match=r"8x8 px with 3 channels.*16x16 px"):
        evaluation("fd24_proj").run(replace(at_level, reals=RealImages(open_dataset(archive))))


def test_files_are_mirrored_where_training_was(
    projection: Projection, subject: Subject, tmp_path: Path
) -> None:
    files = FileImages(open_source(make_folder(tmp_path / "images", 24, 16)))
    found = []
    for mirror in (False, True):
        reals = RealImages(files, mirror, seed=2)
        images = reals.images("first")
        assert images.record().get("mirror") is mirror
        found.append(images.images(range(24)))
        parts = [images.images(range(i, i + 8)) for i in (0, 8, 16)]
        assert torch.equal(torch.cat(parts), found[-1])
        assert torch.equal(reals.images("full").images(range(24)), found[0])
    flipped = [not torch.equal(a, b) for a, b in zip(*found, strict=True)]
    assert all(torch.equal(b, a.flip(2)) for a, b, f in zip(*found, flipped, strict=True) if f)
    assert 4 < sum(flipped) < 20


def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(
    projection: Projection, subject: Subject, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    document = evaluation("fd24_proj", cache=StatisticsCache(tmp_path / "file")).run(subject)
    assert document["metrics"]["fd24_proj"]["reals"]["statistics"] == "computed"
    assert "statistics of real images are not kept" in caplog.text


@pytest.mark.parametrize(
    ("size", "names", "message"),
    [
        ((4, 4), "swd4", "swd4: images of 4x4 px are too small; valid: 8"),
        ((8, 8), "ms_ssim4", "ms_ssim4: images of 8x8 px are too small; valid: 16"),
        ((20, 20), "swd4", "swd4: images of 20x20 px cannot be halved"),
    ],
)
def test_sizes_that_a_metric_cannot_look_at(
    projection: Projection, size: tuple[int, int], names: str, message: str, tmp_path: Path
) -> None:
    for i in range(8):
        Image.new("RGB", size, (i, 0, 0)).save(tmp_path / f"{i}.png")
    files = FileImages(open_source(tmp_path))
    with pytest.raises(UserError, match=message):
        evaluation(f"fd8_proj,{names}").run(Subject("files", {}, files, RealImages(files)))
    assert projection.calls == 0


def test_a_network_that_cannot_take_the_size(
    projection: Projection, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("Output size is too small")

    monkeypatch.setattr(projection, "distance", fails)
    with pytest.raises(UserError, match="ppl_wend16_proj: projection cannot compare images of 8x8 px"):
        evaluation("ppl_wend16_proj").run(subject)


def test_labels_of_another_data_set_are_refused(
    projection: Projection, archive: Path, tmp_path: Path
) -> None:
    experiment = tiny("label_dim=3")
    sampler = Sampler(build_generator(experiment.generator).eval(), experiment)
    labelled = RealImages(open_dataset(make_archive(tmp_path, 20, labels="folders")))
    with pytest.raises(UserError, match="labels: those of the data have 2 numbers, this generator takes 3"):
        evaluation("ppl2_wend16_proj").run(Subject("s", {}, sampler, labelled))
    with pytest.raises(UserError, match="labels: this generator needs them"):
        evaluation("ppl2_wend16_proj").run(Subject("s", {}, sampler))


# ---- refusals


@pytest.mark.parametrize(
    ("preset", "name", "message"),
    [
        ("progan", "ppl_wend16_proj", "space: 'w' is not valid"),
        ("progan", "ppl_images8_proj", "space: 'w' is not valid"),
        ("progan", "fd24_mix2_proj", "num_latents: 2 is not valid"),
        ("msg-progan", "resolution_usage8", "resolution usage: .* msg-progan"),
        ("stylegan2-f", "jacobian1", "jacobian1: 1 is too few"),
    ],
)
def test_what_a_generator_does_not_have(
    projection: Projection, preset: str, name: str, message: str, archive: Path
) -> None:
    sampler = real(preset)
    reals = RealImages(open_dataset(archive))
    case = Subject("s", {"path": "s"}, sampler, reals)
    with pytest.raises(UserError, match=message):
        evaluation(f"fd24_proj,{name}").run(case)
    assert projection.calls == 0


def test_refusals_come_before_any_work(projection: Projection, subject: Subject, tmp_path: Path) -> None:
    files = FileImages(open_source(make_folder(tmp_path / "few", 5, 16)))
    few = replace(subject, name="few", source=files)
    cases = [
        (replace(subject, reals=None), "fd24_proj", "fd24_proj: needs real images.*--data"),
        (few, "fd24_proj", r"fd24_proj: needs 24 images, few has 5; a number in the metric's name"),
        (few, "ppl2_wend_proj", "ppl2_wend_proj: needs a generator; few holds images"),
        (replace(subject, reals=RealImages(files)), "pr24_proj,fd24_full_proj", None),
        (
            replace(subject, reals=RealImages(files)),
            "fd24_proj",
            r"needs 24 real images, .* has 5; .*_full takes all",
        ),
        (
            replace(subject, reals=RealImages(files)),
            "kid24_random_proj",
            "holds files.*metric without _random",
        ),
        (few, "fd5_mix2_proj", "fd5_mix2_proj: mixes the latents of a generator; few holds images"),
        (subject, "pr3_proj", "pr3_proj: 3 images are too few; valid: at least 4"),
        (subject, "is5_proj", "is5_proj: 5 images are too few; valid: at least 10"),
        (subject, "separability", "separability: needs classifiers.*train-classifiers.*--classifiers"),
        (subject, "separability_primal", "separability_primal: needs classifiers.*--classifiers"),
        (subject, "stability", "stability: compares snapshots; give a run directory"),
    ]
    for case, names, message in cases:
        if message is None:
            evaluation(names).run(case)
            continue
        projection.calls = 0
        with pytest.raises(UserError, match=message):
            evaluation(f"fd12_full_proj,{names}" if case.reals and case is not few else names).run(case)
        assert projection.calls == 0


def test_too_few_reals_say_how_many_are_needed(
    projection: Projection, subject: Subject, tmp_path: Path
) -> None:
    reals = RealImages(open_dataset(make_archive(tmp_path, 3, side=16)))
    with pytest.raises(UserError, match=r"pr24_proj: needs 4 real images or more, .* has 3"):
        evaluation("pr24_proj").run(replace(subject, reals=reals))


def test_other_channels_are_refused(projection: Projection, subject: Subject, tmp_path: Path) -> None:
    reals = RealImages(open_dataset(make_archive(tmp_path, 20, side=16, channels=1)))
    with pytest.raises(UserError, match=r"3 channels.*1 channel; valid: the same"):
        evaluation("fd24_proj").run(replace(subject, reals=reals))


@pytest.mark.parametrize("repeats", [0, -1])
def test_repeats_are_at_least_one(projection: Projection, subject: Subject, repeats: int) -> None:
    with pytest.raises(UserError, match=r"repeats: .* valid: 1 or more"):
        evaluation("fd24_proj").run(subject, repeats)


def test_images_are_not_repeated(projection: Projection, subject: Subject, tmp_path: Path) -> None:
    files = FileImages(open_source(make_folder(tmp_path / "images", 24, 16)))
    with pytest.raises(UserError, match=r"repeats: 2 .* valid: 1"):
        evaluation("fd24_proj").run(replace(subject, source=files), 2)


# ---- what has no value


def test_a_metric_that_fails_costs_no_other(projection: Projection, subject: Subject) -> None:
    """Features of one layer are not finite; the metrics that do not look there go on."""

    class Overflowing(Projection):
        def features(self, images_u8: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
            found = super().features(images_u8, layers)
            if "classes" in found:
                found["classes"][-1, 0] = torch.inf
            return found

    networks = FeatureNetworks(torch.device("cpu"), _features={"projection": Overflowing()})
    names = "is24_proj,fd24_proj,kid24_proj,swd24"
    document = Evaluation(parse_all(names), networks, batch=8).run(subject)
    assert document == json.loads(json.dumps(document, allow_nan=False))
    assert list(errors(document)) == ["is24_proj"]
    assert "features of image 7 hold inf" in document["metrics"]["is24_proj"]["error"]
    expected = evaluation("fd24_proj,kid24_proj,swd24", batch=8).run(subject)["metrics"]
    for name, entry in expected.items():
        assert document["metrics"][name]["values"] == entry["values"]
    with pytest.raises(UnmeasurableError, match="is24_proj: features of image 7 hold inf"):
        primary_value(document, "is24_proj")


def test_a_generator_that_makes_nan(projection: Projection, subject: Subject) -> None:
    assert isinstance(subject.source, Sampler)
    with torch.no_grad():
        next(subject.source.generator.mapping_network.parameters()).fill_(torch.nan)
    names = "fd24_proj,swd24,ppl2_wend16_proj,jacobian2"
    document = evaluation(names).run(subject, repeats=2)
    assert list(errors(document)) == names.split(",")
    assert "NaN or infinite pixels, first with seed 0" in document["metrics"]["swd24"]["error"]
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_reals_without_a_value_are_not_kept(
    projection: Projection, subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = projection.features

    def features(images: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        return {layer: x * torch.nan for layer, x in looked(images, layers).items()}

    monkeypatch.setattr(projection, "features", features)
    cache = StatisticsCache(tmp_path)
    assert list(errors(evaluation("fd24_proj", cache=cache).run(subject))) == ["fd24_proj"]
    assert not list(tmp_path.iterdir())


def test_kept_statistics_of_another_shape_are_made_anew(
    projection: Projection, subject: Subject, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Files whose description is right and whose tensors are not."""
    cache = StatisticsCache(tmp_path)
    names = "fd24_proj,kid24_proj"
    expected = evaluation(names, cache=cache).run(subject)["metrics"]
    files = sorted(tmp_path.iterdir())
    damages = [
        lambda tensors: {},
        lambda tensors: {name: x[..., :0] if x.ndim else x for name, x in tensors.items()},
        lambda tensors: {name: x * torch.nan if x.is_floating_point() else x for name, x in tensors.items()},
        lambda tensors: {name: x + 1 if name == "count" else x[:-1] for name, x in tensors.items()},
    ]
    for damage in damages:
        for file in files:
            tensors, document = read_tensors(file, "styleloom-statistics")
            write_tensors(file, damage(tensors), {k: v for k, v in document.items() if k != "sha256"})
        found = evaluation(names, cache=cache).run(subject)["metrics"]
        assert caplog.text.count("statistics are made anew") == 2
        caplog.clear()
        for name, entry in found.items():
            assert entry["values"] == expected[name]["values"]
            assert entry["reals"]["statistics"] == "computed"
