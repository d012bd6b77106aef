"""Train, resume and sample style-based GANs.

>>> import styleloom
>>> g = styleloom.load("snapshot.safetensors")
>>> images = g.generate(seeds=range(16), truncation=0.7)

The library logs under the name "styleloom": warnings, and what it does on the way. Without any set-up Python
prints the warnings on stderr. `logging.basicConfig(level=logging.INFO)` shows the rest as well;
`logging.getLogger("styleloom").setLevel(logging.ERROR)` silences the warnings.

The public names are imported on first use, so that the command line starts quickly.

The packages, in the order in which to read:

- config: experiments as data
- presets: named experiments
- data: images on disk to batches of reals
- ops: tensor operations: a fast path and a slow reference of each
- layers: layers that more than one paper uses
- networks: generators and discriminators, a file for each paper
- training: one step of the algorithm
- runs: a run on disk, and its training to the end
- features: feature networks of metrics
- metrics: measures of generators and images
- projection: from an image to the latent that makes it
- directions: directions in the latent space, and moving along them
- video: films of a generator, and their files
- weights: names and layouts of other people's weights
- export: generators in the formats of other programs
- pretrained: models inside the package
- cli: the command line

The modules:

- types: what generators, discriminators and feature networks have to provide
- sampling: images of a trained generator, by seed
- image_request: what may be asked of it: seeds, truncation, labels, noise
- mixing: styles of several images in one
- blending: layers of two generators in one
- latents: what its images are made from, in memory and in files
- images: PNG files and grids of images
- snapshot: the file of a trained generator
- snapshot_names: which snapshot a path or name means
- hub: models on a hub, by address
- tensor_file: files of tensors with a JSON document and a checksum
- file_kinds: what a file is, by its first bytes
- file_hash: what a file is known by: its SHA-256
- precision: devices, bfloat16 and TF32
- allocator: thresholds of glibc's memory allocator
- distributed: an evaluation shared among processes
- environment: the machine and software behind a measured number
- errors: `UserError`, and how names and values are shown in messages
- arguments: checks of callers' arguments
- names: names of what comes with the package, such as `portraits`
- atomic: files that appear whole or not at all
- __main__: `python -m styleloom`
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
