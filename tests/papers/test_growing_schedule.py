"""The course of growing runs in the papers and their authors' code: 8.4M images to full resolution."""

from __future__ import annotations

import math

from every import every
from styleloom import presets
from styleloom.config.growth import lod_at
from styleloom.runs.plan import timeline

# StyleGAN Fig. 9: at 8.4M images training has progressed to full resolution; it ends at 25M.
# kimg: (level of detail, resolution of the tables, total batch on 8 GPUs, learning rate)
STYLEGAN = {
    0: (7, 8, 256, 0.001),
    600: (7, 16, 128, 0.001),
    1200: (6, 16, 128, 0.001),
    1800: (6, 32, 64, 0.001),
    2400: (5, 32, 64, 0.001),
    3000: (5, 64, 32, 0.001),
    3600: (4, 64, 32, 0.001),
    4200: (4, 128, 32, 0.0015),
    4800: (3, 128, 32, 0.0015),
    5400: (3, 256, 32, 0.002),
    6000: (2, 256, 32, 0.002),
    6600: (2, 512, 32, 0.003),
    7200: (1, 512, 32, 0.003),
    7800: (1, 1024, 32, 0.003),
    8400: (0, 1024, 32, 0.003),
    25000: (0, 1024, 32, 0.003),
}


@every("name", ["stylegan-b", "stylegan-f", "stylegan2-a", "stylegan2-d"])
def test_from_8_px_at_0_to_1024_px_at_8400_to_the_end_at_25000(name: str) -> None:
    experiment = presets.get(name)
    rows = timeline(experiment)
    assert [row["kimg"] for row in rows] == list(STYLEGAN)
    for row in rows:
        lod, resolution, batch, rate = STYLEGAN[int(row["kimg"])]
        assert lod_at(row["kimg"] * 1000, experiment.growth, 1024) == lod
        assert (row["resolution"], row["batch"], row["learning_rate"]) == (resolution, batch, rate)
        assert row["level"] == math.log2(resolution) - 2
        # at its first point a level that fades in still has weight 0: there the level of detail is whole
        assert row["alpha"] == (1 if 2 ** (10 - lod) == resolution else 0)


def test_progan_from_4_px() -> None:
    """StyleGAN's configuration A: full resolution at 9.6M images, 12M in all."""
    rows = timeline(presets.get("stylegan-a"))
    assert (rows[0]["kimg"], rows[0]["level"], rows[0]["resolution"]) == (0, 0, 4)
    full = [row["kimg"] for row in rows if row["resolution"] == 1024 and row["alpha"] == 1]
    assert full == [9600, 12000]


def test_progan_of_the_papers_results() -> None:
    """Phases of 800 kimg: full resolution at 12.8M images, 19M in all, with a batch of 3 there.

    The learning rate rises over the first 40 kimg.
    """
    rows = timeline(presets.get("progan"))
    assert [row["kimg"] for row in rows] == [0, 40, *range(800, 12801, 800), 19000]
    assert [row["learning_rate"] for row in rows] == [0, *[0.001] * (len(rows) - 1)]
    assert [row["batch"] for row in rows[-3:]] == [3, 3, 3]


@every(
    ("name", "full", "end"),
    [
        ("stylegan-f-bedroom", 6000, 70000),
        ("stylegan-f-car", 7200, 46000),
        ("stylegan2-a-car", 7200, 57000),
        ("stylegan2-a-cat", 6000, 88000),
    ],
)
def test_smaller_images_are_complete_sooner(name: str, full: float, end: float) -> None:
    """1200 kimg for each doubling from 8 px on."""
    rows = timeline(presets.get(name))
    assert [row["kimg"] for row in rows[-2:]] == [full, end]
    assert rows[-2]["resolution"] == presets.get(name).resolution
