"""Figures that measure a generator or search data: feature maps, path lengths, projections, neighbours."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import styleloom
from every import every
from styleloom.attribution.calibration import save_calibration
from styleloom.figures import feature_maps, layout, neighbours, smoothness
from styleloom.figures.figure import NOISE, OPAQUE, TRUNCATION, W
from styleloom.figures.registry import FIGURES
from styleloom.metrics.probes import jacobian
from tiny import make_archive

from .test_sheets import contains, images_of
from .tiny_runs import KINDS, figure, refusal, run, snapshot


class Squares:
    """A distance that sees pixels alone, in place of a network."""

    identity = {"name": "squares"}  # noqa: RUF012

    def embed(self, images: Tensor) -> Sequence[Tensor]:
        return [images]

    def between(self, a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
        return (a[0] - b[0]).square().mean((1, 2, 3))

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return self.between(self.embed(a), self.embed(b))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("probes")


@pytest.fixture(autouse=True)
def _pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("smoothness", "projections", "neighbours", "attributed"):
        monkeypatch.setattr(f"styleloom.figures.{module}.load_distance", lambda name, device: Squares())


def panels(out: Path) -> list[dict[str, Any]]:
    return json.loads(out.with_suffix(".json").read_text())["panels"]


# ---- features


@pytest.mark.parametrize("kind", ["stylegan2", "progan", "traditional", "rectangular", "msg-stylegan"])
def test_features_are_those_of_every_level(folder: Path, kind: str) -> None:
    sampler = styleloom.load(snapshot(folder, kind), "cpu", "fp32")
    latents = sampler.latents([0, 1, 2])
    found = feature_maps.features(sampler, latents)
    generator = sampler.experiment.generator
    assert {side: tuple(maps.shape[2:]) for side, maps in found.items()} == {
        side: generator.size_at(side) for side in generator.sides
    }
    assert all(len(maps) == 3 and maps.var() > 0 for maps in found.values())
    alone = feature_maps.features(sampler, latents[2])
    assert torch.equal(alone[16][0], found[16][2])


def test_a_droplet_is_a_peak_and_checks_are_high_frequencies() -> None:
    plain = torch.randn(16, 16, generator=torch.Generator().manual_seed(0))
    drop = plain.clone()
    drop[3, 4] = 50
    assert feature_maps.peaks(drop) > 2 * feature_maps.peaks(plain)
    y, x = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    fine, coarse = ((x + y) % 2).float()[None, None], torch.sin(x / 16 * 6.2832)[None, None]
    assert feature_maps.high_share(fine) == pytest.approx(1)
    assert feature_maps.high_share(coarse) == pytest.approx(0, abs=1e-6)
    assert feature_maps.high_share(torch.ones(1, 1, 4, 4)) == 0


def test_droplets(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """StyleGAN2 Figures 1, 15 and 16."""
    path = snapshot(folder, "stylegan")
    words = (path, "--seeds", "4,5", "--zoom", "1")
    pixels, record = figure(capsys, "stylegan2-1", *words, "--side", "8", out=folder / "1.png")
    assert (record["side"], len(record["peak"][0])) == ([8], 2)
    sampler = styleloom.load(path, "cpu", "fp32")
    maps = feature_maps.features(sampler, sampler.latents([4, 5]))[8]
    whole = feature_maps.magnitude(maps)[1:]
    shown = layout.enlarged(layout.grey(whole, 0, whole.max().item()), 2)
    assert contains(pixels, shown[0])
    assert contains(pixels, images_of(path, [5])[0])
    assert "--side: 32 is not valid; choose from 4, 8, 16" in refusal(
        capsys, "stylegan2-1", path, "--side", "32", "--out", folder / "no.png"
    )
    pixels, record = figure(capsys, "stylegan2-15", path, "--count", "20", out=folder / "15.png")
    assert len(record["shown"]) == feature_maps.WITHOUT
    assert record["peak"] == sorted(record["peak"])
    assert record["peak"][-1] <= record["median_peak"]
    other = snapshot(folder, "growing")
    _, record = figure(capsys, "stylegan2-16", path, other, out=folder / "16.png")
    assert [set(levels) for levels in record["high"]] == [{"8", "16"}] * 2


# ---- smoothness


def test_path_lengths(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """StyleGAN2 Figures 4, 5, 13: the lengths of `metrics.probes.ppl` and its percentiles."""
    path = snapshot(folder, "stylegan2")
    words = (path, "--count", "20", "--draws", "2")
    out = folder / "histogram.png"
    _, record = figure(capsys, "stylegan2-5", *words, out=out)
    (lengths,) = record["lengths"]
    sampler = styleloom.load(path, "cpu", "fp32")
    expected = smoothness.image_path_lengths(sampler, Squares(), range(16), 2)
    assert lengths[:16] == pytest.approx(expected.tolist())
    (panel,) = panels(out)
    assert sum(panel["series"][0]["y"]) == 20
    assert panel["series"][0]["marked"]
    pixels, record = figure(capsys, "stylegan2-4", *words, "--zoom", "1", out=folder / "4.png")
    order = sorted(range(20), key=lengths.__getitem__)
    assert (set(record["low"]), set(record["high"])) == (set(order[:2]), set(order[-2:]))
    assert all(contains(pixels, image) for image in images_of(path, record["low"] + record["high"]))
    words = (path, snapshot(folder, "stylegan"), "--count", "2", "--draws", "1")
    _, record = figure(capsys, "stylegan2-13", *words, out=folder / "13.png")
    assert [len(values) for values in record["lengths"]] == [2, 2]
    assert "stylegan2-5 measures small differences; valid: fp32" in refusal(
        capsys, "stylegan2-5", path, "--precision", "bf16", "--out", folder / "no.png"
    )


def test_singular_values(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = snapshot(folder, "labels"), folder / "17.png"
    figure(capsys, "stylegan2-17", path, "--seeds", "1,3", "--classes", "2", out=out)
    (panel,) = panels(out)
    sampler = styleloom.load(path, "cpu", "fp32")
    label = torch.tensor([[0.0, 0.0, 1.0]])
    values = torch.stack([jacobian.singular_values(sampler, seed, label) for seed in (1, 3)])
    expected = jacobian.spectrum(values).mean
    assert panel["series"][0]["y"] == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["stylegan2", "progan", "growing"])
def test_phase(folder: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What stays in place is found; frames are those of the walk, with a line."""
    frames = torch.full((5, 3, 16, 16), 100, dtype=torch.uint8)
    frames[:, :, 6:8, 9:] = 200
    for i, frame in enumerate(frames):
        frame[:, 10, 2 + 2 * i :] = 255  # moves
    y, x = smoothness.steadiest(frames)
    assert (y in (6, 7), x) == (True, 8)
    path = snapshot(folder, kind)
    words = (path, "--seeds", "2,8", "--columns", "3", "--zoom", "2")
    pixels, record = figure(capsys, "stylegan2-6", *words, out=folder / f"phase-{kind}.png")
    (place,) = record["marked"]
    first = layout.enlarged(images_of(path, [2]), 2)[0]
    first[:, :, 2 * place["column"] + 1] = torch.tensor(smoothness.LINE, dtype=torch.uint8)[:, None]
    assert contains(pixels, first)


# ---- data


def test_projections(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """StyleGAN2 Figures 10 and 18."""
    data, path = make_archive(folder, 6, 16), snapshot(folder, "stylegan2")
    words = (path, "--data", data, "--steps", "3", "--zoom", "1")
    pixels, record = figure(capsys, "stylegan2-10", *words, "--count", "2", out=folder / "10.png")
    assert len(record["projections"][0]["distances"]) == 4
    real = torch.from_numpy(styleloom.data.open_dataset(data).image(1).copy())
    assert contains(pixels, real)
    assert contains(pixels, images_of(path, [1])[0])
    pixels, record = figure(capsys, "stylegan2-18", *words, "--seeds", "1", out=folder / "18.png")
    assert [found["noise_weight"] for found in record["projections"]] == [0, 1e5]
    assert contains(pixels, real)
    grey = make_archive(folder, 6, 16, 1)
    words = ("stylegan2-18", path, "--data", grey, "--out", folder / "no.png")
    assert "--data: images of 1 channels, 16 x 16 px; the generator makes 3" in refusal(capsys, *words)


def test_attribution(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """StyleGAN2 Figure 9, of a calibration that is there, and measured."""
    kept = folder / "mine.attribution.json"
    sets = {
        name: [{"distance": start + i / 100} for i in range(20)]
        for name, start in (("generated", 0.1), ("real", 1.0))
    }
    wanted = {"false_alarm": 0.05, "miss": 0.05}
    save_calibration(kept, {"method": {"distance": {"name": "mine"}}, "data": {}, **sets, **wanted})
    out = folder / "9.png"
    figure(capsys, "stylegan2-9", "--calibration", kept, out=out)
    (panel,) = panels(out)
    assert (panel["title"], panel["log_x"]) == ("mine: ROC area 1.000", True)
    for series in panel["series"]:
        assert sum(series["y"]) == pytest.approx(100)
    assert panel["series"][0]["y"][-1] == panel["series"][1]["y"][0] == 0
    data, path = make_archive(folder, 20, 16), snapshot(folder, "stylegan2")
    words = (path, "--data", data, "--count", "20", "--steps", "1")
    figure(capsys, "stylegan2-9", *words, out=folder / "measured.png")
    (panel,) = panels(folder / "measured.png")
    assert panel["series"][1]["name"] == "real (20)"
    assert "not valid with snapshots" in refusal(
        capsys, "stylegan2-9", path, "--calibration", kept, "--out", folder / "no.png"
    )


def test_neighbours(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A copy among the data is the first; blocks change nothing."""
    path = snapshot(folder, "rectangular")
    sampler = styleloom.load(path, "cpu", "fp32")
    photos = folder / "photos"
    photos.mkdir()
    images = images_of(path, [11, 3, 12, 4, 13])
    for i in range(20):  # more than a block
        image = images[i] if i < 5 else torch.randint(0, 255, images.shape[1:], dtype=torch.uint8)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(photos / f"{19 - i:02d}.png")
    data = folder / "photos.zip"
    words = ["dataset", "build", str(photos), str(data), "--resolution", "16", "--grid", "3,4"]
    assert styleloom.cli.main(words) == 0
    pixels, record = figure(
        capsys, "progan-10", path, "--data", data, "--seeds", "3,4", "--zoom", "1", out=folder / "near.png"
    )
    dataset = styleloom.data.open_dataset(data)
    for row, image in zip(record["neighbours"], (images[1], images[3]), strict=True):
        assert torch.equal(torch.from_numpy(dataset.image(row[0]).copy()), image)
    assert [row[0] for row in record["distances"]] == [0, 0]
    assert contains(pixels, images[1])
    assert sampler.size == images.shape[2:]

    def blocks(size: int) -> Iterator[Tensor]:
        yield from torch.arange(12.0).reshape(12, 1, 1, 1).split(size)

    for size in (1, 5, 12):
        least, where = neighbours.nearest(Squares(), torch.tensor([[[[4.2]]]]), blocks(size), 3)
        assert where.tolist() == [[4, 5, 3]]
        torch.testing.assert_close(least, torch.tensor([[0.04, 0.64, 1.44]]))


# ---- what families lack


@every("kind", KINDS)
def test_every_figure_says_which_families_it_takes(
    folder: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sampler = styleloom.load(snapshot(folder, kind), "cpu", "fp32")
    lacking = [need for need in (NOISE, OPAQUE, TRUNCATION, W) if not need.met(sampler)]
    for need in lacking:
        name = next(f.name for f in FIGURES.values() if need in f.needs and not f.runs and not f.data)
        words = (name, snapshot(folder, kind), "--out", folder / "no.png")
        assert f"needs a generator with {need.words}" in refusal(capsys, *words)


def test_data_are_reduced_to_the_level_of_a_growing_run(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = run(folder, "growing", (100_000,))
    data = make_archive(folder, 7, 16)
    words = (trained, "--data", data, "--count", "2", "--zoom", "1")
    pixels, record = figure(capsys, "progan-10", *words, out=folder / "level.png")
    nearest = torch.from_numpy(styleloom.data.open_dataset(data).image(record["neighbours"][0][0]).copy())
    assert contains(pixels, layout.reduced(nearest[None], 2)[0])
