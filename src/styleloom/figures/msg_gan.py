"""The figures of MSG-GAN (Karnewar and Wang 2020)."""

from __future__ import annotations

from styleloom.figures import random_images, training_pictures, training_plots, variation
from styleloom.figures.figure import NOISE, PYRAMID, STYLES, Figure

PLAIN = {"seeds": None, "count": 32, "columns": 8, "truncation": 1.0, "zoom": None}
LEVELS = {"seeds": None, "count": 4, "zoom": None}

FIGURES = (
    Figure(
        "msg-gan-1",
        "images of all levels side by side",
        training_pictures.all_levels,
        needs=(PYRAMID,),
        options=LEVELS,
    ),
    *(
        Figure(f"msg-gan-{number}", f"uncurated images of {what}", random_images.plain, options=PLAIN)
        for number, what in ((3, "256 px data, or of any snapshot"), (4, "1024 px data, or of any snapshot"))
    ),
    Figure(
        "msg-gan-5",
        "one latent at all levels in the snapshots of a run",
        training_pictures.levels_in_training,
        runs=True,
        needs=(PYRAMID,),
        options={"seeds": None, "count": 1, "columns": 8, "zoom": None},
    ),
    Figure(
        "msg-gan-6",
        "stability: change of the images of fixed latents between snapshots, by resolution",
        training_plots.stability,
        snapshots=(1, None),
        runs=True,
        options={"seeds": None, "count": 36},
        plot=True,
    ),
    Figure(
        "msg-gan-7",
        "random images of StyleGAN and MSG-StyleGAN, or of any snapshots, not truncated",
        random_images.side_by_side,
        snapshots=(1, None),
        options={"seeds": None, "count": 16, "columns": 8, "zoom": None},
    ),
    Figure(
        "msg-gan-8",
        "one latent with several noises, and the deviation over many",
        variation.realizations,
        snapshots=(1, None),
        needs=(NOISE,),
        options={"seeds": None, "count": 2, "columns": 4, "draws": 100, "truncation": 1.0, "zoom": None},
    ),
    Figure(
        "msg-gan-9",
        "style mixing: coarse, middle and fine styles of source 2 in images of source 1",
        variation.style_mixing,
        needs=(STYLES,),
        options={"seeds": None, "sources": None, "columns": 5, "truncation": 1.0, "zoom": None},
    ),
    *(
        Figure(
            f"msg-gan-{number}",
            f"images of all levels, {data}, or any pyramid",
            training_pictures.all_levels,
            needs=(PYRAMID,),
            options=LEVELS | {"count": 6},
        )
        for number, data in ((10, "Oxford Flowers"), (11, "CIFAR-10"))
    ),
    *(
        Figure(
            f"msg-gan-{number}",
            f"random images of {data}, or of any snapshot",
            random_images.plain,
            options=PLAIN,
        )
        for number, data in ((12, "CelebA"), (13, "LSUN Bedroom"), (14, "CelebA-HQ"))
    ),
)
