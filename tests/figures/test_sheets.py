"""Sheets of images: what stands where."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import styleloom
from every import every
from styleloom.figures import layout, variation
from styleloom.figures.random_images import ROWS, SIZES

from .tiny_runs import KINDS, figure, run, snapshot

GAP = layout.GAP


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("figures")


def contains(sheet: Tensor, image: Tensor) -> bool:
    """Whether an image [3, h, w] stands in a sheet, found by its first row."""
    h, w = image.shape[1:]
    windows = sheet.unfold(1, h, 1).unfold(2, w, 1)  # [3, y, x, h, w]
    return bool((windows == image[:, None, None]).flatten(3).all(3).all(0).any())


def images_of(path: Path, seeds: list[int], psi: float = 1.0, noise: str | int = "random") -> Tensor:
    sampler = styleloom.load(path, "cpu", "fp32")
    return layout.rgb(sampler.generate(seeds, psi, noise=noise))  # type: ignore[arg-type]


def test_a_plain_sheet(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Images in their order, without gaps, each pixel enlarged; the record says how to make it again."""
    path = snapshot(folder, "stylegan2")
    words = (path, "--seeds", "3-7", "--columns", "3", "--zoom", "2", "--truncation", "0.7")
    pixels, record = figure(capsys, "msg-gan-3", *words, out=folder / "plain.png")
    assert pixels.shape == (3, 2 * 32, 3 * 32)
    expected = images_of(path, [3, 4, 5, 6, 7], 0.7)
    assert torch.equal(pixels[:, ::2, ::2][:, 16:, 16:32], expected[4])
    assert (pixels[:, 32:, 64:] == 255).all()
    assert record["figure"] == "msg-gan-3"
    assert record["options"]["seeds"] == [[3, 4, 5, 6, 7], ["torch"] * 5]
    assert record["snapshots"][0]["sha256"] == styleloom.load(path, "cpu").snapshot_sha256


def test_several_sizes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """StyleGAN Figure 2: columns of half the size hold twice as many images, truncated up to 32 px."""
    path = snapshot(folder, "stylegan2")
    pixels, record = figure(capsys, "stylegan-2", path, "--zoom", "16", out=folder / "sizes.png")
    parts = [n for n in SIZES if n == 1 or 16 * 16 // n >= 64]
    assert pixels.shape == (3, ROWS * 256, sum(256 // n for n in parts))
    assert (record["truncation"], record["truncation_layers"]) == (0.7, 6)
    large = pixels[:, :256:16, :256:16]
    assert torch.equal(large, images_of(path, [0], 0.7)[0])
    half = pixels[:, :128:8, 256 : 256 + 128 : 8]
    assert torch.equal(half, images_of(path, [ROWS], 0.7)[0])


@every("kind", [kind for kind in KINDS if kind != "labels"])
def test_every_family_has_random_images(folder: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    pixels, record = figure(capsys, "stylegan-2", snapshot(folder, kind), out=folder / f"{kind}.png")
    assert pixels.float().std() > 0
    styles = kind not in ("progan", "traditional", "msg-progan")
    assert record["truncation"] == (0.7 if styles else 1.0)


def test_labels(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (snapshot(folder, "labels"), "--count", "4", "--columns", "2", "--zoom", "1")
    one, _ = figure(capsys, "progan-5", *words, "--classes", "0", out=folder / "a.png")
    other, record = figure(capsys, "progan-5", *words, "--classes", "1", out=folder / "b.png")
    assert not torch.equal(one, other)
    assert record["class"] == 1


def test_side_by_side(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same seeds of several snapshots, of any size and family."""
    paths = [snapshot(folder, kind) for kind in ("stylegan2", "progan", "rectangular")]
    words = ("--seeds", "5,9", "--columns", "2", "--zoom", "1")
    pixels, _ = figure(capsys, "progan-3", *paths, *words, out=folder / "side.png")
    for path in paths:
        assert all(contains(pixels, image) for image in images_of(path, [5, 9]))


def test_mixing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A at the left, B at the top; a generator of 16 px has coarse and middle styles only."""
    path = snapshot(folder, "stylegan")
    words = (path, "--seeds", "0-4", "--sources", "7,8", "--zoom", "1")
    pixels, record = figure(capsys, "stylegan-3", *words, out=folder / "mix.png")
    assert record["styles"] == {"coarse": [0, 1, 2, 3], "middle": [4, 5]}
    sampler = styleloom.load(path, "cpu", "fp32")
    a, b = sampler.latents([0], noise="fixed"), sampler.latents([7], noise="fixed")
    ws = a.values.clone()
    ws[:, :4] = b.values[:, :4]
    mixture = sampler.generator.synthesis(ws, None, "fixed")
    assert isinstance(mixture, Tensor)
    for image in (*images_of(path, [0, 4, 7, 8], noise="fixed"), layout.rgb(mixture)[0]):
        assert contains(pixels, image)


def test_rows_are_dealt() -> None:
    assert variation.dealt(6, [3, 2, 1]) == [(0, 3), (3, 5), (5, 6)]
    assert variation.dealt(1, [3, 2]) == [(0, 1), (1, 1)]


def test_truncation(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = snapshot(folder, "stylegan2")
    pixels, _ = figure(capsys, "stylegan-8", path, "--seeds", "4", "--zoom", "1", out=folder / "psi.png")
    for psi in variation.PSIS:
        assert contains(pixels, images_of(path, [4], psi, "fixed")[0])


def test_noise(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """StyleGAN Figures 4 and 5, MSG-GAN Figure 8."""
    path = snapshot(folder, "msg-stylegan")
    words = (path, "--seeds", "2", "--zoom", "1")
    pixels, record = figure(capsys, "stylegan-4", *words, "--draws", "5", out=folder / "4.png")
    assert contains(pixels, images_of(path, [2])[0])
    assert record["deviation_white"][0] > 0
    pixels, _ = figure(capsys, "stylegan-5", *words, out=folder / "5.png")
    sampler = styleloom.load(path, "cpu", "fp32")
    latents = sampler.latents([2])
    assert latents.noise is not None
    coarse = [n if n.shape[2] == 4 else n * 0 for n in latents.noise]
    fine = [n if n.shape[2] > 4 else n * 0 for n in latents.noise]
    for maps in (coarse, fine):
        images = sampler.generator.synthesis(latents.values, None, maps)
        assert contains(pixels, layout.rgb(images[-1])[0])
    assert contains(pixels, images_of(path, [2], noise="none")[0])
    words = (path, "--seeds", "2", "--columns", "2", "--draws", "3", "--zoom", "1")
    pixels, _ = figure(capsys, "msg-gan-8", *words, out=folder / "8.png")
    assert all(contains(pixels, images_of(path, [2], noise=seed)[0]) for seed in (0, 1))


def test_the_deviation_is_that_of_the_images(folder: Path) -> None:
    sampler = styleloom.load(snapshot(folder, "stylegan2"), "cpu", "fp32")
    latent = sampler.latents([1])

    class Told:
        def progress(self, what: str, done: int, total: int) -> None: ...

    found = variation.moments(Told(), sampler, latent, 20)  # type: ignore[arg-type]
    images = torch.cat([sampler.render(sampler.with_noise(latent, seed)) for seed in range(20)]).double()
    expected = (images.var(0, unbiased=False).mean(0)).sqrt() / 2
    torch.testing.assert_close(found, expected)
    y, x = variation.window(torch.nn.functional.pad(torch.ones(3, 3), (2, 11, 9, 4)))
    assert (y.start, x.start) in {(9, 2), (9, 1), (8, 2), (8, 1)}


def test_levels(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All levels of a pyramid, enlarged to one size; the same of a run's snapshots."""
    path = snapshot(folder, "msg-progan")
    pixels, _ = figure(capsys, "msg-gan-1", path, "--seeds", "3", "--zoom", "1", out=folder / "levels.png")
    sampler = styleloom.load(path, "cpu", "fp32")
    z, maps = sampler.draw([3])
    levels = sampler.generator(z, noise=maps)
    for image in levels:
        assert contains(pixels, layout.enlarged(layout.rgb(image), 16 // image.shape[2])[0])
    trained = run(folder, "msg-stylegan", (1000, 2000, 3000, 4000))
    words = (trained, "--columns", "3", "--zoom", "1")
    pixels, record = figure(capsys, "msg-gan-5", *words, out=folder / "training.png")
    assert record["shown"] == [f"snapshot-00000{n}.safetensors" for n in (1, 3, 4)]
    last = styleloom.load(trained / "snapshot-000004.safetensors", "cpu", "fp32")
    assert contains(pixels, layout.rgb(last.generate([0]))[0])


def test_growth(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Images of the levels on the way are shown as large as those at the end."""
    trained = run(folder, "growing", (100_000, 1_500_000, 25_000_000))
    words = (trained, "--count", "2", "--zoom", "1")
    pixels, _ = figure(capsys, "progan-1", *words, out=folder / "growth.png")
    first = styleloom.load(trained / "snapshot-000100.safetensors", "cpu", "fp32")
    assert first.resolution == 8
    assert contains(pixels, layout.enlarged(layout.rgb(first.generate([1])), 2)[0])
    last = styleloom.load(trained / "snapshot-025000.safetensors", "cpu", "fp32")
    assert contains(pixels, layout.rgb(last.generate([1]))[0])
