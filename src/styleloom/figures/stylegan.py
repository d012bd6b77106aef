"""The figures of StyleGAN (Karras et al. 2019)."""

from __future__ import annotations

from styleloom.figures import random_images, training_plots, variation
from styleloom.figures.figure import NOISE, STYLES, TRUNCATION, Figure

UNCURATED = {"seeds": None, "truncation": None, "zoom": None}

FIGURES = (
    Figure(
        "stylegan-2",
        "uncurated images in several sizes, psi 0.7 in the layers up to 32 px",
        random_images.several_sizes,
        options=UNCURATED,
    ),
    Figure(
        "stylegan-3",
        "style mixing: coarse, middle and fine styles of source B in images of source A",
        variation.style_mixing,
        needs=(STYLES,),
        options={"seeds": None, "sources": None, "columns": 5, "truncation": 1.0, "zoom": None},
    ),
    Figure(
        "stylegan-4",
        "stochastic variation: crops with other noise, deviation over many realizations",
        variation.stochastic_variation,
        needs=(NOISE,),
        options={"seeds": None, "count": 2, "draws": 100, "truncation": 1.0, "zoom": None},
    ),
    Figure(
        "stylegan-5",
        "noise in all layers, in none, in fine or in coarse layers alone",
        variation.noise_layers,
        needs=(NOISE,),
        options={"seeds": None, "count": 1, "truncation": 1.0, "zoom": None},
    ),
    Figure(
        "stylegan-7",
        "images of the data",
        random_images.of_data,
        snapshots=(0, 0),
        data=True,
        options={"seeds": None, "count": 32, "columns": 8, "zoom": None},
    ),
    Figure(
        "stylegan-8",
        "truncation: psi 1, 0.7, 0.5, 0, -0.5, -1",
        variation.truncation,
        needs=(TRUNCATION,),
        options={"seeds": None, "count": 3, "zoom": None},
    ),
    Figure(
        "stylegan-9",
        "distance to real images and path length during training, of one run or several",
        training_plots.metrics_in_training,
        snapshots=(1, None),
        runs=True,
        options={"metric": None, "scores": None},
        plot=True,
    ),
    *(
        Figure(
            f"stylegan-{number}",
            f"uncurated images of LSUN {name}, or of any snapshot, in several sizes",
            random_images.several_sizes,
            options=UNCURATED,
        )
        for number, name in ((10, "Bedroom"), (11, "Car"), (12, "Cat"))
    ),
)
