"""The picture of a calibration: distances of generated and of real images (StyleGAN2, Figure 9)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from styleloom.atomic import atomic_path
from styleloom.attribution.calibration import Calibration
from styleloom.errors import UserError

BINS = 30
"""Of equal width in the logarithm of the distance, over both sets."""

INSTALL = "needs matplotlib, which is not installed: pip install 'styleloom[figures]'"


def can_draw() -> bool:
    """Whether matplotlib is here."""
    return importlib.util.find_spec("matplotlib") is not None


def bin_edges(calibration: Calibration) -> list[float]:
    """The edges [BINS + 1] of the bins; distances of 0 count as the least other one."""
    values = np.array([*calibration.generated, *calibration.real])
    positive = values[values > 0]
    low, high = (positive.min(), positive.max()) if len(positive) else (1.0, 1.0)
    if low == high:
        low, high = low / 1.1, high * 1.1
    return np.geomspace(low, high, BINS + 1).tolist()


def histogram(calibration: Calibration, path: Path | str) -> None:
    """Draw both sets of distances on a logarithmic axis, with the threshold, to a PNG file, atomically.

    Raises UserError without matplotlib.
    """
    if not can_draw():
        raise UserError(f"the histogram {INSTALL}")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    edges, area, threshold = bin_edges(calibration), calibration.roc_area, calibration.threshold
    figure = Figure(figsize=(6.4, 3.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for name, values, colour in (
        ("generated", calibration.generated, "#1f77b4"),
        ("real", calibration.real, "#ff7f0e"),
    ):
        shown = np.clip(values, edges[0], edges[-1])
        weights = np.full(len(values), 1 / len(values))
        axes.hist(shown, edges, weights=weights, alpha=0.6, color=colour, label=f"{name} ({len(values)})")
    told = f"threshold: {threshold.wanted:.3g} of real images below"
    axes.axvline(threshold.distance, color="black", linestyle="--", linewidth=1, label=told)
    axes.set_xscale("log")
    axes.set_xlabel(f"distance after projection ({calibration.distance_name})")
    axes.set_ylabel("share of images")
    axes.set_title(f"ROC area {area.value:.3f} ({area.low:.3f} to {area.high:.3f})", fontsize=10)
    axes.legend(fontsize=8)
    with atomic_path(path) as partial:
        FigureCanvasAgg(figure).print_png(str(partial))
