"""The figures of StyleGAN2 (Karras et al. 2020)."""

from __future__ import annotations

from styleloom.figures import attributed, feature_maps, projections, random_images, smoothness, training_plots
from styleloom.figures.figure import NOISE, OPAQUE, SKIP, TRUNCATION, Figure, W

MANY = (1, None)

DROPLETS = {"seeds": None, "count": 3, "side": None, "truncation": 1.0, "zoom": None}
PATH_LENGTHS = {"seeds": None, "count": 200, "draws": 8, "distance": None}
PROJECTED = {"seeds": None, "count": 3, "steps": 1000, "distance": None, "zoom": None}

FIGURES = (
    Figure(
        "stylegan2-1",
        "images beside feature maps of a level, in which droplets are spots",
        feature_maps.droplets,
        MANY,
        options=DROPLETS,
    ),
    Figure(
        "stylegan2-3",
        "images beside feature maps without droplets, after demodulation",
        feature_maps.droplets,
        MANY,
        options=DROPLETS,
    ),
    Figure(
        "stylegan2-4",
        "images with a low and with a high path length (10th and 90th percentile)",
        smoothness.by_path_length,
        needs=(W, OPAQUE),
        exact=True,
        options=PATH_LENGTHS | {"columns": 5, "zoom": None},
    ),
    Figure(
        "stylegan2-5",
        "histogram of the path lengths of single images",
        smoothness.histogram,
        MANY,
        needs=(W, OPAQUE),
        exact=True,
        options=PATH_LENGTHS,
        plot=True,
    ),
    Figure(
        "stylegan2-6",
        "details that stay in place during a walk: frames, and one row of pixels over time",
        smoothness.phase,
        MANY,
        options={"seeds": None, "count": 2, "columns": 6, "truncation": 1.0, "zoom": None},
    ),
    Figure(
        "stylegan2-8",
        "share of each resolution in the images, during training",
        training_plots.usage,
        MANY,
        runs=True,
        needs=(SKIP,),
        options={"seeds": None, "count": 1024},
        plot=True,
    ),
    Figure(
        "stylegan2-9",
        "distances of generated and of real images after projection",
        attributed.histograms,
        MANY,
        needs=(TRUNCATION,),
        data=True,
        instead="calibration",
        options={"seeds": None, "count": 100, "steps": 1000, "distance": None, "calibration": None},
        plot=True,
        exact=True,
    ),
    Figure(
        "stylegan2-10",
        "generated and real images above what their projections give",
        projections.pairs,
        MANY,
        needs=(TRUNCATION,),
        data=True,
        exact=True,
        options=PROJECTED | {"truncation": 1.0},
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
        MANY,
        options={"seeds": None, "count": 16, "columns": 8, "truncation": 1.0, "zoom": None},
    ),
    *(
        Figure(
            f"stylegan2-{number}",
            f"uncurated images of several snapshots, with their path lengths (LSUN {data}, or any)",
            smoothness.with_path_lengths,
            MANY,
            needs=(W, OPAQUE),
            exact=True,
            options=PATH_LENGTHS | {"count": 24, "columns": 8, "zoom": None},
        )
        for number, data in ((13, "Cat"), (14, "Car"))
    ),
    Figure(
        "stylegan2-15",
        "of many images those whose features have the weakest droplets",
        feature_maps.without_droplets,
        options=DROPLETS | {"count": 64},
    ),
    Figure(
        "stylegan2-16",
        "features of all levels, and the share of high frequencies in them",
        feature_maps.frequencies,
        MANY,
        options={"seeds": None, "count": 1, "truncation": 1.0, "zoom": None},
    ),
    Figure(
        "stylegan2-17",
        "singular values of the Jacobian, sorted, of several snapshots",
        smoothness.singular_values,
        MANY,
        exact=True,
        options={"seeds": None, "count": 8},
        plot=True,
    ),
    Figure(
        "stylegan2-18",
        "projection of a real image, and its noise, without and with regularization of the noise",
        projections.noise_regularization,
        needs=(TRUNCATION, NOISE),
        data=True,
        exact=True,
        options=PROJECTED | {"count": 1},
    ),
)
