"""Train, resume and sample style-based GANs.

>>> import styleloom
>>> g = styleloom.load("snapshot.safetensors")
>>> images = g.generate(seeds=range(16), truncation=0.7)

What a caller may not expect is logged under the logger "styleloom". Where nobody has set up logging, Python
prints the warnings among it on stderr. `logging.basicConfig(level=logging.INFO)` shows information as well;
`logging.getLogger("styleloom").setLevel(logging.ERROR)` shows nothing.

The public names are imported on first use, so that the command line starts quickly.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from styleloom.config import Experiment
    from styleloom.data.dataset import open_dataset
    from styleloom.data.reals import to_uint8
    from styleloom.errors import UserError
    from styleloom.images import save_png
    from styleloom.presets import get as preset
    from styleloom.sampling import Sampler, load
    from styleloom.training.trainer import Trainer

__version__ = "0.1.0"

_HOMES = {
    "Experiment": ("styleloom.config", "Experiment"),
    "Sampler": ("styleloom.sampling", "Sampler"),
    "Trainer": ("styleloom.training.trainer", "Trainer"),
    "UserError": ("styleloom.errors", "UserError"),
    "load": ("styleloom.sampling", "load"),
    "open_dataset": ("styleloom.data.dataset", "open_dataset"),
    "preset": ("styleloom.presets", "get"),
    "save_png": ("styleloom.images", "save_png"),
    "to_uint8": ("styleloom.data.reals", "to_uint8"),
}

__all__ = [
    "Experiment",
    "Sampler",
    "Trainer",
    "UserError",
    "load",
    "open_dataset",
    "preset",
    "save_png",
    "to_uint8",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'styleloom' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(module), attribute)
