"""The figures of ProGAN (Karras et al. 2018)."""

from __future__ import annotations

from styleloom.figures import neighbours, random_images, training_pictures, training_plots
from styleloom.figures.figure import Figure

PLAIN = {"seeds": None, "count": 32, "columns": 8, "truncation": 1.0, "zoom": None}
COMPARED = {"seeds": None, "count": 8, "columns": 8, "zoom": None}

FIGURES = (
    Figure(
        "progan-1",
        "growing: images of a few latents in the snapshots of a run",
        training_pictures.growth,
        runs=True,
        options={"seeds": None, "count": 4, "columns": 8, "zoom": None},
    ),
    Figure(
        "progan-3",
        "images of several configurations (the rows of Table 1) for the same seeds",
        random_images.side_by_side,
        snapshots=(1, None),
        options=COMPARED,
    ),
    Figure(
        "progan-4",
        "distance to real images against images seen and time, with growing and without",
        training_plots.distance_over_time,
        snapshots=(1, None),
        runs=True,
        options={"metric": "swd"},
        plot=True,
    ),
    Figure("progan-5", "images of CelebA-HQ, or of any snapshot", random_images.plain, options=PLAIN),
    Figure(
        "progan-6",
        "LSUN Bedroom, several methods: the same seeds of several snapshots",
        random_images.side_by_side,
        snapshots=(1, None),
        options=COMPARED,
    ),
    Figure(
        "progan-7",
        "LSUN: images of a network for each category",
        random_images.side_by_side,
        snapshots=(1, None),
        options=COMPARED,
    ),
    Figure("progan-9", "images of CIFAR-10, or of any snapshot", random_images.plain, options=PLAIN),
    Figure(
        "progan-10",
        "images above their nearest neighbours in the data, by a perceptual distance",
        neighbours.neighbours,
        data=True,
        options={"seeds": None, "count": 5, "truncation": 1.0, "distance": None, "zoom": None},
    ),
    Figure("progan-11", "more images of CelebA-HQ, or of any snapshot", random_images.plain, options=PLAIN),
    *(
        Figure(
            f"progan-{number}",
            "images of LSUN's categories, a block for each snapshot",
            random_images.side_by_side,
            snapshots=(1, None),
            options=COMPARED | {"count": 16},
        )
        for number in range(12, 18)
    ),
)
