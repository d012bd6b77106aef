"""Experiments as data: frozen dataclasses, JSON, typed overrides.

In the order in which to read:

- experiment: `Experiment`, all that determines a training but data and device
- objective: the adversarial loss, the gradient penalty of D, path length
- optimizer: constants of Adam
- schedules: numbers that depend on the resolution in training, or on the images seen
- growth: progressive growing: which level a network is at, after how many images
- augmentation: augmentation of what the discriminator reads
- run: what a run writes and measures, and when
- parts: what the networks of several papers share: image shape, channels, mapping network
- progan: networks of ProGAN
- stylegan: networks of StyleGAN B to F
- msg: networks of MSG-GAN
- stylegan2: networks of StyleGAN2 B to F
- networks: all of these in one place, and the table of families
- checks: checks of fields, which raise UserError with the field's name
- seeds: the largest seeds
- annotations: types of the fields of a dataclass
- serialize: experiments to JSON and back; in which fields two differ
- overrides: `field=value`, as `--set` takes it
"""

from styleloom.config.augmentation import Augmentation
from styleloom.config.experiment import DataOptions, Experiment
from styleloom.config.growth import Growth
from styleloom.config.networks import (
    DiscriminatorConfig,
    FeatureMaps,
    GeneratorConfig,
    Mapping,
    MinibatchStd,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
)
from styleloom.config.objective import GradientPenalty, PathLength
from styleloom.config.optimizer import Adam
from styleloom.config.overrides import apply_overrides
from styleloom.config.run import RunOptions
from styleloom.config.schedules import ByImages, ByResolution
from styleloom.config.serialize import from_json, to_json

__all__ = [
    "Adam",
    "Augmentation",
    "ByImages",
    "ByResolution",
    "DataOptions",
    "DiscriminatorConfig",
    "Experiment",
    "FeatureMaps",
    "GeneratorConfig",
    "GradientPenalty",
    "Growth",
    "Mapping",
    "MinibatchStd",
    "PathLength",
    "RunOptions",
    "StyleGAN2Discriminator",
    "StyleGAN2Generator",
    "apply_overrides",
    "from_json",
    "to_json",
]
