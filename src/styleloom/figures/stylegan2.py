"""The figures of StyleGAN2 (Karras et al. 2020)."""

from __future__ import annotations

from styleloom.figures import random_images, training_plots
from styleloom.figures.figure import SKIP, Figure

FIGURES = (
    Figure(
        "stylegan2-8",
        "share of each resolution in the images, during training",
        training_plots.usage,
        snapshots=(1, None),
        runs=True,
        needs=(SKIP,),
        options={"seeds": None, "count": 1024},
        plot=True,
    ),
    Figure(
        "stylegan2-11",
        "images, large: select them with --seeds",
        random_images.plain,
        options={"seeds": None, "count": 6, "columns": 3, "truncation": 0.5, "zoom": None},
    ),
    Figure(
        "stylegan2-12",
        "uncurated images of several snapshots",
        random_images.side_by_side,
        snapshots=(1, None),
        options={"seeds": None, "count": 16, "columns": 8, "truncation": 1.0, "zoom": None},
    ),
)
